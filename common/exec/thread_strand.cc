#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/exec/strand.h"
#include "common/exec/thread_name.h"

namespace homeward {
namespace {

using Monotonic = std::chrono::steady_clock;

class ThreadStrand : public Strand {
 public:
  explicit ThreadStrand(const std::string& name) : thread_([this] { Work(); }) {
    NameThread(&thread_, name);
  }

  ~ThreadStrand() override { Stop(); }

  void Stop() override {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
      wake_.Signal();
    }
    if (thread_.joinable()) thread_.join();
  }

  void Post(std::function<void()> callback) override {
    absl::MutexLock lock(&mutex_);
    ready_.push_back(std::move(callback));
    wake_.Signal();
  }

  void PostAfter(absl::Duration delay, std::function<void()> callback) override {
    absl::MutexLock lock(&mutex_);
    const auto due = Monotonic::now() + absl::ToChronoNanoseconds(std::clamp(
                                            delay, absl::ZeroDuration(), absl::Hours(1000)));
    timers_.emplace(due, std::move(callback));
    wake_.Signal();
  }

  void Run(const std::function<void()>& callback) override {
    absl::Notification done;
    Post([&] {
      callback();
      done.Notify();
    });
    done.WaitForNotification();
  }

 private:
  void Work() {
    absl::MutexLock lock(&mutex_);
    while (!stopping_) {
      while (!timers_.empty() && timers_.begin()->first <= Monotonic::now()) {
        ready_.push_back(std::move(timers_.begin()->second));
        timers_.erase(timers_.begin());
      }
      if (ready_.empty()) {
        if (timers_.empty()) {
          wake_.Wait(&mutex_);
        } else {
          wake_.WaitWithTimeout(&mutex_,
                                absl::FromChrono(timers_.begin()->first - Monotonic::now()));
        }
        continue;
      }
      std::function<void()> callback = std::move(ready_.front());
      ready_.pop_front();
      mutex_.Unlock();
      callback();
      callback = nullptr;  // What it owns is released without the lock.
      mutex_.Lock();
    }
  }

  absl::Mutex mutex_;
  absl::CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<std::function<void()>> ready_ ABSL_GUARDED_BY(mutex_);
  std::multimap<Monotonic::time_point, std::function<void()>> timers_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // Last: starts when all above is there.
};

}  // namespace

std::unique_ptr<Strand> MakeThreadStrand(const std::string& name) {
  return std::make_unique<ThreadStrand>(name);
}

}  // namespace homeward
