#include "mobility_agent/host/group_member.h"

#include <thread>

#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

using control::v1::CommonPoint;
using enum control::v1::CommonPointStep;

class GroupMemberTest : public ::testing::Test {
 protected:
  void Want(const std::string& id, control::v1::CommonPointStep step) {
    CommonPoint wanted;
    wanted.set_point_id(id);
    wanted.set_kind(types::v1::APP_CONSISTENT);
    wanted.set_step(step);
    member_.Want(&wanted);
  }
  // Begins one.
  void Begin(const std::string& id) {
    Want(id, PREPARE);
    const GroupMember::Due due = member_.Next();
    ASSERT_TRUE(due.begin.has_value());
    EXPECT_EQ(due.begin->id, id);
    EXPECT_EQ(due.begin->kind, PointKind::kApplicationConsistent);
    EXPECT_FALSE(member_.Next().begin.has_value()) << "once";
  }
  int reached() const { return member_.observed().reached(); }

  absl::Notification held_;
  std::function<void()> on_news_ = [] {};
  GroupMember member_{absl::Seconds(60), [this] { on_news_(); }};
};

TEST_F(GroupMemberTest, GoesStepByStepWithTheOthers) {
  Begin("common-1");
  EXPECT_FALSE(member_.MayHold());
  EXPECT_EQ(reached(), PREPARE);
  Want("common-1", HOLD);
  EXPECT_TRUE(member_.MayHold());
  // What the server says comes in while it stands still.
  on_news_ = [this] {
    if (!held_.HasBeenNotified()) held_.Notify();
  };
  std::thread server([this] {
    held_.WaitForNotification();
    EXPECT_EQ(reached(), HOLD);
    Want("common-1", TAKE);
  });
  EXPECT_TRUE(member_.AwaitAll());
  server.join();
  member_.OnTaken();
  EXPECT_EQ(reached(), TAKE);
  EXPECT_TRUE(member_.observed().missed().empty());
}

TEST_F(GroupMemberTest, WaitsNoLongerThanItMay) {
  GroupMember impatient{absl::Milliseconds(1), [] {}};
  CommonPoint wanted;
  wanted.set_point_id("common-1");
  wanted.set_step(PREPARE);
  impatient.Want(&wanted);
  ASSERT_TRUE(impatient.Next().begin.has_value());
  wanted.set_step(HOLD);
  impatient.Want(&wanted);
  EXPECT_FALSE(impatient.AwaitAll());
  impatient.OnMissed("too late");
  EXPECT_EQ(impatient.observed().missed(), "too late");
}

TEST_F(GroupMemberTest, OneThatIsGivenUpIsCancelledBeforeAnotherBegins) {
  Begin("common-1");
  Want("common-2", PREPARE);
  GroupMember::Due due = member_.Next();
  EXPECT_TRUE(due.cancel);
  EXPECT_FALSE(due.begin.has_value());
  member_.OnMissed("it was given up");
  EXPECT_TRUE(member_.observed().point_id().empty()) << "nobody asks for that one any more";
  due = member_.Next();
  EXPECT_FALSE(due.cancel);
  ASSERT_TRUE(due.begin.has_value());
  EXPECT_EQ(due.begin->id, "common-2");
  member_.Want(nullptr);
  EXPECT_FALSE(member_.AwaitAll());
  EXPECT_TRUE(member_.Next().cancel);
}

TEST_F(GroupMemberTest, OneThatTheOthersBeganWithoutItIsNotBegun) {
  Want("common-1", HOLD);
  EXPECT_FALSE(member_.Next().begin.has_value());
  EXPECT_FALSE(member_.MayHold());
  EXPECT_TRUE(member_.observed().point_id().empty());
}

}  // namespace
}  // namespace homeward
