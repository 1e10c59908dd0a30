// Which point each machine of a recovery plan goes to, and what keeps a plan from being run.
#include "config_server/model/plans.h"

#include "config_server/fleet/fleet.h"
#include "config_server/store/records.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/manual_clock.h"

namespace homeward {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using types::v1::APP_CONSISTENT;
using types::v1::CRASH_CONSISTENT;

constexpr char kReceiver[] = "receiver", kLatest[] = "latest",
               kLatestApp[] = "latest-app-consistent";

// Machines a and b are in group db, c is alone; all are in one plan.
class PlanRulesTest : public ::testing::Test {
 protected:
  PlanRulesTest() : records_(clock_, *Store::Open("")), fleet_(clock_, absl::Minutes(15)) {
    Store::Transaction transaction;
    storage::v1::Server server;
    server.set_host_id(kReceiver);
    server.set_role(types::v1::MASTER_TARGET);
    transaction.Put(kReceiver, server);
    session_ = fleet_.Connect(kReceiver, {.send = [](const auto&) {}, .end = [](const auto&) {}});
    for (const char* const id : {"a", "b", "c"}) {
      storage::v1::Machine machine;
      machine.set_machine_id(id);
      machine.set_state(storage::v1::PROTECTED);
      machine.set_generation(3);
      machine.mutable_registration()->set_name(absl::StrCat("vm-", id));
      machine.mutable_registration()->set_os_type(types::v1::LINUX);
      machine.mutable_assignment()->set_replica_id(absl::StrCat(id, "-1"));
      machine.mutable_assignment()->mutable_placement()->set_master_target_id(kReceiver);
      machine.mutable_assignment()->mutable_placement()->set_location(
          storage::v1::DATASTORE_DIRECTORY);
      if (*id != 'c') machine.set_replication_group("db");
      transaction.Put(id, machine);
    }
    records_.Commit(transaction);
    plan_.set_name("shop");
    plan_.set_point(kLatest);
    plan_.add_groups()->add_machines("a");
    plan_.mutable_groups(0)->add_machines("b");
    plan_.add_groups()->add_machines("c");
  }
  struct Point {
    std::string id;
    types::v1::PointKind kind;
  };
  void Observe(const std::map<std::string, std::vector<Point>>& points) {
    control::v1::Heartbeat heartbeat;
    for (const auto& [id, of_it] : points) {
      control::v1::ReplicaObserved& replica = *heartbeat.mutable_master_target()->add_replicas();
      replica.set_machine_id(id);
      replica.set_replica_id(absl::StrCat(id, "-1"));
      replica.set_generation(3);
      replica.set_held_generation(3);
      for (const Point& point : of_it) {
        types::v1::RecoveryPoint& out = *replica.add_points();
        out.set_id(point.id);
        out.set_kind(point.kind);
        out.set_consistency(types::v1::FROZEN);
      }
    }
    fleet_.Hear(kReceiver, session_, heartbeat);
  }
  View MakeView() {
    return {fleet_.state(), clock_, settings_, records_.servers(), records_.machines(), {}};
  }

