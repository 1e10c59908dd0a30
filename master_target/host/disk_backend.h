// DiskBackend: the disks that a replica is written to: VMDKs in a datastore, block devices, or
// disks that are attached to the master target's VM.
#ifndef HOMEWARD_MASTER_TARGET_HOST_DISK_BACKEND_H_
#define HOMEWARD_MASTER_TARGET_HOST_DISK_BACKEND_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/os/attached_disks.h"
#include "common/os/file_system.h"
#include "homeward/control/v1/control.pb.h"
#include "master_target/keeper/keeper.h"

namespace homeward {

// One thread. Disks are in stream order.
class DiskBackend {
 public:
  virtual ~DiskBackend() = default;

  struct Opened {
    std::vector<ReplicaDisk> disks;
    bool created = false;  // none of them was there before: they read as zeroes
  };
  // NOT_FOUND: the datastore or a device is not there (yet). UNAVAILABLE: a disk is not attached
  // (yet). FAILED_PRECONDITION: it is there and cannot serve.
  virtual absl::StatusOr<Opened> Open() = 0;
  // What the machine uses when it is home.
  virtual std::vector<std::string> Paths() const = 0;
  // Changes when somebody writes to the disk. Empty: it cannot be told.
  virtual absl::StatusOr<std::string> Stamp(int disk) = 0;
  // What Open() created is gone; what was there before stays.
  virtual absl::Status Remove() = 0;
  // Disks that can be detached from this host can be now. None may be open.
  virtual absl::Status LetGo() { return absl::OkStatus(); }
};

// What `replica` names. `files` and `attached` outlive it; `attached` may be null where nothing can
// be attached.
std::unique_ptr<DiskBackend> MakeDiskBackend(FileSystem& files, AttachedDisks* attached,
                                             const control::v1::Replica& replica);

}  // namespace homeward

#endif  // HOMEWARD_MASTER_TARGET_HOST_DISK_BACKEND_H_
