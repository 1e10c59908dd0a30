#include "mobility_agent/capture/linux/disk_rest.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/clock/clock.h"
#include "common/os/posix/unique_fd.h"
#include "common/status/status_macros.h"
#include "mobility_agent/capture/linux/disk_users.h"
#include "mobility_agent/capture/linux/mount_handle.h"
#include "mobility_agent/capture/linux/rest_call.h"
#include "mobility_agent/capture/linux/thaw_guard.h"

namespace homeward {
namespace {

// What leads to a mount and what is known of a loop device comes from memory.
constexpr absl::Duration kAnswerLimit = absl::Seconds(1);
constexpr absl::Duration kWriteBackLimit = absl::Minutes(2);
// A thaw that takes longer waits for the thaw of another disk, which comes next.
constexpr absl::Duration kThawLimit = absl::Milliseconds(500);

std::string Number(dev_t device) { return absl::StrCat(major(device), ":", minor(device)); }

std::string NodeNumber(const std::string& path) {
  struct stat info;
  const bool block = ::stat(path.c_str(), &info) == 0 && S_ISBLK(info.st_mode);
  return block ? Number(info.st_rdev) : "";
}

std::string AskLoop(const std::string& loop) {
  const UniqueFd fd(::open(absl::StrCat("/dev/", loop).c_str(), O_RDONLY | O_CLOEXEC));
  loop_info64 info = {};
  if (!fd.valid() || ::ioctl(fd.get(), LOOP_GET_STATUS64, &info) != 0 || info.lo_rdevice == 0)
    return "";
  return Number(static_cast<dev_t>(info.lo_rdevice));
}

// Asks loop devices what they are made of, each on a thread that may be lost: it can be a file of a
// file system that does not answer. One that has not answered is not asked again until it has.
class LoopAnswers {
 public:
  std::string Ask(const std::string& loop) {
    std::shared_ptr<Answer> answer = std::make_shared<Answer>();
    {
      absl::MutexLock lock(&mutex_);
      std::shared_ptr<Answer>& last = asked_[loop];
      if (last != nullptr && !last->given.HasBeenNotified()) return "";
      last = answer;
    }
    std::thread([answer, loop] {
      answer->number = AskLoop(loop);
      answer->given.Notify();
    }).detach();
    return answer->given.WaitForNotificationWithTimeout(kAnswerLimit) ? answer->number : "";
  }

 private:
  struct Answer {
    std::string number;
    absl::Notification given;
  };
  absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<Answer>> asked_ ABSL_GUARDED_BY(mutex_);
};

KernelFacts FactsOfThisMachine() {
  static auto& loops = *new LoopAnswers;
  KernelFacts facts;
  facts.node = NodeNumber;
  facts.loop_backing = [](const std::string& loop) { return loops.Ask(loop); };
  return facts;
}

// Nobody else uses `progress` without its mutex but the threads of its calls, which hold it.
bool AllOpen(RestProgress* progress) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  return progress->opening == 0;
}
bool AllDone(RestProgress* progress) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  return progress->working == 0;
}

RestCall::What OfFileSystem(RestCall::Kind kind, const MountedFileSystem& one) {
  return {kind, one.device, one.Name(), [one] { return OpenFileSystem(one); }};
}

RestCall::What OfDevice(RestCall::Kind kind, const std::string& path) {
  return {kind, path, absl::StrCat("the cache of ", path), [path]() -> absl::StatusOr<UniqueFd> {
            UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
            if (!fd.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
            return fd;
          }};
}

}  // namespace

