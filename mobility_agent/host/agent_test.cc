#include "mobility_agent/host/agent.h"

#include <filesystem>
#include <fstream>

#include "gtest/gtest.h"
#include "tests/fakes/memory_disk.h"

namespace homeward {
namespace {

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
