#include "mobility_agent/capture/linux/rest_call.h"

#include <linux/fs.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

namespace homeward {
namespace {

void WaitFor(sem_t* semaphore) {
  while (::sem_wait(semaphore) != 0 && errno == EINTR) continue;
}

}  // namespace

void RestProgress::Await() { WaitFor(&steps); }

RestCall::RestCall(What what, std::shared_ptr<RestProgress> progress)
    : what_(std::move(what)), progress_(std::move(progress)) {
  ::sem_init(&go_, 0, 0);
}

std::shared_ptr<RestCall> RestCall::Start(What what, std::shared_ptr<RestProgress> progress) {
  {
    absl::MutexLock lock(&progress->mutex);
    ++progress->opening;
    ++progress->working;
  }
  const std::shared_ptr<RestCall> call(new RestCall(std::move(what), std::move(progress)));
  std::thread([call] {
    ::pthread_setname_np(::pthread_self(), "rest");
    call->Run();
  }).detach();
  return call;
}

void RestCall::Run() {
  const bool at_once = what_.kind == Kind::kWriteBack || what_.kind == Kind::kDeviceWriteBack;
  absl::StatusOr<UniqueFd> opened = what_.open();
  if (opened.ok()) {
    fd_ = *std::move(opened);
  } else {
    open_error_ = opened.status();
  }
  const bool ready = Move(State::kOpening, open_error_.ok() ? State::kReady : State::kFailed);
  {
    absl::MutexLock lock(&progress_->mutex);
    --progress_->opening;
    if (ready && !open_error_.ok()) --progress_->working;
  }
  if (ready && open_error_.ok()) {
    if (!at_once) WaitFor(&go_);
    if (Move(State::kReady, State::kWorking)) {
      const State reached = Work();
      if (!Move(State::kWorking, reached) && reached == State::kFrozen)
        ThawGuard::Thaw({ThawGuard::Kind::kFileSystem, fd_.get()});
    }
    if (at_once) {
      absl::MutexLock lock(&progress_->mutex);
      --progress_->working;
    }
  }
  if (state_ == State::kAbandoned) Close();
  over_ = true;
  ::sem_post(&progress_->steps);
}

RestCall::State RestCall::Work() {
  switch (what_.kind) {
    case Kind::kWriteBack:
      ::syncfs(fd_.get());
      return State::kWritten;
    case Kind::kDeviceWriteBack:
    case Kind::kDeviceSettle:
      ::fsync(fd_.get());
      return State::kWritten;
    case Kind::kFreeze:
      break;
  }
  if (::ioctl(fd_.get(), FIFREEZE, 0) == 0) return State::kFrozen;
  if (errno == EBUSY) return State::kStill;
  if (errno == EOPNOTSUPP) {
    ::syncfs(fd_.get());
    return State::kWritten;
  }
  error_ = errno;
  return State::kFailed;
}

absl::Status RestCall::error() const {
  return error_ != 0 ? absl::ErrnoToStatus(error_, "freeze it") : open_error_;
}

void RestCall::Go() { ::sem_post(&go_); }

void RestCall::Undo() {
  for (const State waiting : {State::kOpening, State::kReady, State::kWorking}) {
    if (!Move(waiting, State::kAbandoned)) continue;
    if (waiting == State::kOpening) {
      absl::MutexLock lock(&progress_->mutex);
      --progress_->working;
    }
    Go();
    return;  // The thread lets go of it.
  }
  if (Move(State::kFrozen, State::kThawed))
    ThawGuard::Thaw({ThawGuard::Kind::kFileSystem, fd_.get()});
  Close();
}

void RestCall::Close() {
  fd_.reset();
  guard_.reset();
}

}  // namespace homeward
