#include "master_target/host/disk_backends.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/replication/target.h"
#include "common/status/status_macros.h"
#include "common/vmdk/vmdk.h"
#include "master_target/keeper/keeper.h"

namespace homeward {
namespace {

// Where sectors are counted otherwise, the same bytes are another disk. 0: not known.
absl::Status CheckSectors(const types::v1::Disk& disk, uint64_t sector_bytes,
                          const std::string& where) {
  const uint64_t wanted =
      disk.logical_sector_bytes() == 0 ? kSectorBytes : disk.logical_sector_bytes();
  if (sector_bytes == 0 || sector_bytes == wanted) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "disk ", disk.name(), " has sectors of ", wanted, " bytes, ", where, " of ", sector_bytes));
}

// A path that the configuration does not name is not there.
std::string Known(const std::string& path, const std::vector<std::string>& ours) {
  const bool known = std::find(ours.begin(), ours.end(), path) != ours.end();
  return known ? path : absl::StrCat(path, " (not among this master target's)");
}

// A replica in disks: a keeper writes them.
class DiskBackend : public ReplicaBackend {
 public:
  DiskBackend(const BackendParts& parts, control::v1::Replica replica)
      : files_(parts.files),
        replica_(std::move(replica)),
        retention_directory_(parts.retention_directory),
        make_strand_(parts.make_strand) {}

  absl::StatusOr<Opened> Open() override {
    HW_ASSIGN_OR_RETURN(Disks disks, OpenDisks());
    HW_ASSIGN_OR_RETURN(std::unique_ptr<Keeper> keeper,
                        Keeper::Open(files_, retention_directory_, std::move(disks.disks),
                                     {.make_strand = make_strand_}));
    return Opened{std::move(keeper), disks.created};
  }

 protected:
  struct Disks {
    std::vector<ReplicaDisk> disks;
    bool created = false;
  };
  virtual absl::StatusOr<Disks> OpenDisks() = 0;

  FileSystem& files_;
  const control::v1::Replica replica_;

 private:
  const std::string retention_directory_;
  const Keeper::MakeStrand make_strand_;
};

// A descriptor and a flat extent for each disk, in the machine's directory of a datastore.
class VmdkBackend : public DiskBackend {
 public:
  VmdkBackend(const BackendParts& parts, const control::v1::Replica& replica,
              const control::v1::DatastoreDirectory& target)
      : DiskBackend(parts, replica),
        datastore_(Known(target.datastore(), parts.datastores)),
        name_(target.directory()),
        directory_(JoinPath(datastore_, name_)) {}

  std::vector<std::string> Paths() const override {
    std::vector<std::string> paths;
    for (int i = 0; i < replica_.disks_size(); ++i) paths.push_back(Path(i, ".vmdk"));
    return paths;
  }

  absl::StatusOr<std::string> Stamp(int disk) override {
    HW_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                        files_.Open(Path(disk, "-flat.vmdk"), OpenMode::kReadOnly));
    HW_ASSIGN_OR_RETURN(const absl::Time modified, file->Modified());
    return absl::StrCat(absl::ToUnixNanos(modified));
  }

  absl::Status Remove() override {
    if (absl::IsNotFound(files_.List(directory_).status())) return absl::OkStatus();
    // The descriptors first: one that is there always has its extent.
    for (const char* suffix : {".vmdk", "-flat.vmdk"}) {
      for (int i = 0; i < replica_.disks_size(); ++i)
        HW_RETURN_IF_ERROR(files_.Remove(Path(i, suffix)));
      HW_RETURN_IF_ERROR(files_.SyncDirectory(directory_));
    }
    // What else is in the directory is not ours, and then it stays.
    files_.Remove(directory_).IgnoreError();
    return absl::OkStatus();
  }

 protected:
  absl::StatusOr<Disks> OpenDisks() override {
    // A datastore that is not mounted must not become a directory on the master target's own disk.
    if (const auto mounted = files_.List(datastore_); !mounted.ok()) {
      return absl::NotFoundError(
          absl::StrCat("datastore ", datastore_, " cannot be read: ", mounted.status().message()));
    }
    for (const types::v1::Disk& disk : replica_.disks())
      HW_RETURN_IF_ERROR(CheckSectors(disk, kSectorBytes, "a VMDK"));
    HW_RETURN_IF_ERROR(files_.MakeDirectories(directory_));
    Disks opened;
    opened.created = true;
    for (int i = 0; i < replica_.disks_size(); ++i) {
      const types::v1::Disk& disk = replica_.disks(i);
      bool created = false;
      uint32_t content_id = 0;
      (void)absl::SimpleHexAtoi(disk.uuid().substr(0, 8), &content_id);
      HW_ASSIGN_OR_RETURN(std::unique_ptr<File> file,
                          OpenOrCreateVmdk(files_,
                                           {.directory = directory_,
                                            .name = Name(i),
                                            .size_bytes = disk.size_bytes(),
                                            .uuid = disk.uuid(),
                                            .content_id = content_id},
                                           &created));
      opened.created = opened.created && created;
      opened.disks.push_back({std::move(file), disk.size_bytes()});
    }
    return opened;
  }

 private:
  std::string Name(int disk) const {
    return absl::StrCat(name_, disk == 0 ? "" : absl::StrCat("_", disk));
  }
  std::string Path(int disk, const char* suffix) const {
    return JoinPath(directory_, absl::StrCat(Name(disk), suffix));
  }

  const std::string datastore_;
  const std::string name_;
  const std::string directory_;
};

