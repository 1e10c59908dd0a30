// Reprotect to the original VM and failback, against a modelled vCenter whose calls fail, whose
// replies are lost, and a server that is killed at any step. After each step every disk is where
// the records say, and attached to one VM at the most.
#include "config_server/model/vm_rules.h"
#include "tests/fakes/brain_fixture.h"
#include "tests/fakes/model_vcenter.h"

namespace homeward {
namespace {

class VmWorkflowTest : private WithVcenter, public BrainFixture {
 protected:
  VmWorkflowTest() : BrainFixture(&model) {
    target_uuid_ = kTargetUuid;
    hardware_uuid_ = kVmUuid;
    vcenter().before_step = [this](const VmMove& move) {
      EXPECT_EQ(ModelVcenter::NoteFault(Machine(), move), "");
    };
  }
  ModelVcenter& vcenter() { return model; }
  vsphere::Vm& vm() { return vcenter().world.vm(); }
  vsphere::Vm& target() { return vcenter().world.target(); }

  // On-premises, protected, failed over and committed: it runs in Azure now.
  void RunInAzure() {
    Obey();
    Obey();
    Run("protect", "", "azure");
    ASSERT_EQ(Machine().vm().name(), "web-1");
    Run("failback", "latest");
    Run("commit");
    boot_id_ = "boot-in-azure";
    hardware_uuid_ = "azure";
    sessions_.erase(kMachine);
    Obey();
  }
  // Round again: booted at home, then failed over, and a new copy runs in Azure.
  void LeaveAgain(unsigned round) {
    boot_id_ = absl::StrCat("home-", round);
    hardware_uuid_ = kVmUuid;
    sessions_.erase(kMachine);
    Obey();
    Run("reprotect", "", "azure");
    Run("failback", "latest");
    Run("commit");
    boot_id_ = hardware_uuid_ = absl::StrCat("azure-", round);
    sessions_.erase(kMachine);
    Obey();
  }
  // Every disk is attached to the one place that the record says, and nothing runs at two sites.
  void CheckPlaces() {
    const storage::v1::Machine machine = Machine();
    ASSERT_EQ(vcenter().PlaceFault(machine), "");
    const vsphere::Vm* const home = vcenter().Find(VmOf(machine).instance_uuid());
    const bool replicated = machine.state() == storage::v1::PROTECTED;
    ASSERT_FALSE(home != nullptr && home->on() && replicated) << "the machine runs at two sites";
    // The master target writes to what it has, and to nothing else.
    for (const auto& replica : desired_[kTarget].master_target().replicas()) {
      if (replica.attached_disks().empty() || replica.phase() != control::v1::FOLLOW) continue;
      for (const storage::v1::VmDisk* const disk : StreamedDisks(VmOf(machine))) {
        ASSERT_EQ(replica.attached_disks(0), disk->uuid());
        ASSERT_FALSE(replicated && home != nullptr && home->FindDisk(disk->uuid()) != nullptr);
      }
    }
  }
  storage::v1::Job FinishChecked(const std::string& job_id, unsigned kill_one_in) {
    for (int i = 0; i < 800; ++i) {
      if (kill_one_in > 0 && random_() % kill_one_in == 0) {
        StartBrain();
        vcenter().ServerDied();
      }
      Obey();
      CheckPlaces();
      if (HasFatalFailure()) return {};
      const storage::v1::Job job = *brain_->FindJob(job_id);
      if (job.state() != storage::v1::RUNNING) return job;
    }
    ADD_FAILURE() << "job " << job_id << " does not end: " << brain_->ProgressOf(job_id)->detail;
    return {};
  }
  std::string RefusedFor(const PlacementWish& wish) {
    const Placed placed = Place(brain_->MakeView(), Machine(), wish);
    return placed.refusal ? placed.refusal->id() : "";
  }
  // To where it is wished for, when it is a reprotect.
  storage::v1::Job Finished(const std::string& workflow, unsigned kill_one_in,
                            const PlacementWish& wish) {
    storage::v1::Job job;
    job.set_operation(OperationCalled(workflow));
    job.set_subject(kMachine);
    job.set_point("latest");
    if (workflow == "reprotect") {
      const Placed placed = Place(brain_->MakeView(), Machine(), wish);
      EXPECT_FALSE(placed.refusal) << placed.refusal->message();
      *job.mutable_wanted()->mutable_placement() = placed.placement;
    }
    const auto started = brain_->StartJob(job);
    EXPECT_TRUE(started.ok()) << started.status();
    return started.ok() ? FinishChecked(started->id(), kill_one_in) : storage::v1::Job();
  }
  storage::v1::Job RunChecked(const std::string& workflow, unsigned kill_one_in) {
    const auto job = Start(workflow, workflow == "failback" ? "latest" : "");
    EXPECT_TRUE(job.ok()) << workflow << ": " << job.status();
    return job.ok() ? FinishChecked(job->id(), kill_one_in) : storage::v1::Job();
  }
};

TEST_F(VmWorkflowTest, AMachineComesHomeToTheVmThatItWas) {
  RunInAzure();
  const VmWorld before = vcenter().world;
  EXPECT_EQ(RunChecked("reprotect", 0).state(), storage::v1::SUCCEEDED);
  EXPECT_TRUE(vm().off());
  EXPECT_TRUE(vm().disks.empty());
  EXPECT_EQ(target().disks.size(), 2u);
  EXPECT_EQ(Machine().assignment().placement().disks(0).uuid(), kFirstDisk);
  EXPECT_FALSE(Machine().assignment().state().fresh()) << "only differences travel";
  EXPECT_EQ(RunChecked("failback", 0).state(), storage::v1::SUCCEEDED);
  EXPECT_TRUE(vm().on());
  ASSERT_EQ(vm().disks.size(), 1u);
  EXPECT_EQ(vm().disks[0].unit, before.inventory.vms.at(before.vm_ref).disks[0].unit);
  EXPECT_EQ(target().disks.size(), 1u);
  EXPECT_EQ(IdOf(Start("failback", "latest").status()), "MACHINE_RUNNING")
      << "its disks may have been written to";
  EXPECT_EQ(RunChecked("commit", 0).state(), storage::v1::SUCCEEDED);
  EXPECT_EQ(IdOf(Start("reprotect", "", "azure").status()), "AGENT_NOT_REGISTERED");
}

TEST_F(VmWorkflowTest, AServerAndAVCenterThatFailAtAnyStepEndInDoneOrUndone) {
  RunInAzure();
  int undone = 0;
  for (unsigned seed = 1; seed <= 60; ++seed) {
    random_.seed(seed);
    vcenter().fault_one_in = seed % 3 == 0 ? 0 : 3;
    // Every third time something fails for good, and it is undone; then it is tried again.
    const bool fails = seed % 3 == 0;
    constexpr VmStep::Kind kSteps[] = {VmStep::Kind::kShutDownGuest, VmStep::Kind::kChangeVm,
                                       VmStep::Kind::kChangeMasterTarget};
    if (fails) vcenter().fail_step = kSteps[seed / 3 % 3];
    storage::v1::Job job = RunChecked("reprotect", 3);
    if (HasFatalFailure()) return;
    if (job.state() == storage::v1::FAILED) {
      ++undone;
      EXPECT_EQ(Machine().state(), storage::v1::COMMITTED);
      EXPECT_NE(vm().FindDisk(kFirstDisk), nullptr) << "seed " << seed;
      vcenter().fail_step.reset();
      job = RunChecked("reprotect", 3);
    }
    vcenter().fail_step.reset();
    ASSERT_EQ(job.state(), storage::v1::SUCCEEDED) << job.problem().message();
    if (seed % 4 == 0) vcenter().fail_step = VmStep::Kind::kPowerOn;
    job = RunChecked("failback", 3);
    if (HasFatalFailure()) return;
    if (seed % 4 == 0) {
      ++undone;
      EXPECT_EQ(job.state(), storage::v1::FAILED);
      EXPECT_EQ(job.problem().id(), "VM_POWER_ON_FAILED");
      EXPECT_EQ(Machine().state(), storage::v1::PROTECTED) << "and may be tried again";
      EXPECT_NE(target().FindDisk(kFirstDisk), nullptr);
      vcenter().fail_step.reset();
      job = RunChecked("failback", 3);
    }
    ASSERT_EQ(job.state(), storage::v1::SUCCEEDED) << job.problem().message();
    EXPECT_TRUE(vm().on());
    EXPECT_EQ(RunChecked("commit", 3).state(), storage::v1::SUCCEEDED);
    LeaveAgain(seed);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(undone, 20);
}

class AlternateVmTest : public VmWorkflowTest {
 protected:
  PlacementWish Wish(const std::string& uuid = "5007f072-edd8-4b16-8a4c-7b8c1f4e0aff") {
    PlacementWish wish;
    wish.location = storage::v1::ALTERNATE_VM;
    wish.datastore = "ds1";
    wish.new_vm.instance_uuid = uuid;
    return wish;
  }
  void DeleteVm() { vcenter().world.inventory.vms.erase(vcenter().world.vm_ref); }
  const vsphere::Vm* Named(const std::string& name) {
    for (const auto& [ref, vm] : vcenter().world.inventory.vms) {
      if (vm.name == name) return &vm;
    }
    return nullptr;
  }
};

TEST_F(AlternateVmTest, AMachineWhoseVmIsGoneComesHomeToANewOne) {
  RunInAzure();
  EXPECT_EQ(RefusedFor(Wish()), "VM_NAME_EXISTS");
  DeleteVm();
  EXPECT_EQ(IdOf(Start("reprotect").status()), "VM_GONE");
  for (unsigned seed = 1; seed <= 30; ++seed) {
    random_.seed(seed);
    vcenter().fault_one_in = seed % 2 == 0 ? 3 : 0;
    const PlacementWish wish = Wish(absl::StrCat("new-", seed));
    if (seed % 3 == 0) {
      constexpr VmStep::Kind kSteps[] = {VmStep::Kind::kCreateVm,
                                         VmStep::Kind::kChangeMasterTarget};
      vcenter().fail_step = kSteps[seed / 3 % 2];
      EXPECT_EQ(Finished("reprotect", 3, wish).state(), storage::v1::FAILED);
      EXPECT_EQ(Named("web-1"), nullptr) << "what was made is gone";
      EXPECT_EQ(target().disks.size(), 1u);
      vcenter().fail_step.reset();
    }
    ASSERT_EQ(Finished("reprotect", 3, wish).state(), storage::v1::SUCCEEDED);
    ASSERT_NE(Named("web-1"), nullptr);
    EXPECT_TRUE(Named("web-1")->disks.empty());
    EXPECT_EQ(Named("web-1")->bios_uuid, kVmUuid) << "its guest finds itself again";
    EXPECT_EQ(target().disks.size(), 2u);
    if (seed == 30) {
      EXPECT_EQ(Finished("remove", 3, {}).state(), storage::v1::SUCCEEDED);
      EXPECT_EQ(Named("web-1"), nullptr) << "it goes away with its replica";
      EXPECT_EQ(target().disks.size(), 1u);
      return;
    }
    ASSERT_EQ(Finished("failback", 3, {}).state(), storage::v1::SUCCEEDED);
    ASSERT_EQ(Named("web-1")->disks.size(), 1u);
    EXPECT_TRUE(Named("web-1")->on());
    EXPECT_EQ(Named("web-1")->disks[0].unit, 0);
    EXPECT_EQ(target().disks.size(), 1u);
    ASSERT_EQ(Finished("commit", 3, {}).state(), storage::v1::SUCCEEDED);
    EXPECT_EQ(Machine().vm().instance_uuid(), absl::StrCat("new-", seed))
        << "it is the machine's now";
    // Away again, and deleted again.
    LeaveAgain(seed);
    std::erase_if(vcenter().world.inventory.vms,
                  [](const auto& one) { return one.second.name == "web-1"; });
    if (HasFatalFailure()) return;
  }
}

TEST_F(AlternateVmTest, TheDatastoreMustBeVmfsReachedAndLargeEnough) {
  RunInAzure();
  DeleteVm();
  vsphere::Datastore& store = vcenter().world.inventory.datastores[vcenter().world.datastore];
  EXPECT_EQ(RefusedFor(Wish()), "");
  store.free_bytes = kVmDiskBytes - 1;
  EXPECT_EQ(RefusedFor(Wish()), "DATASTORE_FULL");
  store.free_bytes = kVmDiskBytes;
  for (const char* const type : {"NFS", "vsan"}) {
    store.type = type;
    EXPECT_EQ(RefusedFor(Wish()), "DATASTORE_TYPE_UNSUPPORTED");
  }
  store.type = "VMFS";
  store.mounts[1].read_write = false;
  EXPECT_EQ(RefusedFor(Wish()), "DATASTORE_NOT_ACCESSIBLE");
  PlacementWish wish = Wish();
  wish.datastore = "another";
  EXPECT_EQ(RefusedFor(wish), "DATASTORE_NOT_ACCESSIBLE");
  target_uuid_ = "nobody";
  sessions_.erase(kTarget);
  Obey();
  EXPECT_EQ(RefusedFor(Wish()), "HOST_NOT_DISCOVERED");
}

TEST_F(AlternateVmTest, APhysicalMachineGetsHardwareThatAnOperatorMayChoose) {
  hardware_uuid_ = "a-physical-machine";
  Obey();
  Obey();
  Run("protect", "", "azure");
  Run("failback", "latest");
  Run("commit");
  boot_id_ = hardware_uuid_ = "azure";
  sessions_.erase(kMachine);
  Obey();
  EXPECT_FALSE(Machine().has_vm());
  PlacementWish wish = Wish();
  wish.location = storage::v1::ORIGINAL_VM;
  wish.datastore.clear();
  EXPECT_EQ(RefusedFor(wish), "VM_NOT_RECORDED");
  wish = Wish();
  wish.new_vm.name = "was-physical";
  wish.new_vm.cpus = 6;
  ASSERT_EQ(Finished("reprotect", 0, wish).state(), storage::v1::SUCCEEDED);
  ASSERT_NE(Named("was-physical"), nullptr);
  EXPECT_EQ(Named("was-physical")->cpus, 6);
  EXPECT_EQ(Named("was-physical")->controllers.size(), 1u);
}

TEST_F(VmWorkflowTest, SnapshotsAreRemovedWhereTheOperatorSaysSo) {
  RunInAzure();
  const std::string file = vm().disks[0].file;
  for (const unsigned kill_one_in : {0u, 2u}) {
    vm().snapshots = 2;
    vm().disks[0].file = "[ds1] web-1/web-1-000002.vmdk";
    vcenter().merged_into[vm().disks[0].file] = file;
    EXPECT_EQ(RefusedFor({}), "VM_HAS_SNAPSHOTS");
    EXPECT_EQ(Finished("reprotect", kill_one_in, {.remove_snapshots = true}).state(),
              storage::v1::SUCCEEDED);
    EXPECT_EQ(vm().snapshots, 0);
    EXPECT_EQ(Machine().vm().disks(0).file(), file) << "the delta is gone";
    EXPECT_EQ(RunChecked("failback", kill_one_in).state(), storage::v1::SUCCEEDED);
    EXPECT_EQ(RunChecked("commit", 0).state(), storage::v1::SUCCEEDED);
    LeaveAgain(kill_one_in);
  }
}

TEST_F(VmWorkflowTest, ACopyThatRebootsWhileItsFailbackIsUndoneCountsAgain) {
  RunInAzure();
  EXPECT_EQ(RunChecked("reprotect", 0).state(), storage::v1::SUCCEEDED);
  vcenter().fail_step = VmStep::Kind::kPowerOn;
  bool refused = false;
  vcenter().before_step = [&](const VmMove& move) {
    if (move.kind != VmMove::Kind::kToVm || refused) return;
    boot_id_ = "boot-again";
    refused = !Connect(types::v1::AGENT, kMachine).ok();
    sessions_.erase(kMachine);
  };
  EXPECT_EQ(RunChecked("failback", 0).state(), storage::v1::FAILED);
  EXPECT_TRUE(refused) << "while it is decided which copy counts";
  // Its session of before the reboot is asked first.
  for (int i = 0; i < 300 && !sessions_.contains(kMachine); ++i) Obey();
  EXPECT_TRUE(sessions_.contains(kMachine));
}

TEST_F(VmWorkflowTest, ACancelledReprotectGivesTheDisksBack) {
  RunInAzure();
  agent_runs_ = false;  // So that it stays before the synchronisation.
  const auto job = Start("reprotect");
  ASSERT_TRUE(job.ok()) << job.status();
  brain_->fleet().Disconnect(kMachine, sessions_[kMachine]);
  sessions_.erase(kMachine);
  for (int i = 0; i < 40; ++i) Obey();
  EXPECT_NE(target().FindDisk(kFirstDisk), nullptr);
  ASSERT_TRUE(brain_->CancelJob(job->id()).ok());
  EXPECT_EQ(FinishChecked(job->id(), 0).state(), storage::v1::CANCELLED);
  EXPECT_NE(vm().FindDisk(kFirstDisk), nullptr);
  EXPECT_TRUE(vm().off()) << "some of its content may be the machine's already";
}

TEST_F(VmWorkflowTest, ARemovedProtectionGivesTheDisksBack) {
  RunInAzure();
  EXPECT_EQ(RunChecked("reprotect", 0).state(), storage::v1::SUCCEEDED);
  EXPECT_EQ(RunChecked("remove", 0).state(), storage::v1::SUCCEEDED);
  EXPECT_NE(vm().FindDisk(kFirstDisk), nullptr);
  EXPECT_EQ(Machine().state(), storage::v1::UNPROTECTED);
}

TEST_F(VmWorkflowTest, WhatAnOperatorChangedIsShownAndPutRight) {
  RunInAzure();
  const auto findings = [this] { return LookForChanges(brain_->MakeView(), Machine()).findings; };
  EXPECT_TRUE(findings().empty());
  EXPECT_EQ(IdOf(Start("repair").status()), "NOTHING_TO_REPAIR");
  // At home: moved to another place of its VM, then away from it.
  vm().power_state = "poweredOff";
  vm().disks[0].unit = 5;
  EXPECT_EQ(findings().size(), 1u);
  EXPECT_EQ(RunChecked("repair", 0).state(), storage::v1::SUCCEEDED);
  EXPECT_EQ(vm().disks[0].unit, 0);
  vm().disks.clear();
  ASSERT_EQ(findings().size(), 1u);
  EXPECT_NE(findings()[0].find("no VM"), std::string::npos) << findings()[0];
  const auto back = Start("repair");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(Finish(back->id(), 3).state(), storage::v1::SUCCEEDED);
  EXPECT_NE(vm().FindDisk(kFirstDisk), nullptr);

  // While it is replicated to: given back to the VM, which was started.
  EXPECT_EQ(RunChecked("reprotect", 0).state(), storage::v1::SUCCEEDED);
  EXPECT_TRUE(findings().empty());
  const std::string replica = Machine().assignment().replica_id();
  const uint64_t generation = Machine().generation();
  vm().disks.push_back(*target().FindDisk(kFirstDisk));
  vm().disks[0].unit = 0;
  target().disks.pop_back();
  vm().power_state = "poweredOn";
  ASSERT_EQ(findings().size(), 2u);
  const auto job = Start("repair");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(Finish(job->id(), 3).state(), storage::v1::SUCCEEDED);
  EXPECT_TRUE(vm().off());
  EXPECT_NE(target().FindDisk(kFirstDisk), nullptr);
  EXPECT_NE(Machine().assignment().replica_id(), replica) << "its points are not believed any more";
  EXPECT_GT(Machine().generation(), generation);
  EXPECT_FALSE(Machine().assignment().state().fresh());
  EXPECT_EQ(Machine().state(), storage::v1::PROTECTED);
  EXPECT_TRUE(findings().empty());
}

// Beside the machine's VM and the master target's stand copies that come first in the inventory.
class BystanderTest : public VmWorkflowTest {
 protected:
  void AddCopies() {
    Named("a copy of web-1", vm()).power_state = "poweredOff";
    Named("a copy of mt-1", target()).power_state = "poweredOff";
  }
  vsphere::Vm& Named(const std::string& name, const vsphere::Vm& of) {
    vsphere::Inventory& inventory = vcenter().world.inventory;
    vsphere::Vm copy = of;
    copy.name = name;
    copy.instance_uuid = absl::StrCat("5007f072-edd8-4b16-8a4c-00000000000", copies_.size());
    for (vsphere::Disk& disk : copy.disks)
      disk.file = absl::StrCat("[ds1] ", name, disk.file.substr(disk.file.find('/')));
    const vsphere::Ref ref{"VirtualMachine", absl::StrCat("a-", copies_.size())};
    copies_.push_back(ref);
    return inventory.vms[ref] = copy;
  }
  // What they are, for a comparison.
  std::string Copies() {
    std::string text;
    for (const vsphere::Ref& ref : copies_) {
      const vsphere::Vm& one = vcenter().world.inventory.vms[ref];
      absl::StrAppend(&text, one.name, " ", one.power_state, " ", one.change_version);
      for (const vsphere::Disk& disk : one.disks) absl::StrAppend(&text, " ", disk.file);
    }
    return text;
  }

  std::vector<vsphere::Ref> copies_;
};

TEST_F(BystanderTest, CopiesAreNeverTouched) {
  AddCopies();
  const std::string before = Copies();
  RunInAzure();
  EXPECT_EQ(Machine().vm().instance_uuid(), kVmInstance);
  for (unsigned seed = 1; seed <= 10; ++seed) {
    random_.seed(seed);
    vcenter().fault_one_in = 3;
    ASSERT_EQ(RunChecked("reprotect", 3).state(), storage::v1::SUCCEEDED);
    EXPECT_NE(target().FindDisk(kFirstDisk), nullptr);
    ASSERT_EQ(Copies(), before);
    ASSERT_EQ(RunChecked("failback", 3).state(), storage::v1::SUCCEEDED);
    EXPECT_TRUE(vm().on());
    ASSERT_EQ(Copies(), before);
    EXPECT_EQ(RunChecked("commit", 3).state(), storage::v1::SUCCEEDED);
    LeaveAgain(seed);
    if (HasFatalFailure()) return;
  }
}

TEST_F(BystanderTest, OneThatNothingTellsApartIsAskedFor) {
  Named("a copy of web-1", vm());
  Obey();
  Obey();
  EXPECT_EQ(IdOf(Start("protect", "", "azure").status()), "VM_AMBIGUOUS");
  EXPECT_FALSE(Machine().has_vm());
  said_vm_ = "dc1/another";
  EXPECT_EQ(IdOf(Start("protect", "", "azure").status()), "VM_NOT_THAT_ONE");
  EXPECT_EQ(Machine().chosen_vm(), "");
  said_vm_ = "dc1/web-1";
  Run("protect", "", "azure");
  EXPECT_EQ(Machine().vm().instance_uuid(), kVmInstance);
  EXPECT_EQ(Machine().chosen_vm(), "vc1:vm-1");
}

TEST_F(BystanderTest, ACopyThatHasTheUuidsOfItsDisksIsNothingToRepair) {
  AddCopies();
  RunInAzure();
  EXPECT_EQ(RunChecked("reprotect", 0).state(), storage::v1::SUCCEEDED);
  EXPECT_EQ(IdOf(Start("repair").status()), "NOTHING_TO_REPAIR");
}

TEST_F(VmWorkflowTest, ARepairThatIsCancelledLeavesTheMachineReplicated) {
  RunInAzure();
  EXPECT_EQ(RunChecked("reprotect", 0).state(), storage::v1::SUCCEEDED);
  vm().power_state = "poweredOn";
  const std::string replica = Machine().assignment().replica_id();
  const auto job = Start("repair");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(Machine().assignment().state().phase(), storage::v1::RELEASE);
  ASSERT_TRUE(brain_->CancelJob(job->id()).ok());
  EXPECT_EQ(Finish(job->id(), 3).state(), storage::v1::CANCELLED);
  EXPECT_EQ(Machine().state(), storage::v1::PROTECTED);
  EXPECT_EQ(Machine().assignment().state().phase(), storage::v1::FOLLOW);
  EXPECT_TRUE(Machine().assignment().state().streaming());
  EXPECT_NE(Machine().assignment().replica_id(), replica);
}

TEST_F(BystanderTest, WhichVmAMasterTargetIsIsAskedForAndKept) {
  RunInAzure();
  Named("a copy of mt-1", target());
  const std::string name = types::v1::ServerRole_Name(types::v1::MASTER_TARGET);
  EXPECT_EQ(IdOf(Start("reprotect").status()), "VM_AMBIGUOUS");
  EXPECT_EQ(IdOf(brain_->IdentifyServer("nobody", "dc1/mt-1").status()), "NOT_IN_DATABASE");
  EXPECT_EQ(IdOf(brain_->IdentifyServer(name, "dc1/web-1").status()), "VM_NOT_THAT_ONE");
  ASSERT_TRUE(brain_->IdentifyServer(name, "dc1/mt-1").ok());
  EXPECT_EQ(brain_->IdentifyServer(name, "").value().chosen_vm(), "");
  EXPECT_EQ(IdOf(Start("reprotect").status()), "VM_AMBIGUOUS");
  ASSERT_TRUE(brain_->IdentifyServer(kTarget, "dc1/mt-1").ok());
  ASSERT_TRUE(Connect(types::v1::MASTER_TARGET, kTarget).ok()) << "it registers again";
  const std::string before = Copies();
  EXPECT_EQ(RunChecked("reprotect", 0).state(), storage::v1::SUCCEEDED);
  EXPECT_NE(target().FindDisk(kFirstDisk), nullptr);
  EXPECT_EQ(Copies(), before);
}

// The copy appears when the job has begun: nothing is turned off, and nothing moved.
TEST_F(BystanderTest, WhatBecomesUnclearMeanwhileEndsTheJob) {
  RunInAzure();
  vm().power_state = "poweredOn";
  const auto job = Start("reprotect");
  ASSERT_TRUE(job.ok()) << job.status();
  Named("a copy of mt-1", target());
  const storage::v1::Job ended = FinishChecked(job->id(), 0);
  EXPECT_EQ(ended.state(), storage::v1::FAILED);
  EXPECT_EQ(ended.problem().id(), "VM_AMBIGUOUS");
  EXPECT_NE(vm().FindDisk(kFirstDisk), nullptr);
}

TEST_F(VmWorkflowTest, WhatIsRefusedTouchesNothing) {
  RunInAzure();
  target().snapshots = 1;
  EXPECT_EQ(IdOf(Start("reprotect").status()), "MASTER_TARGET_HAS_SNAPSHOTS");
  target().snapshots = 0;
  EXPECT_EQ(RunChecked("reprotect", 0).state(), storage::v1::SUCCEEDED);
  target().snapshots = 1;
  EXPECT_EQ(IdOf(Start("failback", "latest").status()), "MASTER_TARGET_HAS_SNAPSHOTS");
  target().snapshots = 0;
  EXPECT_TRUE(JudgeMachine(brain_->MakeView(), Machine()).empty());
  const int steps = vcenter().steps;
  vcenter().world.link = VcenterState::Link::kStale;
  EXPECT_EQ(IdOf(Start("failback", "latest").status()), "VCENTER_DISCONNECTED");
  EXPECT_EQ(vcenter().steps, steps);
  const auto issues = JudgeMachine(brain_->MakeView(), Machine());
  ASSERT_EQ(issues.size(), 1u) << "it is told before somebody wants to fail back";
  EXPECT_EQ(issues[0].problem().id(), "VCENTER_DISCONNECTED");
}

}  // namespace
}  // namespace homeward
