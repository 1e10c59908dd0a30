// Every rule about a VM: the world is well and nothing refuses; one thing is broken and its rule
// does.
#include "config_server/model/vm_rules.h"

#include <algorithm>
#include <random>

#include "config_server/model/vm_plan.h"
#include "config_server/model/vm_world.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

class StoppedClock : public Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixSeconds(1800000000); }
  absl::Duration Monotonic() const override { return absl::Seconds(1); }
};

class VmRulesTest : public ::testing::Test {
 protected:
  VmRulesTest() {
    machine_.set_machine_id("m");
    machine_.mutable_registration()->set_name("web-1");
    machine_.mutable_registration()->set_hardware_uuid("azure");
    for (const char* const name : {"/dev/sda", "/dev/sdb"}) {
      types::v1::Disk* const disk = assignment_.add_disks();
      disk->set_name(name);
      disk->set_size_bytes(kVmDiskBytes);
    }
    const View view = MakeView();
    *machine_.mutable_vm() = RecordVm(*FindVmByBiosUuid(view, kVmUuid), assignment_.disks());
    target_.set_host_id("t");
    target_.set_role(types::v1::MASTER_TARGET);
    target_.mutable_registration()->set_name("mt");
    target_.mutable_registration()->set_hardware_uuid(kTargetUuid);
  }
  View MakeView() const { return {fleet_, clock_, settings_, {}, {}, world_.States()}; }
  std::string Refused() const {
    const Refusal refusal = CheckOriginalVm(MakeView(), machine_, assignment_, target_);
    if (refusal) {
      EXPECT_FALSE(refusal->message().empty() || refusal->action().empty() ||
                   refusal->causes().empty())
          << refusal->id();
    }
    return refusal ? refusal->id() : "";
  }

  StoppedClock clock_;
  Settings settings_;
  Fleet fleet_{clock_, absl::Minutes(15)};
  VmWorld world_;
  storage::v1::Machine machine_;
  storage::v1::Assignment assignment_;
  storage::v1::Server target_;
};

TEST_F(VmRulesTest, WhatIsWellIsNotRefused) { EXPECT_EQ(Refused(), ""); }

