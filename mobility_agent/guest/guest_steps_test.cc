#include "mobility_agent/guest/guest_steps.h"

#include "common/problem/problem.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mobility_agent/guest/guest_doubles.h"
#include "mobility_agent/guest/own_root.h"

namespace homeward {
namespace {

class GuestStepsTest : public ::testing::Test {
 protected:
  GuestStepsTest() {
    machine_.Put("/sbin/ifup", "");
    machine_.Put(kInterfaces, "iface ens192 inet static\n  address 10.1.2.3/24\n");
  }
  // One start of the agent at `location`.
  void Start(GuestLocation location) {
    guest_.reset();
    later_.callbacks.clear();
    auto strand = std::make_unique<testing::PlainStrand>(&later_);
    auto commands = std::make_unique<testing::SeemingCommands>();
    testing::PlainStrand* posted = strand.get();
    commands_ = commands.get();
    commands_->answers = answers_;
    guest_ = std::make_unique<GuestSteps>(
        RealFileSystem(),
        GuestSteps::Options{.record_path = machine_.root() + "/state/guest", .location = location},
        GuestFiles(machine_.root()), std::move(commands), std::move(strand));
    posted->RunPosted();
  }
  static constexpr char kInterfaces[] = "/etc/network/interfaces";
  testing::MachineDirectory machine_;
  std::map<std::string, absl::StatusOr<ProgramResult>> answers_;
  testing::PlainStrand::Later later_;
  testing::SeemingCommands* commands_ = nullptr;
  std::unique_ptr<GuestSteps> guest_;
};

TEST_F(GuestStepsTest, OnceThereAndOnceBack) {
  const std::string at_home = machine_.Get(kInterfaces);
  Start(GuestLocation::kVmware);
  EXPECT_TRUE(commands_->ran.empty());
  Start(GuestLocation::kAzure);
  EXPECT_THAT(machine_.Get(kInterfaces), ::testing::HasSubstr("dhcp"));
  EXPECT_TRUE(guest_->issues().empty());
  Start(GuestLocation::kAzure);
  EXPECT_TRUE(commands_->ran.empty());
  Start(GuestLocation::kVmware);
  EXPECT_EQ(machine_.Get(kInterfaces), at_home);
  Start(GuestLocation::kVmware);
  EXPECT_TRUE(commands_->ran.empty());
}

TEST_F(GuestStepsTest, AMachineOfAzureIsAtHomeThere) {
  Start(GuestLocation::kAzure);
  Start(GuestLocation::kAzure);
  EXPECT_TRUE(commands_->ran.empty());
  EXPECT_EQ(WayOf(GuestLocation::kAzure, GuestLocation::kVmware), GuestWay::kStay);
  EXPECT_EQ(WayOf(GuestLocation::kOther, GuestLocation::kAzure), GuestWay::kAway);
}

TEST_F(GuestStepsTest, AFailureIsToldAndTriedAgainLaterAndLater) {
  Start(GuestLocation::kVmware);
  answers_["ifup --all"] = ProgramResult{1, "No DHCPOFFERS received."};
  Start(GuestLocation::kAzure);
  for (int seconds : {10, 20, 40, 80, 160, 320, 640, 900, 900}) {
    ASSERT_EQ(guest_->issues().size(), 1u);
    EXPECT_TRUE(IsProblem(guest_->issues()[0].problem(), ProblemId::kGuestStepFailed));
    EXPECT_EQ(guest_->issues()[0].severity(), types::v1::WARNING);
    EXPECT_THAT(guest_->issues()[0].problem().message(),
                ::testing::HasSubstr("network: ifup --all ended with 1: No DHCPOFFERS received."));
    ASSERT_EQ(later_.callbacks.size(), 1u);
    EXPECT_EQ(later_.callbacks[0].first, absl::Seconds(seconds));
    std::exchange(later_.callbacks, {})[0].second();
  }
  commands_->answers.clear();
  std::exchange(later_.callbacks, {})[0].second();
  EXPECT_TRUE(guest_->issues().empty());
  EXPECT_TRUE(later_.callbacks.empty());
}

TEST_F(GuestStepsTest, ADamagedRecordChangesNothing) {
  const std::string at_home = machine_.Get(kInterfaces);
  machine_.Put("/state/guest", "HWG1 not this");
  Start(GuestLocation::kAzure);
  EXPECT_TRUE(commands_->ran.empty());
  EXPECT_EQ(machine_.Get(kInterfaces), at_home);
  ASSERT_EQ(guest_->issues().size(), 1u);
  EXPECT_THAT(guest_->issues()[0].problem().message(), ::testing::HasSubstr("/state/guest"));
}

TEST_F(GuestStepsTest, WhatWouldNotBootThereIsToldAtHomeOnly) {
  machine_.Put("/etc/fstab", "/dev/sda1 / ext4 defaults 0 1\n");
  Start(GuestLocation::kVmware);
  ASSERT_EQ(guest_->issues().size(), 1u);
  EXPECT_TRUE(IsProblem(guest_->issues()[0].problem(), ProblemId::kBootDependsOnDiskNames));
  Start(GuestLocation::kAzure);
  EXPECT_TRUE(guest_->issues().empty());
}

TEST(OwnRoot, DisksBelowWhatIsStacked) {
  const testing::MachineDirectory machine;
  machine.Put("/class/block/sda/sda2/partition", "2");
  machine.Put("/class/block/sda2/partition", "2");
  machine.Put("/class/block/sdb/size", "9");
  machine.Put("/class/block/dm-0/slaves/sda2", "");
  machine.Put("/class/block/dm-0/slaves/sdb", "");
  EXPECT_THAT(DisksBelow(machine.root(), "dm-0"), ::testing::ElementsAre("sda", "sdb"));
  EXPECT_THAT(DisksBelow(machine.root(), "sda2"), ::testing::ElementsAre("sda"));
  EXPECT_THAT(DisksBelow(machine.root(), "overlay"), ::testing::IsEmpty());
  EXPECT_NE(WhyNotOwnRoot({"/dev/null"}), "");
}

TEST(Commands, AUnitHasTheSameArguments) {
  EXPECT_EQ(absl::StrJoin(
                AsUnit({"/usr/bin/dpkg-query", "--showformat=${Package}"}, absl::Minutes(2)), " "),
            "systemd-run --wait --pipe --quiet --collect --property=KillMode=process "
            "--property=RuntimeMaxSec=120 -- /usr/bin/dpkg-query --showformat=$${Package}");
}

TEST(Commands, OutputEndAndLimit) {
  absl::Notification stopping;
  const auto commands = MachineCommands("", stopping);
  const absl::StatusOr<ProgramResult> ran =
      RunProgramForOutput({"/bin/sh", "-c", "echo out; echo err >&2; sleep 2 & exit 3"},
                          {.timeout = absl::Seconds(20), .output_bytes_max = 100});
  ASSERT_TRUE(ran.ok()) << ran.status();
  EXPECT_EQ(ran->exit_code, 3);
  EXPECT_EQ(ran->output, "out\nerr\n");
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      RunProgramForOutput({"/bin/sleep", "30"}, {.timeout = absl::Milliseconds(20)}).status()));
  EXPECT_TRUE(absl::IsNotFound(commands->Run({"no-such-program"}, absl::Seconds(1)).status()));
  stopping.Notify();
  EXPECT_TRUE(
      absl::IsCancelled(RunProgramForOutput({"/bin/sleep", "30"},
                                            {.timeout = absl::Seconds(20), .stopping = &stopping})
                            .status()));
}

}  // namespace
}  // namespace homeward
