#include "config_server/model/vm_rules.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/limits.h"
#include "config_server/model/vm_name.h"
#include "config_server/model/vm_plan.h"

namespace homeward {
namespace {

using storage::v1::Machine;
using vsphere::Vm;

Refusal CheckConnected(const std::string& name, const VcenterState& state) {
  if (state.link == VcenterState::Link::kConnected) return std::nullopt;
  return MakeProblem(ProblemId::kVcenterDisconnected,
                     absl::StrCat("vCenter ", name, " is not reached: ", state.error.message()));
}

Refusal CheckSnapshots(const Vm& vm, ProblemId id) {
  if (vm.snapshots == 0 && !vm.on_deltas()) return std::nullopt;
  return MakeProblem(id, SnapshotsOf(vm));
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
  if (target.disks.size() + more_disks > size_t{kMasterTargetDisksMax} ||
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
  const auto datacenter = state.inventory->DatacenterOf(vm);
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

Refusal CheckDisk(const FoundVm& found, const Vm& target, const storage::v1::VmDisk& recorded,
                  const types::v1::Disk& wanted) {
  const Vm& vm = *found.vm;
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
  const std::string held = HolderOf(found, {disk->file}, {}, {});
  if (!held.empty()) return MakeProblem(ProblemId::kVmDisksChanged, held);
  return CheckDatastore(*found.state, vm, target, *disk);
}

std::string NoSuchTarget(const storage::v1::Server& server) {
  return absl::StrCat("no vCenter has a VM with the BIOS UUID ",
                      server.registration().hardware_uuid(),
                      server.registration().disks().empty() ? "" : " and the disks",
                      ", which the master target ", server.registration().name(), " says it has");
}

// The master target's VM, in the vCenter that has the machine's.
struct FoundTarget {
  std::optional<FoundVm> found;
  Refusal refusal;
};
FoundTarget FindTarget(const View& view, const std::string& vcenter, const std::string& vm_name,
                       const storage::v1::Server& server) {
  FoundTarget target;
  const VmSearch search = FindOne(view.vcenters, IdentityOfServer(view, server));
  target.refusal = search.ambiguous;
  if (target.refusal) return target;
  if (search.found.has_value() && search.found->vcenter == vcenter) {
    target.found = search.found;
    return target;
  }
  target.refusal = MakeProblem(
      ProblemId::kHostNotDiscovered,
      search.found.has_value()
          ? absl::StrCat("the master target ", server.registration().name(), " is a VM of ",
                         search.found->vcenter, ", and ", vm_name, " one of ", vcenter)
          : NoSuchTarget(server));
  return target;
}

// The vCenter and the VM of the master target, wherever they are.
struct FoundHost {
  FoundVm target;
  Refusal refusal;
};
FoundHost FindHost(const View& view, const storage::v1::Server& server) {
  FoundHost host;
  const VmSearch search = FindOne(view.vcenters, IdentityOfServer(view, server));
  host.refusal = search.ambiguous;
  if (search.found.has_value()) {
    host.target = *search.found;
    host.refusal = CheckConnected(host.target.vcenter, *host.target.state);
    return host;
  }
  for (const auto& [name, state] : view.vcenters) {
    if (!host.refusal) host.refusal = CheckConnected(name, state);
  }
  if (!host.refusal)
    host.refusal = MakeProblem(ProblemId::kHostNotDiscovered, NoSuchTarget(server));
  return host;
}

Refusal CheckNewDatastore(const FoundVm& target, const std::string& name, uint64_t bytes) {
  const vsphere::Inventory& inventory = *target.state->inventory;
  const std::string host = HostName(*target.state, target.vm->host);
  const vsphere::Datastore* chosen = nullptr;
  const vsphere::DatastoreMount* mount = nullptr;
  for (const auto& [ref, datastore] : inventory.datastores) {
    if (datastore.name != name) continue;
    for (const vsphere::DatastoreMount& one : datastore.mounts) {
      if (!(one.host == target.vm->host)) continue;
      chosen = &datastore;
      mount = &one;
    }
  }
  if (name.empty())
    return MakeProblem(ProblemId::kDatastoreNotAccessible,
                       "no datastore was chosen for the new VM");
  if (chosen == nullptr || !mount->read_write || !mount->accessible || !chosen->accessible) {
    return MakeProblem(ProblemId::kDatastoreNotAccessible,
                       absl::StrCat("the master target's host ", host,
                                    chosen == nullptr ? " does not mount the datastore "
                                                      : " cannot write to the datastore ",
                                    name));
  }
  if (chosen->type != "VMFS") {
    return MakeProblem(
        ProblemId::kDatastoreTypeUnsupported,
        absl::StrCat(name, " is of the type ", chosen->type, "; an alternate location is VMFS"));
  }
  if (chosen->free_bytes < bytes) {
    return MakeProblem(
        ProblemId::kDatastoreFull,
        absl::StrCat(name, " has ", chosen->free_bytes, " bytes free, and the disks ", bytes));
  }
  return std::nullopt;
}

// Hardware of a machine that was no VM.
storage::v1::Vm AnyVm() {
  storage::v1::Vm vm;
  vm.set_guest_id("otherLinux64Guest");
  vm.set_firmware("bios");
  vm.set_cpus(2);
  vm.set_cores_per_socket(1);
  vm.set_memory_mb(4096);
  return vm;
}

// Where a new VM's disk goes that the recorded one did not have.
void PlaceNext(int index, storage::v1::Vm* vm, storage::v1::VmDisk* disk) {
  constexpr int kPlaces = 15;
  const int unit = index % kPlaces;
  disk->set_controller_type("VirtualLsiLogicController");
  disk->set_bus(index / kPlaces);
  disk->set_unit(unit < 7 ? unit : unit + 1);
  disk->set_disk_mode("persistent");
  for (const storage::v1::VmController& one : vm->controllers()) {
    if (one.bus() == disk->bus()) return;
  }
  storage::v1::VmController* const controller = vm->add_controllers();
  controller->set_type(disk->controller_type());
  controller->set_bus(disk->bus());
}

}  // namespace

Refusal CheckOriginalVm(const View& view, const Machine& machine,
                        const storage::v1::Placement& placement,
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
  const VmSearch search = FindOne(view.vcenters, IdentityOfRecorded(machine));
  if (search.ambiguous) return search.ambiguous;
  const std::optional<FoundVm>& found = search.found;
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
  // Deltas that belong to no snapshot do not go away with them.
  if (!placement.remove_snapshots() || vm.snapshots == 0) {
    if (Refusal refusal = CheckSnapshots(vm, ProblemId::kVmHasSnapshots)) return refusal;
  }
  const FoundTarget target = FindTarget(view, found->vcenter, vm.name, master_target);
  if (target.refusal) return target.refusal;
  const Vm& target_vm = *target.found->vm;
  const std::vector<const storage::v1::VmDisk*> disks = StreamedDisks(recorded);
  if (Refusal refusal = CheckMasterTargetVm(target_vm, disks.size())) return refusal;
  if (disks.size() != static_cast<size_t>(placement.disks_size())) {
    return MakeProblem(
        ProblemId::kVmDisksChanged,
        absl::StrCat(NameOf(machine), " has ", placement.disks_size(), " disks, and ", disks.size(),
                     " of the VM ", recorded.name(), " are known as the machine's"));
  }
  for (size_t i = 0; i < disks.size(); ++i) {
    if (Refusal refusal =
            CheckDisk(*found, target_vm, *disks[i], placement.disks(static_cast<int>(i)))) {
      return refusal;
    }
  }
  return std::nullopt;
}

PlannedVm PlanAlternateVm(const View& view, const Machine& machine,
                          const storage::v1::Placement& placement,
                          const storage::v1::Server& master_target, const PlacementWish& wish) {
  PlannedVm planned;
  const FoundHost host = FindHost(view, master_target);
  planned.refusal = host.refusal;
  if (planned.refusal) return planned;
  const FoundVm& target = host.target;
  planned.refusal = CheckMasterTargetVm(*target.vm, static_cast<size_t>(placement.disks_size()));
  if (planned.refusal) return planned;
  uint64_t bytes = 0;
  for (const types::v1::Disk& disk : placement.disks()) bytes += disk.size_bytes();
  planned.refusal = CheckNewDatastore(target, wish.datastore, bytes);
  if (planned.refusal) return planned;

  storage::v1::Vm& vm = planned.vm;
  vm = machine.has_vm() ? machine.vm() : AnyVm();
  const std::vector<const storage::v1::VmDisk*> recorded = StreamedDisks(machine.vm());
  vm.clear_disks();
  vm.clear_vmx_path();
  vm.set_vcenter(target.vcenter);
  vm.set_vcenter_uuid(target.state->inventory->instance_uuid);
  vm.set_host(HostName(*target.state, target.vm->host));
  vm.set_datastore(wish.datastore);
  vm.set_instance_uuid(wish.new_vm.instance_uuid);
  if (vm.name().empty()) vm.set_name(NameOf(machine));
  if (!wish.new_vm.name.empty()) vm.set_name(wish.new_vm.name);
  if (wish.new_vm.cpus > 0) vm.set_cpus(wish.new_vm.cpus);
  if (vm.cpus() % std::max(1, vm.cores_per_socket()) != 0) vm.set_cores_per_socket(1);
  if (wish.new_vm.memory_mb > 0) vm.set_memory_mb(wish.new_vm.memory_mb);
  if (!wish.new_vm.firmware.empty()) vm.set_firmware(wish.new_vm.firmware);
  if (!wish.new_vm.guest_id.empty()) vm.set_guest_id(wish.new_vm.guest_id);
  if (!wish.new_vm.network.empty()) {
    vm.clear_cards();
    vm.add_cards()->set_network(wish.new_vm.network);
  }
  // The machine is known by its UUID; another VM that has it keeps it.
  VmIdentity same;
  same.bios_uuid = vm.bios_uuid();
  if (!CandidatesFor(view.vcenters, same).empty()) vm.clear_bios_uuid();
  for (int i = 0; i < placement.disks_size(); ++i) {
    storage::v1::VmDisk* const disk = vm.add_disks();
    if (recorded.size() == static_cast<size_t>(placement.disks_size())) {
      *disk = *recorded[static_cast<size_t>(i)];
      disk->clear_uuid();
      disk->clear_file();
    } else {
      if (i == 0) vm.clear_controllers();
      PlaceNext(i, &vm, disk);
    }
    disk->set_size_bytes(placement.disks(i).size_bytes());
    disk->set_stream_index(static_cast<uint32_t>(i) + 1);
    disk->set_place(storage::v1::NOT_MADE);
    disk->clear_moving_to();
  }
  planned.refusal = CheckVmName(vm.name());
  for (const auto& [ref, other] : target.state->inventory->vms) {
    if (other.name != vm.name()) continue;
    planned.refusal = MakeProblem(ProblemId::kVmNameExists,
                                  absl::StrCat(target.vcenter, " has a VM ", other.name, " on ",
                                               HostName(*target.state, other.host), " already"));
  }
  return planned;
}

Refusal CheckVmFailback(const View& view, const Machine& machine) {
  const storage::v1::Vm& recorded = VmOf(machine);
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
  const VmSearch home = FindOne(view.vcenters, IdentityOfRecorded(machine));
  if (home.ambiguous) return home.ambiguous;
  if (!home.found.has_value()) {
    return MakeProblem(
        ProblemId::kVmGone,
        absl::StrCat("vCenter ", recorded.vcenter(), " has no VM ", recorded.name(), " any more"));
  }
  const storage::v1::Server* const server = view.FindServer(
      machine.assignment().placement().master_target_id(), types::v1::MASTER_TARGET);
  if (server == nullptr) return std::nullopt;  // Another rule's matter.
  const FoundTarget target = FindTarget(view, recorded.vcenter(), recorded.name(), *server);
  return target.refusal ? target.refusal
                        : CheckSnapshots(*target.found->vm, ProblemId::kMasterTargetHasSnapshots);
}

Refusal CheckSource(const View& view, const Machine& machine) {
  return FindOne(view.vcenters, IdentityOfSource(machine)).ambiguous;
}

VmFindings LookForChanges(const View& view, const Machine& machine) {
  VmFindings found;
  if (!machine.has_vm() && !machine.assignment().placement().has_new_vm()) {
    found.refusal = MakeProblem(ProblemId::kNoVmToRepair,
                                absl::StrCat(NameOf(machine), " has no VM that is recorded"));
    return found;
  }
  const storage::v1::Vm& recorded = VmOf(machine);
  const auto vcenter = view.vcenters.find(recorded.vcenter());
  if (vcenter == view.vcenters.end()) {
    found.refusal =
        MakeProblem(ProblemId::kVcenterUnknown,
                    absl::StrCat("the vCenter ", recorded.vcenter(), " is not known any more"));
    return found;
  }
  found.refusal = CheckConnected(vcenter->first, vcenter->second);
  if (found.refusal) return found;
  const VmSearch search = FindOne(view.vcenters, IdentityOfRecorded(machine));
  const storage::v1::Server* const server = view.FindServer(
      machine.assignment().placement().master_target_id(), types::v1::MASTER_TARGET);
  VmSearch target_search;
  if (server != nullptr) {
    VmIdentity identity = IdentityOfServer(view, *server);
    identity.vcenter = recorded.vcenter();
    target_search = FindOne(view.vcenters, identity);
  }
  found.refusal = search.ambiguous ? search.ambiguous : target_search.ambiguous;
  if (found.refusal) return found;
  const std::optional<FoundVm>&home = search.found, &target = target_search.found;
  if (!home.has_value()) {
    found.findings.push_back(absl::StrCat("the VM ", recorded.name(), " is not there any more"));
  }
  bool away = false;
  for (const storage::v1::VmDisk* const disk : StreamedDisks(recorded)) {
    const bool belongs_home = disk->place() != storage::v1::AT_MASTER_TARGET;
    away = away || !belongs_home;
    const std::optional<FoundVm>& owner = belongs_home ? home : target;
    std::vector<std::string> others;
    for (const auto& [ref, vm] : vcenter->second.inventory->vms) {
      const vsphere::Disk* const there = vm.FindDisk(disk->uuid());
      if (there == nullptr || (owner.has_value() && &vm == owner->vm)) continue;
      // A copy by file has its UUID, in another file.
      const bool ours = (home.has_value() && &vm == home->vm) ||
                        (target.has_value() && &vm == target->vm) || there->file == disk->file();
      if (ours) others.push_back(vm.name);
    }
    const std::string name = absl::StrCat("disk ", disk->file(), " (", disk->uuid(), ")");
    const std::string where = owner.has_value() ? owner->vm->name
                              : belongs_home    ? recorded.name()
                                                : "the master target";
    const vsphere::Disk* const there =
        owner.has_value() ? owner->vm->FindDisk(disk->uuid()) : nullptr;
    if (!others.empty()) {
      found.findings.push_back(absl::StrCat(name, " belongs to ", where, ", and is attached to ",
                                            absl::StrJoin(others, " and ")));
    } else if (there == nullptr) {
      found.findings.push_back(
          absl::StrCat(name, " belongs to ", where, ", and is attached to no VM"));
    } else if (belongs_home) {
      const vsphere::Controller* const controller =
          owner->vm->FindController(there->controller_key);
      if (controller == nullptr || controller->bus != disk->bus() || there->unit != disk->unit()) {
        found.findings.push_back(absl::StrCat(name, " belongs at bus ", disk->bus(), ", unit ",
                                              disk->unit(), " of ", where,
                                              ", and is elsewhere on it"));
      }
    }
    if (disk->moving_to() != storage::v1::DISK_PLACE_UNSPECIFIED)
      found.findings.push_back(absl::StrCat(name, " was on its way"));
  }
  if (away && home.has_value() && !home->vm->off()) {
    found.findings.push_back(
        absl::StrCat("the VM ", recorded.name(), " is on, and the machine runs elsewhere"));
  }
  return found;
}

}  // namespace homeward
