#include "common/azure/pauses.h"

#include <algorithm>

namespace homeward::azure {
namespace {
constexpr absl::Duration kLook = absl::Milliseconds(50);  // at `stop`
}

absl::Status RealPauses::Wait(absl::Duration time, const std::atomic<bool>* stop) {
  const auto stopped = [stop] { return stop != nullptr && stop->load(); };
  absl::Mutex mutex;
  absl::MutexLock lock(&mutex);
  const auto never = [] { return false; };
  for (; time > absl::ZeroDuration() && !stopped(); time -= kLook)
    mutex.AwaitWithTimeout(absl::Condition(&never), std::min(time, kLook));
  return stopped() ? absl::CancelledError("while waiting to try again") : absl::OkStatus();
}

double RealPauses::Fraction() {
  absl::MutexLock lock(&mutex_);
  return absl::Uniform<double>(random_, 0, 1);
}

}  // namespace homeward::azure
