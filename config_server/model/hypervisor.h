// Hypervisor: what rules see of vCenters, and what workflows have done to VMs there.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_HYPERVISOR_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_HYPERVISOR_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/vsphere/objects.h"
#include "common/vsphere/vm_spec.h"
#include "config_server/model/step_result.h"
#include "config_server/model/vm_identity.h"

namespace homeward {

struct VcenterState {
  static constexpr absl::Duration kStaleFor = absl::Minutes(5);

  enum class Link {
    kConnected,
    kStale,        // not reached at the moment; the inventory is of a while ago
    kDisconnected  // not reached for kStaleFor, or never
  };
  Link link = Link::kDisconnected;
  absl::Time since;  // of `link`
  absl::Time as_of;  // when the inventory was last known to be right
  absl::Status error;
  std::shared_ptr<const vsphere::Inventory> inventory;  // never null; immutable
};

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
  // Tried until it is done: for undoing.
  bool for_ever = false;
  bool operator==(const VmMove&) const = default;
};

class Hypervisor {
 public:
  virtual ~Hypervisor() = default;
  // By the names of the vCenters' records.
  virtual std::map<std::string, VcenterState> States() const = 0;
  // Begins the move unless it is the machine's last one, and says how far that is. One that has
  // ended is remembered until another is asked for. Never waits.
  virtual StepResult Move(const std::string& machine_id, const VmMove& move) = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_HYPERVISOR_H_
