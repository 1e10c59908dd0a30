#include "config_server/model/rules.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/fault/fault.h"
#include "common/vmdk/vmdk.h"
#include "common/wire/checksum.h"
#include "common/wire/time_proto.h"
#include "config_server/model/target.h"
#include "config_server/model/vm_rules.h"

namespace homeward {
namespace {

using storage::v1::Machine;

constexpr int kRetiredBootsMax = 32;
constexpr int kMasterTargetDisksMax = 60;
constexpr uint64_t kDiskBytesMax = 62 * kTiB;
// A retention drive has room when a twentieth of it is free, or this much.
constexpr uint64_t kRetentionBytesEnough = kGiB;
constexpr uint32_t kVmdkSectorBytes = 512;
constexpr char kPhysicalOnlyForward[] = "Windows Server 2008 R2";

struct StateEntry {
  storage::v1::ProtectionState state;
  const char* name;
  std::vector<std::string> operations;
};

const std::vector<StateEntry>& States() {
  static const auto& states = *new std::vector<StateEntry>{
      {storage::v1::UNPROTECTED, "Unprotected", {"protect", "remove"}},
      {storage::v1::ENABLING, "EnablingProtection", {"remove"}},
      {storage::v1::PROTECTED, "Protected", {"resync", "create-point", "failback", "remove"}},
      {storage::v1::FAILING_BACK, "UnplannedFailoverInProgress", {}},
      {storage::v1::FAILED_BACK, "UnplannedFailoverCommitPending", {"failback", "commit"}},
      {storage::v1::COMMITTED, "FailoverCommitted", {"reprotect", "remove"}},
      {storage::v1::REPROTECTING, "Reprotecting", {"remove"}},
      {storage::v1::REMOVING, "DisablingProtection", {"remove"}},
  };
  return states;
}

const StateEntry& EntryOf(storage::v1::ProtectionState state) {
  for (const StateEntry& entry : States()) {
    if (entry.state == state) return entry;
  }
  return States().front();
}

std::string NameOf(const Machine& machine) { return machine.registration().name(); }

// What the agent registered from Azure.
Refusal CheckSystem(const Machine& machine) {
  const control::v1::Registration& registration = machine.registration();
  if (machine.has_vm() || registration.os_type() != types::v1::WINDOWS ||
      !absl::StrContains(registration.os_name(), kPhysicalOnlyForward)) {
    return std::nullopt;
  }
  return MakeProblem(
      ProblemId::kOsNotSupportedForFailback,
      absl::StrCat(NameOf(machine), " is a physical machine with ", registration.os_name()));
}

Refusal CheckFailback(const View& view, const Machine& machine) {
  const control::v1::ReplicaObserved* const replica = view.ReplicaOf(machine);
  if (!view.fleet.connected(machine.assignment().master_target_id()) || replica == nullptr) {
    return MakeProblem(ProblemId::kMasterTargetDown,
                       absl::StrCat("the master target of ", NameOf(machine), " is not connected"));
  }
  if (replica->points().empty()) {
    return MakeProblem(ProblemId::kNoRecoveryPoint,
                       absl::StrCat(NameOf(machine), " has no recovery point"));
  }
  if (machine.assignment().location() != storage::v1::DATASTORE_DIRECTORY) {
    if (Refusal refusal = CheckVmFailback(view, machine)) return refusal;
  }
  if (machine.state() == storage::v1::FAILED_BACK && machine.has_registered_at() &&
      view.RegisteredSinceBoot(machine)) {
    return MakeProblem(ProblemId::kMachineRunning,
                       absl::StrCat(NameOf(machine), " runs from the recovered disks"));
  }
  if (replica->has_problem() && !replica->problem().retryable() &&
      machine.state() == storage::v1::PROTECTED) {
    return MakeProblem(ProblemId::kHealthNotOk, replica->problem().message());
  }
  return std::nullopt;
}

const storage::v1::Server* LeastLoaded(const View& view, types::v1::ServerRole role,
                                       types::v1::OsType os_type) {
  const storage::v1::Server* best = nullptr;
  size_t best_load = SIZE_MAX;
  for (const storage::v1::Server& server : view.servers) {
    if (server.role() != role || !view.fleet.connected(server.host_id())) continue;
    if (os_type != types::v1::OS_TYPE_UNSPECIFIED && server.registration().os_type() != os_type)
      continue;
    const size_t load = static_cast<size_t>(
        std::count_if(view.machines.begin(), view.machines.end(), [&](const Machine& machine) {
          return machine.assignment().process_server_id() == server.host_id() ||
                 machine.assignment().master_target_id() == server.host_id();
        }));
    if (load < best_load) {
      best = &server;
      best_load = load;
    }
  }
  return best;
}

Refusal PlaceDisks(const Machine& machine, const PlacementWish& wish,
                   storage::v1::Assignment* assignment) {
  for (const types::v1::Disk& disk : machine.registration().disks()) {
    const bool wanted = wish.disks.empty() || std::find(wish.disks.begin(), wish.disks.end(),
                                                        disk.name()) != wish.disks.end();
    if (!wanted) continue;
    if (disk.size_bytes() > kDiskBytesMax) {
      return MakeProblem(ProblemId::kDiskTooLarge,
                         absl::StrCat("disk ", disk.name(), " has ", disk.size_bytes(), " bytes"));
    }
    types::v1::Disk* const placed = assignment->add_disks();
    *placed = disk;
    // The same for the life of the machine, so that its disks are known again where they lie
    // already.
    if (placed->uuid().empty()) {
      placed->set_uuid(absl::BytesToHexString(
          Digest128(AsBytes(absl::StrCat(machine.machine_id(), "/", disk.name())))));
    }
  }
  for (const std::string& name : wish.disks) {
    const auto& disks = assignment->disks();
    if (std::none_of(disks.begin(), disks.end(),
                     [&](const types::v1::Disk& disk) { return disk.name() == name; })) {
      for (const types::v1::UnusableDisk& unusable : machine.registration().unusable_disks()) {
        if (unusable.name() != name) continue;
        return MakeProblem(ProblemId::kDiskUnknown,
                           absl::StrCat("disk ", name, " of ", NameOf(machine),
                                        " cannot be protected: ", unusable.reason()));
      }
      return MakeProblem(ProblemId::kDiskUnknown,
                         absl::StrCat(NameOf(machine), " has no disk ", name));
    }
  }
  if (assignment->disks().empty()) {
    return MakeProblem(ProblemId::kDiskUnknown,
                       absl::StrCat(NameOf(machine), " registered without any disk"));
  }
  return std::nullopt;
}

Refusal PlaceProcessServer(const View& view, const PlacementWish& wish,
                           storage::v1::Assignment* assignment) {
  View::MeantServer meant;
  if (wish.process_server.empty()) {
    meant.server = LeastLoaded(view, types::v1::PROCESS_SERVER, types::v1::OS_TYPE_UNSPECIFIED);
  } else {
    meant = view.ServerCalled(wish.process_server, {types::v1::PROCESS_SERVER});
  }
  if (meant.refusal) return meant.refusal;
  const storage::v1::Server* const server = meant.server;
  if (server == nullptr || !view.fleet.connected(server->host_id())) {
    return MakeProblem(
        ProblemId::kProcessServerDown,
        server == nullptr
            ? "no process server is connected"
            : absl::StrCat("process server ", server->registration().name(), " is not connected"));
  }
  if (const control::v1::Heartbeat* heartbeat = view.fleet.heartbeat(server->host_id())) {
    for (const types::v1::HealthIssue& issue : heartbeat->issues()) {
      if (issue.problem().id() == "CACHE_LOW" && issue.severity() == types::v1::CRITICAL)
        return MakeProblem(ProblemId::kCacheLow, issue.problem().message());
    }
  }
  assignment->set_process_server_id(server->host_id());
  return std::nullopt;
}

Refusal PlaceMasterTarget(const View& view, const Machine& machine, const PlacementWish& wish,
                          storage::v1::Assignment* assignment) {
  const types::v1::OsType os_type = machine.registration().os_type();
  View::MeantServer meant;
  if (wish.master_target.empty()) {
    meant.server = LeastLoaded(view, types::v1::MASTER_TARGET, os_type);
  } else {
    meant = view.ServerCalled(wish.master_target, {types::v1::MASTER_TARGET});
  }
  if (meant.refusal) return meant.refusal;
  const storage::v1::Server* const server = meant.server;
  if (server == nullptr || !view.fleet.connected(server->host_id())) {
    return MakeProblem(
        ProblemId::kMasterTargetDown,
        server == nullptr
            ? "no suitable master target is connected"
            : absl::StrCat("master target ", server->registration().name(), " is not connected"));
  }
  if (server->registration().os_type() != os_type) {
    return MakeProblem(
        ProblemId::kMasterTargetOsMismatch,
        absl::StrCat(NameOf(machine), " is a ", types::v1::OsType_Name(os_type), " machine, ",
                     server->registration().name(), " a ",
                     types::v1::OsType_Name(server->registration().os_type()), " master target"));
  }
  int disks = assignment->disks_size();
  for (const Machine& other : view.machines) {
    if (other.machine_id() != machine.machine_id() &&
        other.assignment().master_target_id() == server->host_id()) {
      disks += other.assignment().disks_size();
    }
  }
  if (disks > kMasterTargetDisksMax) {
    return MakeProblem(ProblemId::kMasterTargetDiskLimit,
                       absl::StrCat(server->registration().name(), " would have ", disks,
                                    " disks; the limit is ", kMasterTargetDisksMax));
  }
  assignment->set_master_target_id(server->host_id());
  return std::nullopt;
}

Refusal CheckRetention(const control::v1::MasterTargetObserved& target) {
  const types::v1::Datastore& retention = target.retention_volume();
  if (!retention.unsuitable().empty())
    return MakeProblem(ProblemId::kRetentionDriveUnsuitable, retention.unsuitable());
  if (retention.total_bytes() != 0 &&
      retention.free_bytes() >= std::min(retention.total_bytes() / 20, kRetentionBytesEnough)) {
    return std::nullopt;
  }
  return MakeProblem(
      ProblemId::kRetentionDriveUnsuitable,
      absl::StrCat("the retention volume ", retention.path(), " has ", retention.free_bytes(),
                   " of ", retention.total_bytes(), " bytes free"));
}

// What a disk or a device counts its sectors in; those that do not tell are as nearly all are.
template <typename Disk>
uint32_t SectorBytesOf(const Disk& disk) {
  return disk.logical_sector_bytes() == 0 ? kVmdkSectorBytes : disk.logical_sector_bytes();
}

// The same bytes are other sectors there, and the partition table could not be read.
Refusal CheckVmdkSectors(const storage::v1::Assignment& assignment) {
  for (const types::v1::Disk& disk : assignment.disks()) {
    if (SectorBytesOf(disk) == kVmdkSectorBytes) continue;
    return MakeProblem(ProblemId::kSectorSizeUnsupported,
                       absl::StrCat("disk ", disk.name(), " has sectors of ", SectorBytesOf(disk),
                                    " bytes, a VMDK has ", kVmdkSectorBytes));
  }
  return std::nullopt;
}

Refusal PlaceBlockDevices(const View& view, const Machine& machine, const PlacementWish& wish,
                          const control::v1::MasterTargetObserved& target,
                          storage::v1::Assignment* assignment) {
  const auto unsuitable = [](const std::string& why) {
    return MakeProblem(ProblemId::kBlockDeviceUnsuitable, why);
  };
  if (wish.block_devices.size() != static_cast<size_t>(assignment->disks_size())) {
    return unsuitable(absl::StrCat(NameOf(machine), " has ", assignment->disks_size(),
                                   " disks to replicate, and ", wish.block_devices.size(),
                                   " block devices were named"));
  }
  control::v1::Target target_devices;
  for (size_t i = 0; i < wish.block_devices.size(); ++i) {
    const std::string& path = wish.block_devices[i];
    const types::v1::Disk& disk = assignment->disks(static_cast<int>(i));
    const auto offered =
        std::find_if(target.block_devices().begin(), target.block_devices().end(),
                     [&](const types::v1::BlockDevice& device) { return device.path() == path; });
    if (offered == target.block_devices().end())
      return unsuitable(absl::StrCat("the master target offers no block device ", path));
    if (offered->size_bytes() < disk.size_bytes()) {
      return unsuitable(absl::StrCat(path, " has ", offered->size_bytes(), " bytes, disk ",
                                     disk.name(), " has ", disk.size_bytes()));
    }
    if (SectorBytesOf(*offered) != SectorBytesOf(disk)) {
      return MakeProblem(ProblemId::kSectorSizeUnsupported,
                         absl::StrCat("disk ", disk.name(), " has sectors of ", SectorBytesOf(disk),
                                      " bytes, ", path, " of ", SectorBytesOf(*offered)));
    }
    if (std::count(wish.block_devices.begin(), wish.block_devices.end(), path) > 1)
      return unsuitable(absl::StrCat(path, " was named twice"));
    for (const Machine& other : view.machines) {
      const control::v1::Target others = TargetOf(other.assignment());
      const auto& replica = others.block_devices().paths();
      const auto& home = other.home_disks();
      const bool theirs = other.machine_id() != machine.machine_id() &&
                          other.assignment().master_target_id() == assignment->master_target_id() &&
                          std::count(replica.begin(), replica.end(), path) > 0;
      if (theirs || std::count(home.begin(), home.end(), path) > 0)
        return unsuitable(absl::StrCat(path, " has a disk of ", NameOf(other)));
    }
    target_devices.mutable_block_devices()->add_paths(path);
  }
  SetTarget(target_devices, assignment);
  return std::nullopt;
}

Refusal PlaceDirectory(const View& view, const Machine& machine, const PlacementWish& wish,
                       storage::v1::Assignment* assignment) {
  const control::v1::Heartbeat* const heartbeat =
      view.fleet.heartbeat(assignment->master_target_id());
  if (heartbeat == nullptr)
    return MakeProblem(ProblemId::kMasterTargetDown, "the master target has not reported yet");
  const control::v1::MasterTargetObserved& target = heartbeat->master_target();
  if (Refusal refusal = CheckRetention(target)) return refusal;
  if (!wish.block_devices.empty())
    return PlaceBlockDevices(view, machine, wish, target, assignment);
  if (Refusal refusal = CheckVmdkSectors(*assignment)) return refusal;
  const types::v1::Datastore* chosen = nullptr;
  for (const types::v1::Datastore& datastore : target.datastores()) {
    const bool wanted = wish.datastore.empty()
                            ? chosen == nullptr || datastore.free_bytes() > chosen->free_bytes()
                            : datastore.path() == wish.datastore;
    if (wanted && datastore.total_bytes() > 0) chosen = &datastore;
  }
  if (chosen == nullptr) {
    return MakeProblem(
        ProblemId::kDatastoreNotAccessible,
        wish.datastore.empty()
            ? "the master target reaches no datastore"
            : absl::StrCat("the master target does not reach datastore ", wish.datastore));
  }
  const std::string directory = wish.directory.empty() ? NameOf(machine) : wish.directory;
  if (const absl::Status fits = CheckVmdkName(directory); !fits.ok()) {
    return MakeProblem(ProblemId::kDirectoryUnsuitable,
                       absl::StrCat("\"", absl::Utf8SafeCHexEscape(directory),
                                    "\" cannot be a machine's directory: it ", fits.message()));
  }
  const std::string path = absl::StrCat(chosen->path(), "/", directory, "/");
  for (const Machine& other : view.machines) {
    const control::v1::Target others = TargetOf(other.assignment());
    const bool replica = other.machine_id() != machine.machine_id() &&
                         other.assignment().master_target_id() == assignment->master_target_id() &&
                         others.datastore_directory().datastore() == chosen->path() &&
                         others.datastore_directory().directory() == directory;
    const auto& home = other.home_disks();
    const bool lives_there = std::any_of(home.begin(), home.end(), [&](const std::string& disk) {
      return disk.compare(0, path.size(), path) == 0;
    });
    if (replica || lives_there) {
      return MakeProblem(ProblemId::kVmNameExists,
                         absl::StrCat(path, " has the disks of ", NameOf(other),
                                      lives_there ? ", which runs from them" : ""));
    }
  }
  control::v1::Target placed;
  placed.mutable_datastore_directory()->set_datastore(chosen->path());
  placed.mutable_datastore_directory()->set_directory(directory);
  SetTarget(placed, assignment);
  return std::nullopt;
}

Refusal ChooseVm(const View& view, const Machine& machine, const PlacementWish& wish,
                 storage::v1::Location location, storage::v1::Assignment* assignment) {
  const storage::v1::Server& target =
      *view.FindServer(assignment->master_target_id(), types::v1::MASTER_TARGET);
  if (location == storage::v1::ORIGINAL_VM) {
    if (Refusal refusal = CheckOriginalVm(view, machine, *assignment, target)) return refusal;
    const std::vector<const storage::v1::VmDisk*> disks = StreamedDisks(machine.vm());
    for (size_t i = 0; i < disks.size(); ++i)
      assignment->mutable_disks(static_cast<int>(i))->set_uuid(disks[i]->uuid());
    return std::nullopt;
  }
  PlannedVm planned = PlanAlternateVm(view, machine, *assignment, target, wish);
  if (!planned.refusal) *assignment->mutable_new_vm() = std::move(planned.vm);
  return planned.refusal;
}

// Of several master targets, one that reaches the VM's disks.
Refusal PlaceVm(const View& view, const Machine& machine, const PlacementWish& wish,
                storage::v1::Location location, storage::v1::Assignment* assignment) {
  const bool original = location == storage::v1::ORIGINAL_VM;
  if (!wish.directory.empty() || !wish.block_devices.empty() ||
      (original && !wish.datastore.empty())) {
    return MakeProblem(
        ProblemId::kDirectoryUnsuitable,
        original ? "the original VM has its own disks: no datastore, directory or block device can "
                   "be chosen for them"
                 : "a new VM has a folder of its name: no directory or block device can be chosen");
  }
  if (Refusal refusal = CheckVmdkSectors(*assignment)) return refusal;
  std::vector<PlacementWish> tries;
  if (wish.master_target.empty()) {
    for (const storage::v1::Server& server : view.servers) {
      if (server.role() != types::v1::MASTER_TARGET || !view.fleet.connected(server.host_id()))
        continue;
      tries.emplace_back(wish).master_target = server.host_id();
    }
  }
  if (tries.empty()) tries.push_back(wish);
  Refusal first;
  for (const PlacementWish& one : tries) {
    Refusal refusal = PlaceMasterTarget(view, machine, one, assignment);
    if (!refusal) refusal = ChooseVm(view, machine, wish, location, assignment);
    const control::v1::Heartbeat* const heartbeat =
        view.fleet.heartbeat(assignment->master_target_id());
    if (!refusal && heartbeat != nullptr) refusal = CheckRetention(heartbeat->master_target());
    if (!refusal) {
      assignment->set_location(location);
      return std::nullopt;
    }
    if (!first) first = std::move(refusal);
  }
  return first;
}

types::v1::HealthIssue IssueOf(types::v1::Severity severity, types::v1::Problem problem) {
  types::v1::HealthIssue issue;
  issue.set_severity(severity);
  *issue.mutable_problem() = std::move(problem);
  return issue;
}

}  // namespace

void Retire(const control::v1::Registration& registration, Machine* machine) {
  if (registration.boot_id().empty() || HW_FAULT("mutation.retire_nothing")) return;
  auto& retired = *machine->mutable_retired_boot_ids();
  *retired.Add() = registration.boot_id();
  if (retired.size() > kRetiredBootsMax) retired.erase(retired.begin());
}

std::string StateName(storage::v1::ProtectionState state) { return EntryOf(state).name; }

std::vector<std::string> AllowedOperations(const Machine& machine) {
  if (!machine.job_id().empty()) return {};
  std::vector<std::string> operations = EntryOf(machine.state()).operations;
  if (machine.has_vm() || machine.assignment().has_new_vm()) operations.push_back("repair");
  return operations;
}

Refusal CheckAgent(const View& view, const Machine& machine) {
  const absl::Time now = view.clock.Now();
  if (!view.RegisteredSinceBoot(machine)) {
    const absl::Time booted = FromProto(machine.handed_back_at());
    const absl::Time limit = booted + view.settings.registration_window;
    const absl::Duration waited = absl::Trunc(now - booted, absl::Seconds(1));
    types::v1::Problem problem = MakeProblem(
        ProblemId::kAgentNotRegistered,
        absl::StrCat(
            NameOf(machine), " was started ",
            waited == absl::ZeroDuration() ? "a moment" : absl::FormatDuration(waited),
            " ago and its agent has not registered since. ",
            now < limit
                ? absl::StrCat("It may take until ",
                               absl::FormatTime("%H:%M:%S UTC", limit, absl::UTCTimeZone()), ".")
                : absl::StrCat("That is longer than the ",
                               absl::FormatDuration(view.settings.registration_window),
                               " it may take: look at the machine.")));
    if (now < limit) *problem.mutable_retry_at() = ToProto(limit);
    return problem;
  }
  if (!view.fleet.connected(machine.machine_id())) {
    const absl::Time heard = view.fleet.last_heard(machine.machine_id());
    return MakeProblem(ProblemId::kAgentNotConnected,
                       absl::StrCat("the agent of ", NameOf(machine), " has no session; ",
                                    heard == absl::InfinitePast()
                                        ? std::string("it was not heard since this server started")
                                        : absl::StrCat("it was last heard at ",
                                                       absl::FormatTime("%H:%M:%S UTC", heard,
                                                                        absl::UTCTimeZone()))));
  }
  return std::nullopt;
}

Refusal CheckOperation(const View& view, const Machine& machine, const std::string& operation) {
  if (!machine.job_id().empty()) {
    return MakeProblem(ProblemId::kJobRunning,
                       absl::StrCat("job ", machine.job_id(), " works on ", NameOf(machine)));
  }
  const std::vector<std::string> allowed = AllowedOperations(machine);
  if (std::find(allowed.begin(), allowed.end(), operation) == allowed.end()) {
    const ProblemId id = operation == "failback" ? ProblemId::kNotProtected
                         : operation == "reprotect" && machine.state() == storage::v1::FAILED_BACK
                             ? ProblemId::kNotCommitted
                             : ProblemId::kWrongState;
    return MakeProblem(id,
                       absl::StrCat(NameOf(machine), " is in state ", StateName(machine.state()),
                                    ", which does not allow ", operation));
  }
  if (operation == "protect" || operation == "reprotect" || operation == "resync" ||
      operation == "create-point") {
    if (Refusal refusal = CheckAgent(view, machine)) return refusal;
  }
  if (operation == "reprotect") return CheckSystem(machine);
  if (operation == "failback") return CheckFailback(view, machine);
  if (operation == "repair") {
    const VmFindings found = LookForChanges(view, machine);
    if (found.refusal) return found.refusal;
    if (found.findings.empty()) {
      return MakeProblem(ProblemId::kNothingToRepair,
                         absl::StrCat("all disks of ", NameOf(machine), " are where they belong"));
    }
  }
  return std::nullopt;
}

Placement Place(const View& view, const Machine& as_recorded, const PlacementWish& wish) {
  Placement placement;
  Machine machine = as_recorded;
  if (wish.hyperv) {
    placement.refusal = MakeProblem(ProblemId::kHypervTarget,
                                    absl::StrCat(NameOf(machine), " cannot come back to Hyper-V"));
    return placement;
  }
  if (!wish.vm.empty()) {
    // Of a machine that runs elsewhere, the VM that it was.
    const bool was = machine.has_vm() && !RunsInItsVm(machine);
    Choice choice =
        ChooseVm(view, was ? IdentityOfRecorded(machine) : IdentityOfSource(machine), wish.vm);
    placement.refusal = std::move(choice.refusal);
    if (placement.refusal) return placement;
    placement.chosen_vm = choice.recorded;
    machine.set_chosen_vm(choice.recorded);
  }
  placement.refusal = CheckSource(view, machine);
  if (placement.refusal) return placement;
  storage::v1::Assignment assignment;
  const storage::v1::Location location =
      wish.location.value_or(machine.has_vm() && !RunsInItsVm(machine) && wish.datastore.empty() &&
                                     wish.directory.empty() && wish.block_devices.empty()
                                 ? storage::v1::ORIGINAL_VM
                                 : storage::v1::DATASTORE_DIRECTORY);
  assignment.set_remove_snapshots(wish.remove_snapshots);
  placement.refusal = PlaceDisks(machine, wish, &assignment);
  if (!placement.refusal) placement.refusal = PlaceProcessServer(view, wish, &assignment);
  if (location != storage::v1::DATASTORE_DIRECTORY) {
    if (!placement.refusal) placement.refusal = PlaceVm(view, machine, wish, location, &assignment);
    if (!placement.refusal) placement.assignment = std::move(assignment);
    return placement;
  }
  if (!placement.refusal) placement.refusal = PlaceMasterTarget(view, machine, wish, &assignment);
  if (!placement.refusal) placement.refusal = PlaceDirectory(view, machine, wish, &assignment);
  if (!placement.refusal) placement.assignment = std::move(assignment);
  return placement;
}

const types::v1::RecoveryPoint* NewestInstant(const control::v1::ReplicaObserved& replica) {
  const auto newest = std::find_if(
      replica.points().rbegin(), replica.points().rend(),
      [](const auto& point) { return point.consistency() != types::v1::NOT_ONE_INSTANT; });
  return newest == replica.points().rend() ? nullptr : &*newest;
}

ChosenPoint ChoosePoint(const std::vector<types::v1::RecoveryPoint>& points,
                        const std::string& wish, bool accept_not_one_instant) {
  ChosenPoint chosen;
  if (wish.empty()) {
    chosen.refusal = MakeProblem(ProblemId::kPointRequired, "choose a recovery point");
    return chosen;
  }
  const bool latest = wish == "latest", app = wish == "latest-app-consistent";
  for (auto it = points.rbegin(); it != points.rend(); ++it) {
    if (!latest && !(app && it->kind() == types::v1::APP_CONSISTENT) && it->id() != wish) continue;
    if (it->consistency() != types::v1::NOT_ONE_INSTANT || accept_not_one_instant) {
      chosen.refusal.reset();
      chosen.point = *it;
      return chosen;
    }
    // The newest one says best what is in the way.
    if (!chosen.refusal) {
      chosen.refusal =
          MakeProblem(ProblemId::kPointNotOneInstant,
                      absl::StrCat("point ", it->id(), " is not one instant: ", it->how()));
    }
  }
  if (chosen.refusal) return chosen;
  chosen.refusal =
      latest || app
          ? MakeProblem(ProblemId::kNoRecoveryPoint,
                        absl::StrCat("there is no ", app ? "application-consistent " : "",
                                     "recovery point"))
          : MakeProblem(ProblemId::kPointNotFound, absl::StrCat("there is no point ", wish));
  return chosen;
}

namespace {

void JudgePoints(const View& view, const control::v1::ReplicaObserved& replica,
                 std::vector<types::v1::HealthIssue>* issues) {
  const types::v1::RecoveryPoint& newest = *replica.points().rbegin();
  const types::v1::RecoveryPoint* const instant = NewestInstant(replica);
  if (&newest != instant) {
    issues->push_back(IssueOf(
        types::v1::WARNING,
        MakeProblem(ProblemId::kPointNotOneInstant,
                    absl::StrCat("the newest recovery point is not one instant: ", newest.how()))));
  }
  const types::v1::RecoveryPoint& oldest = replica.points(0);
  const absl::Duration age =
      view.clock.Now() - FromProto((instant == nullptr ? oldest : *instant).time());
  if (age <= view.settings.rpo_threshold) return;
  const std::string for_long = absl::FormatDuration(absl::Trunc(age, absl::Seconds(1)));
  issues->push_back(IssueOf(
      types::v1::WARNING,
      MakeProblem(ProblemId::kRpoThreshold,
                  instant == nullptr
                      ? absl::StrCat("for ", for_long, " no recovery point was of one instant")
                      : absl::StrCat("the newest recovery point ",
                                     instant == &newest ? "" : "that is of one instant ", "is ",
                                     for_long, " old"))));
}

}  // namespace

std::vector<types::v1::HealthIssue> JudgeMachine(const View& view, const Machine& machine) {
  std::vector<types::v1::HealthIssue> issues;
  if (const control::v1::Heartbeat* heartbeat = view.fleet.heartbeat(machine.machine_id())) {
    issues.insert(issues.end(), heartbeat->issues().begin(), heartbeat->issues().end());
  }
  for (const Fleet::RefusedCopy& refused : view.fleet.Refused(machine.machine_id()))
    issues.push_back(
        IssueOf(types::v1::CRITICAL, MakeProblem(ProblemId::kAgentCloned, refused.why)));
  const bool replicating = machine.state() == storage::v1::PROTECTED ||
                           machine.state() == storage::v1::ENABLING ||
                           machine.state() == storage::v1::REPROTECTING;
  if (!view.RegisteredSinceBoot(machine) || (replicating && !view.AgentConnected(machine))) {
    if (Refusal refusal = CheckAgent(view, machine)) {
      const bool gone = !view.fleet.alive(machine.machine_id());
      issues.push_back(IssueOf(gone ? types::v1::CRITICAL : types::v1::WARNING, *refusal));
    }
  }
  if (!replicating) return issues;
  const storage::v1::Assignment& assignment = machine.assignment();
  if (!assignment.process_server_id().empty() &&
      !view.fleet.connected(assignment.process_server_id())) {
    const bool gone = !view.fleet.alive(assignment.process_server_id());
    issues.push_back(
        IssueOf(gone ? types::v1::CRITICAL : types::v1::WARNING,
                MakeProblem(ProblemId::kProcessServerDown, "its process server is not connected")));
  }
  if (!view.fleet.connected(assignment.master_target_id())) {
    const bool gone = !view.fleet.alive(assignment.master_target_id());
    issues.push_back(
        IssueOf(gone ? types::v1::CRITICAL : types::v1::WARNING,
                MakeProblem(ProblemId::kMasterTargetDown, "its master target is not connected")));
  }
  // What would keep it from coming home.
  if (machine.state() == storage::v1::PROTECTED &&
      assignment.location() != storage::v1::DATASTORE_DIRECTORY) {
    if (Refusal refusal = CheckVmFailback(view, machine))
      issues.push_back(IssueOf(types::v1::WARNING, *std::move(refusal)));
  }
  const control::v1::ReplicaObserved* const replica = view.ReplicaOf(machine);
  if (replica == nullptr) return issues;
  if (replica->has_problem()) issues.push_back(IssueOf(types::v1::CRITICAL, replica->problem()));
  if (replica->has_damage()) issues.push_back(IssueOf(types::v1::CRITICAL, replica->damage()));
  if (replica->has_mended()) issues.push_back(IssueOf(types::v1::WARNING, replica->mended()));
  if (machine.state() == storage::v1::PROTECTED && !replica->points().empty())
    JudgePoints(view, *replica, &issues);
  return issues;
}

std::string WorstOf(const std::vector<types::v1::HealthIssue>& issues) {
  std::string worst = "Normal";
  for (const types::v1::HealthIssue& issue : issues) {
    if (issue.severity() == types::v1::CRITICAL) return "Critical";
    worst = "Warning";
  }
  return worst;
}

}  // namespace homeward
