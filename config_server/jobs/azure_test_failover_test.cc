// Test failovers to Azure: copies of a recovery point beside the machine, which runs on.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/fakes/azure_fixture.h"

namespace homeward {
namespace {

class AzureTestFailoverTest : public AzureFixture {};

TEST_F(AzureTestFailoverTest, ATestFailoverLeavesReplicationAlone) {
  Protect();
  const uint64_t generation = Machine().generation();
  const auto start = [&](unsigned kill_one_in) {
    storage::v1::Job wanted;
    wanted.set_operation(storage::v1::TEST_FAILOVER);
    wanted.set_subject(kMachine);
    wanted.set_point(points_.front());
    wanted.set_test_subnet(cloud.site.test_subnet());
    const auto job = brain_->StartJob(wanted);
    EXPECT_TRUE(job.ok()) << job.status();
    for (int i = 0; i < 500; ++i) {
      if (kill_one_in > 0 && random_() % kill_one_in == 0) {
        StartBrain();
        vcenter.ServerDied();
        cloud.ServerDied();
      }
      Obey();
      EXPECT_EQ(desired_[kServer].process_server().replicas(0).phase(), control::v1::FOLLOW);
      if (brain_->FindJob(job->id())->state() != storage::v1::RUNNING) break;
    }
    return *brain_->FindJob(job->id());
  };
  cloud.before_step = [&](const CloudMove& move, const CloudStep&) {
    EXPECT_EQ(move.subnet, "subnet-isolated");
    if (move.kind == CloudMove::Kind::kCreateDisks) {
      EXPECT_EQ(desired_[kServer].process_server().replicas(0).shown_point_id(), points_.front())
          << "its snapshots must not go away meanwhile";
    }
  };
  ASSERT_EQ(start(4).state(), storage::v1::SUCCEEDED);
  Obey();
  EXPECT_EQ(desired_[kServer].process_server().replicas(0).shown_point_id(), "");
  ASSERT_EQ(cloud.vms.size(), 1u);
  EXPECT_TRUE(absl::StrContains(cloud.vms.begin()->first, "-test-"));
  EXPECT_EQ(cloud.disks.begin()->second.source_url,
            absl::StrCat(kContainer, "/", kMachine, "/",
                         Machine().assignment().placement().disks(0).uuid(),
                         ".vhd?snapshot=", points_.front()));
  EXPECT_TRUE(vm().on());
  EXPECT_EQ(Machine().generation(), generation);
  EXPECT_EQ(Machine().state(), storage::v1::PROTECTED);
  EXPECT_EQ(Refused(storage::v1::TEST_FAILOVER), "OPERATION_NOT_ALLOWED") << "there is one";
  EXPECT_EQ(Refused(storage::v1::REMOVE), "TEST_FAILOVER_LEFT");
  // The machine itself can be failed over all the same, and the copy is removed afterwards.
  cloud.before_step = nullptr;
  Run("failover", "latest");
  EXPECT_EQ(cloud.vms.size(), 2u);
  Run("commit");
  Run("test-failover-cleanup");
  ASSERT_EQ(cloud.vms.size(), 1u);
  EXPECT_EQ(cloud.vms.begin()->first, NameInAzure());
  EXPECT_FALSE(Machine().has_test());
}

TEST_F(AzureTestFailoverTest, ATestFailoverThatFailsLeavesNothing) {
  Protect();
  cloud.fail_step = CloudStep::Kind::kCreateVm;
  cloud.fail_after_effect = true;
  storage::v1::Job wanted;
  wanted.set_operation(storage::v1::TEST_FAILOVER);
  wanted.set_subject(kMachine);
  wanted.set_point("latest");
  wanted.set_test_subnet("subnet-isolated");
  auto job = brain_->StartJob(wanted);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(Finish(job->id()).problem().id(), "AZURE_TASK_FAILED");
  EXPECT_TRUE(cloud.empty());
  EXPECT_FALSE(Machine().has_test());
  EXPECT_EQ(Machine().state(), storage::v1::PROTECTED);
  // A process server that does not know of it.
  shows_points_ = false;
  job = brain_->StartJob(wanted);
  ASSERT_TRUE(job.ok()) << job.status();
  for (int i = 0; i < 5; ++i) Obey();
  clock_.now += absl::Minutes(11);
  EXPECT_EQ(Finish(job->id()).problem().id(), "POINT_NOT_FOUND");
  EXPECT_FALSE(Machine().has_test());
}

TEST_F(AzureTestFailoverTest, ATestOfAPointThatWasDroppedFailsAtOnce) {
  Protect();
  storage::v1::Job wanted;
  wanted.set_operation(storage::v1::TEST_FAILOVER);
  wanted.set_subject(kMachine);
  wanted.set_point(points_.front());
  wanted.set_test_subnet("subnet-isolated");
  const auto job = brain_->StartJob(wanted);
  ASSERT_TRUE(job.ok()) << job.status();
  // The process server drops it in the moment in which it is chosen.
  shows_points_ = false;
  points_.push_back("newer");
  times_.push_back(clock_.Now());
  points_.erase(points_.begin());
  times_.erase(times_.begin());
  const absl::Time began = clock_.Now();
  const storage::v1::Job ended = Finish(job->id());
  EXPECT_EQ(ended.problem().id(), "POINT_NOT_FOUND");
  EXPECT_TRUE(absl::StrContains(ended.problem().message(), "was dropped"))
      << ended.problem().message();
  EXPECT_LT(clock_.Now() - began, absl::Seconds(10));
  EXPECT_FALSE(Machine().has_test());
  EXPECT_TRUE(cloud.empty());
}

TEST_F(AzureTestFailoverTest, ACopyIsNotStartedInTheMachinesNetwork) {
  Protect();
  const auto refused = [&](const std::string& subnet) {
    const View view = brain_->MakeView();
    const Refusal refusal = RulesOf(Machine()).CheckTest(view, Machine(), subnet);
    return refusal ? refusal->id() : "";
  };
  EXPECT_EQ(refused(""), "");
  EXPECT_EQ(refused("subnet-1"), "TEST_SUBNET_UNSUITABLE");
  cloud.site.clear_test_subnet();
  EXPECT_EQ(refused(""), "TEST_SUBNET_UNSUITABLE");
}

}  // namespace
}  // namespace homeward
