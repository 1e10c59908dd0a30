// What of a vCenter's inventory Homeward looks at. Names, and what values mean, are those of the
// vSphere Web Services API reference (managed objects HostSystem, Datastore, VirtualMachine).
#ifndef HOMEWARD_COMMON_VSPHERE_OBJECTS_H_
#define HOMEWARD_COMMON_VSPHERE_OBJECTS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace homeward::vsphere {

// A managed object reference: {"VirtualMachine", "vm-42"}. Good for one vCenter, as long as the
// object is in its inventory.
struct Ref {
  std::string type;
  std::string value;
  bool empty() const { return value.empty(); }
  friend bool operator==(const Ref& a, const Ref& b) {
    return a.type == b.type && a.value == b.value;
  }
  friend bool operator<(const Ref& a, const Ref& b) {
    return a.type != b.type ? a.type < b.type : a.value < b.value;
  }
};

struct Folder {  // Folder, Datacenter, ComputeResource, ClusterComputeResource or VirtualApp
  std::string name;
  // Of a VirtualApp: the folder or the VirtualApp that it is shown in.
  Ref parent;
  Ref vm_folder;      // of a Datacenter
  Ref resource_pool;  // of a compute resource
};

struct Host {
  std::string name;
  Ref parent;                    // its compute resource
  std::string connection_state;  // connected, disconnected, notResponding
  bool in_maintenance = false;
  std::string hardware_uuid;
};

struct DatastoreMount {
  Ref host;
  bool read_write = false;
  bool accessible = false;
};
struct Datastore {
  std::string name;
  Ref parent;
  std::string type;  // VMFS, NFS, NFS41, vsan, VVOL, ...
  std::string url;   // the same for one datastore in every inventory
  uint64_t capacity_bytes = 0;
  uint64_t free_bytes = 0;
  bool accessible = false;
  std::vector<DatastoreMount> mounts;
};

struct Controller {
  int32_t key = 0;
  std::string
      type;  // VirtualLsiLogicController, ParaVirtualSCSIController, VirtualAHCIController, ...
  int32_t bus = 0;
  bool scsi() const;
  bool operator==(const Controller&) const = default;
};
struct Disk {
  int32_t key = 0;
  int32_t controller_key = 0;
  int32_t unit = 0;
  uint64_t capacity_bytes = 0;
  // "[datastore] folder/disk.vmdk"; of a VM with snapshots, the delta that is written now.
  std::string file;
  // As ESX writes it: 6000C29a-1b2c-3d4e-5f60-718293a4b5c6. Empty where the backing has none.
  std::string uuid;
  std::string backing;   // VirtualDiskFlatVer2BackingInfo, VirtualDiskRawDiskMappingVer1BackingInfo
  std::string rdm_mode;  // of a raw device mapping: physicalMode, virtualMode
  std::string disk_mode;    // persistent, independent_persistent, ...
  bool has_parent = false;  // it is a delta on another file
};
struct NetworkCard {
  std::string type;  // VirtualVmxnet3, VirtualE1000, ...
  std::string mac;
  std::string network;         // of a standard network: its name
  std::string switch_uuid;     // of a distributed one
  std::string port_group_key;  // "
  bool operator==(const NetworkCard&) const = default;
};

struct Vm {
  std::string name;
  // One of the two: a VM in a vApp has no parent.
  Ref parent, parent_vapp;
  Ref host, resource_pool;
  // Another one after each change of its configuration.
  std::string change_version;
  std::string bios_uuid;
  std::string instance_uuid;  // given by its vCenter; a host without one gives it too
  std::string vmx_path;       // "[datastore] folder/name.vmx"
  std::string guest_id, firmware, annotation;
  int32_t cpus = 0;
  int32_t cores_per_socket = 0;
  int64_t memory_mb = 0;
  bool is_template = false;
  std::string power_state;       // poweredOn, poweredOff, suspended
  std::string connection_state;  // connected, disconnected, inaccessible, ...
  std::string tools_running;     // guestToolsRunning, guestToolsNotRunning, ...
  bool disk_enable_uuid = false;
  int snapshots = 0;
  std::vector<Controller> controllers;
  std::vector<Disk> disks;
  std::vector<NetworkCard> cards;

  bool on() const { return power_state == "poweredOn"; }
  bool off() const { return power_state == "poweredOff"; }
  // It is written to deltas: for its snapshots, or for ones that nobody knows of any more.
  bool on_deltas() const;
  // Null when there is none.
  const Disk* FindDisk(const std::string& uuid) const;
  const Disk* FindFile(const std::string& file) const;
  const Controller* FindController(int32_t key) const;
  const Controller* FindController(const std::string& type, int32_t bus) const;
};

// One vCenter's inventory, or what is known of it.
struct Inventory {
  std::string instance_uuid;  // of the vCenter or the host
  std::string product;        // "VMware vCenter Server 7.0.3"
  bool is_vcenter = false;
  std::map<Ref, Folder> folders;
  std::map<Ref, Host> hosts;
  std::map<Ref, Datastore> datastores;
  std::map<Ref, Vm> vms;

  // The Datacenter above `at`, or none.
  absl::optional<Ref> DatacenterOf(Ref at) const;
  // The VM's, by its folder, its vApp or its host.
  absl::optional<Ref> DatacenterOf(const Vm& vm) const;
  // "dc1/production/web-1": the folders above it but the topmost and the datacenter's own.
  std::string PathOf(const Vm& vm) const;
  // Of a datastore path "[name] ...", as a VM of that datacenter means it.
  const Datastore* FindDatastore(const std::string& path, const Ref& datacenter) const;
};

// UUIDs and thumbprints as they compare: "6000C29a-1b2c-..." and "6000c29a1b2c..." are one.
// Lower-case hexadecimal without what stands between.
std::string PlainHex(absl::string_view text);
// Names of objects as vSphere has them: "/", "\\" and "%" are "%2f", "%5c" and "%25".
std::string EncodeName(absl::string_view name);
std::string DecodeName(absl::string_view encoded);
// "[ds1] web/web.vmdk": {"ds1", "web/web.vmdk"}; none for what is no such path.
absl::optional<std::pair<std::string, std::string>> SplitDatastorePath(const std::string& path);

}  // namespace homeward::vsphere

#endif  // HOMEWARD_COMMON_VSPHERE_OBJECTS_H_
