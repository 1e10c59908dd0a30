#include "common/azure/retry.h"

#include <algorithm>

#include "absl/strings/numbers.h"

namespace homeward::azure {

std::optional<absl::Duration> RetrySchedule::Next(absl::Duration now, absl::Duration asked_for) {
  const double part = std::uniform_real_distribution<double>(0.5, 1.0)(random_);
  const absl::Duration wait = std::max(step_ * part, asked_for);
  step_ = std::min(step_ * 2, limits_.longest);
  if (now + wait > end_) return std::nullopt;
  return wait;
}

absl::Duration ParseRetryAfter(absl::string_view header) {
  uint32_t seconds = 0;
  return absl::SimpleAtoi(header, &seconds) ? absl::Seconds(seconds) : absl::ZeroDuration();
}

}  // namespace homeward::azure
