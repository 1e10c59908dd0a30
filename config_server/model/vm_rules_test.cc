// Every rule about a VM: the world is well and nothing refuses; one thing is broken and its rule
// does.
#include "config_server/model/vm_rules.h"
#include "config_server/model/health.h"
#include "config_server/model/rules.h"

#include <algorithm>
#include <random>

#include "config_server/model/vm_name.h"
#include "config_server/model/vm_plan.h"
#include "gtest/gtest.h"
#include "tests/fakes/manual_clock.h"
#include "tests/fakes/vm_world.h"

namespace homeward {
namespace {

class VmRulesTest : public ::testing::Test {
 protected:
  VmRulesTest() {
    machine_.set_machine_id("m");
    machine_.mutable_registration()->set_name("web-1");
    machine_.mutable_registration()->set_hardware_uuid("azure");
    for (const char* const name : {"/dev/sda", "/dev/sdb"}) {
      types::v1::Disk* const disk = placement_.add_disks();
      disk->set_name(name);
      disk->set_size_bytes(kVmDiskBytes);
    }
    const View view = MakeView();
    *machine_.mutable_vm() = RecordVm(Home(view), placement_.disks());
    target_.set_host_id("t");
    target_.set_role(types::v1::MASTER_TARGET);
    target_.mutable_registration()->set_name("mt");
    target_.mutable_registration()->set_hardware_uuid(kTargetUuid);
  }
  View MakeView() const { return {fleet_, clock_, settings_, {}, {}, world_.States()}; }
  static FoundVm Home(const View& view) {
    const auto& [name, state] = *view.vcenters.begin();
    const auto vm = state.inventory->vms.find(VmWorld().vm_ref);
    return {name, &state, vm->first, &vm->second};
  }
  std::string Refused() const {
    const Refusal refusal = CheckOriginalVm(MakeView(), machine_, placement_, target_);
    if (refusal) {
      EXPECT_FALSE(refusal->message().empty() || refusal->action().empty() ||
                   refusal->causes().empty())
          << refusal->id();
    }
    return refusal ? refusal->id() : "";
  }

