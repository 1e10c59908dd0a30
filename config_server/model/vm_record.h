// What is recorded of a machine's VM, and what a move of it is made from. Pure.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_VM_RECORD_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_VM_RECORD_H_

#include <string>
#include <vector>

#include "config_server/model/view.h"
#include "config_server/model/vm_search.h"

namespace homeward {

// What is worth remembering of the VM. `disks` are its agent's, in stream order; each is matched by
// UUID, or, where the agent does not know it, as the next disk of that size.
storage::v1::Vm RecordVm(const FoundVm& found,
                         const google::protobuf::RepeatedPtrField<types::v1::Disk>& disks);
// The disks of the record that the machine's agent has, in stream order.
std::vector<const storage::v1::VmDisk*> StreamedDisks(const storage::v1::Vm& recorded);
// The VM that the machine's replica belongs to: a new one, or the one that it was.
const storage::v1::Vm& VmOf(const storage::v1::Machine& machine);
storage::v1::Vm* MutableVmOf(storage::v1::Machine* machine);
// The machine runs in the VM that it was recorded as: its agent says the UUID of that VM, or has
// one of its network cards.
bool RunsInItsVm(const storage::v1::Machine& machine);

// A move of the machine's VM, for the job that works on it.
VmMove MoveOf(const View& view, const storage::v1::Machine& machine, VmMove::Kind kind);
// As the inventory names it; its reference where it is not there.
std::string HostName(const VcenterState& state, const vsphere::Ref& host);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_VM_RECORD_H_
