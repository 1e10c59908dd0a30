// AttachedDisks: the disks that a hypervisor attaches to this host, found by the UUIDs it gives
// them.
#ifndef HOMEWARD_COMMON_OS_ATTACHED_DISKS_H_
#define HOMEWARD_COMMON_OS_ATTACHED_DISKS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace homeward {

// Thread-safe. UUIDs are 32 hex digits in lower case.
class AttachedDisks {
 public:
  virtual ~AttachedDisks() = default;
  // The disk's path. NOT_FOUND: it is not attached, or not seen yet.
  virtual absl::StatusOr<std::string> Find(const std::string& uuid) const = 0;
  // Of all disks that are seen now and say one.
  virtual std::vector<std::string> Uuids() const = 0;
  // Has the buses looked through for disks that were attached while the host ran. What there is
  // appears some time later.
  virtual void Rescan() = 0;
  // What was written is on the disk, and the host knows it no more: it can be detached. Nobody may
  // have it open. OK for one that is not there.
  virtual absl::Status LetGo(const std::string& uuid) = 0;
};

// Links wwn-0x<uuid> in `directory`, as udev makes them in /dev/disk/by-id for the disks of a
// VMware VM that has disk.EnableUUID.
inline constexpr char kDiskLinksDirectory[] = "/dev/disk/by-id";
std::unique_ptr<AttachedDisks> MakeAttachedDisks(std::string directory = kDiskLinksDirectory);

// The UUID that the disk at `path` says it has; empty where it says none.
std::string DiskUuidOf(const std::string& path);
// What the block device at `path` counts its sectors in. 0: it is none, or cannot be asked.
uint32_t LogicalSectorBytesOf(const std::string& path);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_OS_ATTACHED_DISKS_H_