// The calls of one disk that have not come to their end, and what is in its way.
class DiskRest::Calls {
 public:
  // Null: an earlier one of the same kind has not come back, or one that nobody waits for any more.
  std::shared_ptr<RestCall> Start(RestCall::What what,
                                  const std::shared_ptr<RestProgress>& progress) {
    absl::MutexLock lock(&mutex_);
    Prune();
    for (const std::shared_ptr<RestCall>& call : calls_) {
      if (call->what().device == what.device && (call->what().kind == what.kind || Lost(*call)))
        return nullptr;
    }
    calls_.push_back(RestCall::Start(std::move(what), progress));
    return calls_.back();
  }
  // What an attempt found in its way, instead of what the one before had found.
  void Note(std::vector<std::string> troubles) {
    absl::MutexLock lock(&mutex_);
    troubles_ = std::move(troubles);
  }
  std::vector<std::string> Troubles() {
    absl::MutexLock lock(&mutex_);
    Prune();
    std::vector<std::string> troubles = troubles_;
    for (const std::shared_ptr<RestCall>& call : calls_) {
      if (Lost(*call)) troubles.push_back(absl::StrCat(call->what().name, " does not answer"));
    }
    std::sort(troubles.begin(), troubles.end());
    troubles.erase(std::unique(troubles.begin(), troubles.end()), troubles.end());
    return troubles;
  }

 private:
  static bool Lost(const RestCall& call) {
    return call.state() == RestCall::State::kAbandoned && !call.over();
  }
  void Prune() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    calls_.erase(
        std::remove_if(calls_.begin(), calls_.end(), [](const auto& call) { return call->over(); }),
        calls_.end());
  }

  absl::Mutex mutex_;
  std::vector<std::shared_ptr<RestCall>> calls_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> troubles_ ABSL_GUARDED_BY(mutex_);
};

// On a thread of its own.
struct DiskRest::WriteBack {
  std::atomic<bool> done{false};

  void Run(const std::string& disk, Calls* calls) {
    const DiskUsers users = FindDiskUsers(FactsOfThisMachine(), disk);
    std::vector<RestCall::What> wanted;
    for (const MountedFileSystem& one : users.file_systems)
      wanted.push_back(OfFileSystem(RestCall::Kind::kWriteBack, one));
    RunAll(std::move(wanted), calls);
    // Where the file systems above have just been written to.
    for (const std::string& path : users.cached_devices)
      RunAll({OfDevice(RestCall::Kind::kDeviceWriteBack, path)}, calls);
    done = true;
  }

 private:
  static void RunAll(std::vector<RestCall::What> wanted, Calls* calls) {
    const auto progress = std::make_shared<RestProgress>();
    std::vector<std::shared_ptr<RestCall>> begun;
    for (RestCall::What& what : wanted) {
      std::shared_ptr<RestCall> call = calls->Start(std::move(what), progress);
      if (call != nullptr) begun.push_back(std::move(call));
    }
    Await(AllOpen, kAnswerLimit, progress.get());
    for (const auto& call : begun) {
      if (call->state() == RestCall::State::kOpening) call->Undo();
    }
    Await(AllDone, kWriteBackLimit, progress.get());
    for (const auto& call : begun) call->Undo();
  }
  static void Await(bool (*condition)(RestProgress*), absl::Duration limit,
                    RestProgress* progress) {
    absl::MutexLock lock(&progress->mutex);
    progress->mutex.AwaitWithTimeout(absl::Condition(condition, progress), limit);
  }
};

class DiskRest::Attempt {
 public:
  Attempt(std::string disk, std::shared_ptr<PausedServices> services, std::shared_ptr<Calls> calls)
      : disk_(std::move(disk)), services_(std::move(services)), calls_(std::move(calls)) {}

