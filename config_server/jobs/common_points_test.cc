// Replication groups and their common points, against members that do what is desired of them.
#include "config_server/jobs/common_points.h"

#include "common/base/limits.h"
#include "common/rpc/problem_status.h"
#include "common/wire/time_proto.h"
#include "config_server/fleet/fleet.h"
#include "config_server/model/groups.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/manual_clock.h"

namespace homeward {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using enum control::v1::CommonPointStep;

constexpr char kGroup[] = "shop";
constexpr char kReceiver[] = "receiver", kOtherReceiver[] = "receiver-2";

class CommonPointsTest : public ::testing::Test {
 protected:
  CommonPointsTest() : records_(clock_, *Store::Open("")), fleet_(clock_, absl::Minutes(15)) {
    Store::Transaction transaction;
    for (const char* const id : {kReceiver, kOtherReceiver}) {
      storage::v1::Server server;
      server.set_host_id(id);
      server.set_role(types::v1::MASTER_TARGET);
      server.mutable_registration()->set_name(id);
      transaction.Put(id, server);
      sessions_[id] = fleet_.Connect(id, {.send = [](const auto&) {}, .end = [](const auto&) {}});
    }
    records_.Commit(transaction);
    for (const char* const id : {"a", "b", "c"}) AddMachine(id);
  }

  void Put(const storage::v1::Machine& machine) {
    Store::Transaction transaction;
    transaction.Put(machine.machine_id(), machine);
    records_.Commit(transaction);
  }
  void AddMachine(const std::string& id) {
    storage::v1::Machine machine;
    machine.set_machine_id(id);
    machine.set_state(storage::v1::PROTECTED);
    machine.set_generation(3);
    machine.mutable_registration()->set_name("vm-" + id);
    machine.mutable_registration()->set_os_type(types::v1::LINUX);
    machine.mutable_assignment()->set_replica_id(id + "-1");
    machine.mutable_assignment()->mutable_placement()->set_master_target_id(kReceiver);
    Put(machine);
    Connect(id);
  }
  void Connect(const std::string& id) {
    sessions_[id] = fleet_.Connect(id, {.send = [](const auto&) {}, .end = [](const auto&) {}});
    Report(id);
  }
  // What the member says now.
  void Report(const std::string& id) {
    control::v1::Heartbeat heartbeat;
    control::v1::AgentObserved& seen = *heartbeat.mutable_agent();
    seen.set_generation(3);
    seen.set_replica_id(id + "-1");
    seen.set_streaming(true);
    *seen.mutable_common_point() = reached_[id];
    fleet_.Hear(id, sessions_[id], heartbeat);
  }
  // It has come as far as it was asked to.
  void Reach(const std::string& id) {
    const control::v1::CommonPoint* const wanted = Wanted(id);
    ASSERT_NE(wanted, nullptr) << id;
    reached_[id].set_point_id(wanted->point_id());
    reached_[id].set_reached(wanted->step());
    Report(id);
  }
  void Miss(const std::string& id, const std::string& why) {
    reached_[id].set_point_id(Wanted(id)->point_id());
    reached_[id].set_missed(why);
    Report(id);
  }
  const control::v1::CommonPoint* Wanted(const std::string& id) { return points_->WantedOf(id); }
  View MakeView() {
    return {fleet_.state(), clock_, settings_, records_.servers(), records_.machines(), {}};
  }
  absl::Status Make(const std::vector<std::string>& members, absl::Duration interval,
                    absl::Duration app_interval = absl::ZeroDuration()) {
    Groups::Wish wish;
    wish.group.set_name(kGroup);
    *wish.group.mutable_point_interval() = ToProto(interval);
    *wish.group.mutable_app_point_interval() = ToProto(app_interval);
    wish.machine_ids = members;
    return groups_.Create(MakeView(), wish).status();
  }
  std::set<std::string> Step(absl::Duration later = absl::Milliseconds(100)) {
    clock_.now += later;
    return points_->Step();
  }
  std::string Missed() {
    std::string all;
    for (const auto& [id, why] : points_->LastOf(kGroup)->missed) absl::StrAppend(&all, id, why);
    return all;
  }
  int Told() {
    int count = 0;
    for (const auto& event : records_.store().All<storage::v1::Event>())
      count += event.name() == "group.point_missed";
    return count;
  }
  static std::string IdOf(const absl::Status& status) {
    const auto problem = ProblemOf(status);
    return problem.has_value() ? problem->id() : status.ToString();
  }
  // What the members' replicas have.
  void ObservePoints(const std::map<std::string, std::vector<types::v1::RecoveryPoint>>& points) {
    control::v1::Heartbeat heartbeat;
    for (const auto& [id, of_it] : points) {
      control::v1::ReplicaObserved& replica = *heartbeat.mutable_master_target()->add_replicas();
      replica.set_machine_id(id);
      replica.set_replica_id(id + "-1");
      replica.set_generation(3);
      for (const types::v1::RecoveryPoint& point : of_it) *replica.add_points() = point;
    }
    fleet_.Hear(kReceiver, sessions_[kReceiver], heartbeat);
  }
  static types::v1::RecoveryPoint Point(const std::string& id,
                                        types::v1::PointKind kind = types::v1::CRASH_CONSISTENT) {
    types::v1::RecoveryPoint point;
    point.set_id(id);
    point.set_kind(kind);
    point.set_consistency(types::v1::FROZEN);
    return point;
  }

