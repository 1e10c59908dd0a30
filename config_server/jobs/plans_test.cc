// Recovery plans and their runs, against components that do what is desired of them.
#include "config_server/jobs/plans.h"

#include "common/rpc/problem_status.h"
#include "common/wire/time_proto.h"
#include "config_server/jobs/script_runner.h"
#include "config_server/model/groups.h"
#include "config_server/model/plans.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/brain_fixture.h"

namespace homeward {
namespace {

using storage::v1::Job;
using storage::v1::RecoveryPlan;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Scripts that end when the test says so.
class ModelScripts : public ScriptRunner {
 public:
  void Begin(const std::string& key, const ScriptRun& run) override {
    started.push_back(run);
    runs_[key] = ends;
  }
  bool Knows(const std::string& key) const override { return runs_.count(key) != 0; }
  std::optional<ScriptEnd> EndOf(const std::string& key) const override { return runs_.at(key); }
  void Forget(const std::string& key) override { runs_.erase(key); }
  bool empty() const { return runs_.empty(); }
  void Die() { runs_.clear(); }

  std::vector<ScriptRun> started;
  std::optional<ScriptEnd> ends = ScriptEnd{absl::OkStatus(), "done"};

 private:
  std::map<std::string, std::optional<ScriptEnd>> runs_;
};

class PlansTest : public BrainFixture {
 protected:
  PlansTest() {
    scripts_ = &model_scripts_;
    StartBrain();
  }
  void Protect() {
    Obey();
    Run("protect");
    Obey();
  }
  static RecoveryPlan Plan() {
    RecoveryPlan plan;
    plan.set_name("shop");
    plan.set_point("latest");
    storage::v1::PlanGroup& group = *plan.add_groups();
    group.add_machines(kMachine);
    storage::v1::PlanScript& script = *group.add_before()->mutable_script();
    script.set_name("stop-web");
    *script.mutable_timeout() = ToProto(absl::Minutes(1));
    return plan;
  }
  Job Begin(const RecoveryPlan& plan) {
    EXPECT_TRUE(brain_->plans().Apply(plan).ok());
    const auto job = brain_->RunPlan("shop", {.operation = storage::v1::PLAN_FAILBACK});
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? *job : Job();
  }
  Job Answer(storage::v1::PlanAnswer answer) {
    const auto job = brain_->AnswerPlan("shop", answer);
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? *job : Job();
  }
  // The machine comes up at home as soon as its disks are handed over.
  Job FinishPlan(const std::string& id, bool kills = false) {
    for (int i = 0; i < 500; ++i) {
      if (kills && random_() % 2 == 0) {
        model_scripts_.Die();
        StartBrain();
      }
      if (Machine().state() == storage::v1::FAILED_BACK && boot_id_ == "boot-1") {
        brain_->fleet().Disconnect(kMachine, sessions_[kMachine]);
        sessions_.erase(kMachine);
        BootAtHome();
      }
      Obey();
      const Job job = *brain_->FindJob(id);
      if (job.state() != storage::v1::RUNNING) return job;
    }
    ADD_FAILURE() << brain_->FindJob(id)->ShortDebugString();
    return {};
  }

