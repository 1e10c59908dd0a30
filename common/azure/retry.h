// RetrySchedule: when a request to Azure is made again.
#ifndef HOMEWARD_COMMON_AZURE_RETRY_H_
#define HOMEWARD_COMMON_AZURE_RETRY_H_

#include <cstdint>
#include <optional>
#include <random>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace homeward::azure {

struct RetryLimits {
  absl::Duration first = absl::Milliseconds(500);
  absl::Duration longest = absl::Seconds(20);
  // From the first attempt; none is begun after it.
  absl::Duration whole = absl::Minutes(2);
};

// Waits that double from `first` to `longest`, each of half to all of it by chance, so that those
// who were refused together do not come back together. Not thread-safe.
class RetrySchedule {
 public:
  RetrySchedule(RetryLimits limits, absl::Duration begin, uint64_t seed)
      : limits_(limits), end_(begin + limits.whole), step_(limits.first), random_(seed) {}

  // How long to wait before the next attempt: at least as long as the server asked for. None: it
  // would begin after the limit.
  std::optional<absl::Duration> Next(absl::Duration now, absl::Duration asked_for);

 private:
  const RetryLimits limits_;
  const absl::Duration end_;
  absl::Duration step_;
  std::mt19937_64 random_;
};

// Of a Retry-After header: seconds, as Azure gives it. Zero for anything else.
absl::Duration ParseRetryAfter(absl::string_view header);

}  // namespace homeward::azure

#endif  // HOMEWARD_COMMON_AZURE_RETRY_H_
