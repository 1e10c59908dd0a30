#include "mobility_agent/pipeline/still_copy.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mobility_agent/pipeline/pipeline_doubles.h"

namespace homeward {
namespace {

using ::testing::ElementsAre;

class StillCopyTest : public ::testing::Test {
 protected:
  // One sector for each character.
  void Write(uint64_t sector, absl::string_view data) {
    for (const char of : data) disk_.Write(sector++ * kSectorBytes, Sectors(1, of));
  }
  void Dirty(uint64_t sector, absl::string_view data) {
    Write(sector, data);
    ASSERT_TRUE(dirty_.Collect({1, 0}).ok());
  }
  // One character for each sector.
  std::string Payload() {
    std::string all;
    for (BatchBuilder builder; copy_.Fill(/*batch_bytes=*/6 * kSectorBytes, &builder);) {
      const SealedBatch sealed = builder.Seal({BatchKind::kWrites, {1, 1}, 1});
      ParsedBatch batch;
      EXPECT_TRUE(ParseBatch(sealed.view(), /*decode=*/true, &batch).ok());
      for (const BatchExtent& extent : batch.extents)
        sectors_.push_back(
            {extent.extent.offset / kSectorBytes, extent.extent.length / kSectorBytes});
      for (size_t at = 0; at < batch.payload.size(); at += kSectorBytes) all += batch.payload[at];
    }
    return all;
  }

  RamDisk disk_{kMiB};
  const std::vector<WriteSource*> sources_{&disk_};
  DirtyMap dirty_{sources_, 100};
  StillCopy copy_{/*bytes_max=*/8 * kKiB, /*extents_max=*/32};
  std::vector<Extent> sectors_;  // that Payload() is of
};

TEST_F(StillCopyTest, IsReadInPassesUntilNothingWasWritten) {
  Dirty(0, "abcd");
  ASSERT_TRUE(copy_.Begin(dirty_.by_disk()));
  disk_.during_read = [&] {
    disk_.during_read = nullptr;
    Write(2, "XY");
  };
  EXPECT_EQ(*copy_.Pass(sources_), StillCopy::Seen::kWrites);
  EXPECT_EQ(*copy_.Pass(sources_), StillCopy::Seen::kNothing);
  EXPECT_EQ(Payload(), "abcdXY") << "what was read later holds";
  EXPECT_THAT(sectors_, ElementsAre(Extent{0, 4}, Extent{2, 2}));
}

TEST_F(StillCopyTest, ALongPieceIsCutAtTheEndOfABatch) {
  Dirty(100, "0123456789");
  ASSERT_TRUE(copy_.Begin(dirty_.by_disk()));
  EXPECT_EQ(*copy_.Pass(sources_), StillCopy::Seen::kNothing);
  EXPECT_EQ(Payload(), "0123456789");
  EXPECT_THAT(sectors_, ElementsAre(Extent{100, 6}, Extent{106, 4}));
  EXPECT_EQ(Payload(), "") << "it is handed out once";
}

TEST_F(StillCopyTest, WhatThereIsNoRoomForIsDirtyAgain) {
  Dirty(0, std::string(10, 'a'));
  ASSERT_TRUE(copy_.Begin(dirty_.by_disk()));
  dirty_.Clear();
  Write(100, std::string(10, 'b'));
  EXPECT_EQ(*copy_.Pass(sources_), StillCopy::Seen::kTooMuch);
  copy_.GiveBackAll(&dirty_);
  EXPECT_THAT(
      dirty_.by_disk()[0].Ranges(),
      ElementsAre(Extent{0, 10 * kSectorBytes}, Extent{100 * kSectorBytes, 10 * kSectorBytes}));
}

TEST_F(StillCopyTest, WhereThereWasNotRoomEnoughThereIsMoreTheNextTime) {
  RamDisk disk(16 * kMiB);
  const std::vector<WriteSource*> sources{&disk};
  DirtyMap dirty(sources, 100);
  StillCopy copy(/*bytes_max=*/16 * kMiB, /*extents_max=*/32);
  const auto written_meanwhile = [&](uint64_t bytes) {
    EXPECT_TRUE(copy.Begin(dirty.by_disk()));  // Nothing is dirty yet.
    disk.Write(0, std::string(bytes, 'x'));
    return *copy.Pass(sources);
  };
  EXPECT_EQ(written_meanwhile(5 * kMiB), StillCopy::Seen::kTooMuch);
  EXPECT_EQ(written_meanwhile(5 * kMiB), StillCopy::Seen::kNothing);
  EXPECT_EQ(written_meanwhile(10 * kMiB), StillCopy::Seen::kNothing);
}

TEST_F(StillCopyTest, WhatWasWrittenSinceTheLastPassIsNotInIt) {
  Dirty(0, "abcd");
  ASSERT_TRUE(copy_.Begin(dirty_.by_disk()));
  dirty_.Clear();
  disk_.during_read = [&] { Write(8, "z"); };
  EXPECT_EQ(*copy_.Pass(sources_), StillCopy::Seen::kWrites);
  copy_.GiveBackUnread(&dirty_);
  EXPECT_THAT(dirty_.by_disk()[0].Ranges(), ElementsAre(Extent{8 * kSectorBytes, kSectorBytes}));
  EXPECT_EQ(Payload(), "abcd");
}

}  // namespace
}  // namespace homeward
