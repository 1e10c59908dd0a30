// The whole circle with Azure: replicated there, failed over, committed, replicated home to the VM
// that it was, failed back, committed, and round again; against a modelled vCenter and a modelled
// Azure whose calls fail before and after their effect, and a server that is killed at any step.
#include "absl/strings/match.h"
#include "config_server/model/location_rules.h"
#include "config_server/model/source.h"
#include "tests/fakes/brain_fixture.h"
#include "tests/fakes/model_cloud.h"
#include "tests/fakes/model_vcenter.h"

namespace homeward {
namespace {

// Before the fixture, which is given them.
struct WithSites {
  ModelVcenter vcenter;
  ModelCloud cloud;
};

class AzureWorkflowTest : protected WithSites, public BrainFixture {
 protected:
  AzureWorkflowTest() : BrainFixture(&vcenter, &cloud) {
    target_uuid_ = kTargetUuid;
    hardware_uuid_ = kVmUuid;
    containers_ = {kContainer};
    wish_.location = storage::v1::AZURE_VM;
    vcenter.power_changed = [this](const vsphere::Vm& vm) {
      if (vm.instance_uuid != kVmInstance) return;
      // A machine whose VM is off says nothing; one that is started is another boot.
      if (vm.on()) {
        if (boots_) BootAtHome();
      } else if (hardware_uuid_ == kVmUuid) {
        Stop();
      }
    };
  }
  vsphere::Vm& vm() { return vcenter.world.vm(); }
  void Stop() {
    agent_runs_ = false;
    Hang();
  }
  // Its session ends, and it does not come again by itself.
  void Hang() {
    const auto session = sessions_.find(kMachine);
    if (session == sessions_.end()) return;
    const uint64_t number = session->second;
    sessions_.erase(session);
    brain_->fleet().Disconnect(kMachine, number);
  }
  void Boot(const std::string& hardware_uuid) {
    Hang();
    boot_id_ = absl::StrCat("boot-", ++boot_);
    hardware_uuid_ = hardware_uuid;
    agent_runs_ = true;
  }
  void BootAtHome() { Boot(kVmUuid); }
  // As long as it is the same VM it has the same UUID.
  void BootInAzure() { Boot(absl::StrCat("uuid of ", cloud.vms.begin()->first)); }

  void Protect() {
    Obey();
    Obey();
    Run("protect");
  }
  void LiveInAzure() {
    Protect();
    Run("failover", "latest");
    Run("commit");
    BootInAzure();
    Obey();
    Obey();
  }
  std::string NameInAzure() { return Machine().azure_vm().name(); }
  std::string RefusedFor(const PlacementWish& wish) {
    const Placed placed = Place(brain_->MakeView(), Machine(), wish);
    return placed.refusal ? placed.refusal->id() : "";
  }
  std::string Refused(storage::v1::Operation operation) {
    const Refusal refusal = CheckOperation(brain_->MakeView(), Machine(), operation);
    return refusal ? refusal->id() : "";
  }

  // The machine runs at one place at the most, and only what is recorded was made.
  void CheckWorld() {
    const storage::v1::Machine machine = Machine();
    ASSERT_EQ(vcenter.PlaceFault(machine), "");
    int run = vm().on() ? 1 : 0;
    for (const auto& [name, one] : cloud.vms) {
      if (one.power == "running" || one.power == "starting") ++run;
    }
    ASSERT_LE(run, 1) << "it runs at two sites";
    std::set<std::string> recorded;
    for (const storage::v1::AzureVm& one :
         {machine.azure_vm(), machine.assignment().placement().azure_vm()}) {
      recorded.insert(one.name());
      for (const storage::v1::AzureDisk& disk : one.disks()) recorded.insert(disk.name());
    }
    for (const auto& [name, one] : cloud.vms) ASSERT_TRUE(recorded.contains(name)) << name;
    for (const auto& [name, one] : cloud.disks) ASSERT_TRUE(recorded.contains(name)) << name;
  }
  storage::v1::Job FinishChecked(const std::string& job_id, unsigned kill_one_in) {
    for (int i = 0; i < 1500; ++i) {
      if (kill_one_in > 0 && random_() % kill_one_in == 0) {
        StartBrain();
        vcenter.ServerDied();
        cloud.ServerDied();
      }
      Obey();
      CheckWorld();
      if (HasFatalFailure()) return {};
      const storage::v1::Job job = *brain_->FindJob(job_id);
      if (job.state() != storage::v1::RUNNING) return job;
    }
    ADD_FAILURE() << "job " << job_id << " does not end: " << brain_->ProgressOf(job_id)->detail;
    return {};
  }
  storage::v1::Job RunChecked(const std::string& operation, unsigned kill_one_in) {
    // A server that has just started knows nobody yet.
    for (int i = 0; i < 3; ++i) Obey();
    const bool to_point = operation == "failover" || operation == "failback";
    const auto job = Start(operation, to_point ? "latest" : "");
    EXPECT_TRUE(job.ok()) << operation << ": " << job.status();
    return job.ok() ? FinishChecked(job->id(), kill_one_in) : storage::v1::Job();
  }

