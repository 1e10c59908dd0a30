// GuestSteps: what the agent does in the machine that it finds in another location after a boot,
// once.
#ifndef HOMEWARD_MOBILITY_AGENT_GUEST_GUEST_STEPS_H_
#define HOMEWARD_MOBILITY_AGENT_GUEST_GUEST_STEPS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/exec/strand.h"
#include "common/os/file_system.h"
#include "homeward/types/v1/types.pb.h"
#include "mobility_agent/guest/guest_step.h"

namespace homeward {

// The location of the first start is home. Azure, where that is not home, is away; elsewhere
// nothing is done, and nothing forgotten.
enum class GuestWay { kStay, kAway, kHome };
GuestWay WayOf(GuestLocation home, GuestLocation now);

// On a strand of its own: nothing of the data path waits for it. What fails is a health issue, and
// tried again, from 10 seconds on with a delay that doubles up to 15 minutes. Thread-safe.
class GuestSteps {
 public:
  struct Options {
    std::string record_path;
    // Instead of what the firmware tells; kOther: that.
    GuestLocation location = GuestLocation::kOther;
  };
  // `files` outlives it.
  GuestSteps(FileSystem& files, Options options, GuestFiles machine,
             std::unique_ptr<Commands> commands, std::unique_ptr<Strand> strand);
  // Ends what runs, which the next start finishes. `commands` must have been told to stop.
  ~GuestSteps();

  std::vector<types::v1::HealthIssue> issues() const;

 private:
  void Attempt();
  // One attempt at everything. Each step is tried whatever became of the others.
  std::vector<types::v1::HealthIssue> GoThrough();
  void CheckBoot();

  FileSystem& files_;
  const Options options_;
  const GuestFiles machine_;
  const std::unique_ptr<Commands> commands_;

  // Touched only on strand_.
  std::vector<std::unique_ptr<GuestStep>> steps_;
  absl::Duration retry_delay_;

  mutable absl::Mutex mutex_;
  std::vector<types::v1::HealthIssue> step_issues_ ABSL_GUARDED_BY(mutex_);
  std::vector<types::v1::HealthIssue> boot_issues_ ABSL_GUARDED_BY(mutex_);

  std::unique_ptr<Strand> strand_;  // last: it uses the rest
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_GUEST_GUEST_STEPS_H_
