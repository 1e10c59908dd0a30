// What to do next to a VM so that a move comes about. Pure: looks at the VMs as they are, and does
// not care how they came to be so.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_VM_PLAN_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_VM_PLAN_H_

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/vsphere/objects.h"
#include "common/vsphere/vm_spec.h"
#include "config_server/model/vm_search.h"

namespace homeward {

struct VmStep {
  enum class Kind {
    kReached,  // there is nothing left to do
    kRefused,  // it cannot go on as things are
    kShutDownGuest,
    kPowerOff,
    kPowerOn,
    kRemoveSnapshots,
    kChangeVm,
    kChangeMasterTarget,
    kCreateVm,
    kDestroyVm
  };
  Kind kind = Kind::kReached;
  vsphere::VmChange change;
  types::v1::Problem problem;
};
// Null: the vCenter has no such VM.
VmStep NextStep(const VmMove& move, const vsphere::Vm* vm, const vsphere::Vm* master_target);
// As well, but refused where it is not clear which VMs those are, or where a disk that the step
// attaches or detaches is attached to a third VM, whose disk it would be too.
VmStep NextStep(const VmMove& move, const MoveVms& vms);
// Which of these files another VM of that datacenter than `vm` and `but` has, for people. Empty:
// none. Those in `as_read` count as they are there: the inventory may be behind.
std::string HolderOf(const FoundVm& vm, const std::set<std::string>& files,
                     const std::vector<FoundVm>& as_read, const vsphere::Ref& but);

// For people: its snapshots, or its deltas that belong to none.
std::string SnapshotsOf(const vsphere::Vm& vm);
// Controllers of a master target's VM that disks may be attached to: LSI Logic, parallel or SAS.
bool IsLsiLogic(const vsphere::Controller& controller);
// Free places on them, in order: key of the controller, and unit.
std::vector<std::pair<int32_t, int32_t>> FreePlaces(const vsphere::Vm& master_target);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_VM_PLAN_H_
