// What a Linux machine does with the mounted file systems of one disk for a crash-consistent
// instant: write back, then freeze.
#ifndef HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_FROZEN_MOUNTS_H_
#define HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_FROZEN_MOUNTS_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace homeward {

// One thread. Both calls of the kernel can block for as long as the disk does, so each gets a
// thread of its own that may be left behind.
class MountWriteBack {
 public:
  // Begins to write back (syncfs) every file system mounted from the disk `major`:`first_minor` or
  // its partitions.
  MountWriteBack(uint32_t major, uint32_t first_minor);
  bool done() const;

 private:
  struct Shared;
  const std::shared_ptr<Shared> shared_;  // with its thread
};

class FrozenMounts {
 public:
  // Begins to freeze (FIFREEZE) every such file system. One that cannot be frozen (vfat) is written
  // back only. Should this process end before it has thawed them, ThawGuard does.
  FrozenMounts(uint32_t major, uint32_t first_minor);
  // All stand still. DEADLINE_EXCEEDED: not within `timeout`. Allocates nothing when it is OK.
  absl::Status Await(absl::Duration timeout);
  // Thaws those that stand still and those that still come to it.
  void Thaw();
  // Nothing is being frozen any more.
  bool over() const;
  ~FrozenMounts() { Thaw(); }

 private:
  struct Shared;
  const std::shared_ptr<Shared> shared_;  // with its thread, which may outlive a time-out
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_FROZEN_MOUNTS_H_
