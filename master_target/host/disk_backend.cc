#include "master_target/host/disk_backend.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"
#include "common/vmdk/vmdk.h"

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

// A descriptor and a flat extent for each disk, in the machine's directory of a datastore.
class VmdkBackend : public DiskBackend {
 public:
  VmdkBackend(FileSystem& files, control::v1::Replica replica)
      : files_(files),
        replica_(std::move(replica)),
        directory_(JoinPath(replica_.datastore(), replica_.directory())) {}

  absl::StatusOr<Opened> Open() override {
    // A datastore that is not mounted must not become a directory on the master target's own disk.
    if (const auto mounted = files_.List(replica_.datastore()); !mounted.ok()) {
      return absl::NotFoundError(absl::StrCat("datastore ", replica_.datastore(),
                                              " cannot be read: ", mounted.status().message()));
    }
    for (const types::v1::Disk& disk : replica_.disks())
      HW_RETURN_IF_ERROR(CheckSectors(disk, kSectorBytes, "a VMDK"));
    HW_RETURN_IF_ERROR(files_.MakeDirectories(directory_));
    Opened opened;
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

 private:
  std::string Name(int disk) const {
    return absl::StrCat(replica_.directory(), disk == 0 ? "" : absl::StrCat("_", disk));
  }
  std::string Path(int disk, const char* suffix) const {
    return JoinPath(directory_, absl::StrCat(Name(disk), suffix));
  }

  FileSystem& files_;
  const control::v1::Replica replica_;
  const std::string directory_;
};

// Whole disks. They were there before and stay.
class DeviceBackend : public DiskBackend {
 public:
  DeviceBackend(FileSystem& files, control::v1::Replica replica)
      : files_(files), replica_(std::move(replica)) {}

  absl::StatusOr<Opened> Open() override {
    const auto named = static_cast<int>(Paths().size());
    if (named != replica_.disks_size()) {
      return absl::FailedPreconditionError(
          absl::StrCat(named, " disks for a machine with ", replica_.disks_size()));
    }
    Opened opened;
    opened.created = replica_.attached_fresh();
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

  absl::StatusOr<std::string> Stamp(int) override { return std::string(); }
  absl::Status Remove() override { return absl::OkStatus(); }

 protected:
  virtual absl::StatusOr<std::string> PathOf(int disk) = 0;

  FileSystem& files_;
  const control::v1::Replica replica_;
};

// Devices that the master target's configuration names.
class BlockBackend : public DeviceBackend {
 public:
  using DeviceBackend::DeviceBackend;

  std::vector<std::string> Paths() const override {
    return {replica_.block_devices().begin(), replica_.block_devices().end()};
  }

 protected:
  absl::StatusOr<std::string> PathOf(int disk) override { return replica_.block_devices(disk); }
};

// Disks of a VM that are attached to the master target's, as long as it writes them.
class AttachedBackend : public DeviceBackend {
 public:
  AttachedBackend(FileSystem& files, AttachedDisks& attached, control::v1::Replica replica)
      : DeviceBackend(files, std::move(replica)), attached_(attached) {}

  std::vector<std::string> Paths() const override {
    std::vector<std::string> names;
    for (const std::string& uuid : replica_.attached_disks())
      names.push_back(absl::StrCat("attached disk ", uuid));
    return names;
  }
  absl::Status LetGo() override {
    for (const std::string& uuid : replica_.attached_disks())
      HW_RETURN_IF_ERROR(attached_.LetGo(uuid));
    return absl::OkStatus();
  }

 protected:
  absl::StatusOr<std::string> PathOf(int disk) override {
    absl::StatusOr<std::string> path = attached_.Find(replica_.attached_disks(disk));
    if (path.ok()) return path;
    // A new disk is told of by the bus; where that was lost, looking through it helps.
    if (missed_++ % kMissesBetweenRescans == 0) attached_.Rescan();
    return absl::UnavailableError(path.status().message());
  }

 private:
  static constexpr int kMissesBetweenRescans = 10;

  AttachedDisks& attached_;
  int missed_ = 0;
};

}  // namespace

std::unique_ptr<DiskBackend> MakeDiskBackend(FileSystem& files, AttachedDisks* attached,
                                             const control::v1::Replica& replica) {
  if (attached != nullptr && !replica.attached_disks().empty())
    return std::make_unique<AttachedBackend>(files, *attached, replica);
  if (!replica.block_devices().empty()) return std::make_unique<BlockBackend>(files, replica);
  return std::make_unique<VmdkBackend>(files, replica);
}

}  // namespace homeward
