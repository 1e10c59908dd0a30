// PausedServices: the operator's services whose processes stand still for a recovery point, by the
// kernel's freezer of control groups (either version).
#ifndef HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_PAUSED_SERVICES_H_
#define HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_PAUSED_SERVICES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/optional.h"
#include "common/os/posix/unique_fd.h"
#include "mobility_agent/capture/linux/thaw_guard.h"

namespace homeward {

// Thread-safe. One for all disks of a machine, which stand still together: the first Pause()
// pauses, the last Resume() lets go. Should this process end in between, ThawGuard does.
class PausedServices {
 public:
  // Each of `names` is a systemd unit ("db.service") or the absolute path of a control group.
  // INVALID_ARGUMENT: one of them holds this process or the machine's first, or is no such name.
  // One that is not there may come later. `root` is where control groups are mounted.
  static absl::StatusOr<std::shared_ptr<PausedServices>> Open(std::vector<std::string> names,
                                                              std::string root = "/sys/fs/cgroup");
  ~PausedServices();

  struct Outcome {
    std::vector<std::string> still;     // "service db.service"
    std::vector<std::string> troubles;  // why one is not: "service db.service has no …"
  };
  // Blocks for a second at most: what does not stand still by then goes on. Each is ended by one
  // Resume(), whatever it says.
  Outcome Pause();
  // Allocates nothing.
  void Resume();

 private:
  struct Paused {
    std::string name;
    ThawGuard::Kind kind = ThawGuard::Kind::kControlGroup;
    UniqueFd freezer, state;
    bool still = false;

    bool StandsStill() const;
    void Thaw() const { ThawGuard::Thaw({kind, freezer.get()}); }
  };
  PausedServices(std::vector<std::string> names, std::string root)
      : names_(std::move(names)), root_(std::move(root)) {}
  // The directory of `name`, or what is in the way; empty: nothing of it runs.
  absl::StatusOr<std::string> Find(const std::string& name) const;
  absl::StatusOr<Paused> OpenFreezer(const std::string& name) const;
  void FreezeAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ResumeAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::vector<std::string> names_;
  const std::string root_;
  absl::Mutex mutex_;
  int users_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Paused> paused_ ABSL_GUARDED_BY(mutex_);
  Outcome outcome_ ABSL_GUARDED_BY(mutex_);
  absl::optional<ThawGuard> guard_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_PAUSED_SERVICES_H_
