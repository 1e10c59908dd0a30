#include "config_server/model/vm_record.h"

#include <algorithm>
#include <set>

namespace homeward {
namespace {

using storage::v1::Machine;
using vsphere::Vm;

std::vector<const vsphere::Disk*> InOrder(const Vm& vm) {
  std::vector<const vsphere::Disk*> disks;
  for (const vsphere::Disk& disk : vm.disks) disks.push_back(&disk);
  const auto place = [&](const vsphere::Disk* disk) {
    const vsphere::Controller* const controller = vm.FindController(disk->controller_key);
    return std::make_pair(controller == nullptr ? -1 : controller->bus, disk->unit);
  };
  std::sort(disks.begin(), disks.end(),
            [&](const auto* a, const auto* b) { return place(a) < place(b); });
  return disks;
}

// A MAC address that its vCenter made is not given again; one that an operator set is.
bool IsStaticMac(const std::string& mac) {
  const std::string plain = vsphere::PlainHex(mac);
  return plain.size() == 12 && plain.compare(0, 6, "005056") == 0 && plain.compare(6, 2, "3f") <= 0;
}

vsphere::VmToCreate CreateOf(const storage::v1::Vm& vm) {
  vsphere::VmToCreate create;
  create.name = vm.name();
  create.instance_uuid = vm.instance_uuid();
  create.bios_uuid = vm.bios_uuid();
  create.datastore = vm.datastore();
  create.guest_id = vm.guest_id();
  create.firmware = vm.firmware();
  create.annotation = vm.annotation();
  create.cpus = vm.cpus();
  create.cores_per_socket = vm.cores_per_socket();
  create.memory_mb = vm.memory_mb();
  int32_t key = 0;
  for (const storage::v1::VmController& controller : vm.controllers())
    create.controllers.push_back({--key, controller.type(), controller.bus()});
  for (const storage::v1::VmCard& card : vm.cards()) {
    create.cards.push_back({card.type(), IsStaticMac(card.mac()) ? card.mac() : "", card.network(),
                            card.switch_uuid(), card.port_group_key()});
  }
  if (vm.disk_enable_uuid()) create.extra_config["disk.EnableUUID"] = "TRUE";
  return create;
}

}  // namespace

std::string HostName(const VcenterState& state, const vsphere::Ref& host) {
  const auto it = state.inventory->hosts.find(host);
  return it == state.inventory->hosts.end() ? host.value : it->second.name;
}

storage::v1::Vm RecordVm(const FoundVm& found,
                         const google::protobuf::RepeatedPtrField<types::v1::Disk>& disks) {
  const Vm& vm = *found.vm;
  storage::v1::Vm recorded;
  recorded.set_vcenter(found.vcenter);
  recorded.set_vcenter_uuid(found.state->inventory->instance_uuid);
  recorded.set_name(vm.name);
  recorded.set_instance_uuid(vm.instance_uuid);
  recorded.set_bios_uuid(vm.bios_uuid);
  recorded.set_vmx_path(vm.vmx_path);
  recorded.set_host(HostName(*found.state, vm.host));
  recorded.set_guest_id(vm.guest_id);
  recorded.set_firmware(vm.firmware);
  recorded.set_annotation(vm.annotation);
  recorded.set_cpus(vm.cpus);
  recorded.set_cores_per_socket(vm.cores_per_socket);
  recorded.set_memory_mb(vm.memory_mb);
  recorded.set_disk_enable_uuid(vm.disk_enable_uuid);
  for (const vsphere::Controller& controller : vm.controllers) {
    if (!controller.scsi()) continue;
    storage::v1::VmController* const out = recorded.add_controllers();
    out->set_type(controller.type);
    out->set_bus(controller.bus);
  }
  for (const vsphere::NetworkCard& card : vm.cards) {
    storage::v1::VmCard* const out = recorded.add_cards();
    out->set_type(card.type);
    out->set_mac(card.mac);
    out->set_network(card.network);
    out->set_switch_uuid(card.switch_uuid);
    out->set_port_group_key(card.port_group_key);
  }
  for (const vsphere::Disk* const disk : InOrder(vm)) {
    storage::v1::VmDisk* const out = recorded.add_disks();
    out->set_uuid(vsphere::PlainHex(disk->uuid));
    out->set_file(disk->file);
    out->set_size_bytes(disk->capacity_bytes);
    if (const vsphere::Controller* const controller = vm.FindController(disk->controller_key)) {
      out->set_controller_type(controller->type);
      out->set_bus(controller->bus);
    }
    out->set_unit(disk->unit);
    out->set_disk_mode(disk->disk_mode);
    out->set_place(storage::v1::AT_VM);
  }
  std::set<std::string> known;
  for (const types::v1::Disk& disk : disks) known.insert(vsphere::PlainHex(disk.uuid()));
  for (int i = 0; i < disks.size(); ++i) {
    const std::string uuid = vsphere::PlainHex(disks[i].uuid());
    auto& all = *recorded.mutable_disks();
    auto match = std::find_if(all.begin(), all.end(), [&](const auto& disk) {
      return !uuid.empty() && disk.uuid() == uuid;
    });
    if (match == all.end()) {
      match = std::find_if(all.begin(), all.end(), [&](const auto& disk) {
        return disk.stream_index() == 0 && disk.size_bytes() == disks[i].size_bytes() &&
               known.count(disk.uuid()) == 0;
      });
    }
    if (match != all.end()) match->set_stream_index(static_cast<uint32_t>(i) + 1);
  }
  return recorded;
}

std::vector<const storage::v1::VmDisk*> StreamedDisks(const storage::v1::Vm& recorded) {
  std::vector<const storage::v1::VmDisk*> disks;
  for (const storage::v1::VmDisk& disk : recorded.disks()) {
    if (disk.stream_index() > 0) disks.push_back(&disk);
  }
  std::sort(disks.begin(), disks.end(),
            [](const auto* a, const auto* b) { return a->stream_index() < b->stream_index(); });
  return disks;
}

const storage::v1::Vm& VmOf(const Machine& machine) {
  return machine.assignment().placement().has_new_vm() ? machine.assignment().placement().new_vm()
                                                       : machine.vm();
}

storage::v1::Vm* MutableVmOf(Machine* machine) {
  return machine->assignment().placement().has_new_vm()
             ? machine->mutable_assignment()->mutable_placement()->mutable_new_vm()
             : machine->mutable_vm();
}

bool RunsInItsVm(const Machine& machine) {
  if (!machine.has_vm()) return false;
  const storage::v1::Registration& registration = machine.registration();
  if (SameBiosUuid(registration.hardware_uuid(), machine.vm().bios_uuid())) return true;
  // Somebody may have given the VM another UUID.
  for (const storage::v1::VmCard& card : machine.vm().cards()) {
    const std::string mac = vsphere::PlainHex(card.mac());
    const auto& seen = registration.mac_addresses();
    if (!mac.empty() && std::find(seen.begin(), seen.end(), mac) != seen.end()) return true;
  }
  return false;
}

VmMove MoveOf(const View& view, const Machine& machine, VmMove::Kind kind) {
  VmMove move;
  move.kind = kind;
  move.job_id = machine.job_id();
  const storage::v1::Vm& vm = VmOf(machine);
  move.vcenter = vm.vcenter();
  move.vm = IdentityOfRecorded(machine);
  move.vm.vcenter = vm.vcenter();
  const storage::v1::Server* const server = view.FindServer(
      machine.assignment().placement().master_target_id(), types::v1::MASTER_TARGET);
  if (server != nullptr) move.master_target = IdentityOfServer(view, *server);
  for (const storage::v1::VmDisk* const disk : StreamedDisks(vm)) {
    move.disks.push_back({disk->uuid(), disk->file(), disk->controller_type(), disk->bus(),
                          disk->unit(), disk->disk_mode(), disk->size_bytes(),
                          disk->place() == storage::v1::AT_VM &&
                              disk->moving_to() == storage::v1::DISK_PLACE_UNSPECIFIED});
  }
  if (kind == VmMove::Kind::kCreateVm) move.create = CreateOf(vm);
  if (kind == VmMove::Kind::kDestroyVm)
    move.folder = vm.vmx_path().substr(0, vm.vmx_path().rfind('/'));
  return move;
}

}  // namespace homeward
