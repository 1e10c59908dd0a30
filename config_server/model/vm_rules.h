// Rules of VMware VMs: what must be so before anything of them is touched. Pure.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_VM_RULES_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_VM_RULES_H_

#include <string>
#include <vector>

#include "config_server/model/placement.h"
#include "config_server/model/refusal.h"
#include "config_server/model/vm_record.h"

namespace homeward {

// Whether it is clear which VM the machine runs in, where it runs in one.
Refusal CheckSource(const View& view, const storage::v1::Machine& machine);
// Whether the machine can be replicated to the disks of its VM by `master_target`.
Refusal CheckOriginalVm(const View& view, const storage::v1::Machine& machine,
                        const storage::v1::Placement& placement,
                        const storage::v1::Server& master_target);
// The VM that is made for the machine on `master_target`'s host, like the one that it was, or like
// any; its disks on the datastore that is wished for, by name. Or why not.
struct PlannedVm {
  storage::v1::Vm vm;
  Refusal refusal;
};
PlannedVm PlanAlternateVm(const View& view, const storage::v1::Machine& machine,
                          const storage::v1::Placement& placement,
                          const storage::v1::Server& master_target, const PlacementWish& wish);
// Whether its VM and its master target's can be worked on now.
Refusal CheckVmFailback(const View& view, const storage::v1::Machine& machine);

// What is not as it is recorded: disks that are attached elsewhere, or nowhere, or at another
// place, a VM that runs and must not. Only while no job works on the machine.
struct VmFindings {
  std::vector<std::string> findings;
  Refusal refusal;  // it cannot be looked at
};
VmFindings LookForChanges(const View& view, const storage::v1::Machine& machine);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_VM_RULES_H_
