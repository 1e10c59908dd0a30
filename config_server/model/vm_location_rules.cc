#include <utility>
#include <vector>

#include "config_server/model/locations.h"
#include "config_server/model/vm_record.h"
#include "config_server/model/vm_rules.h"

namespace homeward {

using storage::v1::Machine;

Refusal VmRules::Place(const View& view, const Machine& machine, const PlacementWish& wish,
                       storage::v1::Placement* placement) const {
  if (Refusal refusal = CheckWish(wish)) return refusal;
  if (Refusal refusal = CheckVmdkSectors(*placement)) return refusal;
  std::vector<PlacementWish> tries;
  if (wish.master_target.empty()) {
    for (const storage::v1::Server& server : view.servers) {
      if (server.role() != types::v1::MASTER_TARGET || !view.fleet.connected(server.host_id()))
        continue;
      tries.emplace_back(wish).master_target = server.host_id();
    }
  }
  if (tries.empty()) tries.push_back(wish);
  Refusal first;
  for (const PlacementWish& one : tries) {
    Refusal refusal = PlaceMasterTarget(view, machine, one, placement);
    if (!refusal) {
      const storage::v1::Server& target =
          *view.FindServer(placement->master_target_id(), types::v1::MASTER_TARGET);
      refusal = ChooseVm(view, machine, wish, target, placement);
    }
    // One that has not reported yet is asked again when the job attaches the disks.
    if (!refusal && view.fleet.heartbeat(placement->master_target_id()) != nullptr)
      refusal = CheckRetention(view, placement->master_target_id());
    if (!refusal) return std::nullopt;
    if (!first) first = std::move(refusal);
  }
  return first;
}

Refusal VmRules::CheckFailback(const View& view, const Machine& machine) const {
  return CheckVmFailback(view, machine);
}

control::v1::Target VmRules::TargetFor(const Machine& machine) const {
  control::v1::Target target;
  control::v1::AttachedDisks& attached = *target.mutable_attached_disks();
  for (const storage::v1::VmDisk* const disk : StreamedDisks(VmOf(machine)))
    attached.add_uuids(disk->uuid());
  attached.set_fresh(machine.assignment().state().disks_new());
  return target;
}

bool OriginalVmRules::IsMeant(const Machine& machine, const PlacementWish& wish) const {
  return machine.has_vm() && !RunsInItsVm(machine) && wish.datastore.empty() &&
         wish.directory.empty() && wish.block_devices.empty();
}

Refusal OriginalVmRules::CheckWish(const PlacementWish& wish) const {
  if (wish.directory.empty() && wish.block_devices.empty() && wish.datastore.empty())
    return std::nullopt;
  return MakeProblem(ProblemId::kPlaceNotChoosable,
                     "the original VM has its own disks: no datastore, directory or block device "
                     "can be chosen for them");
}

Refusal OriginalVmRules::ChooseVm(const View& view, const Machine& machine, const PlacementWish&,
                                  const storage::v1::Server& master_target,
                                  storage::v1::Placement* placement) const {
  if (Refusal refusal = CheckOriginalVm(view, machine, *placement, master_target)) return refusal;
  const std::vector<const storage::v1::VmDisk*> disks = StreamedDisks(machine.vm());
  for (size_t i = 0; i < disks.size(); ++i)
    placement->mutable_disks(static_cast<int>(i))->set_uuid(disks[i]->uuid());
  return std::nullopt;
}

bool AlternateVmRules::IsMeant(const Machine&, const PlacementWish&) const { return false; }

Refusal AlternateVmRules::CheckWish(const PlacementWish& wish) const {
  if (wish.directory.empty() && wish.block_devices.empty()) return std::nullopt;
  return MakeProblem(
      ProblemId::kPlaceNotChoosable,
      "a new VM has a folder of its name: no directory or block device can be chosen");
}

Refusal AlternateVmRules::ChooseVm(const View& view, const Machine& machine,
                                   const PlacementWish& wish,
                                   const storage::v1::Server& master_target,
                                   storage::v1::Placement* placement) const {
  PlannedVm planned = PlanAlternateVm(view, machine, *placement, master_target, wish);
  if (!planned.refusal) *placement->mutable_new_vm() = std::move(planned.vm);
  return planned.refusal;
}

}  // namespace homeward
