// The whole circle with Azure: replicated there, failed over, committed, replicated home to the VM
// that it was, failed back, committed, and round again; against a modelled vCenter and a modelled
// Azure whose calls fail before and after their effect, and a server that is killed at any step.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "config_server/model/data_keys.h"
#include "tests/fakes/azure_fixture.h"

namespace homeward {
namespace {

class AzureWorkflowTest : public AzureFixture {};

TEST_F(AzureWorkflowTest, TheWholeCircle) {
  Protect();
  const storage::v1::Placement placement = Machine().assignment().placement();
  EXPECT_EQ(placement.location(), storage::v1::AZURE_VM);
  EXPECT_EQ(placement.process_server_id(), "");
  EXPECT_EQ(placement.master_target_id(), kServer);
  ASSERT_EQ(desired_[kServer].process_server().replicas_size(), 1);
  const control::v1::Replica replica = desired_[kServer].process_server().replicas(0);
  EXPECT_EQ(replica.target().page_blobs().container_url(), kContainer);
  ASSERT_EQ(replica.target().page_blobs().blobs_size(), 1);
  EXPECT_EQ(replica.target().page_blobs().blobs(0),
            absl::StrCat(kMachine, "/", placement.disks(0).uuid(), ".vhd"));
  EXPECT_EQ(replica.fence(), desired_[kMachine].agent().protection().fence());
  EXPECT_FALSE(desired_[kMachine].agent().protection().direct()) << "no master target is there";
  EXPECT_EQ(desired_[kTarget].master_target().replicas_size(), 0);
  EXPECT_TRUE(cloud.empty()) << "nothing is made before it is needed";

  Run("failover", "latest");
  EXPECT_TRUE(vm().off());
  ASSERT_EQ(cloud.vms.size(), 1u);
  const std::string first_name = cloud.vms.begin()->first;
  const ModelCloud::Vm made = cloud.vms.begin()->second;
  EXPECT_EQ(made.power, "running");
  ASSERT_EQ(made.disks.size(), 1u);
  EXPECT_EQ(cloud.disks.at(made.disks[0]).source_url,
            absl::StrCat(kContainer, "/", replica.target().page_blobs().blobs(0),
                         "?snapshot=", points_.back()));
  EXPECT_EQ(Machine().state(), storage::v1::FAILED_BACK);
  Run("commit");
  EXPECT_EQ(NameInAzure(), cloud.vms.begin()->first);
  EXPECT_NE(vcenter.Find(kVmInstance), nullptr) << "it may come home to it";
  wish_.location = storage::v1::ORIGINAL_VM;
  EXPECT_EQ(IdOf(Start("reprotect").status()), "AGENT_NOT_REGISTERED");

  BootInAzure();
  Obey();
  Obey();
  Run("reprotect");
  EXPECT_EQ(SourceOf(Machine()), storage::v1::SOURCE_AZURE_VM);
  EXPECT_FALSE(Machine().assignment().state().fresh()) << "only differences travel";
  EXPECT_EQ(cloud.vms.begin()->second.power, "running");
  boots_ = false;
  Run("failback", "latest");
  EXPECT_TRUE(vm().on());
  ASSERT_EQ(cloud.vms.size(), 1u) << "nothing in Azure is deleted before the commit";
  EXPECT_EQ(cloud.vms.begin()->second.power, "deallocated");
  Run("commit");
  EXPECT_TRUE(cloud.empty());
  EXPECT_FALSE(Machine().has_azure_vm());

  wish_.location = storage::v1::AZURE_VM;
  EXPECT_EQ(IdOf(Start("reprotect").status()), "AGENT_NOT_REGISTERED");
  BootAtHome();
  Obey();
  Obey();
  Run("reprotect");
  EXPECT_EQ(desired_[kServer].process_server().replicas(0).target().page_blobs().blobs(0),
            replica.target().page_blobs().blobs(0))
      << "what lies there already";
  Run("failover", "latest");
  EXPECT_NE(cloud.vms.begin()->first, first_name) << "it is of another generation";
}

TEST_F(AzureWorkflowTest, WhereNothingIsSaidAStreamThatEndsAtAProcessServerIsEncrypted) {
  Protect();
  EXPECT_TRUE(desired_[kMachine].agent().protection().has_data_key());
  const control::v1::Replica& replica = desired_[kServer].process_server().replicas(0);
  EXPECT_EQ(replica.data_keys_size(), 1);
  EXPECT_TRUE(replica.refuses_plain());
}

TEST_F(AzureWorkflowTest, WhereNothingIsSaidEncryptionCostsNoOlderProcessServerASecondOne) {
  ends_checked_ = {kServer};
  Protect();
  EXPECT_FALSE(desired_[kMachine].agent().protection().has_data_key());
  storage::v1::Machine asked_for = Machine();
  asked_for.set_encrypts_stream(true);
  BeginGeneration(brain_->MakeView(), &asked_for);
  EXPECT_EQ(asked_for.assignment().data_keys_size(), 1) << "unless somebody says so";
}

TEST_F(AzureWorkflowTest, SitesAndAServerThatFailAtAnyStepEndInDoneOrUndone) {
  Obey();
  Obey();
  int undone = 0;
  EXPECT_EQ(RunChecked("protect", 0).state(), storage::v1::SUCCEEDED);
  for (unsigned seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    random_.seed(seed);
    const unsigned kill = seed % 2 == 0 ? 4 : 9;
    vcenter.fault_one_in = cloud.fault_one_in = seed % 3 == 0 ? 0 : 3;
    // Every other time something fails for good, before or after its effect; then it is undone, and
    // tried again.
    if (seed % 2 == 1) {
      constexpr CloudStep::Kind kSteps[] = {
          CloudStep::Kind::kCreateDisk, CloudStep::Kind::kCreateNic, CloudStep::Kind::kCreateVm};
      cloud.fail_step = kSteps[(seed / 2) % 3];
      cloud.fail_after_effect = seed % 4 == 1;
      const storage::v1::Job failed = RunChecked("failover", kill);
      ASSERT_EQ(failed.state(), storage::v1::FAILED) << failed.problem().ShortDebugString();
      ASSERT_EQ(failed.problem().id(), "AZURE_TASK_FAILED");
      ASSERT_TRUE(vm().on()) << "what was turned off runs again";
      ASSERT_TRUE(cloud.empty());
      ASSERT_EQ(Machine().state(), storage::v1::PROTECTED);
      ++undone;
      cloud.fail_step.reset();
    }
    ASSERT_EQ(RunChecked("failover", kill).state(), storage::v1::SUCCEEDED);
    ASSERT_TRUE(vm().off());
    ASSERT_EQ(RunChecked("commit", kill).state(), storage::v1::SUCCEEDED);
    BootInAzure();
    wish_.location = storage::v1::ORIGINAL_VM;
    ASSERT_EQ(RunChecked("reprotect", kill).state(), storage::v1::SUCCEEDED);
    if (seed % 2 == 1) {
      vcenter.fail_step = VmStep::Kind::kPowerOn;
      ASSERT_EQ(RunChecked("failback", kill).state(), storage::v1::FAILED);
      ASSERT_EQ(cloud.vms.begin()->second.power, "running") << "what was turned off runs again";
      vcenter.fail_step.reset();
      BootInAzure();
    }
    ASSERT_EQ(RunChecked("failback", kill).state(), storage::v1::SUCCEEDED);
    ASSERT_EQ(RunChecked("commit", kill).state(), storage::v1::SUCCEEDED);
    ASSERT_TRUE(cloud.empty());
    wish_.location = storage::v1::AZURE_VM;
    BootAtHome();
    ASSERT_EQ(RunChecked("reprotect", kill).state(), storage::v1::SUCCEEDED);
  }
  EXPECT_EQ(undone, 6);
}

TEST_F(AzureWorkflowTest, AnotherPointIsTakenUntilTheCommit) {
  Protect();
  Run("failover", "latest");
  BootInAzure();
  Obey();
  Obey();
  ASSERT_GT(points_.size(), 1u);
  int undone = 0;
  for (unsigned seed = 1; seed <= 9; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    random_.seed(seed);
    const unsigned kill = seed % 2 == 0 ? 4 : 9;
    cloud.fault_one_in = seed % 3 == 0 ? 0 : 3;
    const std::string was = cloud.vms.empty() ? "" : cloud.vms.begin()->first;
    const std::string point = seed % 2 == 0 ? points_.back() : points_.front();
    if (seed % 3 == 1) cloud.fail_step = CloudStep::Kind::kCreateVm;
    const auto job = Start("failover", point);
    ASSERT_TRUE(job.ok()) << job.status();
    const storage::v1::Job ended = FinishChecked(job->id(), kill);
    ASSERT_EQ(Machine().state(), storage::v1::FAILED_BACK);
    EXPECT_TRUE(vm().off()) << "it is not the machine any more";
    if (cloud.fail_step.has_value()) {
      ASSERT_EQ(ended.problem().id(), "AZURE_TASK_FAILED");
      EXPECT_TRUE(cloud.empty());
      EXPECT_EQ(Refused(storage::v1::COMMIT), "POINT_REQUIRED") << "it runs nowhere";
      cloud.fail_step.reset();
      ++undone;
      continue;
    }
    ASSERT_EQ(ended.state(), storage::v1::SUCCEEDED) << ended.problem().ShortDebugString();
    ASSERT_EQ(cloud.vms.size(), 1u);
    ASSERT_EQ(cloud.disks.size(), 1u);
    EXPECT_NE(cloud.vms.begin()->first, was);
    EXPECT_TRUE(absl::EndsWith(cloud.disks.begin()->second.source_url, "?snapshot=" + point))
        << cloud.disks.begin()->second.source_url;
    BootInAzure();
    Obey();
    Obey();
    EXPECT_EQ(Machine().registration().boot_id(), boot_id_) << "it is the machine now";
  }
  EXPECT_EQ(undone, 3);
  EXPECT_EQ(Refused(storage::v1::COMMIT), "");
  Run("commit");
  EXPECT_EQ(NameInAzure(), cloud.vms.begin()->first);
}

TEST_F(AzureWorkflowTest, DisksAreMadeOfThePointAlsoWhereItsProcessServerIsStartedAgain) {
  Protect();
  Run("failover", "latest");
  const std::string was = cloud.vms.begin()->first;
  cloud.before_step = [&](const CloudMove& move, const CloudStep&) {
    if (move.kind == CloudMove::Kind::kDelete) opens_nothing_ = true;
  };
  const auto job = Start("failover", points_.front());
  ASSERT_TRUE(job.ok()) << job.status();
  for (int i = 0; i < 100; ++i) Obey();
  EXPECT_TRUE(cloud.empty()) << "the blobs themselves are no point";
  EXPECT_EQ(brain_->FindJob(job->id())->state(), storage::v1::RUNNING);
  opens_nothing_ = false;
  EXPECT_EQ(Finish(job->id()).state(), storage::v1::SUCCEEDED);
  EXPECT_NE(cloud.vms.begin()->first, was);
  EXPECT_TRUE(
      absl::EndsWith(cloud.disks.begin()->second.source_url, "?snapshot=" + points_.front()))
      << cloud.disks.begin()->second.source_url;
}

TEST_F(AzureWorkflowTest, AVmThatIsNotRemovedKeepsAnotherPointFromBeingTaken) {
  Protect();
  Run("failover", "latest");
  BootInAzure();
  Obey();
  Obey();
  const std::string vm_name = cloud.vms.begin()->first;
  cloud.vms.begin()->second.tags.clear();
  const auto job = Start("failover", points_.front());
  ASSERT_TRUE(job.ok()) << job.status();
  const storage::v1::Job ended = Finish(job->id());
  EXPECT_EQ(ended.problem().id(), "AZURE_NOT_OURS");
  EXPECT_TRUE(absl::StrContains(ended.problem().message(), vm_name)) << ended.problem().message();
  ASSERT_EQ(cloud.vms.size(), 1u) << "no second one";
  EXPECT_EQ(cloud.vms.begin()->second.power, "running");
  EXPECT_EQ(Refused(storage::v1::COMMIT), "") << "it is the machine, as before";
  for (int i = 0; i < 5; ++i) Obey();
  EXPECT_TRUE(sessions_.contains(kMachine)) << "its agent is not refused";
}

TEST_F(AzureWorkflowTest, AVmThatIsHalfRemovedForAnotherPointIsRemovedWhole) {
  Protect();
  Run("failover", "latest");
  BootInAzure();
  Obey();
  Obey();
  const auto job = Start("failover", points_.front());
  ASSERT_TRUE(job.ok()) << job.status();
  for (int i = 0; i < 50 && !cloud.vms.empty(); ++i) Obey();
  ASSERT_TRUE(cloud.vms.empty());
  ASSERT_FALSE(cloud.empty());
  ASSERT_TRUE(brain_->CancelJob(job->id()).ok());
  EXPECT_EQ(Finish(job->id()).state(), storage::v1::CANCELLED);
  EXPECT_TRUE(cloud.empty());
  EXPECT_EQ(Refused(storage::v1::COMMIT), "POINT_REQUIRED");
  const auto issues = JudgeMachine(brain_->MakeView(), Machine());
  EXPECT_TRUE(std::any_of(issues.begin(), issues.end(), [](const auto& issue) {
    return IsProblem(issue.problem(), ProblemId::kPointRequired);
  }));
  Run("failover", "latest");
  EXPECT_EQ(cloud.vms.size(), 1u);
  Run("commit");
}

TEST_F(AzureWorkflowTest, BlobsOfAProcessServerThatIsGoneAreNamed) {
  Protect();
  Lose(kServer);
  const auto job = Start("remove");
  ASSERT_TRUE(job.ok()) << job.status();
  const storage::v1::Job ended = Finish(job->id());
  EXPECT_EQ(ended.state(), storage::v1::SUCCEEDED);
  ASSERT_EQ(ended.kept_size(), 1);
  EXPECT_TRUE(absl::StrContains(ended.kept(0), absl::StrCat(kContainer, "/", kMachine)))
      << ended.kept(0);
}

TEST_F(AzureWorkflowTest, WhatIsNotOursIsKeptAndNamed) {
  LiveInAzure();
  wish_.location = storage::v1::ORIGINAL_VM;
  Run("reprotect");
  Run("failback", "latest");
  const std::string disk = cloud.disks.begin()->first;
  cloud.disks[disk].tags[kTagMachine] = "somebody-else";
  cloud.disks["unrelated"].tags = {{"owner", "finance"}};
  const auto job = Start("commit");
  ASSERT_TRUE(job.ok()) << job.status();
  const storage::v1::Job ended = Finish(job->id());
  EXPECT_EQ(ended.state(), storage::v1::SUCCEEDED);
  EXPECT_TRUE(cloud.vms.empty());
  EXPECT_TRUE(cloud.nics.empty());
  EXPECT_EQ(cloud.disks.size(), 2u);
  ASSERT_EQ(ended.kept_size(), 1);
  EXPECT_TRUE(absl::StrContains(ended.kept(0), disk)) << ended.kept(0);
  EXPECT_TRUE(absl::StrContains(ended.kept(0), "somebody-else")) << ended.kept(0);
}

TEST_F(AzureWorkflowTest, AVmWhoseTagsAreGoneIsNeitherTurnedOffNorDeleted) {
  LiveInAzure();
  wish_.location = storage::v1::ORIGINAL_VM;
  Run("reprotect");
  cloud.vms.begin()->second.tags.clear();
  const auto job = Start("failback", "latest");
  ASSERT_TRUE(job.ok()) << job.status();
  const storage::v1::Job ended = Finish(job->id());
  EXPECT_EQ(ended.state(), storage::v1::FAILED);
  EXPECT_EQ(ended.problem().id(), "AZURE_NOT_OURS");
  EXPECT_EQ(cloud.vms.begin()->second.power, "running");
  EXPECT_EQ(Machine().state(), storage::v1::PROTECTED);
}

TEST_F(AzureWorkflowTest, TheVmIsOffBeforeTheLastPointIsTaken) {
  Protect();
  bool was_off = false;
  uint64_t generation = Machine().generation();
  const auto job = Start("failover", "latest");
  ASSERT_TRUE(job.ok()) << job.status();
  while (brain_->FindJob(job->id())->state() == storage::v1::RUNNING) {
    if (Machine().generation() == generation) was_off = vm().off();
    Obey();
  }
  EXPECT_TRUE(was_off) << "the old generation ended while it still ran";
}

TEST_F(AzureWorkflowTest, ASilentMachineWhoseVmIsOnIsNotTakenForLost) {
  Protect();
  Stop();
  clock_.now += kHeartbeatTimeoutDefault + absl::Seconds(1);
  Obey();
  const auto job = Start("failover", "latest");
  ASSERT_TRUE(job.ok()) << job.status();
  const storage::v1::Job ended = Finish(job->id());
  EXPECT_EQ(ended.problem().id(), "VM_UNREACHABLE_FROM_CS");
  EXPECT_TRUE(absl::StrContains(ended.problem().message(), "--source-lost"));
  EXPECT_TRUE(vm().on()) << "it goes on";
  EXPECT_TRUE(cloud.empty());
  EXPECT_EQ(Machine().state(), storage::v1::PROTECTED);
  vm().power_state = "poweredOff";
  Run("failover", "latest");
  EXPECT_EQ(cloud.vms.size(), 1u) << "one that is off has nothing more to send";
}

TEST_F(AzureWorkflowTest, ALostSiteIsFailedOverWithoutIt) {
  Protect();
  vcenter.world.link = VcenterState::Link::kDisconnected;
  vcenter.gives_up_one_in = 1;
  Stop();
  clock_.now += kHeartbeatTimeoutDefault + absl::Seconds(1);
  Obey();
  const auto refused = Start("failover", "latest");
  ASSERT_TRUE(refused.ok()) << refused.status();
  EXPECT_EQ(Finish(refused->id()).problem().id(), "VM_UNREACHABLE_FROM_CS")
      << "nobody knows whether it runs";
  storage::v1::Job lost;
  lost.set_operation(storage::v1::FAILBACK);
  lost.set_subject(kMachine);
  lost.set_point("latest");
  lost.set_source_lost(true);
  const auto job = brain_->StartJob(lost);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(Finish(job->id()).state(), storage::v1::SUCCEEDED);
  EXPECT_EQ(cloud.vms.begin()->second.power, "running");
}

TEST_F(AzureWorkflowTest, AnAgentThatIsFasterThanAzureComesAgain) {
  Protect();
  bool booted = false;
  const auto job = Start("failover", "latest");
  ASSERT_TRUE(job.ok()) << job.status();
  while (brain_->FindJob(job->id())->state() == storage::v1::RUNNING) {
    if (!booted && !cloud.vms.empty()) {
      BootInAzure();
      booted = true;
    }
    Obey();
  }
  ASSERT_TRUE(booted);
  EXPECT_NE(Machine().registration().boot_id(), boot_id_) << "it is told to come again";
  Obey();
  Obey();
  EXPECT_EQ(Machine().registration().boot_id(), boot_id_);
  EXPECT_TRUE(Machine().has_registered_at());
  Run("commit");
  wish_.location = storage::v1::ORIGINAL_VM;
  EXPECT_TRUE(Start("reprotect").ok());
}

}  // namespace
}  // namespace homeward
