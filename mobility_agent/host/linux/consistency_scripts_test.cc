#include "mobility_agent/host/consistency_scripts.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

using ::testing::HasSubstr;
using State = ConsistencyScripts::State;

constexpr absl::Duration kHang = absl::Minutes(1);

class ConsistencyScriptsTest : public ::testing::Test {
 protected:
  ConsistencyScriptsTest() {
    char pattern[] = "/tmp/homeward-scripts-XXXXXX";
    root_ = ::mkdtemp(pattern);
    std::filesystem::create_directory(root_ / "consistency.d");
    options_.directory = (root_ / "consistency.d").string();
    options_.owed_directory = (root_ / "owed").string();
    options_.machine = "host-7";
  }
  ~ConsistencyScriptsTest() override { std::filesystem::remove_all(root_); }

  // Notes what it is asked, and then does `then`.
  void Script(const std::string& name, const std::string& then) {
    const std::filesystem::path path = root_ / "consistency.d" / name;
    std::ofstream(path) << "#!/bin/sh\necho " << name << " $1 $HOMEWARD_STEP $HOMEWARD_POINT_ID "
                        << "$HOMEWARD_MACHINE ${HOME-clean} >> " << (root_ / "seen").string()
                        << "\n"
                        << then << "\n";
    std::filesystem::permissions(path, std::filesystem::perms(0755));
  }
  std::string Seen() const {
    std::ostringstream text;
    text << std::ifstream(root_ / "seen").rdbuf();
    return text.str();
  }
  std::unique_ptr<ConsistencyScripts> Open() {
    auto strand = MakeThreadStrand("scripts");
    strand_ = strand.get();
    return std::make_unique<ConsistencyScripts>(RealFileSystem(), clock_, options_,
                                                std::move(strand));
  }
  // Behind all that was begun.
  void Await() {
    strand_->Run([] {});
  }

  std::filesystem::path root_;
  RealClock clock_;
  ConsistencyScripts::Options options_;
  Strand* strand_ = nullptr;
};

TEST_F(ConsistencyScriptsTest, FreezeInTheirOrderThawInTheReverseOneInACleanEnvironment) {
  Script("10-a", "");
  Script("20-b", "");
  Script("30-c~", "");
  std::ofstream(root_ / "consistency.d" / "README") << "not to be run";
  auto scripts = Open();
  EXPECT_TRUE(scripts->Any());
  scripts->Freeze("common-1");
  Await();
  EXPECT_EQ(scripts->state(), State::kFrozen);
  EXPECT_TRUE(scripts->frozen().ok()) << scripts->frozen();
  scripts->Thaw("common-1");
  Await();
  EXPECT_EQ(scripts->state(), State::kThawed);
  EXPECT_EQ(Seen(),
            "10-a freeze freeze common-1 host-7 clean\n20-b freeze freeze common-1 host-7 clean\n"
            "20-b thaw thaw common-1 host-7 clean\n10-a thaw thaw common-1 host-7 clean\n");
  scripts->Thaw("");
  Await();
  scripts.reset();
  EXPECT_THAT(Seen(), ::testing::Not(HasSubstr("clean\n10-a thaw thaw  "))) << "only once";
}

TEST_F(ConsistencyScriptsTest, AFailedOneIsNamedAndOnlyWhatWasStartedIsThawed) {
  Script("10-a", "");
  Script("20-b", "[ $1 = thaw ] || { echo one; echo the database is away; exit 3; }");
  Script("30-c", "");
  auto scripts = Open();
  scripts->Freeze("p");
  scripts->Thaw("p");
  Await();
  EXPECT_THAT(std::string(scripts->frozen().message()),
              HasSubstr("20-b ended with 3; it printed at last: the database is away"));
  EXPECT_EQ(Seen(),
            "10-a freeze freeze p host-7 clean\n20-b freeze freeze p host-7 clean\n"
            "20-b thaw thaw p host-7 clean\n10-a thaw thaw p host-7 clean\n");
}

