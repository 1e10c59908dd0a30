#include "common/problem/problem.h"
#include "config_server/model/vm_plan.h"
#include "config_server/model/vm_record.h"
#include "config_server/workflows/location.h"

namespace homeward {
namespace {

using storage::v1::AT_MASTER_TARGET;
using storage::v1::AT_VM;
using storage::v1::Machine;
using storage::v1::VmDisk;

// All disks that are replicated are there, and none is on its way.
bool AllAre(const Machine& machine, storage::v1::DiskPlace place) {
  for (const VmDisk* const disk : StreamedDisks(VmOf(machine))) {
    if (disk->place() != place || disk->moving_to() != storage::v1::DISK_PLACE_UNSPECIFIED)
      return false;
  }
  return true;
}

// What the VM looks like may have changed since it was recorded: its host, its files' names, the
// disks' places.
void Refresh(const View& view, Machine* machine) {
  const std::optional<FoundVm> found = FindOne(view.vcenters, IdentityOfRecorded(*machine)).found;
  if (!found.has_value()) return;
  storage::v1::Vm& recorded = *machine->mutable_vm();
  const storage::v1::Vm now = RecordVm(*found, {});
  recorded.set_vcenter(now.vcenter());
  recorded.set_instance_uuid(now.instance_uuid());
  recorded.set_name(now.name());
  recorded.set_vmx_path(now.vmx_path());
  recorded.set_host(now.host());
  for (VmDisk& disk : *recorded.mutable_disks()) {
    for (const VmDisk& seen : now.disks()) {
      if (seen.uuid() != disk.uuid()) continue;
      const uint32_t stream_index = disk.stream_index();
      disk = seen;
      disk.set_stream_index(stream_index);
    }
  }
}

types::v1::Problem NoHypervisor() {
  return MakeProblem(ProblemId::kVcenterUnknown, "this server has no vCenters");
}

}  // namespace

StepResult OriginalVm::Move(const View& view, const Machine& machine, VmMove::Kind kind,
                            bool for_ever) {
  if (hypervisor_ == nullptr) return StepResult::Fail(NoHypervisor());
  VmMove move = MoveOf(view, machine, kind);
  move.for_ever = for_ever;
  return hypervisor_->Move(machine.machine_id(), move);
}

// What is about to be moved is stored before anything is done, and where it is after it was seen
// there.
StepResult OriginalVm::MoveDisks(const View& view, Machine* machine, storage::v1::DiskPlace place,
                                 bool for_ever) {
  if (AllAre(*machine, place)) return StepResult::Done();
  bool noted = true;
  for (VmDisk& disk : *MutableVmOf(machine)->mutable_disks()) {
    if (disk.stream_index() == 0) continue;
    noted = noted && disk.moving_to() == place;
    disk.set_moving_to(place);
  }
  if (!noted) return StepResult::Wait("the configuration server to record the move");
  const StepResult moved =
      Move(view, *machine, place == AT_VM ? VmMove::Kind::kToVm : VmMove::Kind::kToMasterTarget,
           for_ever);
  if (!moved.done()) return moved;
  for (VmDisk& disk : *MutableVmOf(machine)->mutable_disks()) {
    if (disk.stream_index() == 0) continue;
    disk.set_place(place);
    disk.clear_moving_to();
  }
  return moved;
}

StepResult OriginalVm::PowerOffTarget(const View& view, Machine* machine) {
  if (hypervisor_ == nullptr) return StepResult::Fail(NoHypervisor());
  if (AllAre(*machine, AT_VM)) Refresh(view, machine);
  VmMove move = MoveOf(view, *machine, VmMove::Kind::kTurnOff);
  move.remove_snapshots = machine->assignment().placement().remove_snapshots();
  StepResult off = hypervisor_->Move(machine->machine_id(), move);
  if (!off.done() || !move.remove_snapshots) return off;
  // The disks' files are what they are without them.
  const std::optional<FoundVm> found = FindOne(view.vcenters, IdentityOfRecorded(*machine)).found;
  if (found.has_value() && (found->vm->snapshots > 0 || found->vm->on_deltas())) {
    return StepResult::Wait("the vCenter to show the VM without snapshots")
        .AtMost(kShownWithin, MakeProblem(ProblemId::kVmHasSnapshots, SnapshotsOf(*found->vm)));
  }
  return off;
}

StepResult OriginalVm::AttachDisks(const View& view, Machine* machine) {
  StepResult moved = MoveDisks(view, machine, AT_MASTER_TARGET, /*for_ever=*/false);
  if (!moved.done()) return moved;
  return AwaitPhase(view, machine, storage::v1::FOLLOW, "the master target to find the disks");
}

StepResult OriginalVm::HandOverDisks(const View& view, Machine* machine) {
  StepResult moved = MoveDisks(view, machine, AT_VM, /*for_ever=*/false);
  if (!moved.done()) return moved;
  machine->clear_home_disks();
  for (const VmDisk* const disk : StreamedDisks(VmOf(*machine)))
    machine->add_home_disks(disk->file());
  return moved;
}

StepResult OriginalVm::PowerOn(const View& view, Machine* machine) {
  StepResult on = Move(view, *machine, VmMove::Kind::kTurnOn, /*for_ever=*/false);
  if (on.done()) NoteStarted(view, machine);
  return on;
}

StepResult OriginalVm::TakeDisksBack(const View& view, Machine* machine) {
  if (AllAre(*machine, AT_MASTER_TARGET)) return StepResult::Done();
  machine->clear_home_disks();
  // Once they are on their way the VM is off, and must not be asked of again.
  if (AllAre(*machine, AT_VM)) {
    StepResult off = Move(view, *machine, VmMove::Kind::kTurnOff, /*for_ever=*/true);
    if (!off.done()) return off;
  }
  return MoveDisks(view, machine, AT_MASTER_TARGET, /*for_ever=*/true);
}

StepResult OriginalVm::RepairDisks(const View& view, Machine* machine, uint32_t* stage) {
  storage::v1::Vm& vm = *MutableVmOf(machine);
  storage::v1::DiskPlace place = AT_VM;
  for (const VmDisk& disk : vm.disks()) {
    if (disk.place() == AT_MASTER_TARGET) place = AT_MASTER_TARGET;
  }
  enum Stage : uint32_t { kMark, kTurnOff, kMove };
  switch (*stage) {
    case kMark:
      for (VmDisk& disk : *vm.mutable_disks()) {
        if (disk.stream_index() > 0) disk.set_moving_to(place);
      }
      *stage = place == AT_VM ? kMove : kTurnOff;
      return StepResult::Wait("the configuration server to record the move");
    case kTurnOff: {
      StepResult off = Move(view, *machine, VmMove::Kind::kTurnOff, /*for_ever=*/false);
      if (!off.done()) return off;
      *stage = kMove;
      return StepResult::Wait("the disks to be moved");
    }
    default:
      return MoveDisks(view, machine, place, /*for_ever=*/false);
  }
}

StepResult OriginalVm::Discard(const View& view, Machine* machine, bool) {
  StepResult ended = AwaitEnd(view, machine, storage::v1::RELEASE);
  if (!ended.done()) return ended;
  return MoveDisks(view, machine, AT_VM, /*for_ever=*/true);
}

}  // namespace homeward