  int boot_ = 1;
  bool boots_ = true;  // the VM's guest, when that is turned on
};

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

TEST_F(AzureWorkflowTest, WhatAzureSaysOfAMachineThatLivesThere) {
  LiveInAzure();
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "");
  ModelCloud::Vm& home = cloud.vms.begin()->second;
  for (const char* const off : {"stopped", "deallocated", "deallocating"}) {
    home.power = off;
    EXPECT_EQ(Refused(storage::v1::REPROTECT), "SOURCE_VM_NOT_RUNNING") << off;
  }
  home.power = "running";
  Stop();
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "VM_UNREACHABLE_FROM_CS");
  const Refusal refusal = CheckOperation(brain_->MakeView(), Machine(), storage::v1::REPROTECT);
  EXPECT_TRUE(absl::StrContains(refusal->message(), "runs")) << refusal->message();
  cloud.link = CloudState::Link::kDisconnected;
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "VM_UNREACHABLE_FROM_CS")
      << "by the agent alone, when nobody knows more";
  cloud.link = CloudState::Link::kConnected;
  const auto kept = cloud.vms;
  cloud.vms.clear();
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "AZURE_VM_GONE");
  cloud.moved_to = "/subscriptions/sub-1/resourceGroups/other/.../virtualMachines/web";
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "AZURE_VM_MOVED");
  cloud.vms = kept;
  cloud.moved_to.clear();
  BootInAzure();
  Obey();
  Obey();
  Run("remove");
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "PROTECTION_DISABLED");
  EXPECT_EQ(Refused(storage::v1::PROTECT), "PROTECTION_DISABLED");
}

TEST_F(AzureWorkflowTest, AnAgentThatIsAwaitedTooLongIsSaidToBeUnreachable) {
  Protect();
  Run("failover", "latest");
  Run("commit");
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "AGENT_NOT_REGISTERED");
  clock_.now += kRegistrationWindowDefault + absl::Minutes(1);
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "VM_UNREACHABLE_FROM_CS");
}

