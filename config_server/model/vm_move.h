// VmMove: what is asked of a vCenter.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_VM_MOVE_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_VM_MOVE_H_

#include <string>
#include <vector>

#include "common/vsphere/vm_spec.h"
#include "config_server/model/vm_identity.h"

namespace homeward {

// A VM is to be brought into another state, from whatever state it is in.
struct VmMove {
  enum class Kind {
    kTurnOff,  // its guest is asked first, where tools run; then without snapshots, if so wanted
    kToMasterTarget,  // the disks: detached from the VM, attached to the master target's
    kToVm,            // the disks: detached from the master target's VM, attached where they belong
    kTurnOn,
    kCreateVm,     // without disks, on the master target's host
    kCreateDisks,  // attached to the master target's VM
    kDestroyVm     // with its disks, wherever they are attached, and its folder
  };
  struct Disk {
    std::string uuid;  // plain
    std::string file;  // "[datastore] folder/disk.vmdk"
    std::string controller_type;
    int32_t bus = 0, unit = 0;
    std::string disk_mode;
    uint64_t size_bytes = 0;
    // It is attached to the VM, as the record says: one that has it not is another VM.
    bool at_vm = false;
    bool operator==(const Disk&) const = default;
  };

  Kind kind = Kind::kTurnOff;
  std::string job_id;  // the same for another job is another move
  std::string vcenter;
  // Looked for among the VMs as they are, before each step.
  VmIdentity vm, master_target;
  std::vector<Disk> disks;
  vsphere::VmToCreate create;     // for kCreateVm
  bool remove_snapshots = false;  // for kTurnOff
  std::string folder;  // "[datastore] folder" of the VM; for kDestroyVm, empty where none is known
  // Of a kTurnOff and a kTurnOn: what the VM has for disks and snapshots does not matter.
  bool only_power = false;
  // Tried until it is done: for undoing.
  bool for_ever = false;
  bool operator==(const VmMove&) const = default;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_VM_MOVE_H_
