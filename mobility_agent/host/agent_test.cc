#include "mobility_agent/host/agent.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include "common/wire/time_proto.h"
#include "gtest/gtest.h"
#include "tests/fakes/memory_disk.h"

namespace homeward {
namespace {

TEST(RegistrationDelay, IsFixedOrDrawnAndTheSameForTheSameSeed) {
  config::v1::Delay delay;
  EXPECT_EQ(DrawRegistrationDelay(delay, 1), absl::ZeroDuration());
  *delay.mutable_fixed() = ToProto(absl::Minutes(15));
  EXPECT_EQ(DrawRegistrationDelay(delay, 1), absl::Minutes(15));
  *delay.mutable_uniform()->mutable_min() = ToProto(absl::Seconds(10));
  *delay.mutable_uniform()->mutable_max() = ToProto(absl::Seconds(20));
  for (uint64_t seed = 1; seed < 100; ++seed) {
    const absl::Duration drawn = DrawRegistrationDelay(delay, seed);
    EXPECT_GE(drawn, absl::Seconds(10));
    EXPECT_LE(drawn, absl::Seconds(20));
    EXPECT_EQ(DrawRegistrationDelay(delay, seed), drawn);
  }
  delay.set_seed(7);
  EXPECT_EQ(DrawRegistrationDelay(delay, 1), DrawRegistrationDelay(delay, 2));
}

TEST(RegistrationDelay, ALogNormalOneHasItsMedianAndItsLimit) {
  config::v1::Delay delay;
  *delay.mutable_log_normal()->mutable_median() = ToProto(absl::Seconds(100));
  delay.mutable_log_normal()->set_sigma(0.5);
  *delay.mutable_log_normal()->mutable_max() = ToProto(absl::Seconds(200));
  std::vector<absl::Duration> drawn;
  for (uint64_t seed = 1; seed <= 1001; ++seed) drawn.push_back(DrawRegistrationDelay(delay, seed));
  std::sort(drawn.begin(), drawn.end());
  EXPECT_GT(drawn[500], absl::Seconds(85));
  EXPECT_LT(drawn[500], absl::Seconds(115));
  EXPECT_EQ(drawn.back(), absl::Seconds(200));
}

TEST(BootFirmware, IsEfiWhereTheKernelWasToldOfIt) {
  MemoryDisk disk(1);
  EXPECT_EQ(BootFirmware(disk), "") << "nothing is to be seen";
  ASSERT_TRUE(disk.MakeDirectories("/sys/firmware").ok());
  EXPECT_EQ(BootFirmware(disk), "") << "as in a container, whose /sys/firmware is empty";
  const auto touch = [&](const std::string& path) {
    ASSERT_TRUE(disk.Open(path, OpenMode::kCreate).ok());
  };
  touch("/sys/firmware/acpi");
  EXPECT_EQ(BootFirmware(disk), "bios");
  touch("/sys/firmware/efi");
  EXPECT_EQ(BootFirmware(disk), "efi");
}

TEST(EnrolAnew, WhatTheOriginalHadIsSetAsideAndNothingIsLost) {
  char pattern[] = "/tmp/homeward-agent-XXXXXX";
  const std::filesystem::path state = ::mkdtemp(pattern);
  config::v1::AgentConfig config;
  config.set_state_directory(state.string());
  EXPECT_TRUE(absl::IsNotFound(EnrolAnewAtNextStart(config).status()));
  for (const std::string suffix : {"", ".2"}) {
    std::filesystem::create_directories(state / "identity");
    std::filesystem::create_directories(state / "streams");
    std::ofstream(state / "identity" / "key.pem") << "key" << suffix;
    std::ofstream(state / "streams" / "r.state") << "state";
    const auto told = EnrolAnewAtNextStart(config);
    ASSERT_TRUE(told.ok()) << told.status();
    EXPECT_NE(told->find((state / "identity.set_aside").string() + suffix), std::string::npos);
    EXPECT_FALSE(std::filesystem::exists(state / "identity"));
    EXPECT_FALSE(std::filesystem::exists(state / "streams"));
    std::string key;
    std::ifstream(state / ("identity.set_aside" + suffix) / "key.pem") >> key;
    EXPECT_EQ(key, "key" + suffix);
    EXPECT_TRUE(std::filesystem::exists(state / ("streams.set_aside" + suffix) / "r.state"));
  }
  std::filesystem::remove_all(state);
}

TEST(AgentConfig, AWrongOneIsToldWhatIsWrong) {
  config::v1::AgentConfig config;
  const absl::Status status =
      ParseConfig("agent.conf",
                  "join { config_server: \"cs:443\" }\n"
                  "state_directory: \"/var/lib/homeward\"\n"
                  "disks { path: \"/dev/sda\" }\n"
                  "disks { path: \"/dev/sda\" }\n"
                  "disks { path: \"/a.raw\" capture: NBD_TAP }\n"
                  "registration { delay { uniform { min { seconds: 9 } } } }\n",
                  CheckAgentConfig, &config);
  const std::string text(status.message());
  EXPECT_NE(text.find("agent.conf:4: disks[1].path: /dev/sda is named twice"), std::string::npos)
      << text;
  EXPECT_NE(text.find("agent.conf:5: disks[2].nbd_socket: is missing"), std::string::npos) << text;
  EXPECT_NE(text.find("agent.conf:6: registration.delay.uniform: needs 0 <= min <= max"),
            std::string::npos)
      << text;
}

}  // namespace
}  // namespace homeward
