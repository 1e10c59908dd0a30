#include "config_server/cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "config_server/cli/commands.h"
#include "config_server/cli/completion.h"
#include "tests/golden/golden.h"

namespace homeward {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// What became of a command line that was only read.
struct Reading {
  std::optional<int> ended;
  std::string out;
  std::string error;
};
Reading Read(const std::vector<std::string>& arguments) {
  CommandLine line;
  AddAllCommands(&line);
  std::ostringstream out;
  std::ostringstream error;
  const std::optional<int> ended = line.Parse(arguments, out, error);
  EXPECT_NE(ended.has_value(), line.has_command()) << "what was read can be run";
  return {ended, out.str(), error.str()};
}
Reading Read(const std::string& words) {
  return Read(std::vector<std::string>(absl::StrSplit(words, ' ')));
}

// Calls `look` for each command that is not a group, with what is typed for it.
void ForEachCommand(const CLI::App& app, const std::string& path,
                    const std::function<void(const std::string&, const CLI::App&)>& look) {
  const auto subcommands = app.get_subcommands(nullptr);
  if (subcommands.empty()) look(path, app);
  for (const CLI::App* sub : subcommands)
    ForEachCommand(*sub, path.empty() ? sub->get_name() : absl::StrCat(path, " ", sub->get_name()),
                   look);
}

class FileOf {
 public:
  explicit FileOf(const std::string& content)
      : path_(::testing::TempDir() + "/homeward_cli_test_file") {
    std::ofstream(path_) << content;
  }
  ~FileOf() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

TEST(CommandLineTest, EveryCommandsHelpShowsAnExampleThatIsReadAsThatCommand) {
  CommandLine line;
  AddAllCommands(&line);
  const FileOf file("secret\n");
  const std::string plan = absl::StrCat(HOMEWARD_SOURCE_DIR, "/tests/golden/recovery_plan_v1.txt");
  int commands = 0;
  ForEachCommand(line.root(), "", [&](const std::string& path, const CLI::App&) {
    SCOPED_TRACE(path);
    ++commands;
    const Reading help = Read(path + " --help");
    EXPECT_EQ(help.ended, kOk);
    const std::vector<std::string> parts = absl::StrSplit(help.out, "Example:\n  homeward ");
    ASSERT_EQ(parts.size(), 2u) << help.out;
    // Up to the end of the line, and to where the shell takes over.
    const std::string first_line = std::vector<std::string>(absl::StrSplit(parts[1], '\n'))[0];
    const std::string example = std::vector<std::string>(absl::StrSplit(first_line, " > "))[0];
    std::vector<std::string> words = absl::StrSplit(example, ' ');
    for (std::string& word : words) {
      if (word.rfind("/root/", 0) == 0) word = absl::EndsWith(word, ".yaml") ? plan : file.path();
    }
    const Reading reading = Read(words);
    EXPECT_EQ(reading.ended, std::nullopt) << example << "\n" << reading.error;
    if (path.rfind("enroll", 0) != 0) {
      EXPECT_EQ(example.rfind(path, 0), 0u) << example;
    }
  });
  EXPECT_GT(commands, 30);
}

TEST(CommandLineTest, AnExportedAuditLogIsCheckedWithoutAServer) {
  const std::string log = homeward::testing::ReadGolden("audit_log_v1.txt");
  const auto verify = [](const std::string& text, const std::string& head) {
    const FileOf file(text);
    CommandLine line;
    AddAllCommands(&line);
    std::ostringstream out, error;
    std::vector<std::string> words = {"audit", "verify-file", file.path()};
    if (!head.empty()) words.insert(words.end(), {"--head", head});
    EXPECT_EQ(line.Parse(words, out, error), std::nullopt) << error.str();
    return line.Run();
  };
  EXPECT_EQ(verify(log, ""), kOk);
  EXPECT_EQ(verify(log, "1:b130c557fc6518ddde5c52cb684ba97a8b3be383f3dcc88f95e673b20d1b1bb5"), kOk);
  EXPECT_EQ(verify(log, "1:00"), kFailed);
  EXPECT_EQ(verify(absl::StrReplaceAll(log, {{"BIff", "BIfg"}}), ""), kFailed) << "a hash";
  EXPECT_EQ(verify(absl::StrReplaceAll(log, {{"seconds: 30", "seconds: 31"}}), ""), kFailed)
      << "what it says for people";
  EXPECT_EQ(verify("no entry\n", ""), kFailed);
}

TEST(CommandLineTest, ADurationThatIsNoneIsWrongUsageAndNamesItsFlag) {
  for (const std::string flag : {"--retention", "--point-interval", "--app-point-interval"}) {
    for (const std::string command : {"protect", "reprotect"}) {
      const Reading reading = Read(absl::StrCat("machines ", command, " web-1 ", flag, " 5x"));
      EXPECT_EQ(reading.ended, kUsage);
      EXPECT_THAT(reading.error, HasSubstr(absl::StrCat(flag, ": \"5x\" is not a duration")));
      EXPECT_EQ(Read(absl::StrCat("machines ", command, " web-1 ", flag, " 5m")).ended,
                std::nullopt);
    }
  }
}

TEST(CommandLineTest, AFileThatCannotBeReadIsWrongUsageAndNamesItsFlag) {
  const FileOf file("secret\n");
  const std::string add = "vcenters add vc1 --address vc1.example.org --user homeward";
  const Reading password = Read(add + " --password-file /nowhere/password");
  EXPECT_EQ(password.ended, kUsage);
  EXPECT_THAT(password.error, HasSubstr("--password-file: cannot read /nowhere/password"));
  const Reading trusted =
      Read(absl::StrCat(add, " --password-file ", file.path(), " --ca-file /nowhere/ca.pem"));
  EXPECT_EQ(trusted.ended, kUsage);
  EXPECT_THAT(trusted.error, HasSubstr("--ca-file: cannot read /nowhere/ca.pem"));
  EXPECT_EQ(Read(absl::StrCat(add, " --password-file ", file.path())).ended, std::nullopt);
  EXPECT_EQ(Read(add + " --password-file -").ended, std::nullopt);
}

TEST(CommandLineTest, RepairWaitsOnlyForWhatItApplies) {
  const Reading reading = Read("machines repair web-1 --wait");
  EXPECT_EQ(reading.ended, kUsage);
  EXPECT_THAT(reading.error, HasSubstr("--wait requires --apply"));
  EXPECT_EQ(Read("machines repair web-1 --apply --wait").ended, std::nullopt);
  EXPECT_EQ(Read("machines repair web-1").ended, std::nullopt);
}

TEST(CommandLineTest, APointIsOfOneMachineOrOfAll) {
  EXPECT_EQ(Read("points create web-1").ended, std::nullopt);
  EXPECT_EQ(Read("points create --all").ended, std::nullopt);
  EXPECT_EQ(Read("points create web-1 --all").ended, kUsage);
  const Reading neither = Read("points create");
  EXPECT_EQ(neither.ended, kUsage);
  EXPECT_THAT(neither.error, HasSubstr("--all"));
}

TEST(CommandLineTest, EnrolIsShownAndItsEarlierSpellingStillWorks) {
  EXPECT_EQ(Read("enrol passphrase show").ended, std::nullopt);
  EXPECT_EQ(Read("enroll passphrase show").ended, std::nullopt);
  EXPECT_EQ(Read("enroll passphrase rotate").ended, std::nullopt);
  const Reading help = Read("--help");
  EXPECT_THAT(help.out, HasSubstr("enrol "));
  EXPECT_THAT(help.out, Not(HasSubstr("enroll")));
}

TEST(CommandLineTest, CompletionHasEveryCommandThatHelpHas) {
  CommandLine line;
  AddAllCommands(&line);
  const std::string script = CompletionScript(line.root(), "bash");
  EXPECT_THAT(script, HasSubstr("\"enrol passphrase\"*) words=\"show rotate"));
  EXPECT_THAT(script, Not(HasSubstr("enroll")));
  ForEachCommand(line.root(), "", [&](const std::string& path, const CLI::App&) {
    if (path.rfind("enroll", 0) == 0) return;
    EXPECT_THAT(script, HasSubstr(absl::StrCat("\"", path, "\"*)")));
  });
}

TEST(CommandLineTest, OptionsOfEveryCommandAreTakenBehindIt) {
  EXPECT_EQ(Read("machines list --server cs:443 --output yaml").ended, std::nullopt);
  EXPECT_EQ(Read("machines list --output xml").ended, kUsage);
  EXPECT_EQ(Read("machines fly").ended, kUsage);
}

}  // namespace
}  // namespace homeward
