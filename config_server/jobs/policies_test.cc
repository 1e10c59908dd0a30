#include "config_server/jobs/policies.h"

#include "common/base/bytes.h"
#include "tests/fakes/brain_fixture.h"

namespace homeward {
namespace {

using storage::v1::Policy;

Policy Every(absl::Duration interval) {
  Policy policy;
  *policy.mutable_point_interval() = ToProto(interval);
  return policy;
}
Policy KeptFor(absl::Duration age) {
  Policy policy;
  *policy.mutable_retention_age() = ToProto(age);
  return policy;
}

class PoliciesTest : public BrainFixture {
 protected:
  void Protect() {
    Obey();
    Obey();
    Run("protect");
    Obey();
  }
  Policies& Named() { return brain_->policies(); }
  const control::v1::Protection& Agent() { return desired_[kMachine].agent().protection(); }
  control::v1::Replica Receiver() { return desired_[kTarget].master_target().replicas(0); }
  std::string Health() {
    std::string ids;
    for (const types::v1::HealthIssue& issue : JudgeMachine(brain_->MakeView(), Machine()))
      absl::StrAppend(&ids, issue.problem().id(), ": ", issue.problem().message(), "\n");
    return ids;
  }
};

TEST_F(PoliciesTest, FailbackIsThereFromTheBeginningAndWhenTheServerStartsAgain) {
  ASSERT_EQ(Named().All().size(), 1u);
  EXPECT_EQ(Named().All().front().name(), "failback");
  ASSERT_TRUE(Named().Change("failback", Every(absl::Minutes(1))).ok());
  const uint64_t revision = brain_->store().revision();
  StartBrain();
  EXPECT_EQ(brain_->store().revision(), revision) << "a start changes nothing";
  EXPECT_EQ(FromProto(Named().Find("failback")->policy().point_interval()), absl::Minutes(1));
  EXPECT_EQ(IdOf(Named().Delete("failback").status()), "POLICY_BUILT_IN");
}

TEST_F(PoliciesTest, AChangeIsTheReplicationsWithoutASynchronisation) {
  Protect();
  EXPECT_EQ(FromProto(Agent().point_interval()), absl::Minutes(5));
  const control::v1::Protection before = Agent();
  Policy said = Every(absl::Seconds(5));
  *said.mutable_app_point_interval() = ToProto(absl::Minutes(1));
  *said.mutable_retention_age() = ToProto(absl::Hours(1));
  said.set_retention_bytes(kGiB);
  ASSERT_TRUE(Named().Change("failback", said).ok());
  brain_->Step();
  EXPECT_EQ(FromProto(Agent().point_interval()), absl::Seconds(5));
  EXPECT_EQ(FromProto(Agent().app_point_interval()), absl::Minutes(1));
  EXPECT_EQ(FromProto(Receiver().retention_age()), absl::Hours(1));
  EXPECT_EQ(Receiver().retention_bytes(), kGiB);
  control::v1::Protection after = Agent();
  *after.mutable_point_interval() = before.point_interval();
  *after.mutable_app_point_interval() = before.app_point_interval();
  EXPECT_EQ(after.SerializeAsString(), before.SerializeAsString()) << "and nothing else";
  // The same again changes nothing more.
  const uint64_t revision = brain_->store().revision();
  ASSERT_TRUE(Named().Change("failback", said).ok());
  EXPECT_EQ(brain_->store().revision(), revision);
}

TEST_F(PoliciesTest, AServerThatDiesRightAfterAChangeHasAllOfIt) {
  Protect();
  ASSERT_TRUE(Named().Change("failback", Every(absl::Seconds(7))).ok());
  StartBrain();
  Obey();
  Obey();
  EXPECT_EQ(FromProto(Agent().point_interval()), absl::Seconds(7));
  EXPECT_EQ(FromProto(Machine().assignment().policy().point_interval()), absl::Seconds(7));
}

TEST_F(PoliciesTest, WhatIsSaidForOneMachineAloneStays) {
  own_policy_ = Every(absl::Seconds(2));
  Protect();
  EXPECT_EQ(FromProto(Agent().point_interval()), absl::Seconds(2));
  Policy said = Every(absl::Minutes(1));
  *said.mutable_retention_age() = ToProto(absl::Hours(2));
  ASSERT_TRUE(Named().Change("failback", said).ok());
  brain_->Step();
  EXPECT_EQ(FromProto(Agent().point_interval()), absl::Seconds(2));
  EXPECT_EQ(FromProto(Receiver().retention_age()), absl::Hours(2)) << "the rest follows";
  // What would make its own impossible is refused, and changes nothing.
  ASSERT_TRUE(Named().Assign(Machine(), "failback", Every(absl::Hours(1))).ok());
  const absl::Status shorter = Named().Change("failback", KeptFor(absl::Minutes(30))).status();
  EXPECT_EQ(IdOf(shorter), "POLICY_RETENTION_UNSUITABLE");
  EXPECT_NE(shorter.message().find("has settings of its own"), std::string::npos) << shorter;
  EXPECT_EQ(FromProto(Named().Find("failback")->policy().retention_age()), absl::Hours(2));
}

TEST_F(PoliciesTest, AMachineFollowsAnotherOneAtOnceAndWhenItIsProtectedAgain) {
  ASSERT_TRUE(Named().Create("gold", Every(absl::Seconds(10))).ok());
  own_policy_ = Every(absl::Seconds(2));
  Protect();
  own_policy_.Clear();
  ASSERT_TRUE(Named().Assign(Machine(), "gold", {}).ok());
  brain_->Step();
  EXPECT_EQ(FromProto(Agent().point_interval()), absl::Seconds(10)) << "nothing is its own now";
  EXPECT_EQ(IdOf(Named().Delete("gold").status()), "POLICY_IN_USE");
  Run("remove");
  EXPECT_EQ(IdOf(Named().Assign(Machine(), "gold", Every(absl::Seconds(2))).status()),
            "NOT_PROTECTED");
  Run("protect");
  Obey();
  EXPECT_EQ(FromProto(Agent().point_interval()), absl::Seconds(10));
  policy_name_ = "failback";
  Run("remove");
  Run("protect");
  Obey();
  EXPECT_EQ(FromProto(Agent().point_interval()), absl::Minutes(5));
  ASSERT_TRUE(Named().Delete("gold").ok());
  EXPECT_EQ(Named().All().size(), 1u);
}

// The server died after the job was stored, and before its first step.
TEST_F(PoliciesTest, AJobThatHasNotBegunItsReplicaBeginsItAsThePolicyIsThen) {
  Protect();
  storage::v1::Job job;
  job.set_id("00000099");
  job.set_state(storage::v1::RUNNING);
  ASSERT_TRUE(Named().Begin(Machine(), "", KeptFor(absl::Hours(3)), &job).ok());
  storage::v1::Machine machine = Machine();
  machine.set_job_id(job.id());
  Store::Transaction transaction;
  transaction.Put(job.id(), job);
  transaction.Put(kMachine, machine);
  ASSERT_TRUE(brain_->store().Commit(transaction).ok());
  ASSERT_TRUE(Named().Change("failback", Every(absl::Seconds(20))).ok());
  const Policy wanted = brain_->FindJob(job.id())->wanted().policy();
  EXPECT_EQ(FromProto(wanted.point_interval()), absl::Seconds(20));
  EXPECT_EQ(FromProto(wanted.retention_age()), absl::Hours(3)) << "said for it alone";
}

TEST_F(PoliciesTest, AnOlderRecordKeepsWhatIsInForceAndFollowsInTheRest) {
  Protect();
  storage::v1::Machine machine = Machine();
  storage::v1::Assignment& assignment = *machine.mutable_assignment();
  *assignment.mutable_policy() = Over(FailbackPolicy(), Every(absl::Seconds(2)));
  assignment.clear_own_policy();
  Store::Transaction transaction;
  transaction.Put(kMachine, machine);
  ASSERT_TRUE(brain_->store().Commit(transaction).ok());
  StartBrain();
  EXPECT_EQ(Machine().assignment().policy().SerializeAsString(),
            assignment.policy().SerializeAsString());
  EXPECT_EQ(Machine().assignment().own_policy().SerializeAsString(),
            Every(absl::Seconds(2)).SerializeAsString());
  Policy said = Every(absl::Minutes(1));
  *said.mutable_retention_age() = ToProto(absl::Hours(2));
  ASSERT_TRUE(Named().Change("failback", said).ok());
  const Policy now = Machine().assignment().policy();
  EXPECT_EQ(FromProto(now.point_interval()), absl::Seconds(2));
  EXPECT_EQ(FromProto(now.retention_age()), absl::Hours(2));
}

TEST_F(PoliciesTest, ThePolicysThresholdIsTheMachinesAlert) {
  Protect();
  clock_.now += absl::Minutes(2);
  EXPECT_EQ(Health().find("RPO_THRESHOLD"), std::string::npos) << Health();
  Policy said = Every(absl::Minutes(1));
  *said.mutable_rpo_threshold() = ToProto(absl::Minutes(1));
  ASSERT_TRUE(Named().Change("failback", said).ok());
  EXPECT_NE(Health().find("old; policy failback allows 1m"), std::string::npos) << Health();
  Policy own;
  *own.mutable_rpo_threshold() = ToProto(absl::Seconds(90));
  ASSERT_TRUE(Named().Assign(Machine(), "failback", own).ok());
  EXPECT_NE(Health().find("what is said for it alone allows 1m30s"), std::string::npos) << Health();
}

TEST_F(PoliciesTest, WhatCannotBeAPolicyIsRefused) {
  EXPECT_EQ(IdOf(Named().Find("gold").status()), "POLICY_UNKNOWN");
  EXPECT_EQ(Named().Find("gold").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(IdOf(Named().Change("gold", {}).status()), "POLICY_UNKNOWN");
  EXPECT_EQ(IdOf(Named().Delete("gold").status()), "POLICY_UNKNOWN");
  EXPECT_EQ(IdOf(Named().Create("failback", {}).status()), "POLICY_EXISTS");
  for (const char* name : {"", "two words", "../x", ".hidden"}) {
    EXPECT_EQ(Named().Create(name, {}).status().code(), absl::StatusCode::kInvalidArgument) << name;
  }
  const absl::Status close = Named().Create("gold", Every(absl::Seconds(4))).status();
  EXPECT_EQ(IdOf(close), "POLICY_INTERVAL_UNSUITABLE");
  EXPECT_EQ(close.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(IdOf(Named().Change("failback", KeptFor(absl::Seconds(30))).status()),
            "POLICY_RETENTION_UNSUITABLE");
  EXPECT_EQ(Named().All().size(), 1u) << "and nothing was made";
  Obey();
  EXPECT_EQ(IdOf(Named().Assign(Machine(), "gold", {}).status()), "POLICY_UNKNOWN");
  policy_name_ = "gold";
  EXPECT_EQ(IdOf(Start("protect").status()), "POLICY_UNKNOWN");
}

}  // namespace
}  // namespace homeward
