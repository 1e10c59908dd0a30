// ConsistencyScripts: the operator's scripts around an application-consistent point. They run on a
// strand of their own, beside replication.
#ifndef HOMEWARD_MOBILITY_AGENT_HOST_CONSISTENCY_SCRIPTS_H_
#define HOMEWARD_MOBILITY_AGENT_HOST_CONSISTENCY_SCRIPTS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/exec/strand.h"
#include "common/os/file_system.h"
#include "common/os/run_program.h"

namespace homeward {

// Each executable file of a folder is run with "freeze", in the order of the names, until one
// fails; those that were started are run with "thaw", in the reverse order. What is owed a thaw is
// kept durably, as an empty file of the script's name, before its "freeze" starts: so also an agent
// that was killed thaws when it starts again. A thaw can come twice, or without its freeze. All but
// the constructor and the destructor is thread-safe.
class ConsistencyScripts {
 public:
  struct Options {
    std::string directory;
    std::string owed_directory;  // of its own; see above
    // As one more script, before the first one; empty: there is none.
    std::vector<std::string> pre_freeze, post_thaw;
    absl::Duration hook_timeout = absl::Seconds(60);
    absl::Duration script_timeout = absl::Seconds(30);
    // Of all "freeze" together.
    absl::Duration total_timeout = absl::Minutes(2);
    // Of all "thaw" together, when it is destroyed.
    absl::Duration stop_timeout = absl::Seconds(6);
    std::string machine;  // the host id, for the scripts
  };
  enum class State { kThawed, kFreezing, kFrozen, kThawing };

  // Begins to thaw what an agent before it left frozen. `files` and
  // `clock` outlive it.
  ConsistencyScripts(FileSystem& files, const Clock& clock, Options options,
                     std::unique_ptr<Strand> strand);
  // Ends what runs, and thaws.
  ~ConsistencyScripts();

  // Whether there is anything to run. What cannot be looked at is something.
  bool Any() const;
  // Begins to freeze for a point, whose id may not be known yet: kFreezing, then kFrozen, also when
  // it failed: see frozen(). Requires: kThawed.
  void Freeze(std::string point_id) ABSL_LOCKS_EXCLUDED(mutex_);
  // Begins to thaw, as soon as the freeze that may run has ended. Nothing when all is thawed.
  void Thaw(std::string point_id) ABSL_LOCKS_EXCLUDED(mutex_);
  State state() const ABSL_LOCKS_EXCLUDED(mutex_);
  // How the last freeze ended: OK, or which script failed, how, and the last line that it printed.
  absl::Status frozen() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Why the last thaw did not do all; OK when it did.
  absl::Status thawed() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // On the strand.
  absl::Status FreezeAll(const std::string& point_id);
  absl::Status ThawAll(const std::string& point_id, absl::Duration limit);
  absl::StatusOr<std::vector<std::string>> Names() const;
  // The script of this name; what it is started with is empty when it has nothing for `step`.
  ProgramRun RunOf(const std::string& name, const std::string& step,
                   const std::string& point_id) const;
  absl::Status RunOne(const std::string& name, const std::string& step, const ProgramRun& run);
  absl::Status Owe(const std::string& name);
  absl::Status Forget(const std::string& name);

  FileSystem& files_;
  const Clock& clock_;
  const Options options_;
  absl::Notification stopping_;
  mutable absl::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kThawed;
  absl::Status frozen_ ABSL_GUARDED_BY(mutex_);
  absl::Status thawed_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Strand> strand_;  // last: it uses the others
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_HOST_CONSISTENCY_SCRIPTS_H_