TEST_F(VmRulesTest, VM_NOT_RECORDED) {
  machine_.clear_vm();
  EXPECT_EQ(Refused(), "VM_NOT_RECORDED");
}
TEST_F(VmRulesTest, VM_IS_SOURCE) {
  machine_.mutable_registration()->set_hardware_uuid(kVmUuid);
  EXPECT_EQ(Refused(), "VM_IS_SOURCE");
}
TEST_F(VmRulesTest, VM_GONE) {
  world_.inventory.vms.erase(world_.vm_ref);
  EXPECT_EQ(Refused(), "VM_GONE");
}
TEST_F(VmRulesTest, VCENTER_UNKNOWN) {
  machine_.mutable_vm()->set_vcenter("another");
  EXPECT_EQ(Refused(), "") << "a vCenter of another name has the VM";
  world_.inventory.vms.erase(world_.vm_ref);
  EXPECT_EQ(Refused(), "VCENTER_UNKNOWN");
}
TEST_F(VmRulesTest, VCENTER_DISCONNECTED) {
  world_.link = VcenterState::Link::kStale;
  EXPECT_EQ(Refused(), "VCENTER_DISCONNECTED");
  world_.inventory.vms.clear();
  EXPECT_EQ(Refused(), "VCENTER_DISCONNECTED") << "and not that the VM is gone";
}
TEST_F(VmRulesTest, HOST_NOT_DISCOVERED) {
  world_.inventory.hosts[world_.vm_host].connection_state = "notResponding";
  EXPECT_EQ(Refused(), "HOST_NOT_DISCOVERED") << "the VM's";
  world_.inventory.hosts[world_.vm_host].connection_state = "connected";
  world_.inventory.vms.erase(world_.target_ref);
  EXPECT_EQ(Refused(), "HOST_NOT_DISCOVERED") << "the master target's VM";
}
TEST_F(VmRulesTest, VM_HAS_SNAPSHOTS) {
  world_.vm().snapshots = 1;
  EXPECT_EQ(Refused(), "VM_HAS_SNAPSHOTS");
}
TEST_F(VmRulesTest, MASTER_TARGET_HAS_SNAPSHOTS) {
  world_.target().snapshots = 2;
  EXPECT_EQ(Refused(), "MASTER_TARGET_HAS_SNAPSHOTS");
}
TEST_F(VmRulesTest, MASTER_TARGET_CONTROLLER) {
  world_.target().controllers.push_back({1001, "ParaVirtualSCSIController", 1});
  EXPECT_EQ(Refused(), "MASTER_TARGET_CONTROLLER");
}
TEST_F(VmRulesTest, MASTER_TARGET_ENABLE_UUID) {
  world_.target().disk_enable_uuid = false;
  EXPECT_EQ(Refused(), "MASTER_TARGET_ENABLE_UUID");
}
TEST_F(VmRulesTest, MASTER_TARGET_DISK_LIMIT) {
  for (int32_t unit = 1; unit < 14; ++unit) {
    if (unit != 7)
      world_.target().disks.push_back(VmWorld::MakeDisk(2000 + unit, 1000, unit, "", "[ds1] x"));
  }
  EXPECT_EQ(Refused(), "") << "units 14 and 15 are free";
  world_.target().disks.push_back(VmWorld::MakeDisk(2014, 1000, 14, "", "[ds1] x"));
  EXPECT_EQ(Refused(), "MASTER_TARGET_DISK_LIMIT");
}
TEST_F(VmRulesTest, DISK_UUID_CLASH) {
  world_.target().disks.front().uuid = kSecondDisk;
  EXPECT_EQ(Refused(), "DISK_UUID_CLASH");
}
TEST_F(VmRulesTest, DATASTORE_TYPE_UNSUPPORTED) {
  vsphere::Datastore& store = world_.inventory.datastores[world_.datastore];
  store.type = "NFS";
  EXPECT_EQ(Refused(), "DATASTORE_TYPE_UNSUPPORTED");
  store.type = "vsan";
  EXPECT_EQ(Refused(), "") << "an original location may be vSAN";
}
TEST_F(VmRulesTest, DATASTORE_NOT_ACCESSIBLE) {
  vsphere::Datastore& store = world_.inventory.datastores[world_.datastore];
  store.mounts[1].read_write = false;
  EXPECT_EQ(Refused(), "DATASTORE_NOT_ACCESSIBLE") << "read-only";
  store.mounts[1] = {world_.target_host, true, false};
  EXPECT_EQ(Refused(), "DATASTORE_NOT_ACCESSIBLE") << "not reached";
  store.mounts.pop_back();
  EXPECT_EQ(Refused(), "DATASTORE_NOT_ACCESSIBLE") << "not mounted";
}
TEST_F(VmRulesTest, RAW_DEVICE_UNSUPPORTED) {
  world_.vm().disks[1].rdm_mode = "virtualMode";
  EXPECT_EQ(Refused(), "");
  world_.vm().disks[1].rdm_mode = "physicalMode";
  EXPECT_EQ(Refused(), "RAW_DEVICE_UNSUPPORTED");
}
TEST_F(VmRulesTest, VM_DISKS_CHANGED) {
  world_.vm().disks[0].capacity_bytes -= 512;
  EXPECT_EQ(Refused(), "VM_DISKS_CHANGED") << "smaller than the machine's";
  world_.vm().disks.erase(world_.vm().disks.begin());
  EXPECT_EQ(Refused(), "VM_DISKS_CHANGED") << "not there";
  world_.inventory = VmWorld().inventory;
  assignment_.mutable_disks()->RemoveLast();
  EXPECT_EQ(Refused(), "VM_DISKS_CHANGED") << "fewer than were recorded";
}

TEST_F(VmRulesTest, AVmThatWasRegisteredAgainIsKnownByItsDisks) {
  world_.vm().instance_uuid = "another";
  EXPECT_EQ(Refused(), "");
  world_.vm().disks.pop_back();
  EXPECT_EQ(Refused(), "VM_GONE") << "a clone with other disks is another VM";
}

TEST_F(VmRulesTest, AGuestMaySayItsUuidTheOtherWayRound) {
  EXPECT_TRUE(SameBiosUuid("72f00742-d8ed-164b-8a4c-7b8c1f4e0a01", kVmUuid));
  EXPECT_TRUE(SameBiosUuid("4207F072EDD84B168A4C7B8C1F4E0A01", kVmUuid));
  EXPECT_FALSE(SameBiosUuid(kTargetUuid, kVmUuid));
  EXPECT_FALSE(SameBiosUuid("", ""));
}

