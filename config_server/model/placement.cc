#include "config_server/model/placement.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/limits.h"
#include "common/wire/checksum.h"
#include "config_server/model/location_rules.h"
#include "config_server/model/vm_rules.h"
#include "config_server/model/vm_search.h"

namespace homeward {
namespace {

using storage::v1::Machine;

const storage::v1::Server* LeastLoaded(const View& view, types::v1::ServerRole role,
                                       types::v1::OsType os_type, const std::string& besides = "") {
  const storage::v1::Server* best = nullptr;
  size_t best_load = SIZE_MAX;
  for (const storage::v1::Server& server : view.servers) {
    if (server.role() != role || !view.fleet.connected(server.host_id()) ||
        server.host_id() == besides)
      continue;
    if (os_type != types::v1::OS_TYPE_UNSPECIFIED && server.registration().os_type() != os_type)
      continue;
    const size_t load = static_cast<size_t>(
        std::count_if(view.machines.begin(), view.machines.end(), [&](const Machine& machine) {
          return machine.assignment().placement().process_server_id() == server.host_id() ||
                 machine.assignment().placement().master_target_id() == server.host_id();
        }));
    if (load < best_load) {
      best = &server;
      best_load = load;
    }
  }
  return best;
}

Refusal PlaceDisks(const Machine& machine, const PlacementWish& wish,
                   storage::v1::Placement* placement) {
  for (const types::v1::Disk& disk : machine.registration().disks()) {
    const bool wanted = wish.disks.empty() || std::find(wish.disks.begin(), wish.disks.end(),
                                                        disk.name()) != wish.disks.end();
    if (!wanted) continue;
    if (disk.size_bytes() > kVmdkBytesMax) {
      return MakeProblem(ProblemId::kDiskTooLarge,
                         absl::StrCat("disk ", disk.name(), " has ", disk.size_bytes(), " bytes"));
    }
    types::v1::Disk* const placed = placement->add_disks();
    *placed = disk;
    // The same for as long as the machine exists, so that its disks are known again where they lie
    // already.
    if (placed->uuid().empty()) {
      placed->set_uuid(absl::BytesToHexString(
          Digest128(AsBytes(absl::StrCat(machine.machine_id(), "/", disk.name())))));
    }
  }
  for (const std::string& name : wish.disks) {
    const auto& disks = placement->disks();
    if (std::none_of(disks.begin(), disks.end(),
                     [&](const types::v1::Disk& disk) { return disk.name() == name; })) {
      for (const types::v1::UnusableDisk& unusable : machine.registration().unusable_disks()) {
        if (unusable.name() != name) continue;
        return MakeProblem(ProblemId::kDiskNotProtectable,
                           absl::StrCat("disk ", name, " of ", NameOf(machine),
                                        " cannot be protected: ", unusable.reason()));
      }
      return MakeProblem(ProblemId::kDiskUnknown,
                         absl::StrCat(NameOf(machine), " has no disk ", name));
    }
  }
  if (placement->disks().empty()) {
    return MakeProblem(ProblemId::kNoDisk,
                       absl::StrCat(NameOf(machine), " registered without any disk"));
  }
  return std::nullopt;
}

// `besides` is not chosen where none is wished for.
Refusal PlaceRelay(const View& view, const std::string& wish, const std::string& besides,
                   storage::v1::Placement* placement) {
  View::MeantServer meant;
  if (wish.empty()) {
    meant.server =
        LeastLoaded(view, types::v1::PROCESS_SERVER, types::v1::OS_TYPE_UNSPECIFIED, besides);
  } else {
    meant = view.ServerCalled(wish, {types::v1::PROCESS_SERVER});
  }
  if (meant.refusal) return meant.refusal;
  const storage::v1::Server* const server = meant.server;
  if (server == nullptr || !view.fleet.connected(server->host_id())) {
    return MakeProblem(
        ProblemId::kProcessServerDown,
        server == nullptr
            ? besides.empty() ? "no process server is connected"
                              : "no other process server is connected"
            : absl::StrCat("process server ", server->registration().name(), " is not connected"));
  }
  if (const control::v1::Heartbeat* heartbeat = view.fleet.heartbeat(server->host_id())) {
    for (const types::v1::HealthIssue& issue : heartbeat->issues()) {
      if (IsProblem(issue.problem(), ProblemId::kCacheLow) &&
          issue.severity() == types::v1::CRITICAL)
        return MakeProblem(ProblemId::kCacheLow, issue.problem().message());
    }
  }
  placement->set_process_server_id(server->host_id());
  return std::nullopt;
}

}  // namespace

Refusal PlaceMasterTarget(const View& view, const Machine& machine, const PlacementWish& wish,
                          storage::v1::Placement* placement) {
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
  int disks = placement->disks_size();
  for (const Machine& other : view.machines) {
    if (other.machine_id() != machine.machine_id() &&
        other.assignment().placement().master_target_id() == server->host_id()) {
      disks += other.assignment().placement().disks_size();
    }
  }
  if (disks > kMasterTargetDisksMax) {
    return MakeProblem(ProblemId::kMasterTargetDiskLimit,
                       absl::StrCat(server->registration().name(), " would have ", disks,
                                    " disks; the limit is ", kMasterTargetDisksMax));
  }
  placement->set_master_target_id(server->host_id());
  return std::nullopt;
}

Refusal CheckRetention(const View& view, const std::string& master_target_id) {
  const control::v1::Heartbeat* const heartbeat = view.fleet.heartbeat(master_target_id);
  if (heartbeat == nullptr)
    return MakeProblem(ProblemId::kMasterTargetDown, "the master target has not reported yet");
  const control::v1::MasterTargetObserved& target = heartbeat->master_target();
  const types::v1::Datastore& retention = target.retention_volume();
  if (!retention.unsuitable().empty())
    return MakeProblem(ProblemId::kRetentionDriveUnsuitable, retention.unsuitable());
  if (retention.total_bytes() != 0 &&
      HasRoomForPoints(retention.free_bytes(), retention.total_bytes())) {
    return std::nullopt;
  }
  return MakeProblem(
      ProblemId::kRetentionDriveUnsuitable,
      absl::StrCat("the retention volume ", retention.path(), " has ", retention.free_bytes(),
                   " of ", retention.total_bytes(), " bytes free"));
}

Refusal CheckVmdkSectors(const storage::v1::Placement& placement) {
  for (const types::v1::Disk& disk : placement.disks()) {
    if (SectorBytesOf(disk) == kVmdkSectorBytes) continue;
    return MakeProblem(ProblemId::kSectorSizeUnsupported,
                       absl::StrCat("disk ", disk.name(), " has sectors of ", SectorBytesOf(disk),
                                    " bytes, a VMDK has ", kVmdkSectorBytes));
  }
  return std::nullopt;
}

std::string ProcessServerOf(const Machine& machine) {
  const storage::v1::Placement& placement = machine.assignment().placement();
  return RulesOf(machine).has_relay() ? placement.process_server_id()
                                      : placement.master_target_id();
}

void SetProcessServer(const std::string& host_id, Machine* machine) {
  storage::v1::Placement& placement = *machine->mutable_assignment()->mutable_placement();
  RulesOf(*machine).has_relay() ? placement.set_process_server_id(host_id)
                                : placement.set_master_target_id(host_id);
}

Refusal LocationRules::PlaceProcessServer(const View& view, const Machine& machine,
                                          const std::string& wish,
                                          storage::v1::Placement* placement) const {
  return PlaceRelay(view, wish, ProcessServerOf(machine), placement);
}

Placed Place(const View& view, const Machine& as_recorded, const PlacementWish& wish) {
  Placed placed;
  Machine machine = as_recorded;
  if (wish.hyperv) {
    placed.refusal = MakeProblem(ProblemId::kHypervTarget,
                                 absl::StrCat(NameOf(machine), " cannot come back to Hyper-V"));
    return placed;
  }
  if (!wish.vm.empty()) {
    // Of a machine that runs elsewhere, the VM that it was.
    const bool was = machine.has_vm() && !RunsInItsVm(machine);
    Choice choice =
        ChooseVm(view, was ? IdentityOfRecorded(machine) : IdentityOfSource(machine), wish.vm);
    placed.refusal = std::move(choice.refusal);
    if (placed.refusal) return placed;
    placed.chosen_vm = choice.recorded;
    machine.set_chosen_vm(choice.recorded);
  }
  placed.refusal = CheckSource(view, machine);
  if (placed.refusal) return placed;
  storage::v1::Placement placement;
  placement.set_remove_snapshots(wish.remove_snapshots);
  const LocationRules& rules = RulesMeant(machine, wish);
  placed.refusal = PlaceDisks(machine, wish, &placement);
  if (!placed.refusal && rules.has_relay())
    placed.refusal = PlaceRelay(view, wish.process_server, /*besides=*/"", &placement);
  if (placed.refusal) return placed;
  placed.refusal = rules.Place(view, machine, wish, &placement);
  if (placed.refusal) return placed;
  placement.set_location(rules.kind());
  placed.placement = std::move(placement);
  return placed;
}

}  // namespace homeward
