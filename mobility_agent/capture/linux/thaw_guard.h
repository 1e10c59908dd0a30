// ThawGuard: a process beside the agent that thaws what the agent froze and can no longer thaw, be
// it killed or ended in between: the kernel keeps a file system frozen without its freezer, and
// everything that writes to it would stand still for ever.
#ifndef HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_THAW_GUARD_H_
#define HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_THAW_GUARD_H_

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/os/posix/unique_fd.h"

namespace homeward {

// Directories of file systems that are about to be frozen. Destroying it thaws them too.
class ThawGuard {
 public:
  static constexpr size_t kMountsMax = 200;

  // Starts the process when there is none. RESOURCE_EXHAUSTED: more than kMountsMax. Whoever gets
  // an error must not freeze. Thread-safe.
  static absl::StatusOr<ThawGuard> Watch(const std::vector<UniqueFd>& mounts);
  ThawGuard(ThawGuard&&) = default;
  ThawGuard& operator=(ThawGuard&&) = default;

  // They are thawed, or never were frozen. Nothing of the guard holds them when it returns (it
  // waits a second for that). Allocates nothing.
  void Release();

 private:
  explicit ThawGuard(UniqueFd agent_lives) : agent_lives_(std::move(agent_lives)) {}
  UniqueFd agent_lives_;  // of a pipe; the other end is the guard's
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_THAW_GUARD_H_