TEST_F(ConsistencyScriptsTest, OneThatHangsIsEndedWithAllThatItStarted) {
  options_.script_timeout = absl::Milliseconds(300);
  Script("10-a", "[ $1 = thaw ] || { tail -f /dev/null & echo $! > " + (root_ / "pid").string() +
                     "; wait; }");
  auto scripts = Open();
  scripts->Freeze("p");
  Await();
  EXPECT_EQ(scripts->frozen().code(), absl::StatusCode::kDeadlineExceeded) << scripts->frozen();
  int pid = 0;
  std::ifstream(root_ / "pid") >> pid;
  ASSERT_GT(pid, 0);
  std::string state, line;
  std::ifstream status("/proc/" + std::to_string(pid) + "/stat");
  while (std::getline(status, line)) state = line;
  EXPECT_TRUE(state.empty() || state.find(") Z ") != std::string::npos) << state;
}

TEST_F(ConsistencyScriptsTest, WhatOthersCanChangeIsNotRun) {
  Script("10-a", "");
  std::filesystem::permissions(root_ / "consistency.d" / "10-a", std::filesystem::perms(0777));
  auto scripts = Open();
  scripts->Freeze("p");
  Await();
  EXPECT_THAT(std::string(scripts->frozen().message()),
              ::testing::AllOf(HasSubstr("10-a can be written to by others"), HasSubstr("chmod")));
  EXPECT_EQ(Seen(), "");
}

TEST_F(ConsistencyScriptsTest, WithoutAnyItSaysSo) {
  std::filesystem::remove(root_ / "consistency.d");
  auto scripts = Open();
  EXPECT_FALSE(scripts->Any());
  scripts->Freeze("p");
  Await();
  EXPECT_THAT(std::string(scripts->frozen().message()), HasSubstr("there is no script in"));
}

TEST_F(ConsistencyScriptsTest, AnAgentThatStopsThaws) {
  options_.script_timeout = kHang;
  Script("10-a", "");
  const std::string begun = (root_ / "begun").string();
  ASSERT_EQ(::mkfifo(begun.c_str(), 0600), 0);
  Script("20-b", "[ $1 = thaw ] || { echo > " + begun + "; exec tail -f /dev/null; }");
  auto scripts = Open();
  scripts->Freeze("p");
  std::string line;
  std::ifstream fifo(begun);
  std::getline(fifo, line);
  scripts.reset();
  EXPECT_THAT(Seen(), ::testing::EndsWith("20-b thaw thaw host-7 clean\n10-a thaw thaw host-7 "
                                          "clean\n"));
  EXPECT_TRUE(std::filesystem::is_empty(root_ / "owed"));
}

TEST_F(ConsistencyScriptsTest, WhatAKilledAgentLeftFrozenIsThawedAtTheNextStart) {
  Script("10-a", "");
  Script("20-b", "");
  std::filesystem::create_directory(root_ / "owed");
  for (const char* const name : {"10-a", "20-b", "30-gone"}) std::ofstream(root_ / "owed" / name);
  auto scripts = Open();
  Await();
  EXPECT_EQ(scripts->state(), State::kThawed);
  EXPECT_EQ(Seen(), "20-b thaw thaw host-7 clean\n10-a thaw thaw host-7 clean\n");
  EXPECT_TRUE(std::filesystem::is_empty(root_ / "owed"));
  EXPECT_THAT(std::string(scripts->thawed().message()), HasSubstr("30-gone"));
}

TEST_F(ConsistencyScriptsTest, TheHookIsFirstAndThawedLast) {
  Script("10-a", "");
  const std::string note = (root_ / "seen").string();
  options_.pre_freeze = {"/bin/sh", "-c", "echo hook freeze >> " + note};
  options_.post_thaw = {"/bin/sh", "-c", "echo hook thaw >> " + note};
  auto scripts = Open();
  scripts->Freeze("p");
  scripts->Thaw("p");
  Await();
  EXPECT_EQ(Seen(),
            "hook freeze\n10-a freeze freeze p host-7 clean\n10-a thaw thaw p host-7 clean\n"
            "hook thaw\n");
}

}  // namespace
}  // namespace homeward