TEST_F(AzureWorkflowTest, WhatCannotBeReplicatedToAzureIsRefused) {
  Obey();
  Obey();
  PlacementWish wish;
  wish.location = storage::v1::AZURE_VM;
  EXPECT_EQ(RefusedFor(wish), "");
  wish.azure.site = "east";
  EXPECT_EQ(RefusedFor(wish), "AZURE_SITE_UNKNOWN");
  wish.azure.site = kSite;
  EXPECT_EQ(RefusedFor(wish), "");
  wish.azure.size = "Standard_Nothing";
  EXPECT_EQ(RefusedFor(wish), "AZURE_SIZE_UNSUITABLE");
  wish.azure.size = "Standard_B1s";
  EXPECT_EQ(RefusedFor(wish), "") << "it has no data disk, and needs none";
  wish.directory = "web";
  EXPECT_EQ(RefusedFor(wish), "DIRECTORY_UNSUITABLE");
  wish.directory.clear();
  wish.process_server = "nobody";
  EXPECT_EQ(RefusedFor(wish), "NOT_IN_DATABASE");
  wish.process_server.clear();
  cloud.link = CloudState::Link::kDisconnected;
  EXPECT_EQ(RefusedFor(wish), "AZURE_NOT_REACHED");
  cloud.link = CloudState::Link::kConnected;
  cloud.site.clear_default_size();
  wish.azure.size.clear();
  EXPECT_EQ(RefusedFor(wish), "AZURE_SIZE_UNSUITABLE") << "none is known";
  wish.azure.size = "Standard_D2s_v5";
  containers_ = {"https://another.blob.core.windows.net/c"};
  Obey();
  EXPECT_EQ(RefusedFor(wish), "AZURE_NO_PROCESS_SERVER");
  containers_ = {kContainer};
  Obey();
  EXPECT_EQ(RefusedFor(wish), "");
  storage::v1::Machine machine = Machine();
  types::v1::Disk* const disk = machine.mutable_registration()->mutable_disks(0);
  disk->set_logical_sector_bytes(4096);
  EXPECT_EQ(Place(brain_->MakeView(), machine, wish).refusal->id(), "SECTOR_SIZE_UNSUPPORTED");
  disk->set_logical_sector_bytes(512);
  disk->set_size_bytes(kPageBlobDiskBytesMax);
  EXPECT_FALSE(Place(brain_->MakeView(), machine, wish).refusal.has_value());
  disk->set_size_bytes(kPageBlobDiskBytesMax + 512);
  EXPECT_EQ(Place(brain_->MakeView(), machine, wish).refusal->id(), "DISK_TOO_LARGE");
  disk->set_size_bytes(512);
  wish.azure.size = "Standard_B1s";
  *machine.mutable_registration()->add_disks() = *disk;
  machine.mutable_registration()->mutable_disks(1)->set_name("/dev/sdb");
  EXPECT_EQ(Place(brain_->MakeView(), machine, wish).refusal->id(), "AZURE_SIZE_UNSUITABLE");
  cloud.has_site = false;
  EXPECT_EQ(RefusedFor(wish), "AZURE_SITE_UNKNOWN");
}

TEST_F(AzureWorkflowTest, FirmwareIsAsTheOperatorSaysElseAsTheVmHasElseAsTheAgentFound) {
  Obey();
  Obey();
  PlacementWish wish;
  wish.location = storage::v1::AZURE_VM;
  storage::v1::Machine machine = Machine();
  const auto uefi = [&](const std::string& vcenter, const std::string& agent) {
    machine.mutable_vm()->set_firmware(vcenter);
    machine.mutable_registration()->set_firmware(agent);
    const Placed placed = Place(brain_->MakeView(), machine, wish);
    EXPECT_FALSE(placed.refusal.has_value());
    return placed.placement.azure_vm().uefi();
  };
  EXPECT_FALSE(uefi("", "")) << "nobody knows";
  EXPECT_TRUE(uefi("", "efi"));
  EXPECT_FALSE(uefi("", "bios"));
  EXPECT_TRUE(uefi("efi", "bios"));
  EXPECT_FALSE(uefi("bios", "efi"));
  wish.azure.firmware = "bios";
  EXPECT_FALSE(uefi("efi", "efi"));
  wish.azure.firmware = "efi";
  EXPECT_TRUE(uefi("bios", "bios"));
}

TEST_F(AzureWorkflowTest, ASiteThatIsNotReachedKeepsTheMachineFromFailingOver) {
  Protect();
  cloud.link = CloudState::Link::kDisconnected;
  const Refusal refusal = CheckOperation(brain_->MakeView(), Machine(), storage::v1::FAILBACK);
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->id(), "AZURE_NOT_REACHED");
  const auto issues = JudgeMachine(brain_->MakeView(), Machine());
  EXPECT_EQ(issues.size(), 1u) << "health says it before it is needed";
}

