#include "process_server/relay/bandwidth_schedule.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace homeward {
namespace {

constexpr absl::Duration kDay = absl::Hours(24);

bool OnDay(const config::v1::BandwidthWindow& window, absl::Weekday weekday) {
  const int day = static_cast<int>(weekday) + 1;  // Both begin with Monday.
  return window.days().empty() ||
         std::find(window.days().begin(), window.days().end(), day) != window.days().end();
}

}  // namespace

std::optional<absl::Duration> ParseTimeOfDay(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  uint32_t hours = 0, minutes = 0;
  if (parts.size() != 2 || parts[0].size() != 2 || parts[1].size() != 2 ||
      !absl::SimpleAtoi(parts[0], &hours) || !absl::SimpleAtoi(parts[1], &minutes) ||
      minutes > 59 || hours * 60 + minutes > 24 * 60) {
    return std::nullopt;
  }
  return absl::Hours(hours) + absl::Minutes(minutes);
}

uint64_t BandwidthAt(const config::v1::ProcessServerConfig& config, absl::Time now,
                     absl::TimeZone zone) {
  const absl::CivilSecond civil = absl::ToCivilSecond(now, zone);
  const absl::Duration at =
      absl::Hours(civil.hour()) + absl::Minutes(civil.minute()) + absl::Seconds(civil.second());
  const absl::CivilDay today(civil);
  for (const config::v1::BandwidthWindow& window : config.bandwidth_schedule()) {
    const absl::Duration from = *ParseTimeOfDay(window.from());
    absl::Duration to = *ParseTimeOfDay(window.to());
    if (to <= from) to += kDay;
    const bool since_today = OnDay(window, absl::GetWeekday(today)) && at >= from && at < to;
    const bool since_yesterday =
        OnDay(window, absl::GetWeekday(today - 1)) && at + kDay >= from && at + kDay < to;
    if (since_today || since_yesterday) return window.bytes_per_second();
  }
  return config.bandwidth_bytes_per_second();
}

}  // namespace homeward
