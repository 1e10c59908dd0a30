#include "common/vsphere/vm_spec.h"

#include "absl/strings/str_cat.h"

namespace homeward::vsphere {
namespace {

constexpr int32_t kFirstNewKey = -1000;  // of devices without a key that others refer to

void WriteController(const Controller& controller, XmlWriter* out) {
  out->Begin("deviceChange").Text("operation", "add").Begin("device", controller.type);
  out->Number("key", controller.key).Number("busNumber", controller.bus);
  if (controller.scsi()) out->Text("sharedBus", "noSharing");
  out->End().End();
}

void WriteDisk(const DiskToAdd& disk, int32_t key, XmlWriter* out) {
  out->Begin("deviceChange").Text("operation", "add");
  if (disk.create_bytes > 0) out->Text("fileOperation", "create");
  out->Begin("device", "VirtualDisk").Number("key", key);
  out->Begin("backing", "VirtualDiskFlatVer2BackingInfo").Text("fileName", disk.file);
  out->Text("diskMode", disk.disk_mode);
  if (disk.create_bytes > 0) out->Bool("thinProvisioned", true);
  out->End().Number("controllerKey", disk.controller_key).Number("unitNumber", disk.unit);
  out->Number("capacityInKB", static_cast<int64_t>(disk.create_bytes / 1024));
  if (disk.create_bytes > 0)
    out->Number("capacityInBytes", static_cast<int64_t>(disk.create_bytes));
  out->End().End();
}

void WriteCard(const NetworkCard& card, int32_t key, XmlWriter* out) {
  out->Begin("deviceChange").Text("operation", "add");
  out->Begin("device", card.type.empty() ? "VirtualVmxnet3" : card.type).Number("key", key);
  if (!card.switch_uuid.empty()) {
    out->Begin("backing", "VirtualEthernetCardDistributedVirtualPortBackingInfo").Begin("port");
    out->Text("switchUuid", card.switch_uuid).Text("portgroupKey", card.port_group_key);
    out->End().End();
  } else {
    out->Begin("backing", "VirtualEthernetCardNetworkBackingInfo");
    out->Text("deviceName", card.network).End();
  }
  out->Begin("connectable").Bool("startConnected", true).Bool("allowGuestControl", true);
  out->Bool("connected", true).End();
  if (!card.mac.empty()) out->Text("addressType", "manual").Text("macAddress", card.mac);
  out->End().End();
}

void WriteExtraConfig(const std::map<std::string, std::string>& options, XmlWriter* out) {
  for (const auto& [key, value] : options) {
    out->Begin("extraConfig", "OptionValue").Text("key", key);
    out->Begin("value", "xsd:string").Content(value).End().End();
  }
}

}  // namespace

void WriteVmChange(absl::string_view name, const VmChange& change, XmlWriter* out) {
  int32_t key = kFirstNewKey;
  out->Begin(name);
  if (!change.change_version.empty()) out->Text("changeVersion", change.change_version);
  if (!change.annotation.empty()) out->Text("annotation", change.annotation);
  for (const int32_t disk : change.detach_disks) {
    out->Begin("deviceChange").Text("operation", "remove").Begin("device", "VirtualDisk");
    out->Number("key", disk).Number("capacityInKB", 0).End().End();
  }
  for (const Controller& controller : change.add_controllers) WriteController(controller, out);
  for (const DiskToAdd& disk : change.add_disks) WriteDisk(disk, --key, out);
  WriteExtraConfig(change.extra_config, out);
  out->End();
}

void WriteVmToCreate(absl::string_view name, const VmToCreate& vm, XmlWriter* out) {
  int32_t key = kFirstNewKey;
  out->Begin(name).Text("name", EncodeName(vm.name));
  if (!vm.bios_uuid.empty()) out->Text("uuid", vm.bios_uuid);
  if (!vm.instance_uuid.empty()) out->Text("instanceUuid", vm.instance_uuid);
  out->Text("guestId", vm.guest_id);
  if (!vm.annotation.empty()) out->Text("annotation", vm.annotation);
  out->Begin("files").Text("vmPathName", absl::StrCat("[", vm.datastore, "]")).End();
  out->Number("numCPUs", vm.cpus).Number("numCoresPerSocket", vm.cores_per_socket);
  out->Number("memoryMB", vm.memory_mb);
  for (const Controller& controller : vm.controllers) WriteController(controller, out);
  for (const NetworkCard& card : vm.cards) WriteCard(card, --key, out);
  WriteExtraConfig(vm.extra_config, out);
  out->Text("firmware", vm.firmware).End();
}

}  // namespace homeward::vsphere
