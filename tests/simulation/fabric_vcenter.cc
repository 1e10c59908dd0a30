#include "tests/simulation/fabric_vcenter.h"

#include "tests/simulation/fabric_cluster.h"

namespace homeward::simulation {

void Fabric::BuildVcenter(uint64_t seed) {
  Component* target = nullptr;
  for (auto& component : components_) {
    if (component->is_target) target = component.get();
  }
  vcenter_ = std::make_unique<FabricVcenter>(seed, &target->host);
  ModelVcenter& model = vcenter_->model;
  model.fault_one_in = world_.Chance(0.5) ? 4 : 0;
  model.gives_up_one_in = 20;
  model.later = [this](std::function<void()> performs) {
    world_.After(world_.Between(absl::Milliseconds(1), absl::Seconds(2)),
                 [this, performs = std::move(performs)] {
                   performs();
                   LookAtMachines();
                 });
  };
  vsphere::Vm& own = model.world.target();
  own.cards = {{"VirtualVmxnet3", "00:50:56:98:00:01", "lan", "", ""}};
  if (world_.Chance(0.6)) {
    using Bystander = FabricVcenter::Bystander;
    constexpr Bystander kKinds[] = {Bystander::kOtherDisks, Bystander::kOff,
                                    Bystander::kOtherCards};
    vcenter_->AddBystander(own, kKinds[world_.Pick(std::size(kKinds))]);
  }
  model.before_step = [this](const VmMove& move) { CheckNoted(move); };
  model.power_changed = [this](const vsphere::Vm& vm) {
    Say(absl::StrCat("VM ", vm.name, " is ", vm.power_state));
    for (auto& guest : machines_) {
      for (auto& copy : guest->copies) {
        if (vm.off() && copy->in_vm == vm.instance_uuid && copy->vm_on) TurnOff(copy.get());
      }
      if (azure_ != nullptr && vm.on()) TurnOnAtHome(guest.get(), vm);
    }
  };
  model.attached = [this](const vsphere::Vm& vm, const std::string& uuid, uint64_t made_bytes) {
    Say(absl::StrCat("disk ", uuid, " is attached to ", vm.name));
    if (made_bytes > 0) vcenter_->datastore[uuid] = std::string(made_bytes, '\0');
    if (&vm != &vcenter_->model.world.target()) return;
    vcenter_->target_host.disk.Attach(HotAdded::PathOf(uuid), vcenter_->datastore[uuid]);
  };
  model.detached = [this, target](const vsphere::Vm& vm, const std::string& uuid) {
    Say(absl::StrCat("disk ", uuid, " is detached from ", vm.name));
    if (&vm != &vcenter_->model.world.target()) return;
    if (target->host.up && vcenter_->hot_added.IsInUse(uuid))
      Fail(absl::StrCat("disk ", uuid, " is taken from a master target that writes to it"));
    vcenter_->datastore[uuid] = vcenter_->target_host.disk.Detach(HotAdded::PathOf(uuid));
  };
  ScheduleVcenterFault();
}

void Fabric::ScheduleVcenterFault() {
  world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(10)), [this] {
    ModelVcenter& model = vcenter_->model;
    model.world.link = VcenterState::Link::kConnected;
    model.fail_step.reset();
    if (!faulty()) {
      model.fault_one_in = 0;
      return;
    }
    constexpr VmStep::Kind kKinds[] = {
        VmStep::Kind::kShutDownGuest, VmStep::Kind::kPowerOff, VmStep::Kind::kPowerOn,
        VmStep::Kind::kChangeVm,      VmStep::Kind::kCreateVm, VmStep::Kind::kChangeMasterTarget,
    };
    if (world_.Chance(0.25)) {
      model.world.link = VcenterState::Link::kStale;
      Say("the vCenter is away");
    } else if (world_.Chance(0.3)) {
      model.fail_step = kKinds[world_.Pick(std::size(kKinds))];
      Say("the vCenter refuses some steps");
    }
    ScheduleVcenterFault();
  });
}

void Fabric::PutIntoVm(Copy* copy, const vsphere::Vm& vm,
                       const std::vector<std::string>& disk_uuids) {
  copy->in_vm = vm.instance_uuid;
  copy->hardware_uuid = vm.bios_uuid;
  copy->mac_addresses.clear();
  for (const vsphere::NetworkCard& card : vm.cards)
    copy->mac_addresses.push_back(vsphere::PlainHex(card.mac));
  copy->disk_uuids = disk_uuids;
  copy->vm_on = true;
}

// The guest stops in mid-write, for its agent. What it wrote is on its disks.
void Fabric::TurnOff(Copy* copy) {
  copy->vm_on = false;
  copy->running = false;
  if (azure_ != nullptr) LoseAtServer(copy->machine.id, copy->session.number);
  StopCopy(copy, azure_ != nullptr && world_.Chance(0.5));
  for (size_t i = 0; i < copy->disks.size(); ++i)
    vcenter_->datastore[copy->disk_uuids[i]] = copy->disks[i]->content();
}