TEST_F(VmRulesTest, DisksAreMatchedByUuidAndElseBySizeInOrder) {
  google::protobuf::RepeatedPtrField<types::v1::Disk> disks = assignment_.disks();
  disks[0].set_uuid(kSecondDisk);
  const storage::v1::Vm recorded = RecordVm(*FindVmByBiosUuid(MakeView(), kVmUuid), disks);
  ASSERT_EQ(recorded.disks_size(), 2);
  EXPECT_EQ(recorded.disks(0).uuid(), kFirstDisk);
  EXPECT_EQ(recorded.disks(0).stream_index(), 2u);
  EXPECT_EQ(recorded.disks(1).stream_index(), 1u);
  EXPECT_EQ(recorded.disks(1).bus(), 1);
  EXPECT_EQ(recorded.disks(1).unit(), 2);
  disks[1].set_size_bytes(7);
  EXPECT_EQ(StreamedDisks(RecordVm(*FindVmByBiosUuid(MakeView(), kVmUuid), disks)).size(), 1u);
}

// --- moves

void Detach(vsphere::Vm* vm, const std::vector<int32_t>& keys) {
  for (const int32_t key : keys) {
    const auto it = std::find_if(vm->disks.begin(), vm->disks.end(),
                                 [&](const auto& disk) { return disk.key == key; });
    ASSERT_NE(it, vm->disks.end());
    vm->disks.erase(it);
  }
}

class VmPlanTest : public VmRulesTest {
 protected:
  VmPlanTest() {
    world_.vm().power_state = "poweredOff";
    for (const storage::v1::VmDisk* const disk : StreamedDisks(machine_.vm())) {
      move_.disks.push_back({disk->uuid(), disk->file(), disk->controller_type(), disk->bus(),
                             disk->unit(), disk->disk_mode()});
    }
    move_.vcenter = VmWorld::kName;
  }
  // What a vCenter does; the UUID comes with the file.
  void Perform(const VmStep& step) {
    vsphere::Vm& vm =
        step.kind == VmStep::Kind::kChangeMasterTarget ? world_.target() : world_.vm();
    ASSERT_TRUE(step.kind == VmStep::Kind::kChangeVm ||
                step.kind == VmStep::Kind::kChangeMasterTarget);
    ASSERT_EQ(step.change.change_version, vm.change_version);
    Detach(&vm, step.change.detach_disks);
    for (vsphere::Controller controller : step.change.add_controllers) {
      controller.key = 1000 + controller.bus;
      vm.controllers.push_back(controller);
    }
    for (const vsphere::DiskToAdd& add : step.change.add_disks) {
      const auto wanted = std::find_if(move_.disks.begin(), move_.disks.end(),
                                       [&](const auto& disk) { return disk.file == add.file; });
      ASSERT_NE(wanted, move_.disks.end());
      int32_t controller = add.controller_key;
      for (const vsphere::Controller& added : step.change.add_controllers) {
        if (added.key == controller) controller = 1000 + added.bus;
      }
      for (const vsphere::Disk& other : vm.disks)
        ASSERT_FALSE(other.controller_key == controller && other.unit == add.unit);
      vm.disks.push_back(
          VmWorld::MakeDisk(next_key_++, controller, add.unit, wanted->uuid, add.file));
    }
  }
  void Reach(VmMove::Kind kind) {
    move_.kind = kind;
    for (int steps = 0; steps < 6; ++steps) {
      const VmStep step = NextStep(move_, &world_.vm(), &world_.target());
      if (step.kind == VmStep::Kind::kReached) return;
      ASSERT_NE(step.kind, VmStep::Kind::kRefused) << step.problem.message();
      Perform(step);
      if (HasFatalFailure()) return;
    }
    FAIL() << "it does not get there";
  }

  VmMove move_;
  int32_t next_key_ = 3000;
};

