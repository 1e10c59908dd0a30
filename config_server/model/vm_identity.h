// VmIdentity: what is known of a VM that is looked for.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_VM_IDENTITY_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_VM_IDENTITY_H_

#include <string>
#include <vector>

namespace homeward {

// How it is used, and in which order: TellApart() in vm_search.h.
struct VmIdentity {
  struct Disk {
    std::string uuid;  // plain
    std::string file;  // "[datastore] folder/disk.vmdk"; empty: not known
    bool operator==(const Disk&) const = default;
  };

  std::string what;  // for people: "the VM of web-1"
  // Only in the vCenter of this name; empty: in any.
  std::string vcenter;
  // What an operator said that it is: "vc1:vm-42". Empty: nobody had to say.
  std::string chosen;
  std::string instance_uuid;  // of a VM that is recorded
  std::string bios_uuid;
  // Attached to it. Of a VM that is recorded, only while all of its disks are.
  std::vector<Disk> disks;
  // Of a master target: UUIDs of machines' disks, which may be attached to it for a while.
  std::vector<std::string> passing;
  bool runs = false;  // something in it is connected to this server
  // Of its network cards, as its guest says.
  std::vector<std::string> mac_addresses;

  bool operator==(const VmIdentity&) const = default;
};

// A guest says its UUID as its firmware has it; a VM of an older hardware version has the first
// three groups the other way round than its configuration.
bool SameBiosUuid(const std::string& a, const std::string& b);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_VM_IDENTITY_H_
