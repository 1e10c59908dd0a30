// What is to change of a VM, and what a new one is to be, written as a VirtualMachineConfigSpec.
#ifndef HOMEWARD_COMMON_VSPHERE_VM_SPEC_H_
#define HOMEWARD_COMMON_VSPHERE_VM_SPEC_H_

#include <map>
#include <string>
#include <vector>

#include "common/vsphere/soap.h"

namespace homeward::vsphere {

struct DiskToAdd {
  std::string file;            // "[datastore] folder/disk.vmdk"
  int32_t controller_key = 0;  // of the VM, or of one that is added in the same change (negative)
  int32_t unit = 0;            // not 7, which is the controller's own
  std::string disk_mode = "persistent";
  // 0: the file is there. Otherwise it is made, thin.
  uint64_t create_bytes = 0;
};

// All of it or nothing, in one task.
struct VmChange {
  // Only if the VM is still as it was read (Vm::change_version); otherwise the fault
  // ConcurrentAccess (ABORTED). Empty: whatever it is.
  std::string change_version;
  std::vector<Controller> add_controllers;  // of SCSI; negative keys
  std::vector<DiskToAdd> add_disks;
  std::vector<int32_t> detach_disks;  // keys; their files stay
  std::map<std::string, std::string> extra_config;
  std::string annotation;  // empty: as it is

  bool empty() const {
    return add_controllers.empty() && add_disks.empty() && detach_disks.empty() &&
           extra_config.empty() && annotation.empty();
  }
};

struct VmToCreate {
  std::string name;
  std::string instance_uuid;  // empty: the vCenter's choice, as the next
  std::string bios_uuid;
  std::string datastore;  // where its own files go: a folder of its name
  std::string guest_id = "otherLinux64Guest";
  std::string firmware = "bios";
  std::string annotation;
  int32_t cpus = 1;
  int32_t cores_per_socket = 1;
  int64_t memory_mb = 1024;
  std::vector<Controller> controllers;  // of SCSI; negative keys
  std::vector<NetworkCard> cards;       // without a MAC address it gets one
  std::map<std::string, std::string> extra_config;
  bool operator==(const VmToCreate&) const = default;
};

// As the argument `name`.
void WriteVmChange(absl::string_view name, const VmChange& change, XmlWriter* out);
void WriteVmToCreate(absl::string_view name, const VmToCreate& vm, XmlWriter* out);

}  // namespace homeward::vsphere

#endif  // HOMEWARD_COMMON_VSPHERE_VM_SPEC_H_
