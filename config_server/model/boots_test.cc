#include "config_server/model/boots.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/wire/time_proto.h"
#include "config_server/model/control_messages.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1700000000);

class BootsTest : public ::testing::Test {
 protected:
  // The agent registers at that time; its machine, and it, run since `up_for`.
  void Register(const std::string& boot, absl::Duration up_for, absl::Time now = kNow) {
    control::v1::Registration registration;
    registration.set_boot_id(boot);
    *registration.mutable_up_for() = ToProto(up_for);
    *registration.mutable_running_for() = ToProto(up_for - agent_began_);
    NoteBoot(registration, now, &machine_);
    *machine_.mutable_registration() = ToStorage(registration);
    *machine_.mutable_registered_at() = ToProto(now);
  }
  void PowerOnByJob(storage::v1::Location location, absl::Time when) {
    machine_.mutable_assignment()->mutable_placement()->set_location(location);
    *machine_.mutable_handed_back_at() = ToProto(when);
    machine_.clear_registered_at();
  }
  std::vector<absl::Duration> Took() const {
    std::vector<absl::Duration> took;
    for (const storage::v1::Boot& boot : machine_.boots()) took.push_back(TookOf(boot));
    return took;
  }

  storage::v1::Machine machine_;
  absl::Duration agent_began_ = absl::Seconds(5);  // after the machine
};

TEST_F(BootsTest, ABootIsNotedOnceHoweverOftenItsAgentRegisters) {
  Register("a", absl::Seconds(30));
  Register("a", absl::Minutes(30));
  EXPECT_THAT(Took(), ::testing::ElementsAre(absl::Seconds(30)));
  Register("b", absl::Seconds(40));
  EXPECT_THAT(Took(), ::testing::ElementsAre(absl::Seconds(30), absl::Seconds(40)));
  EXPECT_FALSE(machine_.boots(1).by_job());
}

TEST_F(BootsTest, AnAgentThatWasInstalledLaterSaysNothingOfItsBoot) {
  agent_began_ = absl::Hours(100);
  Register("a", absl::Hours(101));
  EXPECT_THAT(Took(), ::testing::IsEmpty());
  Register("a", absl::Hours(102));
  EXPECT_THAT(Took(), ::testing::IsEmpty()) << "nor when it comes again";
  agent_began_ = absl::Minutes(20);
  Register("b", absl::Minutes(21));
  EXPECT_THAT(Took(), ::testing::ElementsAre(absl::Minutes(21))) << "of a machine that is known";
}

TEST_F(BootsTest, WhereAJobPoweredItOnThatIsWhenItBegan) {
  Register("a", absl::Seconds(30));
  PowerOnByJob(storage::v1::ORIGINAL_VM, kNow);
  EXPECT_EQ(WaitsSince(machine_), kNow);
  Register("b", absl::Seconds(50), kNow + absl::Minutes(1));
  EXPECT_EQ(WaitsSince(machine_), absl::nullopt);
  ASSERT_EQ(machine_.boots_size(), 2);
  EXPECT_EQ(TookOf(machine_.boots(1)), absl::Minutes(1)) << "with what the firmware took";
  EXPECT_TRUE(machine_.boots(1).by_job());
}

TEST_F(BootsTest, WhereAnOperatorStartsItTheAgentSaysWhen) {
  Register("a", absl::Seconds(30));
  PowerOnByJob(storage::v1::DATASTORE_DIRECTORY, kNow);
  EXPECT_EQ(WaitsSince(machine_), absl::nullopt);
  Register("b", absl::Seconds(50), kNow + absl::Hours(9));
  ASSERT_EQ(machine_.boots_size(), 2);
  EXPECT_EQ(TookOf(machine_.boots(1)), absl::Seconds(50));
  EXPECT_FALSE(machine_.boots(1).by_job());
}

TEST_F(BootsTest, TheOldestOnesAreForgotten) {
  for (int i = 1; i <= kBootsKept + 3; ++i) Register(absl::StrCat("boot-", i), absl::Seconds(i));
  EXPECT_EQ(machine_.boots_size(), kBootsKept);
  EXPECT_EQ(TookOf(machine_.boots(0)), absl::Seconds(4));
}

TEST_F(BootsTest, AnOlderAgentsClockIsTakenAndOneThatIsAheadIsNot) {
  control::v1::Registration registration;
  registration.set_boot_id("a");
  *registration.mutable_running_for() = ToProto(absl::Seconds(1));
  *registration.mutable_booted_at() = ToProto(kNow - absl::Seconds(20));
  NoteBoot(registration, kNow, &machine_);
  registration.set_boot_id("b");
  *registration.mutable_booted_at() = ToProto(kNow + absl::Hours(1));
  NoteBoot(registration, kNow, &machine_);
  EXPECT_THAT(Took(), ::testing::ElementsAre(absl::Seconds(20), absl::ZeroDuration()));
}

TEST(BootsRankTest, IsTheShortestThatSoManyDoNotExceed) {
  std::vector<absl::Duration> hundred;
  for (int i = 1; i <= 100; ++i) hundred.push_back(absl::Seconds(i));
  EXPECT_EQ(RankOf(hundred, 0.5), absl::Seconds(50));
  EXPECT_EQ(RankOf(hundred, 0.99), absl::Seconds(99));
  EXPECT_EQ(RankOf(hundred, 1), absl::Seconds(100));
  EXPECT_EQ(RankOf({absl::Seconds(7)}, 0.5), absl::Seconds(7));
}

TEST(BootsHistogramTest, BeginsAndEndsWithWhatIsThere) {
  EXPECT_TRUE(HistogramOf({}).empty());
  const std::vector<BootBucket> buckets =
      HistogramOf({absl::Seconds(3), absl::Seconds(5), absl::Seconds(12)});
  ASSERT_EQ(buckets.size(), 3u);
  EXPECT_EQ(buckets[0].limit, absl::Seconds(5));
  EXPECT_EQ(buckets[0].count, 2u);
  EXPECT_EQ(buckets[1].count, 0u);
  EXPECT_EQ(buckets[2].limit, absl::Seconds(15));
  EXPECT_EQ(HistogramOf({absl::Hours(2)}).front().limit, absl::nullopt);
}

}  // namespace
}  // namespace homeward