  // On a thread of its own, which thaws too: whoever asks for that must not be held up by one disk
  // when another waits for it.
  void Run() {
    {
      // The first wait of a thread allocates: not when something stands still.
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(&abandoned_), absl::ZeroDuration());
    }
    const absl::Status prepared = Prepare();
    if (prepared.ok()) FreezeAll();
    {
      absl::MutexLock lock(&mutex_);
      status_ = prepared;
      done_ = true;
      if (prepared.ok()) mutex_.Await(absl::Condition(&abandoned_));
    }
    Undo();
    absl::MutexLock lock(&mutex_);
    undone_ = true;
  }
  // Allocates nothing when it is OK.
  absl::Status Await(absl::Duration timeout, WriteSource::Rest* rest) {
    absl::MutexLock lock(&mutex_);
    if (!mutex_.AwaitWithTimeout(absl::Condition(&done_), timeout)) {
      return absl::DeadlineExceededError(absl::StrCat(
          "the file systems did not stand still within ", absl::FormatDuration(timeout)));
    }
    if (!status_.ok()) return status_;
    rest_.stood_for = clock_.Monotonic() - told_;
    std::swap(*rest, rest_);
    return absl::OkStatus();
  }
  void Thaw() {
    absl::MutexLock lock(&mutex_);
    if (std::exchange(abandoned_, true)) return;
    ::sem_post(&progress_->steps);
    mutex_.AwaitWithTimeout(absl::Condition(&undone_), kThawLimit);
  }
  bool over() const {
    absl::MutexLock lock(&mutex_);
    return undone_;
  }

 private:
  struct Step {
    std::shared_ptr<RestCall> call;
    int group = 0;     // those of one go together
    std::string name;  // moved to `rest_` when it is over
    bool read_only = false;
  };

  absl::Status Prepare() {
    DiskUsers users = FindDiskUsers(FactsOfThisMachine(), disk_);
    rest_.moving = std::move(users.moving);
    std::vector<Step> steps;
    const auto start = [&](RestCall::What what, int group, bool read_only) {
      std::string name = what.name;
      std::shared_ptr<RestCall> call = calls_->Start(std::move(what), progress_);
      if (call != nullptr) {
        steps.push_back({std::move(call), group, std::move(name), read_only});
      } else if (!read_only) {
        rest_.moving.push_back(std::move(name));
      }
    };
    for (const MountedFileSystem& one : users.file_systems)
      start(OfFileSystem(RestCall::Kind::kFreeze, one), -one.height, one.read_only);
    int group = 1;  // behind all file systems
    for (const std::string& path : users.cached_devices)
      start(OfDevice(RestCall::Kind::kDeviceSettle, path), group++, false);
    {
      absl::MutexLock lock(&progress_->mutex);
      progress_->mutex.AwaitWithTimeout(absl::Condition(AllOpen, progress_.get()), kAnswerLimit);
    }
    KeepReady(std::move(steps));
    HW_RETURN_IF_ERROR(WatchAll());
    told_ = clock_.Monotonic();
    if (services_ != nullptr) {
      PausedServices::Outcome outcome = services_->Pause();
      paused_ = true;
      rest_.still = std::move(outcome.still);
      troubles_.insert(troubles_.end(), outcome.troubles.begin(), outcome.troubles.end());
    }
    calls_->Note(troubles_);
    rest_.still.reserve(rest_.still.size() + steps_.size());
    rest_.moving.reserve(rest_.moving.size() + steps_.size());
    return absl::OkStatus();
  }
  // What is not open by now goes on.
  void KeepReady(std::vector<Step> steps) {
    for (Step& step : steps) {
      const RestCall::State state = step.call->state();
      if (state == RestCall::State::kReady) {
        steps_.push_back(std::move(step));
        continue;
      }
      if (state == RestCall::State::kFailed) {
        troubles_.push_back(
            absl::StrCat(step.name, " cannot be reached: ", step.call->error().message()));
      }
      step.call->Undo();
      rest_.moving.push_back(std::move(step.name));
    }
  }
  absl::Status WatchAll() {
    std::vector<ThawGuard::Item> items;
    for (const Step& step : steps_) {
      if (step.call->what().kind == RestCall::Kind::kFreeze)
        items.push_back({ThawGuard::Kind::kFileSystem, step.call->descriptor()});
    }
    if (items.empty()) return absl::OkStatus();
    absl::StatusOr<ThawGuard> guard = ThawGuard::Watch(items);
    HW_RETURN_IF_ERROR(Annotate(guard.status(), "guard what would be frozen"));
    guard_ = std::make_shared<HeldGuard>(*std::move(guard));
    for (const Step& step : steps_) step.call->Keep(guard_);
    return absl::OkStatus();
  }
  // From here to the thaw nothing is allocated.
  void FreezeAll() {
    for (size_t begin = 0, end = 0; begin < steps_.size(); begin = end) {
      while (end < steps_.size() && steps_[end].group == steps_[begin].group)
        steps_[end++].call->Go();
      const auto all_over = [&] {
        for (size_t i = begin; i < end; ++i) {
          if (!steps_[i].call->over()) return false;
        }
        return true;
      };
      while (!all_over()) {
        progress_->Await();
        absl::MutexLock lock(&mutex_);
        if (abandoned_) return;
      }
    }
    for (Step& step : steps_) {
      if (step.call->what().kind != RestCall::Kind::kFreeze) continue;
      const RestCall::State state = step.call->state();
      const bool still = state == RestCall::State::kFrozen || state == RestCall::State::kStill;
      if (still) {
        rest_.still.push_back(std::move(step.name));
      } else if (!step.read_only) {
        rest_.moving.push_back(std::move(step.name));
      }
    }
  }
  void Undo() {
    for (size_t i = steps_.size(); i-- > 0;) steps_[i].call->Undo();
    guard_.reset();
    if (std::exchange(paused_, false)) services_->Resume();
    bool failed = false;
    for (const Step& step : steps_) {
      if (step.call->state() != RestCall::State::kFailed) continue;
      failed = true;
      troubles_.push_back(absl::StrCat(step.call->what().name,
                                       " cannot be frozen: ", step.call->error().message()));
    }
    if (failed) calls_->Note(troubles_);
    steps_.clear();
  }

  const std::string disk_;
  const std::shared_ptr<PausedServices> services_;
  const std::shared_ptr<Calls> calls_;
  const std::shared_ptr<RestProgress> progress_ = std::make_shared<RestProgress>();
  mutable absl::Mutex mutex_;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;
  bool undone_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  // The thread's, but for `rest_`, which is the owner's between `done_` and `abandoned_`.
  std::vector<Step> steps_;
  std::shared_ptr<HeldGuard> guard_;
  bool paused_ = false;
  RealClock clock_;
  absl::Duration told_;  // when the first of it was told to stand still
  WriteSource::Rest rest_;
  std::vector<std::string> troubles_;
};