// From wherever the disks are, also from nowhere, to where they are to be, and nowhere else.
TEST_F(VmPlanTest, AMoveBeginsFromAnything) {
  const VmWorld well = world_;
  std::mt19937 random(1);
  for (int round = 0; round < 500; ++round) {
    world_.inventory = well.inventory;
    for (const VmMove::Disk& disk : move_.disks) {
      const unsigned where = random() % 4;
      if (where == 0) continue;  // at the VM
      for (auto it = world_.vm().disks.begin(); it != world_.vm().disks.end(); ++it) {
        if (it->uuid != disk.uuid) continue;
        if (where == 1) world_.target().disks.push_back(*it);
        if (where == 1) world_.target().disks.back().key = next_key_++;
        if (where == 1) world_.target().disks.back().unit = 3 + disk.unit;
        if (where == 1) world_.target().disks.back().controller_key = 1000;
        if (where == 2) it->unit += 3;  // at the VM, at another place
        if (where != 2) world_.vm().disks.erase(it);
        break;
      }
    }
    if (random() % 3 == 0) {  // and its controller went away with a disk that was the last on it
      const bool empty = std::none_of(world_.vm().disks.begin(), world_.vm().disks.end(),
                                      [](const auto& disk) { return disk.controller_key == 1001; });
      if (empty) world_.vm().controllers.pop_back();
    }
    const bool home = random() % 2 == 0;
    Reach(home ? VmMove::Kind::kToVm : VmMove::Kind::kToMasterTarget);
    if (HasFatalFailure()) return;
    for (const VmMove::Disk& disk : move_.disks) {
      const vsphere::Disk* const at_vm = world_.vm().FindDisk(disk.uuid);
      const vsphere::Disk* const at_target = world_.target().FindDisk(disk.uuid);
      ASSERT_EQ(at_vm != nullptr, home);
      ASSERT_EQ(at_target != nullptr, !home);
      if (!home) continue;
      ASSERT_EQ(at_vm->unit, disk.unit);
      ASSERT_EQ(world_.vm().FindController(at_vm->controller_key)->bus, disk.bus);
    }
    ASSERT_EQ(world_.target().disks.size(), home ? 1u : 3u) << "its own disk stays";
  }
}

TEST_F(VmPlanTest, NothingIsMovedWhileTheVmRunsOrHasSnapshots) {
  move_.kind = VmMove::Kind::kToMasterTarget;
  world_.vm().power_state = "poweredOn";
  EXPECT_EQ(NextStep(move_, &world_.vm(), &world_.target()).problem.id(), "VM_NOT_OFF");
  world_.vm().power_state = "poweredOff";
  world_.vm().snapshots = 1;
  EXPECT_EQ(NextStep(move_, &world_.vm(), &world_.target()).problem.id(), "VM_HAS_SNAPSHOTS");
  world_.vm().snapshots = 0;
  world_.vm().disks[0].file = "[ds2] web-1/web-1.vmdk";
  EXPECT_EQ(NextStep(move_, &world_.vm(), &world_.target()).problem.id(), "VM_DISKS_CHANGED")
      << "the record does not have its file";
  EXPECT_EQ(NextStep(move_, nullptr, &world_.target()).problem.id(), "VM_GONE");
  EXPECT_EQ(NextStep(move_, &world_.vm(), nullptr).problem.id(), "HOST_NOT_DISCOVERED");
}

TEST_F(VmPlanTest, WhatTookADisksPlaceIsNotMovedAway) {
  move_.kind = VmMove::Kind::kToVm;
  world_.vm().disks[0].uuid = "6000c2900000000000000000000000ff";
  EXPECT_EQ(NextStep(move_, &world_.vm(), &world_.target()).problem.id(), "VM_DISKS_CHANGED");
}

TEST_F(VmPlanTest, AGuestIsAskedFirst) {
  move_.kind = VmMove::Kind::kTurnOff;
  EXPECT_EQ(NextStep(move_, &world_.vm(), nullptr).kind, VmStep::Kind::kReached);
  world_.vm().power_state = "poweredOn";
  EXPECT_EQ(NextStep(move_, &world_.vm(), nullptr).kind, VmStep::Kind::kShutDownGuest);
  world_.vm().tools_running = "guestToolsNotRunning";
  EXPECT_EQ(NextStep(move_, &world_.vm(), nullptr).kind, VmStep::Kind::kPowerOff);
  world_.vm().power_state = "suspended";
  EXPECT_EQ(NextStep(move_, &world_.vm(), nullptr).kind, VmStep::Kind::kPowerOff);
}

TEST_F(VmPlanTest, AVmWithoutItsDisksIsNotTurnedOn) {
  move_.kind = VmMove::Kind::kTurnOn;
  EXPECT_EQ(NextStep(move_, &world_.vm(), nullptr).kind, VmStep::Kind::kPowerOn);
  world_.vm().disks.pop_back();
  EXPECT_EQ(NextStep(move_, &world_.vm(), nullptr).problem.id(), "VM_DISKS_CHANGED");
}

}  // namespace
}  // namespace homeward