// Whole disks. They were there before and stay.
class DeviceBackend : public DiskBackend {
 public:
  // `fresh`: they read as zeroes.
  DeviceBackend(const BackendParts& parts, const control::v1::Replica& replica, bool fresh)
      : DiskBackend(parts, replica), fresh_(fresh) {}

  absl::StatusOr<std::string> Stamp(int) override { return std::string(); }
  absl::Status Remove() override { return absl::OkStatus(); }

 protected:
  absl::StatusOr<Disks> OpenDisks() override {
    const auto named = static_cast<int>(Paths().size());
    if (named != replica_.disks_size()) {
      return absl::FailedPreconditionError(
          absl::StrCat(named, " disks for a machine with ", replica_.disks_size()));
    }
    Disks opened;
    opened.created = fresh_;
    for (int i = 0; i < replica_.disks_size(); ++i) {
      HW_ASSIGN_OR_RETURN(const std::string path, PathOf(i));
      HW_ASSIGN_OR_RETURN(std::unique_ptr<File> file, files_.Open(path, OpenMode::kReadWriteBulk));
      HW_ASSIGN_OR_RETURN(const uint64_t has_bytes, file->Size());
      if (has_bytes < replica_.disks(i).size_bytes()) {
        return absl::FailedPreconditionError(
            absl::StrCat(path, " has ", has_bytes, " bytes, the machine's disk ",
                         replica_.disks(i).name(), " has ", replica_.disks(i).size_bytes()));
      }
      HW_RETURN_IF_ERROR(CheckSectors(replica_.disks(i), LogicalSectorBytesOf(path), path));
      opened.disks.push_back({std::move(file), replica_.disks(i).size_bytes()});
    }
    return opened;
  }
  virtual absl::StatusOr<std::string> PathOf(int disk) = 0;

 private:
  const bool fresh_;
};

// Devices that the master target's configuration names.
class BlockBackend : public DeviceBackend {
 public:
  BlockBackend(const BackendParts& parts, const control::v1::Replica& replica,
               const control::v1::BlockDevices& target)
      : DeviceBackend(parts, replica, /*fresh=*/false) {
    for (const std::string& path : target.paths())
      paths_.push_back(Known(path, parts.block_devices));
  }

  std::vector<std::string> Paths() const override { return paths_; }

 protected:
  absl::StatusOr<std::string> PathOf(int disk) override {
    return paths_[static_cast<size_t>(disk)];
  }

 private:
  std::vector<std::string> paths_;
};

// Disks of a VM that are attached to the master target's, as long as it writes them.
class AttachedBackend : public DeviceBackend {
 public:
  AttachedBackend(const BackendParts& parts, const control::v1::Replica& replica,
                  const control::v1::AttachedDisks& target)
      : DeviceBackend(parts, replica, target.fresh()),
        attached_(*parts.attached),
        uuids_(target.uuids().begin(), target.uuids().end()) {}

  std::vector<std::string> Paths() const override {
    std::vector<std::string> names;
    for (const std::string& uuid : uuids_) names.push_back(absl::StrCat("attached disk ", uuid));
    return names;
  }
  bool leaves() const override { return true; }
  absl::Status LetGo() override {
    for (const std::string& uuid : uuids_) HW_RETURN_IF_ERROR(attached_.LetGo(uuid));
    return absl::OkStatus();
  }

 protected:
  absl::StatusOr<std::string> PathOf(int disk) override {
    absl::StatusOr<std::string> path = attached_.Find(uuids_[static_cast<size_t>(disk)]);
    if (path.ok()) return path;
    // A new disk is told of by the bus; where that was lost, looking through it helps.
    if (missed_++ % kMissesBetweenRescans == 0) attached_.Rescan();
    return absl::UnavailableError(path.status().message());
  }

 private:
  static constexpr int kMissesBetweenRescans = 10;

  AttachedDisks& attached_;
  const std::vector<std::string> uuids_;
  int missed_ = 0;
};

}  // namespace

BackendTable DiskBackends() {
  using control::v1::Target;
  return {{Target::kDatastoreDirectory,
           [](const BackendParts& parts, const control::v1::Replica& replica) {
             return std::make_unique<VmdkBackend>(parts, replica,
                                                  TargetOf(replica).datastore_directory());
           }},
          {Target::kBlockDevices,
           [](const BackendParts& parts, const control::v1::Replica& replica) {
             return std::make_unique<BlockBackend>(parts, replica,
                                                   TargetOf(replica).block_devices());
           }},
          {Target::kAttachedDisks,
           [](const BackendParts& parts,
              const control::v1::Replica& replica) -> std::unique_ptr<ReplicaBackend> {
             if (parts.attached == nullptr) return nullptr;
             return std::make_unique<AttachedBackend>(parts, replica,
                                                      TargetOf(replica).attached_disks());
           }}};
}

}  // namespace homeward
