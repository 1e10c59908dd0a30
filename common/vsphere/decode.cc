#include "common/vsphere/decode.h"

#include <map>
#include <string>

#include "absl/strings/match.h"
#include "common/vsphere/soap.h"

namespace homeward::vsphere {
namespace {

using Properties = std::map<std::string, pugi::xml_node>;

std::string TextOf(const Properties& properties, const char* name) {
  const auto it = properties.find(name);
  return it == properties.end() ? std::string() : it->second.text().as_string();
}
std::string NameOf(const Properties& properties) { return DecodeName(TextOf(properties, "name")); }
int64_t NumberOf(const Properties& properties, const char* name) {
  const auto it = properties.find(name);
  return it == properties.end() ? 0 : it->second.text().as_llong();
}
bool IsTrue(const Properties& properties, const char* name) {
  return TextOf(properties, name) == "true";
}
Ref RefOf(const Properties& properties, const char* name) {
  const auto it = properties.find(name);
  return it == properties.end() ? Ref() : ReadRef(it->second);
}
pugi::xml_node NodeOf(const Properties& properties, const char* name) {
  const auto it = properties.find(name);
  return it == properties.end() ? pugi::xml_node() : it->second;
}

Disk DecodeDisk(pugi::xml_node device) {
  Disk disk;
  disk.key = device.child("key").text().as_int();
  disk.controller_key = device.child("controllerKey").text().as_int();
  disk.unit = device.child("unitNumber").text().as_int();
  disk.capacity_bytes = device.child("capacityInBytes").text().as_ullong();
  if (disk.capacity_bytes == 0)
    disk.capacity_bytes = device.child("capacityInKB").text().as_ullong() * 1024;
  const pugi::xml_node backing = device.child("backing");
  disk.backing = TypeOf(backing);
  disk.file = backing.child("fileName").text().as_string();
  disk.uuid = backing.child("uuid").text().as_string();
  disk.disk_mode = backing.child("diskMode").text().as_string();
  disk.rdm_mode = backing.child("compatibilityMode").text().as_string();
  disk.has_parent = !backing.child("parent").empty();
  return disk;
}

NetworkCard DecodeCard(pugi::xml_node device, const std::string& type) {
  NetworkCard card;
  card.type = type;
  card.mac = device.child("macAddress").text().as_string();
  const pugi::xml_node backing = device.child("backing");
  card.network = backing.child("deviceName").text().as_string();
  card.switch_uuid = backing.child("port").child("switchUuid").text().as_string();
  card.port_group_key = backing.child("port").child("portgroupKey").text().as_string();
  return card;
}

void DecodeDevices(pugi::xml_node devices, Vm* vm) {
  for (const pugi::xml_node device : devices.children()) {
    const std::string type = TypeOf(device);
    if (type == "VirtualDisk") {
      vm->disks.push_back(DecodeDisk(device));
    } else if (device.child("busNumber")) {
      vm->controllers.push_back(
          {device.child("key").text().as_int(), type, device.child("busNumber").text().as_int()});
    } else if (device.child("macAddress")) {
      vm->cards.push_back(DecodeCard(device, type));
    }
  }
}

// A chain has 32 snapshots at the most.
int CountSnapshots(pugi::xml_node parent, const char* name, int depth_left = 64) {
  int count = 0;
  for (const pugi::xml_node one : parent.children(name))
    count += 1 + (depth_left > 0 ? CountSnapshots(one, "childSnapshotList", depth_left - 1) : 0);
  return count;
}

bool HasOption(pugi::xml_node options, absl::string_view key, absl::string_view value) {
  for (const pugi::xml_node option : options.children()) {
    if (absl::EqualsIgnoreCase(option.child("key").text().as_string(), key))
      return absl::EqualsIgnoreCase(option.child("value").text().as_string(), value);
  }
  return false;
}

Folder DecodeFolder(const Ref& ref, const Properties& properties) {
  Folder folder;
  folder.name = NameOf(properties);
  folder.parent = RefOf(properties, "parent");
  // The parent of a VirtualApp is a resource pool. It has a folder, or lies in another one.
  if (ref.type == "VirtualApp") {
    folder.parent = RefOf(properties, "parentFolder");
    if (folder.parent.empty()) folder.parent = RefOf(properties, "parentVApp");
    if (folder.parent.empty()) folder.parent = RefOf(properties, "owner");
  }
  folder.vm_folder = RefOf(properties, "vmFolder");
  folder.resource_pool = RefOf(properties, "resourcePool");
  return folder;
}

Host DecodeHost(const Properties& properties) {
  Host host;
  host.name = NameOf(properties);
  host.parent = RefOf(properties, "parent");
  host.connection_state = TextOf(properties, "runtime.connectionState");
  host.in_maintenance = IsTrue(properties, "runtime.inMaintenanceMode");
  host.hardware_uuid = TextOf(properties, "summary.hardware.uuid");
  return host;
}

Datastore DecodeDatastore(const Properties& properties) {
  Datastore datastore;
  datastore.name = TextOf(properties, "name");
  datastore.parent = RefOf(properties, "parent");
  datastore.type = TextOf(properties, "summary.type");
  datastore.url = TextOf(properties, "summary.url");
  datastore.capacity_bytes = static_cast<uint64_t>(NumberOf(properties, "summary.capacity"));
  datastore.free_bytes = static_cast<uint64_t>(NumberOf(properties, "summary.freeSpace"));
  datastore.accessible = IsTrue(properties, "summary.accessible");
  for (const pugi::xml_node mount : NodeOf(properties, "host").children()) {
    const pugi::xml_node info = mount.child("mountInfo");
    // Both default to true (HostMountInfo).
    datastore.mounts.push_back(
        {ReadRef(mount.child("key")),
         info.child("accessMode").text().as_string() == absl::string_view("readWrite"),
         info.child("accessible").text().as_bool(true) &&
             info.child("mounted").text().as_bool(true)});
  }
  return datastore;
}

Vm DecodeVm(const Properties& properties) {
  Vm vm;
  vm.name = NameOf(properties);
  vm.parent = RefOf(properties, "parent");
  vm.parent_vapp = RefOf(properties, "parentVApp");
  vm.host = RefOf(properties, "runtime.host");
  vm.resource_pool = RefOf(properties, "resourcePool");
  vm.change_version = TextOf(properties, "config.changeVersion");
  vm.bios_uuid = TextOf(properties, "config.uuid");
  vm.instance_uuid = TextOf(properties, "config.instanceUuid");
  vm.vmx_path = TextOf(properties, "config.files.vmPathName");
  vm.guest_id = TextOf(properties, "config.guestId");
  vm.firmware = TextOf(properties, "config.firmware");
  vm.annotation = TextOf(properties, "config.annotation");
  vm.cpus = static_cast<int32_t>(NumberOf(properties, "config.hardware.numCPU"));
  vm.cores_per_socket =
      static_cast<int32_t>(NumberOf(properties, "config.hardware.numCoresPerSocket"));
  vm.memory_mb = NumberOf(properties, "config.hardware.memoryMB");
  vm.is_template = IsTrue(properties, "config.template");
  vm.power_state = TextOf(properties, "runtime.powerState");
  vm.connection_state = TextOf(properties, "runtime.connectionState");
  vm.tools_running = TextOf(properties, "guest.toolsRunningStatus");
  vm.disk_enable_uuid =
      IsTrue(properties, "config.flags.diskUuidEnabled") ||
      HasOption(NodeOf(properties, "config.extraConfig"), "disk.EnableUUID", "true");
  vm.snapshots = CountSnapshots(NodeOf(properties, "snapshot"), "rootSnapshotList");
  DecodeDevices(NodeOf(properties, "config.hardware.device"), &vm);
  return vm;
}

}  // namespace

const std::vector<TypeProperties>& FollowedTypes() {
  static const auto& types = *new std::vector<TypeProperties>{
      {"Folder", {"name", "parent"}, {"name", "parent"}},
      {"Datacenter", {"name", "parent", "vmFolder"}, {"name", "parent"}},
      {"ComputeResource", {"name", "parent", "resourcePool"}, {"name", "parent"}},
      {"VirtualApp",
       {"name", "parentFolder", "parentVApp", "owner"},
       {"name", "parentFolder", "parentVApp"}},
      {"HostSystem",
       {"name", "parent", "runtime.connectionState", "runtime.inMaintenanceMode",
        "summary.hardware.uuid"},
       {"name", "parent", "runtime.connectionState", "runtime.inMaintenanceMode"}},
      {"Datastore",
       {"name", "parent", "summary.type", "summary.url", "summary.capacity", "summary.freeSpace",
        "summary.accessible", "host"},
       {"name", "summary.accessible", "summary.freeSpace", "host"}},
      {"VirtualMachine",
       {"name",
        "parent",
        "parentVApp",
        "resourcePool",
        "runtime.host",
        "runtime.powerState",
        "runtime.connectionState",
        "config.changeVersion",
        "config.uuid",
        "config.instanceUuid",
        "config.files.vmPathName",
        "config.guestId",
        "config.firmware",
        "config.annotation",
        "config.hardware.numCPU",
        "config.hardware.numCoresPerSocket",
        "config.hardware.memoryMB",
        "config.template",
        "config.flags.diskUuidEnabled",
        "config.extraConfig",
        "config.hardware.device",
        "guest.toolsRunningStatus",
        "snapshot"},
       {"name", "parent", "parentVApp", "runtime.host", "runtime.powerState",
        "runtime.connectionState", "config.changeVersion", "config.hardware.device",
        "guest.toolsRunningStatus", "snapshot"}},
  };
  return types;
}

bool DecodeObject(pugi::xml_node content, Inventory* inventory) {
  const Ref ref = ReadRef(content.child("obj"));
  Properties properties;
  for (const pugi::xml_node property : content.children("propSet"))
    properties[property.child("name").text().as_string()] = property.child("val");
  if (ref.type == "HostSystem") {
    inventory->hosts[ref] = DecodeHost(properties);
  } else if (ref.type == "Datastore") {
    inventory->datastores[ref] = DecodeDatastore(properties);
  } else if (ref.type == "VirtualMachine") {
    inventory->vms[ref] = DecodeVm(properties);
  } else if (ref.type == "Folder" || ref.type == "StoragePod" || ref.type == "Datacenter" ||
             ref.type == "VirtualApp" || absl::EndsWith(ref.type, "ComputeResource")) {
    inventory->folders[ref] = DecodeFolder(ref, properties);
  } else {
    return false;
  }
  return true;
}

}  // namespace homeward::vsphere