DiskRest::DiskRest(std::string disk, std::shared_ptr<PausedServices> services)
    : disk_(std::move(disk)), services_(std::move(services)), calls_(std::make_shared<Calls>()) {}

DiskRest::~DiskRest() { Thaw(); }

void DiskRest::BeginWriteBack() {
  if (!WrittenBack()) return;
  write_back_ = std::make_shared<WriteBack>();
  std::thread([write_back = write_back_, disk = disk_, calls = calls_] {
    write_back->Run(disk, calls.get());
  }).detach();
}

bool DiskRest::WrittenBack() const { return write_back_ == nullptr || write_back_->done; }

void DiskRest::BeginFreeze() {
  // One that never came to an end is not begun again: each would leave a thread behind.
  stuck_ = attempt_ != nullptr && !attempt_->over();
  if (stuck_) return;
  attempt_ = std::make_shared<Attempt>(disk_, services_, calls_);
  std::thread([attempt = attempt_] { attempt->Run(); }).detach();
}

absl::Status DiskRest::AwaitFrozen(absl::Duration timeout) {
  if (stuck_) return absl::UnavailableError("an earlier freeze has not come to its end");
  return attempt_->Await(timeout, &rest_);
}

void DiskRest::Thaw() {
  if (attempt_ == nullptr) return;
  attempt_->Thaw();
  if (attempt_->over()) attempt_.reset();
}

std::vector<std::string> DiskRest::Troubles() const { return calls_->Troubles(); }

}  // namespace homeward
