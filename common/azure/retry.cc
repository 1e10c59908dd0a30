#include "common/azure/retry.h"

#include <algorithm>
#include <string>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"

namespace homeward::azure {
namespace {

// IMF-fixdate, and the two obsolete forms that a recipient has to take: of RFC 850, and asctime's.
constexpr const char* kHttpDates[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                      "%a %b %e %H:%M:%S %Y"};

absl::optional<absl::Time> ParseHttpDate(const std::string& text) {
  absl::Time at;
  for (const char* const format : kHttpDates) {
    if (absl::ParseTime(format, text, absl::UTCTimeZone(), &at, nullptr)) return at;
  }
  return absl::nullopt;
}

}  // namespace

std::optional<absl::Duration> RetrySchedule::Next(absl::Duration now, absl::Duration asked_for) {
  const double part = std::uniform_real_distribution<double>(0.5, 1.0)(random_);
  const absl::Duration wait = std::max(step_ * part, asked_for);
  step_ = std::min(step_ * 2, limits_.longest);
  if (now + wait > end_) return std::nullopt;
  return wait;
}

absl::optional<absl::Duration> ReadRetryAfter(const HttpsReply& reply, absl::Time now) {
  const std::string text(absl::StripAsciiWhitespace(HeaderOf(reply, "retry-after")));
  if (text.empty()) return absl::nullopt;
  if (absl::c_all_of(text, absl::ascii_isdigit)) {
    int64_t seconds = 0;
    // A number that is too large for the type is too large for the limit.
    if (!absl::SimpleAtoi(text, &seconds)) return kRetryAfterMax;
    return std::min(absl::Seconds(seconds), kRetryAfterMax);
  }
  const absl::optional<absl::Time> at = ParseHttpDate(text);
  if (!at.has_value()) return absl::nullopt;
  const absl::Time sent = ParseHttpDate(HeaderOf(reply, "date")).value_or(now);
  return std::clamp(*at - sent, absl::ZeroDuration(), kRetryAfterMax);
}

}  // namespace homeward::azure
