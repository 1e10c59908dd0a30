// Bandwidth: a limit on bytes a second that all streams of a process server share.
#ifndef HOMEWARD_PROCESS_SERVER_RELAY_BANDWIDTH_H_
#define HOMEWARD_PROCESS_SERVER_RELAY_BANDWIDTH_H_

#include <algorithm>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/clock/clock.h"

namespace homeward {

// Thread-safe. A bucket of one second's bytes; a batch goes as soon as the bucket is not empty and
// may leave it in debt, so that the mean holds whatever the batch size.
class Bandwidth {
 public:
  // `bytes_per_second` 0: no limit.
  Bandwidth(const Clock& clock, uint64_t bytes_per_second)
      : clock_(clock), rate_(static_cast<double>(bytes_per_second)), filled_(clock.Monotonic()) {}

  void SetRate(uint64_t bytes_per_second) {
    absl::MutexLock lock(&mutex_);
    rate_ = static_cast<double>(bytes_per_second);
  }
  // Whether something may be sent now.
  bool MaySend() {
    absl::MutexLock lock(&mutex_);
    if (rate_ == 0) return true;
    const absl::Duration now = clock_.Monotonic();
    bytes_ = std::min(rate_, bytes_ + rate_ * absl::ToDoubleSeconds(now - filled_));
    filled_ = now;
    return bytes_ > 0;
  }
  void Sent(uint64_t bytes) {
    absl::MutexLock lock(&mutex_);
    if (rate_ != 0) bytes_ -= static_cast<double>(bytes);
  }

 private:
  const Clock& clock_;
  absl::Mutex mutex_;
  double rate_ ABSL_GUARDED_BY(mutex_);
  double bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Duration filled_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_RELAY_BANDWIDTH_H_
