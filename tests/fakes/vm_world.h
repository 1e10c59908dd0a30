// VmWorld: one vCenter with a machine's VM and a master target's, as tests want it: all is well,
// and each test breaks one thing.
#ifndef HOMEWARD_TESTS_FAKES_VM_WORLD_H_
#define HOMEWARD_TESTS_FAKES_VM_WORLD_H_

#include <memory>
#include <string>

#include "config_server/model/vcenter_state.h"

namespace homeward {

inline constexpr char kVmUuid[] = "4207f072-edd8-4b16-8a4c-7b8c1f4e0a01";
inline constexpr char kVmInstance[] = "5007f072-edd8-4b16-8a4c-7b8c1f4e0a01";
inline constexpr char kTargetUuid[] = "4207f072-edd8-4b16-8a4c-7b8c1f4e0a02";
inline constexpr char kFirstDisk[] = "6000c290000000000000000000000001";
inline constexpr char kSecondDisk[] = "6000c290000000000000000000000002";
inline constexpr uint64_t kVmDiskBytes = 1 << 20;

struct VmWorld {
  static constexpr char kName[] = "vc1";
  const vsphere::Ref vm_ref{"VirtualMachine", "vm-1"}, target_ref{"VirtualMachine", "vm-2"};
  const vsphere::Ref vm_host{"HostSystem", "host-1"}, target_host{"HostSystem", "host-2"};
  const vsphere::Ref datacenter{"Datacenter", "dc-1"}, datastore{"Datastore", "ds-1"};
  vsphere::Inventory inventory;
  VcenterState::Link link = VcenterState::Link::kConnected;

  explicit VmWorld(int disks = 2) {
    inventory.instance_uuid = "vcenter-uuid";
    inventory.is_vcenter = true;
    inventory.folders[datacenter].name = "dc1";
    inventory.hosts[vm_host] = {"esx1", datacenter, "connected", false, ""};
    inventory.hosts[target_host] = {"esx2", datacenter, "connected", false, ""};
    vsphere::Datastore& store = inventory.datastores[datastore];
    store.name = "ds1";
    store.parent = datacenter;
    store.type = "VMFS";
    store.accessible = true;
    store.free_bytes = uint64_t{1} << 40;
    store.mounts = {{vm_host, true, true}, {target_host, true, true}};
    vsphere::Vm& vm = inventory.vms[vm_ref];
    vm.name = "web-1";
    vm.parent = datacenter;
    vm.host = vm_host;
    vm.bios_uuid = kVmUuid;
    vm.instance_uuid = kVmInstance;
    vm.change_version = "1";
    vm.power_state = "poweredOn";
    vm.tools_running = "guestToolsRunning";
    vm.controllers = {{1000, "VirtualLsiLogicController", 0},
                      {1001, "VirtualLsiLogicController", 1}};
    vm.disks.push_back(MakeDisk(2000, 1000, 0, kFirstDisk, "[ds1] web-1/web-1.vmdk"));
    if (disks > 1)
      vm.disks.push_back(MakeDisk(2001, 1001, 2, kSecondDisk, "[ds1] web-1/web-1_1.vmdk"));
    vsphere::Vm& target = inventory.vms[target_ref];
    target.name = "mt-1";
    target.parent = datacenter;
    target.host = target_host;
    target.bios_uuid = kTargetUuid;
    target.instance_uuid = "5007f072-edd8-4b16-8a4c-7b8c1f4e0a02";
    target.change_version = "1";
    target.power_state = "poweredOn";
    target.disk_enable_uuid = true;
    target.controllers = {{1000, "VirtualLsiLogicController", 0}};
    target.disks.push_back(
        MakeDisk(2000, 1000, 0, "6000c290000000000000000000000009", "[ds1] mt-1/mt-1.vmdk"));
  }

  static vsphere::Disk MakeDisk(int32_t key, int32_t controller, int32_t unit,
                                const std::string& uuid, const std::string& file) {
    vsphere::Disk disk;
    disk.key = key;
    disk.controller_key = controller;
    disk.unit = unit;
    disk.uuid = uuid;
    disk.file = file;
    disk.capacity_bytes = kVmDiskBytes;
    disk.backing = "VirtualDiskFlatVer2BackingInfo";
    disk.disk_mode = "persistent";
    return disk;
  }

  // A copy of the VM, or of `of`, by file: with its BIOS UUID and the UUIDs of its disks. It comes
  // before all others in the inventory.
  vsphere::Vm& AddCopy(const std::string& name, const vsphere::Vm* of = nullptr) {
    vsphere::Vm copy = of == nullptr ? vm() : *of;
    const std::string number = std::to_string(inventory.vms.size() - 1);
    copy.name = name;
    copy.instance_uuid = "5007f072-edd8-4b16-8a4c-00000000000" + number;
    for (vsphere::Disk& disk : copy.disks)
      disk.file = "[ds1] " + name + disk.file.substr(disk.file.find('/'));
    return inventory.vms[{"VirtualMachine", "a-copy-" + number}] = copy;
  }
  vsphere::Vm& vm() { return inventory.vms[vm_ref]; }
  vsphere::Vm& target() { return inventory.vms[target_ref]; }
  std::map<std::string, VcenterState> States() const {
    VcenterState state;
    state.link = link;
    state.inventory = std::make_shared<vsphere::Inventory>(inventory);
    return {{kName, state}};
  }
};

}  // namespace homeward

#endif  // HOMEWARD_TESTS_FAKES_VM_WORLD_H_
