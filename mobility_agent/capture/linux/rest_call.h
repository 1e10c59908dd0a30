// RestCall: what is asked of one file system or device to bring it to rest, on a thread of its own,
// since every step of it may block for ever.
#ifndef HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_REST_CALL_H_
#define HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_REST_CALL_H_

#include <semaphore.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/os/posix/unique_fd.h"
#include "mobility_agent/capture/linux/thaw_guard.h"

namespace homeward {

// How calls tell whoever waits for several of them. While something may stand still only `steps` is
// used: waiting on it allocates nothing.
struct RestProgress {
  RestProgress() { ::sem_init(&steps, 0, 0); }
  ~RestProgress() { ::sem_destroy(&steps); }
  void Await();
  absl::Mutex mutex;
  int opening ABSL_GUARDED_BY(mutex) = 0;
  int working ABSL_GUARDED_BY(mutex) = 0;  // counted for those that need no Go()
  sem_t steps;
};

// A guard that is released by its last owner: all calls that it watches for have come to their end.
struct HeldGuard {
  explicit HeldGuard(ThawGuard watch) : guard(std::move(watch)) {}
  ~HeldGuard() { guard.Release(); }
  ThawGuard guard;
};

class RestCall {
 public:
  enum class Kind {
    kWriteBack,        // of a file system, as soon as it is open
    kDeviceWriteBack,  // of what is cached of a device, likewise
    kFreeze,           // of a file system, at Go()
    kDeviceSettle,     // kDeviceWriteBack at Go()
  };
  enum class State {
    kOpening,
    kReady,    // waits for Go()
    kWorking,  // asks the kernel
    kFrozen,
    kStill,    // stands still by somebody else's doing
    kWritten,  // written back, which is all that can be done with it
    kFailed,
    kAbandoned,  // nobody waits for it; the thread undoes what it still reaches
    kThawed,
  };
  using Open = std::function<absl::StatusOr<UniqueFd>()>;

  struct What {
    Kind kind = Kind::kFreeze;
    std::string device;  // of the superblock, or its path
    std::string name;    // for people
    Open open;
  };
  // Starts its thread, which holds the call and `progress`.
  static std::shared_ptr<RestCall> Start(What what, std::shared_ptr<RestProgress> progress);
  ~RestCall() { ::sem_destroy(&go_); }

  const What& what() const { return what_; }
  State state() const { return state_; }
  // Its thread asks nothing any more.
  bool over() const { return over_; }
  // errno or the like of kFailed.
  absl::Status error() const;
  // Requires: kReady or later.
  int descriptor() const { return fd_.get(); }
  void Keep(std::shared_ptr<HeldGuard> guard) { guard_ = std::move(guard); }
  // The following allocate nothing.
  void Go();
  // Thaws it, now or when its thread comes back, and lets go of it.
  void Undo();

 private:
  RestCall(What what, std::shared_ptr<RestProgress> progress);
  void Run();
  State Work();
  bool Move(State from, State to) { return state_.compare_exchange_strong(from, to); }
  void Close();

  const What what_;
  const std::shared_ptr<RestProgress> progress_;
  std::atomic<State> state_{State::kOpening};
  std::atomic<bool> over_{false};
  // The thread's until kReady and from kAbandoned on; the owner's otherwise.
  UniqueFd fd_;
  std::shared_ptr<HeldGuard> guard_;
  int error_ = 0;            // constant from kFailed on
  absl::Status open_error_;  // likewise
  sem_t go_;
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_REST_CALL_H_
