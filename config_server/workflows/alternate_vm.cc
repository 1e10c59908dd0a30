#include "absl/strings/str_cat.h"
#include "common/problem/problem.h"
#include "config_server/model/vm_record.h"
#include "config_server/workflows/location.h"

namespace homeward {
namespace {

using storage::v1::Machine;
using storage::v1::VmDisk;

types::v1::Problem NotShown(const storage::v1::Vm& vm, absl::string_view what) {
  return MakeProblem(ProblemId::kVsphereTaskFailed,
                     absl::StrCat("vCenter ", vm.vcenter(), " does not show ", what, ", ",
                                  vm.name(), ", after ", absl::FormatDuration(kShownWithin)));
}

bool HasUnmade(const storage::v1::Vm& vm) {
  for (const VmDisk& disk : vm.disks()) {
    if (disk.place() == storage::v1::NOT_MADE) return true;
  }
  return false;
}

// What the vCenter called the VM's folder, and what the disks are to be called in it.
bool NoteFiles(const View& view, Machine* machine) {
  storage::v1::Vm* const vm = MutableVmOf(machine);
  const std::optional<FoundVm> found = FindOne(view.vcenters, IdentityOfRecorded(*machine)).found;
  if (!found.has_value() || found->vm->vmx_path.empty()) return false;
  vm->set_vmx_path(found->vm->vmx_path);
  vm->set_bios_uuid(found->vm->bios_uuid);
  // "[ds1] folder/name": what the vCenter made of a name that no file can have.
  const std::string stem = vm->vmx_path().substr(0, vm->vmx_path().rfind('.'));
  for (int i = 0; i < vm->disks_size(); ++i) {
    vm->mutable_disks(i)->set_file(absl::StrCat(stem, i == 0 ? "" : absl::StrCat("_", i), ".vmdk"));
    vm->mutable_disks(i)->set_moving_to(storage::v1::AT_MASTER_TARGET);
  }
  return true;
}

// The UUIDs that the disks were made with.
bool NoteUuids(const View& view, Machine* machine) {
  const storage::v1::Server* const server = view.FindServer(
      machine->assignment().placement().master_target_id(), types::v1::MASTER_TARGET);
  if (server == nullptr) return false;
  storage::v1::Vm& vm = *MutableVmOf(machine);
  const std::optional<FoundVm> target =
      FindOne(view.vcenters, IdentityOfServer(view, *server)).found;
  if (!target.has_value()) return false;
  for (int i = 0; i < vm.disks_size(); ++i) {
    VmDisk& disk = *vm.mutable_disks(i);
    disk.clear_uuid();
    for (const vsphere::Disk& there : target->vm->disks) {
      if (there.file == disk.file()) disk.set_uuid(vsphere::PlainHex(there.uuid));
    }
    if (disk.uuid().empty()) return false;
  }
  for (int i = 0; i < vm.disks_size(); ++i) {
    VmDisk& disk = *vm.mutable_disks(i);
    disk.set_place(storage::v1::AT_MASTER_TARGET);
    disk.clear_moving_to();
    machine->mutable_assignment()->mutable_placement()->mutable_disks(i)->set_uuid(disk.uuid());
  }
  machine->mutable_assignment()->mutable_state()->set_disks_new(true);
  return true;
}

}  // namespace

StepResult AlternateVm::PowerOffTarget(const View&, Machine*) { return StepResult::Done(); }

StepResult AlternateVm::AttachDisks(const View& view, Machine* machine) {
  storage::v1::Vm& vm = *MutableVmOf(machine);
  if (vm.vmx_path().empty()) {
    StepResult made = Move(view, *machine, VmMove::Kind::kCreateVm, /*for_ever=*/false);
    if (!made.done()) return made;
    return NoteFiles(view, machine)
               ? StepResult::Wait("the disks' names to be noted")
               : StepResult::Wait("the vCenter to show the new VM")
                     .AtMost(kShownWithin, NotShown(vm, "the VM that it made"));
  }
  if (HasUnmade(vm)) {
    StepResult made = Move(view, *machine, VmMove::Kind::kCreateDisks, /*for_ever=*/false);
    if (!made.done()) return made;
    return NoteUuids(view, machine)
               ? StepResult::Wait("the disks' UUIDs to be noted")
               : StepResult::Wait("the vCenter to show the new disks")
                     .AtMost(kShownWithin, NotShown(vm, "the disks that it made"));
  }
  return AwaitPhase(view, machine, storage::v1::FOLLOW, "the master target to find the disks");
}

StepResult AlternateVm::Discard(const View& view, Machine* machine, bool keep_disks) {
  if (keep_disks && !HasUnmade(VmOf(*machine)))
    return OriginalVm::Discard(view, machine, keep_disks);
  StepResult ended = AwaitEnd(view, machine, storage::v1::RELEASE);
  if (!ended.done()) return ended;
  return Move(view, *machine, VmMove::Kind::kDestroyVm, /*for_ever=*/true);
}

}  // namespace homeward
