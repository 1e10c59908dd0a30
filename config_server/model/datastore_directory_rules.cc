#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/vmdk/vmdk.h"
#include "config_server/model/control_messages.h"
#include "config_server/model/locations.h"
#include "config_server/model/vm_record.h"

namespace homeward {
namespace {

using storage::v1::Machine;

Refusal PlaceBlockDevices(const View& view, const Machine& machine, const PlacementWish& wish,
                          const control::v1::MasterTargetObserved& target,
                          storage::v1::Placement* placement) {
  const auto unsuitable = [](const std::string& why) {
    return MakeProblem(ProblemId::kBlockDeviceUnsuitable, why);
  };
  if (wish.block_devices.size() != static_cast<size_t>(placement->disks_size())) {
    return unsuitable(absl::StrCat(NameOf(machine), " has ", placement->disks_size(),
                                   " disks to replicate, and ", wish.block_devices.size(),
                                   " block devices were named"));
  }
  google::protobuf::RepeatedPtrField<std::string> chosen;
  for (size_t i = 0; i < wish.block_devices.size(); ++i) {
    const std::string& path = wish.block_devices[i];
    const types::v1::Disk& disk = placement->disks(static_cast<int>(i));
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
      const storage::v1::Placement& others = other.assignment().placement();
      const auto& replica = others.target().block_devices().paths();
      const auto& home = other.home_disks();
      const bool theirs = other.machine_id() != machine.machine_id() &&
                          others.master_target_id() == placement->master_target_id() &&
                          std::count(replica.begin(), replica.end(), path) > 0;
      if (theirs || std::count(home.begin(), home.end(), path) > 0)
        return unsuitable(absl::StrCat(path, " has a disk of ", NameOf(other)));
    }
    *chosen.Add() = path;
  }
  *placement->mutable_target()->mutable_block_devices()->mutable_paths() = std::move(chosen);
  return std::nullopt;
}

}  // namespace

bool DatastoreDirectoryRules::IsMeant(const Machine& machine, const PlacementWish& wish) const {
  return !machine.has_vm() || RunsInItsVm(machine) || !wish.datastore.empty() ||
         !wish.directory.empty() || !wish.block_devices.empty();
}

Refusal DatastoreDirectoryRules::Place(const View& view, const Machine& machine,
                                       const PlacementWish& wish,
                                       storage::v1::Placement* placement) const {
  if (Refusal refusal = PlaceMasterTarget(view, machine, wish, placement)) return refusal;
  if (Refusal refusal = CheckRetention(view, placement->master_target_id())) return refusal;
  const control::v1::MasterTargetObserved& target =
      view.fleet.heartbeat(placement->master_target_id())->master_target();
  if (!wish.block_devices.empty()) return PlaceBlockDevices(view, machine, wish, target, placement);
  if (Refusal refusal = CheckVmdkSectors(*placement)) return refusal;
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
    const storage::v1::Placement& others = other.assignment().placement();
    const bool replica = other.machine_id() != machine.machine_id() &&
                         others.master_target_id() == placement->master_target_id() &&
                         others.target().datastore_directory().datastore() == chosen->path() &&
                         others.target().datastore_directory().directory() == directory;
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
  storage::v1::DatastoreDirectory& placed =
      *placement->mutable_target()->mutable_datastore_directory();
  placed.set_datastore(chosen->path());
  placed.set_directory(directory);
  return std::nullopt;
}

control::v1::Target DatastoreDirectoryRules::TargetFor(const Machine& machine) const {
  return ToControl(machine.assignment().placement().target());
}

}  // namespace homeward
