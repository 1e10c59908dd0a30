#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/vmdk/vmdk.h"
#include "config_server/model/locations.h"
#include "config_server/model/target.h"
#include "config_server/model/vm_record.h"

namespace homeward {
namespace {

using storage::v1::Machine;

std::string NameOf(const Machine& machine) { return machine.registration().name(); }

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
  control::v1::Target chosen;
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
    chosen.mutable_block_devices()->add_paths(path);
  }
  SetTarget(chosen, assignment);
  return std::nullopt;
}

}  // namespace

bool DatastoreDirectoryRules::IsMeant(const Machine& machine, const PlacementWish& wish) const {
  return !machine.has_vm() || RunsInItsVm(machine) || !wish.datastore.empty() ||
         !wish.directory.empty() || !wish.block_devices.empty();
}

Refusal DatastoreDirectoryRules::Place(const View& view, const Machine& machine,
                                       const PlacementWish& wish,
                                       storage::v1::Assignment* assignment) const {
  if (Refusal refusal = PlaceMasterTarget(view, machine, wish, assignment)) return refusal;
  if (Refusal refusal = CheckRetention(view, assignment->master_target_id())) return refusal;
  const control::v1::MasterTargetObserved& target =
      view.fleet.heartbeat(assignment->master_target_id())->master_target();
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
        ProblemId::kDatastoreNotOffered,
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

control::v1::Target DatastoreDirectoryRules::TargetFor(const Machine& machine) const {
  return TargetOf(machine.assignment());
}

}  // namespace homeward
