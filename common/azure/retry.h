// RetrySchedule: when a request to Azure is made again. ReadRetryAfter: when Azure wants it.
#ifndef HOMEWARD_COMMON_AZURE_RETRY_H_
#define HOMEWARD_COMMON_AZURE_RETRY_H_

#include <cstdint>
#include <optional>
#include <random>

#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "common/net/https_client.h"

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

// What a Retry-After asks for is cut to this: nobody is silent for longer at a word of a server.
inline constexpr absl::Duration kRetryAfterMax = absl::Hours(1);

// Of the Retry-After of a reply: seconds, or a date in any of the three forms of RFC 9110, 5.6.7. A
// date is taken against the reply's own Date, so that this host's clock does not matter, and
// against `now` where it has none. From zero to kRetryAfterMax; none where there is no header or it
// is neither.
absl::optional<absl::Duration> ReadRetryAfter(const HttpsReply& reply, absl::Time now);

}  // namespace homeward::azure

#endif  // HOMEWARD_COMMON_AZURE_RETRY_H_
