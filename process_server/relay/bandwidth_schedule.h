// What bandwidth holds when: the limit of the configuration, and its windows by time of day.
#ifndef HOMEWARD_PROCESS_SERVER_RELAY_BANDWIDTH_SCHEDULE_H_
#define HOMEWARD_PROCESS_SERVER_RELAY_BANDWIDTH_SCHEDULE_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "homeward/config/v1/config.pb.h"

namespace homeward {

// Since midnight: "08:00", "24:00". Nothing when it is no time of day.
std::optional<absl::Duration> ParseTimeOfDay(absl::string_view text);

// Bytes a second at `now` in `zone`; 0: no limit. The first window that holds wins; one whose end
// is not after its beginning goes over midnight and belongs to the day it begins on. Requires:
// every time of day parses.
uint64_t BandwidthAt(const config::v1::ProcessServerConfig& config, absl::Time now,
                     absl::TimeZone zone);

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_RELAY_BANDWIDTH_SCHEDULE_H_