TEST_F(AzureWorkflowTest, ASiteWhoseResourceGroupIsGoneKeepsWhatWouldBeMadeThereFromBeginning) {
  PlacementWish wish;
  wish.location = storage::v1::AZURE_VM;
  Obey();
  Obey();
  cloud.error = absl::NotFoundError("its resource group rg-1 is not there");
  EXPECT_EQ(RefusedFor(wish), "AZURE_SITE_WRONG");
  cloud.error = absl::OkStatus();
  Protect();
  EXPECT_EQ(Refused(storage::v1::FAILBACK), "");
  cloud.error = absl::NotFoundError("its resource group rg-1 is not there");
  const View view = brain_->MakeView();
  const Refusal refusal = CheckOperation(view, Machine(), storage::v1::FAILBACK);
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->id(), "AZURE_SITE_WRONG");
  EXPECT_TRUE(absl::StrContains(refusal->message(), "site west")) << refusal->message();
  EXPECT_TRUE(absl::StrContains(refusal->message(), "resource group rg-1")) << refusal->message();
  const Refusal test = RulesOf(Machine()).CheckTest(view, Machine(), "");
  ASSERT_TRUE(test.has_value());
  EXPECT_EQ(test->id(), "AZURE_SITE_WRONG");
  const auto issues = JudgeMachine(view, Machine());
  EXPECT_EQ(issues.size(), 1u) << "health says it before it is needed";
}

TEST_F(AzureWorkflowTest, AMachineWhoseResourceGroupIsGoneIsRefusedUntilItIsThereAgain) {
  LiveInAzure();
  const auto kept = cloud.vms;
  cloud.vms.clear();
  cloud.error = absl::NotFoundError("its resource group rg-1 is not there");
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "AZURE_VM_GONE");
  cloud.vms = kept;
  cloud.error = absl::OkStatus();
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "");
}

TEST_F(AzureWorkflowTest, ATestFailoverLeavesReplicationAlone) {
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

TEST_F(AzureWorkflowTest, ATestFailoverThatFailsLeavesNothing) {
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

TEST_F(AzureWorkflowTest, ATestOfAPointThatWasDroppedFailsAtOnce) {
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

TEST_F(AzureWorkflowTest, ACopyIsNotStartedInTheMachinesNetwork) {
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

TEST_F(AzureWorkflowTest, ACompletedMigrationIsNeverFailedBack) {
  Obey();
  EXPECT_EQ(Refused(storage::v1::COMPLETE_MIGRATION), "OPERATION_NOT_ALLOWED");
  LiveInAzure();
  Run("complete-migration");
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "MIGRATION_COMPLETED");
  EXPECT_EQ(Refused(storage::v1::FAILBACK), "MIGRATION_COMPLETED");
  EXPECT_EQ(AllowedOperations(Machine()), std::vector({storage::v1::REMOVE}));
  Run("remove");
  EXPECT_EQ(cloud.vms.size(), 1u) << "it runs there";
}

TEST_F(AzureWorkflowTest, RefusalsCallItByItsWord) {
  Protect();
  EXPECT_EQ(OperationName(storage::v1::FAILBACK, Machine()), "failover");
  const auto job = Start("failover", "latest");
  ASSERT_TRUE(job.ok()) << job.status();
  const Refusal twice = CheckOperation(brain_->MakeView(), Machine(), storage::v1::FAILBACK);
  EXPECT_EQ(twice->id(), "JOB_RUNNING");
  storage::v1::Machine machine = Machine();
  machine.clear_job_id();
  const Refusal refused = CheckOperation(brain_->MakeView(), machine, storage::v1::FAILBACK);
  EXPECT_TRUE(absl::EndsWith(refused->message(), "does not allow failover")) << refused->message();
  EXPECT_EQ(OperationName(Finish(job->id())), "failover");
  Run("commit");
  Obey();
  EXPECT_EQ(OperationName(*brain_->FindJob(job->id())), "failover") << "whatever it does later";
  EXPECT_EQ(OperationName(storage::v1::FAILBACK, Machine()), "failback") << "it is there";
  EXPECT_EQ(OperationCalled("failover"), storage::v1::FAILBACK);
}

}  // namespace
}  // namespace homeward