  ManualClock clock_;
  Settings settings_;
  FleetState fleet_;
  VmWorld world_;
  storage::v1::Machine machine_;
  storage::v1::Placement placement_;
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
  placement_.mutable_disks()->RemoveLast();
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
  google::protobuf::RepeatedPtrField<types::v1::Disk> disks = placement_.disks();
  disks[0].set_uuid(kSecondDisk);
  const View view = MakeView();
  const storage::v1::Vm recorded = RecordVm(Home(view), disks);
  ASSERT_EQ(recorded.disks_size(), 2);
  EXPECT_EQ(recorded.disks(0).uuid(), kFirstDisk);
  EXPECT_EQ(recorded.disks(0).stream_index(), 2u);
  EXPECT_EQ(recorded.disks(1).stream_index(), 1u);
  EXPECT_EQ(recorded.disks(1).bus(), 1);
  EXPECT_EQ(recorded.disks(1).unit(), 2);
  disks[1].set_size_bytes(7);
  EXPECT_EQ(StreamedDisks(RecordVm(Home(view), disks)).size(), 1u);
}

TEST_F(VmRulesTest, DeltasThatBelongToNoSnapshotAreSnapshots) {
  world_.vm().disks[1].has_parent = true;
  EXPECT_EQ(Refused(), "VM_HAS_SNAPSHOTS");
  placement_.set_remove_snapshots(true);
  EXPECT_EQ(Refused(), "VM_HAS_SNAPSHOTS") << "they do not go away with any snapshot";
  world_.vm().snapshots = 1;
  EXPECT_EQ(Refused(), "") << "these do";
  world_.target().disks[0].has_parent = true;
  EXPECT_EQ(Refused(), "MASTER_TARGET_HAS_SNAPSHOTS");
}

TEST_F(VmRulesTest, AVmInAVAppHasNoParent) {
  const vsphere::Ref vapp{"VirtualApp", "resgroup-v1"};
  world_.inventory.folders[vapp] = {"shop", world_.datacenter, {}, {}};
  for (vsphere::Vm* const vm : {&world_.vm(), &world_.target()}) {
    vm->parent = {};
    vm->parent_vapp = vapp;
  }
  EXPECT_EQ(Refused(), "");
  EXPECT_EQ(world_.inventory.PathOf(world_.vm()), "dc1/shop/web-1");
  world_.inventory.folders.erase(vapp);
  EXPECT_EQ(Refused(), "") << "its host is in a datacenter too";
}

TEST_F(VmRulesTest, ADiskThatAThirdVmHasTooIsNotTaken) {
  vsphere::Vm& third = world_.AddCopy("web-1 again");
  third.bios_uuid = "another";
  third.disks[0].file = world_.vm().disks[0].file;
  EXPECT_EQ(Refused(), "VM_DISKS_CHANGED");
}

TEST_F(VmRulesTest, NamesAreWhatVsphereTakes) {
  EXPECT_FALSE(CheckVmName("web/1 of 100% \\ \xc3\xa4"));
  EXPECT_FALSE(CheckVmName(std::string(80, 'x')));
  std::string umlauts;
  for (int i = 0; i < 80; ++i) umlauts += "\xc3\xa4";
  EXPECT_FALSE(CheckVmName(umlauts)) << "characters count, not bytes";
  for (const std::string& name : {std::string(81, 'x'), umlauts + "x", std::string(),
                                  std::string("a\nb"), std::string("a\0b", 3), std::string("\xff"),
                                  std::string(" a"), std::string("a "), std::string("\xc2\x85")}) {
    const Refusal refusal = CheckVmName(name);
    ASSERT_TRUE(refusal) << name;
    EXPECT_EQ(refusal->id(), "VM_NAME_UNSUITABLE");
  }
  EXPECT_EQ(vsphere::EncodeName("a/b\\c%2f"), "a%2fb%5cc%252f");
  for (const char* const name : {"a/b\\c%2f", "%", "%25", "plain"})
    EXPECT_EQ(vsphere::DecodeName(vsphere::EncodeName(name)), name);
}

// --- which one

class VmSearchTest : public VmRulesTest {
 protected:
  VmSearchTest() {
    storage::v1::Registration& registration = *machine_.mutable_registration();
    registration.set_hardware_uuid(kVmUuid);
    copy_ = &world_.AddCopy("web-1 copy");
    world_.vm().cards = {{"VirtualVmxnet3", "00:50:56:aa:00:01", "lan", "", ""}};
    copy_->cards = {{"VirtualVmxnet3", "00:50:56:aa:00:02", "lan", "", ""}};
  }
  // The name of the VM that the machine's agent runs in; or the problem's id; or "none".
  std::string Source() {
    const View view = MakeView();
    const VmSearch search = FindOne(view.vcenters, IdentityOfSource(machine_));
    if (search.ambiguous) return search.ambiguous->id();
    return search.found.has_value() ? search.found->vm->name : "none";
  }
  std::string Server() {
    const View view = MakeView();
    const VmSearch search = FindOne(view.vcenters, IdentityOfServer(view, target_));
    if (search.ambiguous) return search.ambiguous->id();
    return search.found.has_value() ? search.found->vm->name : "none";
  }
  void Names(const char* uuid) {
    types::v1::Disk* const disk = machine_.mutable_registration()->add_disks();
    disk->set_name("/dev/sda");
    disk->set_uuid(uuid);
  }

