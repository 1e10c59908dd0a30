// FrozenMounts: holds all file systems of one disk still, for a crash-consistent instant.
#ifndef HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_FROZEN_MOUNTS_H_
#define HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_FROZEN_MOUNTS_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace homeward {

// One thread.
class FrozenMounts {
 public:
  // Writes back (syncfs) and freezes (FIFREEZE) every file system mounted from the disk
  // `major`:`first_minor` or its partitions. A file system that cannot be frozen (vfat) is written
  // back only. DEADLINE_EXCEEDED: not all stood still within `timeout`; those that did, and those
  // that still come to it, are thawed again.
  static absl::StatusOr<std::unique_ptr<FrozenMounts>> Freeze(uint32_t major, uint32_t first_minor,
                                                              absl::Duration timeout);
  // Thaws.
  ~FrozenMounts();

 private:
  struct Shared;
  explicit FrozenMounts(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  const std::shared_ptr<Shared> shared_;  // with the freezing thread, which may outlive a time-out
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_FROZEN_MOUNTS_H_