  ManualClock clock_;
  Settings settings_;
  Records records_;
  Fleet fleet_;
  Policies policies_{clock_, kRpoThresholdDefault, &records_};
  Groups groups_{clock_, &records_, &policies_};
  std::unique_ptr<CommonPoints> points_ =
      std::make_unique<CommonPoints>(clock_, &records_, &groups_, [this] { return MakeView(); });
  std::map<std::string, uint64_t> sessions_;
  std::map<std::string, control::v1::CommonPointObserved> reached_;
};

TEST_F(CommonPointsTest, AllAreAskedForTheNextStepOnceAllHaveReachedTheLast) {
  EXPECT_THAT(Step(), IsEmpty());
  ASSERT_TRUE(Make({"a", "b"}, absl::Minutes(1)).ok());
  EXPECT_THAT(Step(), ElementsAre("a", "b"));
  const std::string id = Wanted("a")->point_id();
  EXPECT_EQ(Wanted("c"), nullptr);
  EXPECT_EQ(Wanted("a")->kind(), types::v1::CRASH_CONSISTENT);
  for (const auto step : {PREPARE, HOLD, TAKE}) {
    EXPECT_EQ(Wanted("a")->step(), step);
    EXPECT_EQ(Wanted("b")->point_id(), id);
    Reach("a");
    EXPECT_THAT(Step(), IsEmpty()) << "the other one is not so far";
    Reach("b");
    EXPECT_THAT(Step(), ElementsAre("a", "b"));
  }
  EXPECT_EQ(Wanted("a"), nullptr);
  EXPECT_TRUE(points_->LastOf(kGroup)->ended);
  EXPECT_THAT(Missed(), IsEmpty());
  EXPECT_THAT(Step(absl::Seconds(58)), IsEmpty()) << "the next one is not due";
  EXPECT_THAT(Step(absl::Seconds(2)), ElementsAre("a", "b"));
  EXPECT_NE(Wanted("a")->point_id(), id);
}

TEST_F(CommonPointsTest, OneThatAMemberMissesEndsForAllAndIsTriedAgainSoon) {
  ASSERT_TRUE(Make({"a", "b"}, absl::Minutes(5)).ok());
  Step();
  Reach("a");
  Reach("b");
  Step();
  Reach("a");
  Miss("b", "/srv does not stand still");
  EXPECT_THAT(Step(), ElementsAre("a", "b"));
  EXPECT_EQ(Wanted("a"), nullptr) << "nobody stands still any more";
  EXPECT_EQ(Missed(), "b/srv does not stand still");
  EXPECT_EQ(Told(), 1);
  EXPECT_THAT(Step(absl::Seconds(31)), ElementsAre("a", "b"));
  Miss("b", "/srv does not stand still");
  Step();
  EXPECT_EQ(Told(), 1) << "that was said";
}

TEST_F(CommonPointsTest, NobodyWaitsForOneThatSaysNothing) {
  ASSERT_TRUE(Make({"a", "b"}, absl::Minutes(5)).ok());
  Step();
  Reach("a");
  EXPECT_THAT(Step(kCommonPointPrepareMax - absl::Seconds(1)), IsEmpty());
  EXPECT_THAT(Step(absl::Seconds(2)), ElementsAre("a", "b"));
  EXPECT_THAT(Missed(), HasSubstr("b"));
  EXPECT_THAT(Missed(), HasSubstr("in time"));
  EXPECT_THAT(Step(absl::Seconds(29)), IsEmpty()) << "the next one is not at its heels";
  EXPECT_THAT(Step(absl::Seconds(2)), ElementsAre("a", "b"));
  EXPECT_THAT(Missed(), IsEmpty());
  EXPECT_THAT(points_->LastEndedOf(kGroup)->missed, ::testing::SizeIs(1));
}

TEST_F(CommonPointsTest, WhatWasAskedForIsNotTriedAgainUnasked) {
  ASSERT_TRUE(Make({"a"}, absl::ZeroDuration()).ok());
  EXPECT_THAT(Step(absl::Minutes(10)), IsEmpty());
  ASSERT_TRUE(points_->Begin(kGroup, types::v1::CRASH_CONSISTENT).ok());
  EXPECT_THAT(Step(), ElementsAre("a"));
  Miss("a", "/srv does not stand still");
  EXPECT_THAT(Step(), ElementsAre("a"));
  EXPECT_THAT(Step(absl::Minutes(10)), IsEmpty());
}

TEST_F(CommonPointsTest, WhatAllWereToldToTakeIsHeardToItsEnd) {
  ASSERT_TRUE(Make({"a", "b"}, absl::Minutes(5)).ok());
  Step();
  for (int step = 0; step < 2; ++step) {
    Reach("a");
    Reach("b");
    Step();
  }
  ASSERT_EQ(Wanted("a")->step(), TAKE);
  Miss("b", "not all members stood still in time");
  EXPECT_THAT(Step(), IsEmpty()) << "the other one may be taking it";
  Reach("a");
  Step();
  EXPECT_TRUE(points_->LastOf(kGroup)->ended);
}

TEST_F(CommonPointsTest, WhoCannotTakePartIsFoundBeforeAnybodyIsAsked) {
  ASSERT_TRUE(Make({"a", "b"}, absl::Minutes(5)).ok());
  storage::v1::Machine machine = *records_.FindMachine("b");
  machine.set_state(storage::v1::FAILED_BACK);
  Put(machine);
  EXPECT_THAT(Step(), IsEmpty());
  EXPECT_THAT(Missed(), HasSubstr("UnplannedFailoverCommitPending"));
  const absl::Status asked = points_->Begin(kGroup, types::v1::CRASH_CONSISTENT).status();
  EXPECT_EQ(IdOf(asked), "COMMON_POINT_MISSED");
  EXPECT_THAT(ProblemOf(asked)->message(), HasSubstr("vm-b"));
  machine.set_state(storage::v1::PROTECTED);
  Put(machine);
  EXPECT_THAT(Step(absl::Seconds(31)), ElementsAre("a", "b"));
  fleet_.Disconnect("b", sessions_["b"]);
  Step();
  EXPECT_THAT(Missed(), HasSubstr("not connected"));
}

TEST_F(CommonPointsTest, AServerThatStartsAgainKnowsOfNoneAndRepeatsNoId) {
  ASSERT_TRUE(Make({"a", "b"}, absl::Minutes(5)).ok());
  Step();
  const std::string id = Wanted("a")->point_id();
  Reach("a");
  Reach("b");
  points_ =
      std::make_unique<CommonPoints>(clock_, &records_, &groups_, [this] { return MakeView(); });
  EXPECT_EQ(Wanted("a"), nullptr);
  Step();
  EXPECT_NE(Wanted("a")->point_id(), id);
  EXPECT_EQ(Wanted("a")->step(), PREPARE) << "what was reached of another one says nothing";
}

TEST_F(CommonPointsTest, ApplicationConsistentOnesHaveAnIntervalOfTheirOwn) {
  ASSERT_TRUE(Make({"a"}, absl::Minutes(1), absl::Minutes(3)).ok());
  std::string kinds;
  for (int i = 0; i < 6; ++i) {
    Step();
    ASSERT_NE(Wanted("a"), nullptr);
    kinds += Wanted("a")->kind() == types::v1::APP_CONSISTENT ? 'a' : 'c';
    for (int step = 0; step < 3; ++step) {
      Reach("a");
      Step();
    }
    clock_.now += absl::Minutes(1);
  }
  EXPECT_EQ(kinds, "accacc");
}

TEST_F(CommonPointsTest, GroupsComeAndGoAndChange) {
  EXPECT_EQ(IdOf(points_->Begin(kGroup, types::v1::CRASH_CONSISTENT).status()), "GROUP_UNKNOWN");
  ASSERT_TRUE(Make({"a", "b"}, absl::Minutes(1)).ok());
  EXPECT_EQ(IdOf(Make({}, absl::Minutes(1))), "GROUP_EXISTS");
  Step();
  Groups::Wish wish;
  wish.group.set_name(kGroup);
  wish.machine_ids = {"a", "c"};
  ASSERT_TRUE(groups_.Change(MakeView(), wish).ok());
  Step();
  EXPECT_THAT(Missed(), HasSubstr("no member any more"));
  Step(absl::Minutes(1));
  EXPECT_NE(Wanted("c"), nullptr);
  EXPECT_EQ(Wanted("b"), nullptr);
  ASSERT_TRUE(groups_.Delete(MakeView(), kGroup).ok());
  EXPECT_THAT(Step(), ElementsAre("a", "c"));
  EXPECT_EQ(Wanted("a"), nullptr);
  EXPECT_EQ(records_.FindMachine("a")->replication_group(), "");
  EXPECT_EQ(IdOf(groups_.Delete(MakeView(), kGroup).status()), "GROUP_UNKNOWN");
}

TEST_F(CommonPointsTest, MembersAreOfOneSystemAndOneMasterTargetAndInOneGroup) {
  storage::v1::Machine machine = *records_.FindMachine("b");
  machine.mutable_registration()->set_os_type(types::v1::WINDOWS);
  Put(machine);
  EXPECT_EQ(IdOf(Make({"a", "b"}, absl::Minutes(1))), "MIXED_OS_GROUP");
  machine.mutable_registration()->set_os_type(types::v1::LINUX);
  machine.mutable_assignment()->mutable_placement()->set_master_target_id(kOtherReceiver);
  Put(machine);
  EXPECT_EQ(IdOf(Make({"a", "b"}, absl::Minutes(1))), "GROUP_MASTER_TARGET");
  EXPECT_EQ(IdOf(Make({"a"}, absl::Seconds(4))), "GROUP_INTERVAL_UNSUITABLE");
  EXPECT_TRUE(absl::IsNotFound(groups_.Find(kGroup).status())) << "nothing of it was kept";
  ASSERT_TRUE(Make({"a"}, absl::Minutes(1)).ok());
  Groups::Wish other;
  other.group.set_name("other");
  other.machine_ids = {"a"};
  EXPECT_EQ(IdOf(groups_.Create(MakeView(), other).status()), "MACHINE_IN_ANOTHER_GROUP");
  other.group.set_name("two words");
  EXPECT_TRUE(absl::IsInvalidArgument(groups_.Create(MakeView(), other).status()));
}

TEST_F(CommonPointsTest, WhatIsCommonIsWhatAllHave) {
  ASSERT_TRUE(Make({"a", "b"}, absl::Minutes(1)).ok());
  types::v1::RecoveryPoint torn = Point("common-4");
  torn.set_consistency(types::v1::NOT_ONE_INSTANT);
  ObservePoints(
      {{"a",
        {Point("7-1"), Point("common-1", types::v1::APP_CONSISTENT),
         Point("common-2", types::v1::APP_CONSISTENT), Point("common-3"), Point("common-4")}},
       {"b",
        {Point("7-1"), Point("common-1", types::v1::APP_CONSISTENT), Point("common-2"), torn}}});
  std::vector<std::string> common;
  const View view = MakeView();
  for (const auto& point : CommonPointsOf(view, MembersOf(view, kGroup)))
    common.push_back(absl::StrCat(point.id(), " ", types::v1::PointKind_Name(point.kind())));
  EXPECT_THAT(common, ElementsAre("common-1 APP_CONSISTENT", "common-2 CRASH_CONSISTENT"));
  ObservePoints({{"a", {Point("common-1")}}});
  EXPECT_THAT(CommonPointsOf(view, MembersOf(view, kGroup)), IsEmpty()) << "b has no replica";
}

}  // namespace
}  // namespace homeward
