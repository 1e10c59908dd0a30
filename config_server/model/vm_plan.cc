#include "config_server/model/vm_plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/problem/problem.h"

namespace homeward {
namespace {

using vsphere::Controller;
using vsphere::Disk;
using vsphere::Vm;
using vsphere::VmChange;

constexpr int32_t kUnits = 16;     // of a SCSI controller
constexpr int32_t kOwnUnit = 7;    // the controller's own
constexpr int32_t kNewKey = -100;  // of the first controller that is added

VmStep Refuse(ProblemId id, const std::string& message) {
  VmStep step;
  step.kind = VmStep::Kind::kRefused;
  step.problem = MakeProblem(id, message);
  return step;
}

VmStep Do(VmStep::Kind kind) {
  VmStep step;
  step.kind = kind;
  return step;
}

VmStep Change(VmStep::Kind kind, const Vm& vm, VmChange change) {
  VmStep step;
  step.kind = kind;
  step.change = std::move(change);
  step.change.change_version = vm.change_version;
  return step;
}

VmStep Gone(const VmMove& move) {
  return Refuse(
      ProblemId::kVmGone,
      absl::StrCat("vCenter ", move.vcenter, " has no VM with the UUID ", move.vm.instance_uuid));
}

// What is in the way of attaching disks to a master target's VM, whatever else is done.
std::optional<VmStep> RefuseTarget(const Vm& target) {
  if (target.snapshots == 0 && !target.on_deltas()) return std::nullopt;
  return Refuse(ProblemId::kMasterTargetHasSnapshots, SnapshotsOf(target));
}

VmStep TurnOff(const VmMove& move, const Vm& vm, const Vm* target) {
  for (const VmMove::Disk& disk : move.disks) {
    if (!disk.at_vm || vm.FindDisk(disk.uuid) != nullptr) continue;
    return Refuse(ProblemId::kVmDisksChanged,
                  absl::StrCat(vm.name, " is not turned off: it has no disk ", disk.uuid,
                               " any more, which was ", disk.file));
  }
  if (!move.for_ever && target != nullptr) {
    if (std::optional<VmStep> refused = RefuseTarget(*target)) return *refused;
  }
  if (vm.snapshots == 0 && vm.on_deltas() && !move.for_ever && !move.only_power)
    return Refuse(ProblemId::kVmHasSnapshots, SnapshotsOf(vm));
  if (vm.off()) {
    return move.remove_snapshots && vm.snapshots > 0 ? Do(VmStep::Kind::kRemoveSnapshots)
                                                     : VmStep();
  }
  const bool asks = vm.on() && vm.tools_running == "guestToolsRunning";
  return Do(asks ? VmStep::Kind::kShutDownGuest : VmStep::Kind::kPowerOff);
}

VmStep TurnOn(const VmMove& move, const Vm& vm) {
  if (vm.on()) return {};
  for (const VmMove::Disk& disk : move.disks) {
    if (vm.FindDisk(disk.uuid) == nullptr) {
      return Refuse(ProblemId::kVmDisksChanged, absl::StrCat("disk ", disk.uuid, " (", disk.file,
                                                             ") is not attached to ", vm.name));
    }
  }
  return Do(VmStep::Kind::kPowerOn);
}

// At the next of the free places; false when there is none.
bool AddNext(const std::vector<std::pair<int32_t, int32_t>>& places, const VmMove::Disk& disk,
             uint64_t create_bytes, VmChange* change) {
  const size_t next = change->add_disks.size();
  if (next >= places.size()) return false;
  vsphere::DiskToAdd add;
  add.file = disk.file;
  add.controller_key = places[next].first;
  add.unit = places[next].second;
  // A snapshot of the master target must not catch it.
  add.disk_mode = "independent_persistent";
  add.create_bytes = create_bytes;
  change->add_disks.push_back(add);
  return true;
}

VmStep NoPlace(const Vm& target) {
  return Refuse(ProblemId::kMasterTargetDiskLimit,
                absl::StrCat("the SCSI controllers of ", target.name, " have no place left"));
}

VmStep ToMasterTarget(const VmMove& move, const Vm& vm, const Vm& target) {
  VmChange detach, attach;
  const std::vector<std::pair<int32_t, int32_t>> places = FreePlaces(target);
  const std::optional<VmStep> refused = RefuseTarget(target);
  for (const VmMove::Disk& wanted : move.disks) {
    const bool there = target.FindDisk(wanted.uuid) != nullptr;
    if (const Disk* const disk = vm.FindDisk(wanted.uuid)) {
      if (disk->file != wanted.file) {
        return Refuse(ProblemId::kVmDisksChanged,
                      absl::StrCat("disk ", wanted.uuid, " of ", vm.name, " is in ", disk->file,
                                   " now, and not in ", wanted.file));
      }
      if (there) {
        return Refuse(ProblemId::kDiskUuidClash,
                      absl::StrCat("disk ", wanted.uuid, " is attached to ", vm.name, " and to ",
                                   target.name));
      }
      detach.detach_disks.push_back(disk->key);
    }
    if (!there && !AddNext(places, wanted, /*create_bytes=*/0, &attach)) return NoPlace(target);
  }
  if (!detach.empty()) {
    if (!vm.off())
      return Refuse(ProblemId::kVmNotOff,
                    absl::StrCat(vm.name, " is on, and its disks are to be moved"));
    if (vm.snapshots > 0 || vm.on_deltas())
      return Refuse(ProblemId::kVmHasSnapshots, SnapshotsOf(vm));
    if (refused) return *refused;
    return Change(VmStep::Kind::kChangeVm, vm, std::move(detach));
  }
  if (attach.empty()) return {};
  if (refused) return *refused;
  return Change(VmStep::Kind::kChangeMasterTarget, target, std::move(attach));
}

// Copies of a disk have its UUID: then it is the one in its file.
const Disk* FindOurs(const Vm& target, const VmMove::Disk& wanted) {
  const Disk* const in_file = target.FindFile(wanted.file);
  if (in_file != nullptr && vsphere::PlainHex(in_file->uuid) == wanted.uuid) return in_file;
  return target.FindDisk(wanted.uuid);
}

// Where the disk belongs is taken by something else.
const Disk* TakenBy(const Vm& vm, const Controller& controller, int32_t unit) {
  for (const Disk& disk : vm.disks) {
    if (disk.controller_key == controller.key && disk.unit == unit) return &disk;
  }
  return nullptr;
}

VmStep ToVm(const VmMove& move, const Vm& vm, const Vm* target) {
  VmChange leave, change;
  for (const VmMove::Disk& wanted : move.disks) {
    const Disk* const there = target == nullptr ? nullptr : FindOurs(*target, wanted);
    if (there != nullptr) leave.detach_disks.push_back(there->key);
    const Controller* const controller = vm.FindController(wanted.controller_type, wanted.bus);
    const Disk* const here = vm.FindDisk(wanted.uuid);
    if (here != nullptr && controller != nullptr && here->controller_key == controller->key &&
        here->unit == wanted.unit) {
      continue;
    }
    vsphere::DiskToAdd add;
    add.file = here == nullptr ? wanted.file : here->file;
    add.unit = wanted.unit;
    add.disk_mode = wanted.disk_mode;
    if (controller != nullptr) {
      add.controller_key = controller->key;
      const Disk* const other = TakenBy(vm, *controller, wanted.unit);
      if (other != nullptr && vsphere::PlainHex(other->uuid) != wanted.uuid) {
        return Refuse(ProblemId::kVmDisksChanged,
                      absl::StrCat(vm.name, " has ", other->file, " where ", wanted.file,
                                   " belongs: bus ", wanted.bus, ", unit ", wanted.unit));
      }
    } else {
      auto added = std::find_if(
          change.add_controllers.begin(), change.add_controllers.end(), [&](const Controller& one) {
            return one.type == wanted.controller_type && one.bus == wanted.bus;
          });
      if (added == change.add_controllers.end()) {
        const auto key = kNewKey - static_cast<int32_t>(change.add_controllers.size());
        change.add_controllers.push_back({key, wanted.controller_type, wanted.bus});
        added = change.add_controllers.end() - 1;
      }
      add.controller_key = added->key;
    }
    if (here != nullptr) change.detach_disks.push_back(here->key);
    change.add_disks.push_back(add);
  }
  if (!leave.empty()) return Change(VmStep::Kind::kChangeMasterTarget, *target, std::move(leave));
  if (change.empty()) return {};
  if (!vm.off())
    return Refuse(ProblemId::kVmNotOff, absl::StrCat(vm.name, " is on, and lacks its disks"));
  // What is at a wrong place leaves first: its new place may be another's old one.
  if (!change.detach_disks.empty()) {
    change.add_disks.clear();
    change.add_controllers.clear();
  }
  return Change(VmStep::Kind::kChangeVm, vm, std::move(change));
}

VmStep CreateDisks(const VmMove& move, const Vm& target) {
  VmChange create;
  const std::vector<std::pair<int32_t, int32_t>> places = FreePlaces(target);
  for (const VmMove::Disk& wanted : move.disks) {
    if (target.FindFile(wanted.file) != nullptr) continue;
    if (!AddNext(places, wanted, wanted.size_bytes, &create)) return NoPlace(target);
  }
  if (create.empty()) return {};
  return Change(VmStep::Kind::kChangeMasterTarget, target, std::move(create));
}

VmStep Destroy(const VmMove& move, const Vm* vm, const Vm* target) {
  VmChange detach;
  for (const VmMove::Disk& disk : move.disks) {
    const Disk* const there =
        target == nullptr || disk.file.empty() ? nullptr : target->FindFile(disk.file);
    if (there != nullptr) detach.detach_disks.push_back(there->key);
  }
  if (!detach.empty()) return Change(VmStep::Kind::kChangeMasterTarget, *target, std::move(detach));
  if (vm == nullptr) return {};
  // Removing a VM removes its disks.
  for (const Disk& disk : vm->disks) {
    const bool ours = std::any_of(move.disks.begin(), move.disks.end(),
                                  [&](const VmMove::Disk& one) { return one.file == disk.file; });
    if (!ours) {
      return Refuse(
          ProblemId::kVmDisksChanged,
          absl::StrCat(vm->name, " is not removed: somebody attached ", disk.file, " to it"));
    }
  }
  return Do(vm->off() ? VmStep::Kind::kDestroyVm : VmStep::Kind::kPowerOff);
}

}  // namespace

bool IsLsiLogic(const Controller& controller) {
  return controller.type == "VirtualLsiLogicController" ||
         controller.type == "VirtualLsiLogicSASController";
}

std::string SnapshotsOf(const Vm& vm) {
  if (vm.snapshots > 0) {
    return absl::StrCat(vm.name, " has ", vm.snapshots, " snapshot", vm.snapshots == 1 ? "" : "s");
  }
  std::vector<std::string> deltas;
  for (const Disk& disk : vm.disks) {
    if (disk.has_parent) deltas.push_back(disk.file);
  }
  return absl::StrCat(vm.name, " has no snapshot that is listed, and writes to deltas: ",
                      absl::StrJoin(deltas, ", "));
}

std::string HolderOf(const FoundVm& vm, const std::set<std::string>& files,
                     const std::vector<FoundVm>& as_read, const vsphere::Ref& but) {
  const vsphere::Inventory& inventory = *vm.state->inventory;
  const auto datacenter = inventory.DatacenterOf(*vm.vm);
  std::map<vsphere::Ref, const Vm*> others;
  for (const auto& [ref, other] : inventory.vms) others[ref] = &other;
  for (const FoundVm& one : as_read) {
    if (one.vcenter == vm.vcenter) others[one.ref] = one.vm;
  }
  for (const auto& [ref, other] : others) {
    if (ref == vm.ref || ref == but) continue;
    for (const Disk& disk : other->disks) {
      if (files.count(disk.file) > 0 && inventory.DatacenterOf(*other) == datacenter)
        return absl::StrCat(disk.file, " is attached to ", inventory.PathOf(*other), " too");
    }
  }
  return "";
}

VmStep NextStep(const VmMove& move, const MoveVms& vms) {
  if (vms.refusal) {
    VmStep refused;
    refused.kind = VmStep::Kind::kRefused;
    refused.problem = *vms.refusal;
    return refused;
  }
  VmStep step = NextStep(move, vms.vm.has_value() ? vms.vm->vm : nullptr,
                         vms.master_target.has_value() ? vms.master_target->vm : nullptr);
  const bool of_target = step.kind == VmStep::Kind::kChangeMasterTarget;
  if (!of_target && step.kind != VmStep::Kind::kChangeVm) return step;
  const FoundVm& changed = of_target ? *vms.master_target : *vms.vm;
  const std::optional<FoundVm>& other = of_target ? vms.vm : vms.master_target;
  std::set<std::string> files;
  for (const vsphere::DiskToAdd& add : step.change.add_disks) files.insert(add.file);
  for (const Disk& disk : changed.vm->disks) {
    const auto& detached = step.change.detach_disks;
    if (std::count(detached.begin(), detached.end(), disk.key) > 0) files.insert(disk.file);
  }
  const std::string held =
      HolderOf(changed, files, vms.as_read, other.has_value() ? other->ref : vsphere::Ref());
  return held.empty() ? step : Refuse(ProblemId::kVmDisksChanged, held);
}

std::vector<std::pair<int32_t, int32_t>> FreePlaces(const Vm& master_target) {
  std::vector<std::pair<int32_t, int32_t>> places;
  for (const Controller& controller : master_target.controllers) {
    if (!IsLsiLogic(controller)) continue;
    for (int32_t unit = 0; unit < kUnits; ++unit) {
      if (unit != kOwnUnit && TakenBy(master_target, controller, unit) == nullptr)
        places.emplace_back(controller.key, unit);
    }
  }
  return places;
}

VmStep NextStep(const VmMove& move, const Vm* vm, const Vm* master_target) {
  if (move.kind == VmMove::Kind::kDestroyVm) return Destroy(move, vm, master_target);
  const bool made = move.kind != VmMove::Kind::kCreateVm;
  if (vm == nullptr && made) return Gone(move);
  switch (move.kind) {
    case VmMove::Kind::kTurnOff:
      return TurnOff(move, *vm, master_target);
    case VmMove::Kind::kTurnOn:
      return TurnOn(move, *vm);
    case VmMove::Kind::kToVm:
      return ToVm(move, *vm, master_target);
    default:
      break;
  }
  if (master_target == nullptr) {
    return Refuse(ProblemId::kHostNotDiscovered,
                  absl::StrCat("vCenter ", move.vcenter, " has no VM with the BIOS UUID ",
                               move.master_target.bios_uuid,
                               " and the disks, which the master target says it has"));
  }
  if (!made) return vm == nullptr ? Do(VmStep::Kind::kCreateVm) : VmStep();
  if (move.kind == VmMove::Kind::kCreateDisks) return CreateDisks(move, *master_target);
  return ToMasterTarget(move, *vm, *master_target);
}

}  // namespace homeward