  ModelScripts model_scripts_;
};

TEST_F(PlansTest, AFailbackRunsScriptsAndMachinesInOrderAndWaitsUntilTheyAreUp) {
  Protect();
  const Job job = FinishPlan(Begin(Plan()).id());
  EXPECT_EQ(job.state(), storage::v1::SUCCEEDED) << job.ShortDebugString();
  ASSERT_THAT(model_scripts_.started, SizeIs(1));
  EXPECT_THAT(model_scripts_.started[0].environment, Contains("HOMEWARD_PLAN=shop"));
  EXPECT_THAT(model_scripts_.started[0].environment, Contains("HOMEWARD_ATTEMPT=1"));
  EXPECT_EQ(job.plan_run().steps(0).output(), "done");
  ASSERT_EQ(job.children_size(), 1);
  const Job child = *brain_->FindJob(job.children(0));
  EXPECT_EQ(child.parent(), job.id());
  EXPECT_EQ(child.point(), "latest");
  EXPECT_EQ(Machine().registration().boot_id(), "boot-at-home");
}

TEST_F(PlansTest, ARunGoesOnWhenTheServerIsKilledAtAnyStep) {
  Protect();
  const Job job = FinishPlan(Begin(Plan()).id(), /*kills=*/true);
  EXPECT_EQ(job.state(), storage::v1::SUCCEEDED) << job.ShortDebugString();
  EXPECT_EQ(job.children_size(), 1) << "no machine's job is begun twice";
}

TEST_F(PlansTest, AScriptThatRanWhenTheServerDiedIsStartedAgain) {
  Protect();
  model_scripts_.ends.reset();
  const Job job = Begin(Plan());
  Obey();
  ASSERT_THAT(model_scripts_.started, SizeIs(1));
  model_scripts_.Die();
  model_scripts_.ends = ScriptEnd{absl::OkStatus(), "again"};
  StartBrain();
  EXPECT_EQ(FinishPlan(job.id()).state(), storage::v1::SUCCEEDED);
  ASSERT_THAT(model_scripts_.started, SizeIs(2));
  EXPECT_THAT(model_scripts_.started[1].environment, Contains("HOMEWARD_ATTEMPT=2"));
}

TEST_F(PlansTest, AScriptThatFailsWaitsForAnOperatorWhoHasItTriedAgain) {
  Protect();
  model_scripts_.ends = ScriptEnd{absl::FailedPreconditionError("ended with 1"), "no"};
  const Job job = Begin(Plan());
  Obey();
  const Job waits = *brain_->FindJob(job.id());
  EXPECT_TRUE(waits.plan_run().steps(0).waits());
  EXPECT_EQ(waits.plan_run().steps(0).problem().id(), "PLAN_SCRIPT_FAILED");
  EXPECT_THAT(waits.children(), IsEmpty()) << "no machine is touched meanwhile";
  model_scripts_.ends = ScriptEnd{absl::OkStatus(), "done"};
  StartBrain();
  Obey();
  Answer(storage::v1::PLAN_RETRY);
  EXPECT_EQ(FinishPlan(job.id()).state(), storage::v1::SUCCEEDED);
}

TEST_F(PlansTest, AnOperatorGoesOnBehindAScriptThatFailedAndTheRunSaysSo) {
  Protect();
  model_scripts_.ends = ScriptEnd{absl::FailedPreconditionError("ended with 1"), "no"};
  const Job job = Begin(Plan());
  Obey();
  Answer(storage::v1::PLAN_CONTINUE);
  const Job ended = FinishPlan(job.id());
  EXPECT_EQ(ended.state(), storage::v1::FAILED);
  EXPECT_EQ(ended.problem().id(), "PLAN_SCRIPT_FAILED");
  EXPECT_EQ(Machine().state(), storage::v1::FAILED_BACK);
}

TEST_F(PlansTest, AnOperatorStopsARun) {
  Protect();
  model_scripts_.ends.reset();
  const Job job = Begin(Plan());
  Obey();
  Answer(storage::v1::PLAN_STOP);
  const Job ended = FinishPlan(job.id());
  EXPECT_EQ(ended.state(), storage::v1::CANCELLED);
  EXPECT_TRUE(model_scripts_.empty()) << "the script that ran is ended";
  EXPECT_EQ(ended.problem().id(), "JOB_CANCELLED");
  EXPECT_EQ(Machine().state(), storage::v1::PROTECTED);
}

TEST_F(PlansTest, APlanThatStopsAtAFailureEndsThere) {
  Protect();
  model_scripts_.ends = ScriptEnd{absl::FailedPreconditionError("ended with 1"), "no"};
  RecoveryPlan plan = Plan();
  plan.set_stops_at_failure(true);
  EXPECT_EQ(FinishPlan(Begin(plan).id()).state(), storage::v1::FAILED);
  EXPECT_EQ(Machine().state(), storage::v1::PROTECTED);
}

TEST_F(PlansTest, AManualActionWaitsUntilItIsDoneAlsoOverARestart) {
  Protect();
  RecoveryPlan plan = Plan();
  plan.mutable_groups(0)->mutable_before(0)->set_instruction("Turn the load balancer off");
  const Job job = Begin(plan);
  Obey();
  StartBrain();
  for (int i = 0; i < 5; ++i) Obey();
  EXPECT_THAT(brain_->FindJob(job.id())->children(), IsEmpty());
  EXPECT_EQ(IdOf(brain_->AnswerPlan("shop", storage::v1::PLAN_RETRY).status()), "PLAN_NOT_WAITING");
  Answer(storage::v1::PLAN_CONTINUE);
  EXPECT_EQ(FinishPlan(job.id()).state(), storage::v1::SUCCEEDED);
}

TEST_F(PlansTest, NoRunIsBegunWhileAMachineHasNoSuchPoint) {
  Protect();
  ASSERT_TRUE(brain_->plans().Apply(Plan()).ok());
  const auto job = brain_->RunPlan(
      "shop", {.operation = storage::v1::PLAN_FAILBACK, .point = "latest-app-consistent"});
  EXPECT_EQ(IdOf(job.status()), "NO_RECOVERY_POINT");
  EXPECT_THAT(ProblemOf(job.status())->message(), HasSubstr(Machine().registration().name()));
  EXPECT_EQ(Machine().state(), storage::v1::PROTECTED);
}

TEST_F(PlansTest, APlanRunsOnceAtATime) {
  Protect();
  model_scripts_.ends.reset();
  Begin(Plan());
  EXPECT_EQ(IdOf(brain_->RunPlan("shop", {.operation = storage::v1::PLAN_FAILBACK}).status()),
            "PLAN_RUNNING");
  EXPECT_EQ(IdOf(brain_->plans().Delete("shop").status()), "PLAN_RUNNING");
}

TEST_F(PlansTest, AScriptIsNoPath) {
  RecoveryPlan plan = Plan();
  for (const char* const name : {"/bin/sh", "../sh", "a/b", "", ".hidden"}) {
    plan.mutable_groups(0)->mutable_before(0)->mutable_script()->set_name(name);
    EXPECT_THAT(brain_->plans().Apply(plan).status().message(), HasSubstr("group 1")) << name;
  }
}

}  // namespace
}  // namespace homeward
