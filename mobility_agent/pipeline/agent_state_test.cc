#include "mobility_agent/pipeline/agent_state.h"

#include "tests/golden/golden.h"

namespace homeward {
namespace {

TEST(AgentState, WhatVersion1WroteIsReadAndNothingDamagedIs) {
  AgentState state{.stopped_cleanly = true,
                   .syncing = false,
                   .epoch = 7,
                   .durable = {7, 41},
                   .begun = {},
                   .dirty = {}};
  state.dirty.resize(3);
  state.dirty[0].Add({4096, 512});
  state.dirty[2].Add({0, 65536});
  state.dirty[2].Add({1 << 20, 4096});
  testing::ExpectGolden("agent_state_v1.bin", EncodeAgentState(state));

  const std::string golden = testing::ReadGolden("agent_state_v1.bin");
  const absl::StatusOr<AgentState> read = DecodeAgentState(golden);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->stopped_cleanly);
  EXPECT_FALSE(read->syncing);
  EXPECT_EQ(read->epoch, 7u);
  EXPECT_EQ(read->durable, (StreamPosition{7, 41}));
  ASSERT_EQ(read->dirty.size(), 3u);
  EXPECT_EQ(read->dirty[0].Ranges(), (std::vector<Extent>{{4096, 512}}));
  EXPECT_TRUE(read->dirty[1].empty());
  EXPECT_EQ(read->dirty[2].Ranges(), (std::vector<Extent>{{0, 65536}, {1 << 20, 4096}}));

  for (size_t at = 0; at < golden.size(); ++at) {
    std::string damaged = golden;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    EXPECT_FALSE(DecodeAgentState(damaged).ok()) << "byte " << at;
    EXPECT_FALSE(DecodeAgentState(golden.substr(0, at)).ok()) << at << " bytes";
  }
}

TEST(AgentState, TheEpochsThatWereBegunComeBack) {
  AgentState state;
  state.epoch = 12;
  state.begun = {9, 11, 12};
  testing::ExpectGolden("agent_state_v1_begun.bin", EncodeAgentState(state));
  const absl::StatusOr<AgentState> read =
      DecodeAgentState(testing::ReadGolden("agent_state_v1_begun.bin"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->begun, (std::vector<uint64_t>{9, 11, 12}));
}

}  // namespace
}  // namespace homeward
