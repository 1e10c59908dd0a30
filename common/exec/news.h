// News: one thread waits for what others have to tell.
#ifndef HOMEWARD_COMMON_EXEC_NEWS_H_
#define HOMEWARD_COMMON_EXEC_NEWS_H_

#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace homeward {

// Thread-safe.
class News {
 public:
  void Tell() {
    absl::MutexLock lock(&mutex_);
    told_ = true;
  }
  // Blocks for `pause`, so that what is told meanwhile is one piece of news, then until somebody
  // tells, or for as long as `timeout`. What was told before counts, once.
  void Await(absl::Duration pause, absl::Duration timeout) {
    const auto never = [] { return false; };
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&never), pause);
    mutex_.AwaitWithTimeout(absl::Condition(&told_), timeout);
    told_ = false;
  }

 private:
  absl::Mutex mutex_;
  bool told_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_EXEC_NEWS_H_
