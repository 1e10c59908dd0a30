// A machine whose process server is lost, or is to have less to do, is given to another one.
#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/fakes/brain_fixture.h"
#include "tests/fakes/model_cloud.h"

namespace homeward {
namespace {

// Before the fixture, which is given it.
struct WithCloud {
  ModelCloud cloud;
};

class SwitchProcessServerTest : protected WithCloud, public BrainFixture {
 protected:
  SwitchProcessServerTest() : BrainFixture(nullptr, &cloud) {
    containers_ = {kContainer};
    wish_.location = storage::v1::AZURE_VM;
  }
  void Protect() {
    Obey();
    Obey();
    Run("protect");
  }
  void AddServer() {
    servers_run_[kOtherServer] = true;
    Obey();
  }
  std::string RefusedWith(storage::v1::Operation operation) {
    const Refusal refusal = CheckOperation(brain_->MakeView(), Machine(), operation);
    return refusal ? refusal->id() : "";
  }
  std::string Receiver() { return Machine().assignment().placement().master_target_id(); }
  int ReplicasOf(const std::string& server) {
    return desired_[server].process_server().replicas_size();
  }
  bool HealthSays(ProblemId id) {
    return absl::c_any_of(JudgeMachine(brain_->MakeView(), Machine()),
                          [&](const auto& issue) { return IsProblem(issue.problem(), id); });
  }
};

TEST_F(SwitchProcessServerTest, BlobsOfALostOneAreWrittenByAnother) {
  Protect();
  const storage::v1::Machine before = Machine();
  Lose(kServer);
  EXPECT_EQ(RefusedWith(storage::v1::FAILBACK), "PROCESS_SERVER_DOWN");
  auto job = Start("switch-process-server");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(Finish(job->id()).problem().id(), "AZURE_NO_PROCESS_SERVER");
  EXPECT_EQ(Receiver(), kServer);

  AddServer();
  Run("switch-process-server", "", "", /*kill_one_in=*/3);
  EXPECT_EQ(Receiver(), kOtherServer);
  EXPECT_EQ(ReplicasOf(kOtherServer), 1);
  EXPECT_EQ(Machine().generation(), before.generation()) << "nothing is compared again";
  EXPECT_EQ(Machine().assignment().replica_id(), before.assignment().replica_id());
  EXPECT_EQ(desired_[kMachine].agent().protection().replica_id(), before.assignment().replica_id());
  EXPECT_EQ(Machine().state(), storage::v1::PROTECTED);
  Run("failover", "latest");
  EXPECT_EQ(cloud.vms.size(), 1u);
  Run("commit");
}

TEST_F(SwitchProcessServerTest, OneThatCannotWriteTheContainerIsNotChosen) {
  Protect();
  containers_ = {"https://account.blob.core.windows.net/another"};
  AddServer();
  const auto job = Start("switch-process-server");
  ASSERT_TRUE(job.ok()) << job.status();
  const types::v1::Problem problem = Finish(job->id()).problem();
  EXPECT_EQ(problem.id(), "AZURE_NO_PROCESS_SERVER");
  EXPECT_TRUE(absl::StrContains(problem.message(), kContainer)) << problem.message();
  EXPECT_EQ(Receiver(), kServer);
}

TEST_F(SwitchProcessServerTest, ACancelledOneGivesTheMachineBack) {
  Protect();
  AddServer();
  opens_nothing_ = true;
  const auto job = Start("switch-process-server");
  ASSERT_TRUE(job.ok()) << job.status();
  for (int i = 0; i < 5; ++i) Obey();
  EXPECT_EQ(Receiver(), kOtherServer);
  ASSERT_TRUE(brain_->CancelJob(job->id()).ok());
  opens_nothing_ = false;
  EXPECT_EQ(Finish(job->id()).state(), storage::v1::CANCELLED);
  EXPECT_EQ(Receiver(), kServer);
  EXPECT_EQ(ReplicasOf(kServer), 1);
  EXPECT_EQ(ReplicasOf(kOtherServer), 0);
}

TEST_F(SwitchProcessServerTest, APointOfAMachineThatWasFailedOverIsStillThere) {
  Protect();
  Run("failover", "latest");
  Lose(kServer);
  AddServer();
  Run("switch-process-server");
  const std::string was = cloud.vms.begin()->first;
  Run("failover", points_.front());
  ASSERT_EQ(cloud.vms.size(), 1u);
  EXPECT_NE(cloud.vms.begin()->first, was);
  Run("commit");
  EXPECT_EQ(RefusedWith(storage::v1::SWITCH_PROCESS_SERVER), "OPERATION_NOT_ALLOWED");
}

TEST_F(SwitchProcessServerTest, AFailoverThatWaitsForALostOneIsToldAndCancelled) {
  Protect();
  opens_nothing_ = true;
  const auto job = Start("failover", "latest");
  ASSERT_TRUE(job.ok()) << job.status();
  for (int i = 0; i < 5; ++i) Obey();
  ASSERT_EQ(Machine().assignment().state().phase(), storage::v1::RECOVER);
  EXPECT_FALSE(HealthSays(ProblemId::kProcessServerDown));
  Lose(kServer);
  EXPECT_TRUE(HealthSays(ProblemId::kProcessServerDown));
  ASSERT_TRUE(brain_->CancelJob(job->id()).ok());
  EXPECT_EQ(Finish(job->id()).state(), storage::v1::CANCELLED);
  EXPECT_EQ(Machine().state(), storage::v1::PROTECTED);
  opens_nothing_ = false;
  AddServer();
  Run("switch-process-server");
  Run("failover", "latest");
}

// The master target keeps the replica: only who passes the stream on is another one.
TEST_F(SwitchProcessServerTest, AStreamGoesThroughAnother) {
  wish_.location = storage::v1::DATASTORE_DIRECTORY;
  Protect();
  Lose(kServer);
  auto job = Start("switch-process-server");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(Finish(job->id()).problem().id(), "PROCESS_SERVER_DOWN");
  AddServer();
  Run("switch-process-server");
  EXPECT_EQ(Machine().assignment().placement().process_server_id(), kOtherServer);
  EXPECT_EQ(Receiver(), kTarget);
  EXPECT_EQ(desired_[kOtherServer].process_server().streams_size(), 1);
  Run("failback", "latest");
  EXPECT_EQ(RefusedWith(storage::v1::SWITCH_PROCESS_SERVER), "OPERATION_NOT_ALLOWED");
}

TEST_F(SwitchProcessServerTest, AllMachinesOfAServerInOneJob) {
  Protect();
  Lose(kServer);
  AddServer();
  storage::v1::Job each;
  each.set_operation(storage::v1::SWITCH_PROCESS_SERVER);
  const auto job = brain_->StartForEach(each, {kMachine});
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(Finish(job->id()).state(), storage::v1::SUCCEEDED);
  EXPECT_EQ(Receiver(), kOtherServer);
}

}  // namespace
}  // namespace homeward
