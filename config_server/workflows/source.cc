#include "config_server/workflows/source.h"

#include "absl/strings/str_cat.h"
#include "common/problem/problem.h"
#include "config_server/model/azure_record.h"
#include "config_server/model/vm_record.h"

namespace homeward {

using storage::v1::Machine;

StepResult SourceByHook::TurnOff(const View&, const Machine&) { return StepResult::Done(); }
StepResult SourceByHook::TurnOn(const View&, const Machine&) { return StepResult::Done(); }
StepResult SourceByHook::Discard(const View&, Machine*) { return StepResult::Done(); }

namespace {

// As it is when nothing is made for it elsewhere.
Machine InItsOwnVm(const Machine& machine) {
  Machine own = machine;
  own.mutable_assignment()->mutable_placement()->clear_new_vm();
  return own;
}

}  // namespace

bool SourceVcenterVm::IsOn(const View& view, const Machine& machine) const {
  const VmSearch vm = FindOne(view.vcenters, IdentityOfRecorded(InItsOwnVm(machine)));
  return !vm.found.has_value() || !vm.found->vm->off();
}

StepResult SourceVcenterVm::Move(const View& view, const Machine& machine, VmMove::Kind kind) {
  if (hypervisor_ == nullptr) {
    return StepResult::Fail(MakeProblem(ProblemId::kVcenterUnknown, "this server has no vCenters"));
  }
  VmMove move = MoveOf(view, InItsOwnVm(machine), kind);
  // What it has for disks by now is its own matter.
  move.disks.clear();
  move.master_target = {};
  move.only_power = true;
  return hypervisor_->Move(machine.machine_id(), move);
}

StepResult SourceVcenterVm::TurnOff(const View& view, const Machine& machine) {
  return Move(view, machine, VmMove::Kind::kTurnOff);
}

StepResult SourceVcenterVm::TurnOn(const View& view, const Machine& machine) {
  return Move(view, machine, VmMove::Kind::kTurnOn);
}

StepResult SourceVcenterVm::Discard(const View&, Machine*) { return StepResult::Done(); }

bool SourceAzureVm::IsOn(const View& view, const Machine& machine) const {
  const auto cloud = view.clouds.find(machine.azure_vm().site());
  if (cloud == view.clouds.end()) return true;
  const auto vm = cloud->second.vms.find(machine.machine_id());
  if (vm == cloud->second.vms.end()) return true;
  // A guest that shut itself down has stopped, and is paid for all the same.
  return vm->second.exists && vm->second.power != "deallocated" && vm->second.power != "stopped";
}

StepResult SourceAzureVm::Move(const Machine& machine, CloudMove::Kind kind, bool for_ever) {
  if (cloud_ == nullptr) {
    return StepResult::Fail(
        MakeProblem(ProblemId::kAzureSiteUnknown, "this server has no Azure sites"));
  }
  CloudMove move = CloudMoveOf(machine, machine.azure_vm(), kind);
  move.for_ever = for_ever;
  return cloud_->Do(machine.machine_id(), move);
}

StepResult SourceAzureVm::TurnOff(const View&, const Machine& machine) {
  return Move(machine, CloudMove::Kind::kTurnOff, /*for_ever=*/false);
}

StepResult SourceAzureVm::TurnOn(const View&, const Machine& machine) {
  return Move(machine, CloudMove::Kind::kTurnOn, /*for_ever=*/false);
}

StepResult SourceAzureVm::Discard(const View&, Machine* machine) {
  if (!machine->has_azure_vm()) return StepResult::Done();
  StepResult gone = Move(*machine, CloudMove::Kind::kDelete, /*for_ever=*/true);
  if (gone.done()) machine->clear_azure_vm();
  return gone;
}

Sources::Sources(Hypervisor* hypervisor, Cloud* cloud) {
  all_[storage::v1::SOURCE_BY_HOOK] = std::make_unique<SourceByHook>();
  all_[storage::v1::SOURCE_VCENTER_VM] = std::make_unique<SourceVcenterVm>(hypervisor);
  all_[storage::v1::SOURCE_AZURE_VM] = std::make_unique<SourceAzureVm>(cloud);
}

Source& Sources::At(storage::v1::Source kind) const {
  const auto found = all_.find(kind);
  return *(found == all_.end() ? all_.at(storage::v1::SOURCE_BY_HOOK) : found->second);
}

}  // namespace homeward
