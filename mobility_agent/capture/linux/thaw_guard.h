// ThawGuard: a process beside the agent that thaws what the agent froze and can no longer thaw, be
// it killed or ended in between: the kernel keeps a file system or the processes of a control group
// frozen without their freezer, and they would stand still for ever. It also thaws what is held for
// longer than any freeze takes: an agent that was killed does not end while one of its threads
// waits in the kernel for a freeze.
#ifndef HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_THAW_GUARD_H_
#define HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_THAW_GUARD_H_

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/os/posix/unique_fd.h"

namespace homeward {

// What is about to be frozen. Destroying it thaws that too.
class ThawGuard {
 public:
  static constexpr size_t kItemsMax = 200;
  static constexpr int kHeldSecondsMax = 60;
  enum class Kind : char {
    kFileSystem = 'f',    // anything of it that is open
    kControlGroup = 'g',  // its cgroup.freeze (version 2)
    kFreezerGroup = 'z',  // its freezer.state (version 1)
  };
  struct Item {
    Kind kind = Kind::kFileSystem;
    int descriptor = -1;
  };
  // What Watch()'s process does; an item that is not frozen stays as it is. Allocates nothing.
  static void Thaw(const Item& item);

  // Starts the process when there is none; it keeps descriptors of its own, and thaws the last
  // first: when the agent has gone, and `held_seconds_max` (1 to 127) after this was called.
  // RESOURCE_EXHAUSTED: more than kItemsMax. Whoever gets an error must not freeze.
  // Thread-safe.
  static absl::StatusOr<ThawGuard> Watch(const std::vector<Item>& items,
                                         int held_seconds_max = kHeldSecondsMax);
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
