// Against real control groups of either version. Needs root.
#include "mobility_agent/capture/linux/paused_services.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

namespace fs = std::filesystem;

// The parameter: where control groups of one version are.
class PausedServicesTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0 || !fs::exists(absl::StrCat(GetParam(), "/cgroup.procs")))
      GTEST_SKIP() << "needs root and " << GetParam();
    name_ = absl::StrCat("homeward-test-", ::getpid(), ".service");
    group_ = absl::StrCat(GetParam(), "/", name_);
    fs::create_directory(group_);
    ASSERT_EQ(::pipe(beats_), 0);
    service_ = ::fork();
    if (service_ == 0) {
      ::alarm(120);  // Nothing stays, also when the test is killed.
      for (;;) {
        if (::write(beats_[1], "b", 1) != 1) ::_exit(0);
        ::poll(nullptr, 0, /*ms=*/2);
      }
    }
    std::ofstream(group_ + "/cgroup.procs") << service_;
  }
  void TearDown() override {
    if (service_ <= 0) return;
    Write("0", "THAWED");
    ::kill(service_, SIGKILL);
    ::waitpid(service_, nullptr, 0);
    ::close(beats_[0]);
    ::close(beats_[1]);
    for (int tries = 0; tries < 1000 && ::rmdir(group_.c_str()) != 0; ++tries)
      ::poll(nullptr, 0, /*ms=*/2);
  }
  void Write(const char* unified, const char* old) {
    const bool is_unified = fs::exists(group_ + "/cgroup.freeze");
    std::ofstream(group_ + (is_unified ? "/cgroup.freeze" : "/freezer.state"))
        << (is_unified ? unified : old);
  }
  // Something more of the service within `wait_ms`.
  bool Beats(int wait_ms) {
    char beats[4096];
    for (pollfd some = {beats_[0], POLLIN, 0}; ::poll(&some, 1, 0) == 1;)
      EXPECT_GT(::read(beats_[0], beats, sizeof beats), 0);
    pollfd next = {beats_[0], POLLIN, 0};
    return ::poll(&next, 1, wait_ms) == 1;
  }

  std::string name_, group_;
  int beats_[2] = {-1, -1};
  pid_t service_ = -1;
};
INSTANTIATE_TEST_SUITE_P(BothVersions, PausedServicesTest,
                         ::testing::Values("/sys/fs/cgroup/unified", "/sys/fs/cgroup/freezer",
                                           "/sys/fs/cgroup"));

TEST_P(PausedServicesTest, StandsStillUntilTheLastOfTheDisksLetsGo) {
  const auto services = PausedServices::Open({group_});
  ASSERT_TRUE(services.ok()) << services.status();
  EXPECT_TRUE(Beats(5000));
  for (int disk = 0; disk < 2; ++disk) {
    const PausedServices::Outcome outcome = (*services)->Pause();
    EXPECT_EQ(outcome.still, std::vector<std::string>{"service " + group_});
    EXPECT_TRUE(outcome.troubles.empty());
  }
  EXPECT_FALSE(Beats(100));
  (*services)->Resume();
  EXPECT_FALSE(Beats(100));
  (*services)->Resume();
  EXPECT_TRUE(Beats(5000));
}

TEST_P(PausedServicesTest, AUnitIsFoundByItsName) {
  const auto services = PausedServices::Open({name_, "homeward-no-such.service"}, GetParam());
  ASSERT_TRUE(services.ok()) << services.status();
  const PausedServices::Outcome outcome = (*services)->Pause();
  EXPECT_EQ(outcome.still, std::vector<std::string>{"service " + name_});
  ASSERT_EQ(outcome.troubles.size(), 1u);
  EXPECT_TRUE(absl::StartsWith(outcome.troubles[0], "service homeward-no-such.service: there is"));
  EXPECT_FALSE(Beats(100));
  (*services)->Resume();
  EXPECT_TRUE(Beats(5000));
}

// The kernel keeps frozen what nobody thaws.
TEST_P(PausedServicesTest, WhatAnAgentPausedThatIsKilledGoesOn) {
  const pid_t agent = ::fork();
  if (agent == 0) {
    const auto services = PausedServices::Open({group_});
    if (!services.ok() || (*services)->Pause().still.size() != 1) ::_exit(1);
    ::raise(SIGKILL);
  }
  int ended = 0;
  ASSERT_EQ(::waitpid(agent, &ended, 0), agent);
  ASSERT_TRUE(WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL) << ended;
  EXPECT_TRUE(Beats(5000)) << "it stands still";
}

TEST_P(PausedServicesTest, WhatHoldsTheAgentItselfIsRefused) {
  const pid_t agent = ::fork();
  if (agent == 0) {
    const std::string within = group_ + "/within";
    fs::create_directory(within);
    std::ofstream(within + "/cgroup.procs") << ::getpid() << std::flush;
    const absl::Status refused = PausedServices::Open({group_}).status();
    std::ofstream(absl::StrCat(GetParam(), "/cgroup.procs")) << ::getpid() << std::flush;
    fs::remove(within);
    ::_exit(absl::StrContains(refused.message(), "it holds the agent itself") ? 0 : 1);
  }
  int ended = 0;
  ASSERT_EQ(::waitpid(agent, &ended, 0), agent);
  EXPECT_EQ(ended, 0);
}

TEST_P(PausedServicesTest, WhatSomebodyElseFrozeStaysSo) {
  const auto services = PausedServices::Open({group_});
  ASSERT_TRUE(services.ok()) << services.status();
  Write("1", "FROZEN");
  EXPECT_EQ((*services)->Pause().troubles.size(), 1u);
  (*services)->Resume();
  EXPECT_FALSE(Beats(100));
}

TEST(PausedServicesNamesTest, WhatIsNoControlGroupIsRefused) {
  const absl::Status refused = PausedServices::Open({"/tmp"}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << refused;
}

}  // namespace
}  // namespace homeward
