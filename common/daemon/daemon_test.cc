#include "common/daemon/daemon.h"

#include "gmock/gmock.h"

namespace homeward {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Ended {
  int code = 0;
  std::string out, error;
};

// What a daemon's main does with `arguments`; it has one command and a configuration of which a
// state directory is wanted.
Ended RunDaemon(std::vector<std::string> arguments) {
  DaemonProgram program;
  program.name = "homeward-test";
  program.purpose = "stands for a daemon";
  program.check = [](const google::protobuf::Message& config, ConfigProblems* problems) {
    RequireAbsolutePath("state_directory",
                        static_cast<const config::v1::AgentConfig&>(config).state_directory(),
                        problems);
  };
  program.new_config = [] { return std::make_unique<config::v1::AgentConfig>(); };
  program.commands = {{"tell", "say where its state is", [](const auto& config, const auto&) {
                         return absl::StatusOr<std::string>(
                             static_cast<const config::v1::AgentConfig&>(config).state_directory());
                       }}};
  arguments.insert(arguments.begin(), program.name);
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  Ended ended;
  ended.code = DaemonMain(static_cast<int>(arguments.size()), pointers.data(), program);
  ended.out = ::testing::internal::GetCapturedStdout();
  ended.error = ::testing::internal::GetCapturedStderr();
  return ended;
}

std::string ConfigWith(const std::string& text) {
  const std::string path = ::testing::TempDir() + "/daemon_test.conf";
  EXPECT_TRUE(WriteFileAtomically(RealFileSystem(), path, text).ok());
  return path;
}

TEST(CommandLine, HelpAndVersionNeedNoConfiguration) {
  const Ended help = RunDaemon({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_EQ(help.error, "");
  EXPECT_THAT(help.out, StartsWith("stands for a daemon\n"));
  for (const char* const flag : {"--config FILE", "--check_config", "--version", "--tell"})
    EXPECT_THAT(help.out, HasSubstr(flag));
  const Ended version = RunDaemon({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_EQ(version.out, std::string("homeward-test ") + kVersion + "\n");
}

TEST(CommandLine, WhatIsWrongInItEndsWithTwo) {
  const std::string config = ConfigWith("state_directory: \"/s\"");
  for (const std::vector<std::string>& wrong :
       std::vector<std::vector<std::string>>{{},
                                             {"--check_config"},
                                             {"--config"},
                                             {"--config", config, "--unknown"},
                                             {"--config", config, "more"},
                                             {"--config", config + ".missing"}}) {
    const Ended ended = RunDaemon(wrong);
    EXPECT_EQ(ended.code, 2) << (wrong.empty() ? "nothing" : wrong.back());
    EXPECT_EQ(ended.out, "");
    EXPECT_NE(ended.error, "");
  }
}

TEST(CommandLine, AConfigurationIsCheckedWithoutBeingRun) {
  const std::string config = ConfigWith("state_directory: \"/s\"");
  for (const std::vector<std::string>& right : std::vector<std::vector<std::string>>{
           {"--config", config, "--check_config"}, {"--check_config", "--config=" + config}}) {
    const Ended ended = RunDaemon(right);
    EXPECT_EQ(ended.code, 0);
    EXPECT_EQ(ended.out, config + ": OK\n");
  }
  const Ended wrong =
      RunDaemon({"--config", ConfigWith("state_directory: \"s\""), "--check_config"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.error, HasSubstr("state_directory"));
}

TEST(CommandLine, ACommandIsRunInsteadOfTheDaemon) {
  const Ended ended = RunDaemon({"--config", ConfigWith("state_directory: \"/s\""), "--tell"});
  EXPECT_EQ(ended.code, 0);
  EXPECT_EQ(ended.out, "/s");
}

}  // namespace
}  // namespace homeward
