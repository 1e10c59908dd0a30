#include "config_server/model/vm_rules.h"

#include <algorithm>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "config_server/model/vm_plan.h"

namespace homeward {
namespace {

using storage::v1::Machine;
using vsphere::Vm;

constexpr size_t kMasterTargetDisksMax = 60;
constexpr char kRawDevice[] = "RawDiskMapping";

std::string NameOf(const Machine& machine) { return machine.registration().name(); }

// The first three groups, byte by byte the other way round.
std::string Swapped(const std::string& plain) {
  if (plain.size() != 32) return plain;
  std::string swapped = plain;
  size_t begin = 0;
  for (const size_t bytes : {4, 2, 2}) {
    for (size_t i = 0; i < bytes; ++i) {
      const size_t from = begin + 2 * i, to = begin + 2 * (bytes - 1 - i);
      swapped.replace(to, 2, plain.substr(from, 2));
    }
    begin += 2 * bytes;
  }
  return swapped;
}

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

bool HasDisks(const Vm& vm, const storage::v1::Vm& recorded) {
  return recorded.disks_size() > 0 &&
         std::all_of(recorded.disks().begin(), recorded.disks().end(),
                     [&](const auto& disk) { return vm.FindDisk(disk.uuid()) != nullptr; });
}

std::string HostName(const VcenterState& state, const vsphere::Ref& host) {
  const auto it = state.inventory->hosts.find(host);
  return it == state.inventory->hosts.end() ? host.value : it->second.name;
}

Refusal CheckConnected(const std::string& name, const VcenterState& state) {
  if (state.link == VcenterState::Link::kConnected) return std::nullopt;
  return MakeProblem(ProblemId::kVcenterDisconnected,
                     absl::StrCat("vCenter ", name, " is not reached: ", state.error.message()));
}

Refusal CheckSnapshots(const Vm& vm, ProblemId id) {
  if (vm.snapshots == 0) return std::nullopt;
  return MakeProblem(
      id, absl::StrCat(vm.name, " has ", vm.snapshots, " snapshot", vm.snapshots == 1 ? "" : "s"));
}

Refusal CheckMasterTargetVm(const Vm& target, size_t more_disks) {
  if (Refusal refusal = CheckSnapshots(target, ProblemId::kMasterTargetHasSnapshots))
    return refusal;
  for (const vsphere::Controller& controller : target.controllers) {
    if (controller.scsi() && !IsLsiLogic(controller)) {
      return MakeProblem(ProblemId::kMasterTargetController,
                         absl::StrCat(target.name, " has a ", controller.type,
                                      " as SCSI controller ", controller.bus));
    }
  }
  if (!target.disk_enable_uuid) {
    return MakeProblem(ProblemId::kMasterTargetEnableUuid,
                       absl::StrCat("disk.EnableUUID is not true on ", target.name));
  }
  if (target.disks.size() + more_disks > kMasterTargetDisksMax ||
      FreePlaces(target).size() < more_disks) {
    return MakeProblem(ProblemId::kMasterTargetDiskLimit,
                       absl::StrCat(target.name, " has ", target.disks.size(), " disks and ",
                                    FreePlaces(target).size(), " free places; ", more_disks,
                                    " more would be attached"));
  }
  return std::nullopt;
}

// The master target's host can write where the disk's file is.
Refusal CheckDatastore(const VcenterState& state, const Vm& vm, const Vm& target,
                       const vsphere::Disk& disk) {
  const auto path = vsphere::SplitDatastorePath(disk.file);
  const auto datacenter = state.inventory->DatacenterOf(vm.parent);
  const vsphere::Datastore* const datastore =
      path && datacenter ? state.inventory->FindDatastore(disk.file, *datacenter) : nullptr;
  if (datastore == nullptr) {
    return MakeProblem(ProblemId::kDatastoreNotAccessible,
                       absl::StrCat("the datastore of ", disk.file, " is not in the inventory"));
  }
  if (datastore->type != "VMFS" && datastore->type != "vsan") {
    return MakeProblem(
        ProblemId::kDatastoreTypeUnsupported,
        absl::StrCat(datastore->name, " with ", disk.file, " is of the type ", datastore->type,
                     "; an original location is VMFS, vSAN or a raw device"));
  }
  const auto mount = std::find_if(datastore->mounts.begin(), datastore->mounts.end(),
                                  [&](const auto& one) { return one.host == target.host; });
  const std::string host = HostName(state, target.host);
  if (mount == datastore->mounts.end()) {
    return MakeProblem(ProblemId::kDatastoreNotAccessible,
                       absl::StrCat("the master target's host ", host, " does not mount ",
                                    datastore->name, " with ", disk.file));
  }
  if (mount->read_write && mount->accessible && datastore->accessible) return std::nullopt;
  return MakeProblem(
      ProblemId::kDatastoreNotAccessible,
      absl::StrCat("the master target's host ", host, " has ", datastore->name,
                   mount->read_write ? ", which it cannot reach now" : " mounted read-only"));
}

Refusal CheckDisk(const VcenterState& state, const Vm& vm, const Vm& target,
                  const storage::v1::VmDisk& recorded, const types::v1::Disk& wanted) {
  const vsphere::Disk* const disk = vm.FindDisk(recorded.uuid());
  if (disk == nullptr) {
    return MakeProblem(ProblemId::kVmDisksChanged,
                       absl::StrCat(vm.name, " has no disk ", recorded.uuid(),
                                    " any more, which was ", recorded.file()));
  }
  if (disk->capacity_bytes < wanted.size_bytes()) {
    return MakeProblem(ProblemId::kVmDisksChanged,
                       absl::StrCat(disk->file, " has ", disk->capacity_bytes, " bytes, and ",
                                    wanted.name(), " of the machine ", wanted.size_bytes()));
  }
  if (disk->rdm_mode == "physicalMode") {
    return MakeProblem(
        ProblemId::kRawDeviceUnsupported,
        absl::StrCat(disk->file, " of ", vm.name, " is a raw device mapping in physical mode"));
  }
  if (target.FindDisk(recorded.uuid()) != nullptr) {
    return MakeProblem(ProblemId::kDiskUuidClash,
                       absl::StrCat("disk ", recorded.uuid(), " of ", vm.name, " and one of ",
                                    target.name, " have the same UUID"));
  }
  return CheckDatastore(state, vm, target, *disk);
}

// The master target's VM, in the vCenter that has the machine's.
struct FoundTarget {
  const Vm* vm = nullptr;
  Refusal refusal;
};
FoundTarget FindTarget(const View& view, const FoundVm& found, const storage::v1::Server& server) {
  FoundTarget target;
  const std::string& uuid = server.registration().hardware_uuid();
  const std::optional<FoundVm> there = FindVmByBiosUuid(view, uuid, found.vcenter);
  if (there.has_value()) {
    target.vm = there->vm;
    return target;
  }
  const std::optional<FoundVm> elsewhere = FindVmByBiosUuid(view, uuid);
  target.refusal = MakeProblem(
      ProblemId::kHostNotDiscovered,
      elsewhere.has_value()
          ? absl::StrCat("the master target ", server.registration().name(), " is a VM of ",
                         elsewhere->vcenter, ", and ", found.vm->name, " one of ", found.vcenter)
          : absl::StrCat("no vCenter has a VM with the BIOS UUID ", uuid,
                         ", which the master target ", server.registration().name(),
                         " says it has"));
  return target;
}

}  // namespace

bool SameBiosUuid(const std::string& a, const std::string& b) {
  const std::string plain = vsphere::PlainHex(a), other = vsphere::PlainHex(b);
  return !plain.empty() && (plain == other || Swapped(plain) == other);
}

std::optional<FoundVm> FindVmByBiosUuid(const View& view, const std::string& uuid,
                                        const std::string& vcenter) {
  for (const auto& [name, state] : view.vcenters) {
    if (!vcenter.empty() && name != vcenter) continue;
    for (const auto& [ref, vm] : state.inventory->vms) {
      if (!vm.is_template && SameBiosUuid(vm.bios_uuid, uuid)) return FoundVm{name, &state, &vm};
    }
  }
  return std::nullopt;
}

std::optional<FoundVm> FindVm(const View& view, const storage::v1::Vm& recorded) {
  std::optional<FoundVm> alike;
  for (const auto& [name, state] : view.vcenters) {
    for (const auto& [ref, vm] : state.inventory->vms) {
      if (vm.is_template) continue;
      if (vm.instance_uuid == recorded.instance_uuid()) return FoundVm{name, &state, &vm};
      if (SameBiosUuid(vm.bios_uuid, recorded.bios_uuid()) && HasDisks(vm, recorded))
        alike = FoundVm{name, &state, &vm};
    }
  }
  return alike;
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

bool RunsInItsVm(const Machine& machine) {
  return machine.has_vm() &&
         SameBiosUuid(machine.registration().hardware_uuid(), machine.vm().bios_uuid());
}

Refusal CheckOriginalVm(const View& view, const Machine& machine,
                        const storage::v1::Assignment& assignment,
                        const storage::v1::Server& master_target) {
  if (!machine.has_vm()) {
    return MakeProblem(ProblemId::kVmNotRecorded,
                       absl::StrCat(NameOf(machine),
                                    " was no VM of a vCenter that was known here "
                                    "when it was protected"));
  }
  const storage::v1::Vm& recorded = machine.vm();
  if (RunsInItsVm(machine)) {
    return MakeProblem(ProblemId::kVmIsSource,
                       absl::StrCat(NameOf(machine), " runs in the VM ", recorded.name()));
  }
  const auto named = view.vcenters.find(recorded.vcenter());
  if (named != view.vcenters.end()) {
    if (Refusal refusal = CheckConnected(named->first, named->second)) return refusal;
  }
  const std::optional<FoundVm> found = FindVm(view, recorded);
  if (!found.has_value()) {
    return named == view.vcenters.end()
               ? MakeProblem(
                     ProblemId::kVcenterUnknown,
                     absl::StrCat("the vCenter ", recorded.vcenter(), " of ", recorded.name(),
                                  " is not known any more, and no other has the VM"))
               : MakeProblem(ProblemId::kVmGone,
                             absl::StrCat("no vCenter has the VM ", recorded.name(), " (",
                                          recorded.instance_uuid(), ") any more"));
  }
  if (Refusal refusal = CheckConnected(found->vcenter, *found->state)) return refusal;
  const Vm& vm = *found->vm;
  const auto host = found->state->inventory->hosts.find(vm.host);
  if (host == found->state->inventory->hosts.end() ||
      host->second.connection_state != "connected") {
    return MakeProblem(ProblemId::kHostNotDiscovered,
                       absl::StrCat("the host ", HostName(*found->state, vm.host), " of ", vm.name,
                                    " is not connected to ", found->vcenter));
  }
  if (Refusal refusal = CheckSnapshots(vm, ProblemId::kVmHasSnapshots)) return refusal;
  const FoundTarget target = FindTarget(view, *found, master_target);
  if (target.refusal) return target.refusal;
  const std::vector<const storage::v1::VmDisk*> disks = StreamedDisks(recorded);
  if (Refusal refusal = CheckMasterTargetVm(*target.vm, disks.size())) return refusal;
  if (disks.size() != static_cast<size_t>(assignment.disks_size())) {
    return MakeProblem(
        ProblemId::kVmDisksChanged,
        absl::StrCat(NameOf(machine), " has ", assignment.disks_size(), " disks, and ",
                     disks.size(), " of the VM ", recorded.name(), " are known as the machine's"));
  }
  for (size_t i = 0; i < disks.size(); ++i) {
    if (Refusal refusal = CheckDisk(*found->state, vm, *target.vm, *disks[i],
                                    assignment.disks(static_cast<int>(i)))) {
      return refusal;
    }
  }
  return std::nullopt;
}

Refusal CheckVmFailback(const View& view, const Machine& machine) {
  const storage::v1::Vm& recorded = machine.vm();
  const auto named = view.vcenters.find(recorded.vcenter());
  if (named == view.vcenters.end()) {
    return MakeProblem(ProblemId::kVcenterUnknown,
                       absl::StrCat("the vCenter ", recorded.vcenter(), " of ", recorded.name(),
                                    " is not known any more"));
  }
  if (Refusal refusal = CheckConnected(named->first, named->second)) return refusal;
  if (machine.state() == storage::v1::FAILED_BACK) {
    return MakeProblem(ProblemId::kMachineRunning,
                       absl::StrCat("the disks of ", NameOf(machine), " were given to the VM ",
                                    recorded.name(), ", which may have written to them"));
  }
  if (!FindVm(view, recorded).has_value()) {
    return MakeProblem(
        ProblemId::kVmGone,
        absl::StrCat("vCenter ", recorded.vcenter(), " has no VM ", recorded.name(), " any more"));
  }
  const storage::v1::Server* const server =
      view.FindServer(machine.assignment().master_target_id(), types::v1::MASTER_TARGET);
  if (server == nullptr) return std::nullopt;  // Another rule's matter.
  const std::optional<FoundVm> target =
      FindVmByBiosUuid(view, server->registration().hardware_uuid(), recorded.vcenter());
  if (!target.has_value()) {
    return MakeProblem(
        ProblemId::kHostNotDiscovered,
        absl::StrCat("vCenter ", recorded.vcenter(), " has no VM of the master target ",
                     server->registration().name(), " any more"));
  }
  return CheckSnapshots(*target->vm, ProblemId::kMasterTargetHasSnapshots);
}

VmMove MoveOf(const View& view, const Machine& machine, VmMove::Kind kind) {
  VmMove move;
  move.kind = kind;
  move.job_id = machine.job_id();
  move.vcenter = machine.vm().vcenter();
  move.vm_instance_uuid = machine.vm().instance_uuid();
  const storage::v1::Server* const server =
      view.FindServer(machine.assignment().master_target_id(), types::v1::MASTER_TARGET);
  if (server != nullptr) move.master_target_uuid = server->registration().hardware_uuid();
  for (const storage::v1::VmDisk* const disk : StreamedDisks(machine.vm())) {
    move.disks.push_back({disk->uuid(), disk->file(), disk->controller_type(), disk->bus(),
                          disk->unit(), disk->disk_mode()});
  }
  return move;
}

}  // namespace homeward