  ManualClock clock_;
  Settings settings_;
  Records records_;
  Fleet fleet_;
  uint64_t session_ = 0;
  storage::v1::RecoveryPlan plan_;
};

TEST_F(PlanRulesTest, LatestIsEachMachinesOwnAlsoInAGroup) {
  Observe({{"a", {{"common-1", CRASH_CONSISTENT}, {"a-2", CRASH_CONSISTENT}}},
           {"b", {{"common-1", CRASH_CONSISTENT}}},
           {"c", {{"c-1", CRASH_CONSISTENT}}}});
  const PlanPoints chosen = ChoosePlanPoints(MakeView(), plan_, kLatest);
  EXPECT_THAT(chosen.refusals, IsEmpty());
  EXPECT_THAT(chosen.points,
              ElementsAre(Pair("a", kLatest), Pair("b", kLatest), Pair("c", kLatest)));
}

TEST_F(PlanRulesTest, LatestAppConsistentOfAGroupIsTheLatestThatAllItsMembersHave) {
  Observe(
      {{"a",
        {{"common-1", APP_CONSISTENT}, {"common-2", APP_CONSISTENT}, {"common-3", APP_CONSISTENT}}},
       {"b",
        {{"common-1", APP_CONSISTENT},
         {"common-2", APP_CONSISTENT},
         {"common-3", CRASH_CONSISTENT},
         {"b-4", APP_CONSISTENT}}},
       {"c", {{"c-1", APP_CONSISTENT}}}});
  const PlanPoints chosen = ChoosePlanPoints(MakeView(), plan_, kLatestApp);
  EXPECT_THAT(chosen.refusals, IsEmpty());
  EXPECT_THAT(chosen.points,
              ElementsAre(Pair("a", "common-2"), Pair("b", "common-2"), Pair("c", kLatestApp)));
}

TEST_F(PlanRulesTest, EveryMachineWithoutSuchAPointIsNamed) {
  Observe({{"a", {{"common-1", APP_CONSISTENT}}},
           {"b", {{"b-1", APP_CONSISTENT}}},
           {"c", {{"c-1", CRASH_CONSISTENT}}}});
  const PlanPoints chosen = ChoosePlanPoints(MakeView(), plan_, kLatestApp);
  ASSERT_THAT(chosen.refusals, SizeIs(3));
  const types::v1::Problem all = Joined(chosen.refusals);
  EXPECT_EQ(all.id(), "NO_RECOVERY_POINT");
  for (const char* const name : {"vm-a", "vm-b", "vm-c"})
    EXPECT_THAT(all.message(), HasSubstr(name));
}

TEST_F(PlanRulesTest, AMachineWithoutAnyPointIsRefusedOnce) {
  Observe({{"a", {{"a-1", CRASH_CONSISTENT}}}, {"b", {{"b-1", CRASH_CONSISTENT}}}, {"c", {}}});
  const auto refusals = CheckPlanMachines(MakeView(), plan_, storage::v1::PLAN_FAILBACK);
  ASSERT_THAT(refusals, SizeIs(1));
  EXPECT_EQ(refusals[0].id(), "NO_RECOVERY_POINT");
  EXPECT_THAT(refusals[0].message(), HasSubstr("vm-c"));
  EXPECT_THAT(ChoosePlanPoints(MakeView(), plan_, kLatest).refusals, IsEmpty());
}

TEST_F(PlanRulesTest, AGroupIsReprotectedWithAllItsMembers) {
  plan_.mutable_groups(0)->mutable_machines()->RemoveLast();
  const PlanPlacements placed = PlacePlan(MakeView(), plan_, {});
  bool told = false;
  for (const types::v1::Problem& problem : placed.refusals)
    told = told || (problem.id() == "PLAN_LACKS_MEMBER" && problem.message().find("vm-b") == 0);
  EXPECT_TRUE(told);
}

TEST_F(PlanRulesTest, GroupsAreDoneInOrderWithWhatIsBeforeAndAfter) {
  plan_.mutable_groups(0)->add_before()->mutable_script()->set_name("stop");
  plan_.mutable_groups(0)->add_after()->set_instruction("look");
  std::vector<std::string> names;
  for (const auto& step : StepsOf(plan_, storage::v1::PLAN_FAILBACK))
    names.push_back(StepName(plan_, step, storage::v1::PLAN_FAILBACK));
  EXPECT_THAT(names, ElementsAre("group 1: script stop", "group 1: failback of 2 machines",
                                 "group 1: by hand: look", "group 2: failback of 1 machine"));
  EXPECT_THAT(StepsOf(plan_, storage::v1::PLAN_COMMIT), SizeIs(2)) << "actions are a failback's";
}

}  // namespace
}  // namespace homeward