// Somebody turns it off by hand.
void Fabric::TurnOffByHand(Copy* copy) {
  if (!copy->vm_on) return;
  if (!copy->in_azure.empty()) {
    if (ModelCloud& cloud = azure_->cloud; cloud.vms.contains(copy->in_azure))
      cloud.vms[copy->in_azure].power = "deallocated";
    return TurnOffInAzure(copy);
  }
  TurnOff(copy);
  vsphere::Vm* const vm = vcenter_->model.Find(copy->in_vm);
  if (vm != nullptr) vm->power_state = "poweredOff";
}

// It is gone with its disks, and the machine must come home to another one.
// Whoever is alike must not notice anything.
void Fabric::BuildBystander(Guest* guest, const vsphere::Vm& vm) {
  using Bystander = FabricVcenter::Bystander;
  constexpr Bystander kKinds[] = {Bystander::kOtherDisks, Bystander::kOff, Bystander::kOtherCards,
                                  Bystander::kAllAlike};
  if (!world_.Chance(0.5)) return;
  const Bystander kind = kKinds[world_.Pick(std::size(kKinds))];
  guest->has_double = kind == Bystander::kAllAlike;
  vcenter_->AddBystander(vm, kind);
}

void Fabric::DeleteVm(const Machine& machine) {
  ModelVcenter& model = vcenter_->model;
  vsphere::Vm* const vm = model.Find(machine.vm().instance_uuid());
  const bool elsewhere = machine.state() == storage::v1::COMMITTED && machine.job_id().empty();
  if (vm == nullptr || vm->on() || !elsewhere) return;
  Say(absl::StrCat("operator: deletes the VM ", vm->name));
  std::erase_if(model.world.inventory.vms, [&](const auto& one) { return &one.second == vm; });
}

PlacementWish Fabric::WishOf(const View& view, const Guest& guest, const Machine& machine,
                             storage::v1::Operation operation) {
  // Where its disks are, it cannot be replicated to; the place before that is free again.
  PlacementWish wish = {.directory = absl::StrCat(guest.id, "-", guest.circles % 2)};
  if (azure_ != nullptr && guest.copies.back()->in_azure.empty()) {
    wish.directory.clear();
    wish.location = storage::v1::AZURE_VM;
  }
  // Only its operator knows which of two it is.
  const vsphere::Vm* const in_vm =
      vcenter_ == nullptr ? nullptr : vcenter_->model.Find(guest.copies.back()->in_vm);
  if (guest.has_double && in_vm != nullptr) {
    const bool mistyped = faulty() && world_.Chance(0.1);
    wish.vm = absl::StrCat("dc1/", in_vm->name, mistyped ? "-mistyped" : "");
  }
  const bool has_home = vcenter_ != nullptr && operation == storage::v1::REPROTECT &&
                        machine.has_vm() && !RunsInItsVm(machine);
  if (!has_home || (faulty() && world_.Chance(0.1))) return wish;
  wish.directory.clear();
  wish.location = storage::v1::ORIGINAL_VM;
  if (FindOne(view.vcenters, IdentityOfRecorded(machine)).found.has_value()) return wish;
  wish.location = storage::v1::ALTERNATE_VM;
  wish.datastore = "ds1";
  wish.new_vm.instance_uuid = absl::StrCat("new-", ++vms_made_);
  // One that was removed and kept its disks has the machine's name still.
  for (const auto& [ref, vm] : vcenter_->model.world.inventory.vms) {
    if (vm.name == machine.vm().name())
      wish.new_vm.name = absl::StrCat(machine.vm().name(), "-", vms_made_);
  }
  return wish;
}

void Fabric::CheckNoted(const VmMove& move) {
  SimulatedStore stored(&records_);
  for (const Machine& machine : stored.All<Machine>()) {
    if (VmOf(machine).instance_uuid() != move.vm.instance_uuid) continue;
    const std::string fault = ModelVcenter::NoteFault(machine, move);
    if (!fault.empty()) Fail(absl::StrCat("a disk of ", VmOf(machine).name(), " ", fault));
  }
}

// Every disk is attached to the one place that the record says, and nothing runs at two sites.
void Fabric::CheckPlaces(const Machine& machine) {
  const storage::v1::Location location = machine.assignment().placement().location();
  const std::string& name = VmOf(machine).name();
  const vsphere::Vm* const home = vcenter_->model.Find(VmOf(machine).instance_uuid());
  const bool at_home =
      location == storage::v1::ORIGINAL_VM || location == storage::v1::ALTERNATE_VM;
  if (home != nullptr && home->on() && machine.state() == storage::v1::PROTECTED && at_home &&
      machine.job_id().empty())
    Fail(absl::StrCat(name, " is replicated to its VM, which is on"));
  const std::string fault = vcenter_->model.PlaceFault(machine);
  if (!fault.empty()) Fail(absl::StrCat("a disk of ", name, " ", fault));
}

}  // namespace homeward::simulation