  vsphere::Vm* copy_;
};

TEST_F(VmSearchTest, TwoVmsThatNothingTellsApartAreNamedBothAndNoneIsTaken) {
  EXPECT_EQ(Source(), "VM_AMBIGUOUS");
  const Refusal refusal = CheckSource(MakeView(), machine_);
  ASSERT_TRUE(refusal);
  for (const char* const name : {"dc1/web-1 (vm-1 of vc1)", "dc1/web-1 copy (a-copy-1 of vc1)"})
    EXPECT_NE(refusal->message().find(name), std::string::npos) << refusal->message();
}

TEST_F(VmSearchTest, TheDisksThatTheAgentNamesTellThemApart) {
  Names(kFirstDisk);
  EXPECT_EQ(Source(), "VM_AMBIGUOUS") << "a copy by file has their UUIDs";
  copy_->disks[0].uuid = "6000c2900000000000000000000000aa";
  EXPECT_EQ(Source(), "web-1");
  // The real one is in no vCenter that is known.
  world_.inventory.vms.erase(world_.vm_ref);
  EXPECT_EQ(Source(), "none");
  machine_.mutable_registration()->mutable_disks(0)->set_uuid("0123456789abcdef0123456789abcdef");
  EXPECT_EQ(Source(), "web-1 copy") << "what is not VMware's contradicts nothing";
}

TEST_F(VmSearchTest, PowerStateAndMacAddressesTellThemApartUnlessTheyContradict) {
  copy_->power_state = "poweredOff";
  EXPECT_EQ(Source(), "web-1");
  machine_.mutable_registration()->add_mac_addresses("005056aa0001");
  EXPECT_EQ(Source(), "web-1");
  copy_->power_state = "poweredOn";
  EXPECT_EQ(Source(), "web-1");
  world_.vm().power_state = "poweredOff";
  EXPECT_EQ(Source(), "VM_AMBIGUOUS") << "the inventory may be a moment old";
}

TEST_F(VmSearchTest, AnOperatorSaysWhichByReferenceOrPath) {
  const VmIdentity identity = IdentityOfSource(machine_);
  for (const char* const text : {"vm-1", "vc1:vm-1", "dc1/web-1", "vc1:dc1/web-1"}) {
    const Choice choice = ChooseVm(MakeView(), identity, text);
    ASSERT_FALSE(choice.refusal) << choice.refusal->message();
    EXPECT_EQ(choice.recorded, "vc1:vm-1");
  }
  machine_.set_chosen_vm("vc1:a-copy-1");
  EXPECT_EQ(Source(), "web-1 copy");
  machine_.set_chosen_vm("vc1:vm-99");
  EXPECT_EQ(Source(), "VM_AMBIGUOUS") << "what was said is not there any more";
  for (const char* const text : {"web-1", "vm-2", "dc1/mt-1"}) {
    const Choice choice = ChooseVm(MakeView(), identity, text);
    ASSERT_TRUE(choice.refusal);
    EXPECT_EQ(choice.refusal->id(), "VM_NOT_THAT_ONE");
  }
  Names("6000c2900000000000000000000000bb");
  EXPECT_EQ(ChooseVm(MakeView(), IdentityOfSource(machine_), "vm-1").refusal->id(),
            "VM_NOT_THAT_ONE")
      << "its disks are not the machine's";
}

TEST_F(VmSearchTest, ACopyOfTheMasterTargetIsNotTheMasterTarget) {
  EXPECT_EQ(Server(), "mt-1");
  vsphere::Vm& copy = world_.AddCopy("mt-1 copy", &world_.target());
  EXPECT_EQ(Server(), "VM_AMBIGUOUS");
  machine_.mutable_registration()->set_hardware_uuid("azure");
  EXPECT_EQ(Refused(), "VM_AMBIGUOUS");
  copy.power_state = "poweredOff";
  EXPECT_EQ(Server(), "mt-1");
  copy.power_state = "poweredOn";
  target_.mutable_registration()->add_disks()->set_uuid("6000c290000000000000000000000009");
  copy.disks[0].uuid = "6000c2900000000000000000000000cc";
  EXPECT_EQ(Server(), "mt-1");
  EXPECT_EQ(Refused(), "");
  world_.inventory.vms.erase(world_.target_ref);
  EXPECT_EQ(Refused(), "HOST_NOT_DISCOVERED") << "the copy alone is not it";
}

// Of the VM that is recorded: its own UUIDs count, and a copy that has some of them is another VM.
TEST_F(VmSearchTest, ACopyByFileIsNotTheVmThatWasRecorded) {
  machine_.mutable_registration()->set_hardware_uuid("azure");
  EXPECT_EQ(Refused(), "") << "its instance UUID is its own";
  world_.inventory.vms.erase(world_.vm_ref);
  EXPECT_EQ(Refused(), "VM_GONE") << "with the UUIDs of its disks, in other files";
  machine_.set_chosen_vm("vc1:a-copy-1");
  EXPECT_EQ(Refused(), "") << "unless an operator says that it is";
}

TEST_F(VmSearchTest, AVmThatTwoVCentersShowIsAmbiguousUntilItIsChosen) {
  std::map<std::string, VcenterState> states = world_.States();
  states["esx1"] = states["vc1"];
  machine_.mutable_registration()->set_hardware_uuid("azure");
  EXPECT_TRUE(FindOne(states, IdentityOfRecorded(machine_)).ambiguous);
  machine_.set_chosen_vm("esx1:vm-1");
  EXPECT_EQ(FindOne(states, IdentityOfRecorded(machine_)).found->vcenter, "esx1");
}

TEST_F(VmSearchTest, AMachineIsKnownToRunInItsVmByItsCardsToo) {
  machine_.mutable_registration()->set_hardware_uuid("changed");
  EXPECT_FALSE(RunsInItsVm(machine_));
  machine_.mutable_vm()->add_cards()->set_mac("00:50:56:AA:00:01");
  machine_.mutable_registration()->add_mac_addresses("005056aa0001");
  EXPECT_TRUE(RunsInItsVm(machine_));
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

TEST_F(VmPlanTest, AVmThatHasNotItsDisksIsNotTurnedOff) {
  move_.kind = VmMove::Kind::kTurnOff;
  for (VmMove::Disk& disk : move_.disks) disk.at_vm = true;
  world_.vm().power_state = "poweredOn";
  EXPECT_EQ(NextStep(move_, &world_.vm(), &world_.target()).kind, VmStep::Kind::kShutDownGuest);
  world_.vm().disks[1].uuid = "6000c2900000000000000000000000ff";
  EXPECT_EQ(NextStep(move_, &world_.vm(), &world_.target()).problem.id(), "VM_DISKS_CHANGED");
}

TEST_F(VmPlanTest, WhatKeepsTheMasterTargetFromTakingDisksIsSeenBeforeTheyLeave) {
  move_.kind = VmMove::Kind::kToMasterTarget;
  world_.target().disks[0].has_parent = true;
  EXPECT_EQ(NextStep(move_, &world_.vm(), &world_.target()).problem.id(),
            "MASTER_TARGET_HAS_SNAPSHOTS");
  move_.kind = VmMove::Kind::kTurnOff;
  EXPECT_EQ(NextStep(move_, &world_.vm(), &world_.target()).problem.id(),
            "MASTER_TARGET_HAS_SNAPSHOTS");
  world_.target().disks[0].has_parent = false;
  world_.vm().disks[1].has_parent = true;
  EXPECT_EQ(NextStep(move_, &world_.vm(), &world_.target()).problem.id(), "VM_HAS_SNAPSHOTS");
  move_.kind = VmMove::Kind::kToMasterTarget;
  EXPECT_EQ(NextStep(move_, &world_.vm(), &world_.target()).problem.id(), "VM_HAS_SNAPSHOTS");
  world_.vm().disks[1].has_parent = false;
  world_.target().disks[0].uuid = kFirstDisk;
  EXPECT_EQ(NextStep(move_, &world_.vm(), &world_.target()).problem.id(), "DISK_UUID_CLASH");
}

TEST_F(VmPlanTest, ADiskThatSomebodyAttachedToANewVmIsNotRemovedWithIt) {
  move_.kind = VmMove::Kind::kDestroyVm;
  EXPECT_EQ(NextStep(move_, &world_.vm(), &world_.target()).kind, VmStep::Kind::kDestroyVm);
  world_.vm().disks.push_back(
      VmWorld::MakeDisk(2009, 1000, 9, "6000c2900000000000000000000000ff", "[ds1] other/x.vmdk"));
  EXPECT_EQ(NextStep(move_, &world_.vm(), &world_.target()).problem.id(), "VM_DISKS_CHANGED");
}

// As the VMs are right before each step: whatever was clear when the job began.
TEST_F(VmPlanTest, ACopyThatAppearsMeanwhileIsNotTouched) {
  move_.kind = VmMove::Kind::kToMasterTarget;
  const auto next = [&] {
    const View view = MakeView();
    move_.vm = IdentityOfRecorded(machine_);
    move_.master_target = IdentityOfServer(view, target_);
    return NextStep(move_, VmsOf(move_, CandidatesFor(view.vcenters, move_.vm),
                                 CandidatesFor(view.vcenters, move_.master_target)));
  };
  EXPECT_EQ(next().kind, VmStep::Kind::kChangeVm);
  vsphere::Vm& copy = world_.AddCopy("mt-1 copy", &world_.target());
  EXPECT_EQ(next().problem.id(), "VM_AMBIGUOUS");
  copy.power_state = "poweredOff";
  vsphere::Vm& third = world_.AddCopy("web-1 copy");
  EXPECT_EQ(next().kind, VmStep::Kind::kChangeVm);
  third.disks[0].file = world_.vm().disks[0].file;
  EXPECT_EQ(next().problem.id(), "VM_DISKS_CHANGED");
  // Back from the one that has them, whichever else is like it.
  third.disks.clear();
  copy.power_state = "poweredOn";
  world_.target().disks.push_back(
      VmWorld::MakeDisk(2001, 1000, 1, kFirstDisk, "[ds1] web-1/web-1.vmdk"));
  world_.vm().disks.erase(world_.vm().disks.begin());
  move_.kind = VmMove::Kind::kToVm;
  const VmStep back = next();
  ASSERT_EQ(back.kind, VmStep::Kind::kChangeMasterTarget) << back.problem.message();
  EXPECT_EQ(back.change.detach_disks, std::vector<int32_t>{2001});
}

// What was done a moment ago is in what was read, and not yet in the inventory that is followed.
TEST_F(VmPlanTest, AnInventoryThatIsBehindDoesNotHoldADisk) {
  move_.kind = VmMove::Kind::kToVm;
  world_.target().disks.push_back(
      VmWorld::MakeDisk(2001, 1000, 1, kFirstDisk, "[ds1] web-1/web-1.vmdk"));
  world_.vm().disks.erase(world_.vm().disks.begin());
  const View view = MakeView();
  move_.vm = IdentityOfRecorded(machine_);
  move_.master_target = IdentityOfServer(view, target_);
  vsphere::Vm left = world_.target();
  left.disks.pop_back();
  std::vector<FoundVm> targets = CandidatesFor(view.vcenters, move_.master_target);
  for (FoundVm& one : targets) one.vm = &left;
  const VmStep step =
      NextStep(move_, VmsOf(move_, CandidatesFor(view.vcenters, move_.vm), targets));
  EXPECT_EQ(step.kind, VmStep::Kind::kChangeVm) << step.problem.message();
}

TEST_F(VmPlanTest, AVmWithoutItsDisksIsNotTurnedOn) {
  move_.kind = VmMove::Kind::kTurnOn;
  EXPECT_EQ(NextStep(move_, &world_.vm(), nullptr).kind, VmStep::Kind::kPowerOn);
  world_.vm().disks.pop_back();
  EXPECT_EQ(NextStep(move_, &world_.vm(), nullptr).problem.id(), "VM_DISKS_CHANGED");
}

}  // namespace
}  // namespace homeward
