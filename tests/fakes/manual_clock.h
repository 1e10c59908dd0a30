// ManualClock: a clock that stands still until a test moves it.
#ifndef HOMEWARD_TESTS_FAKES_MANUAL_CLOCK_H_
#define HOMEWARD_TESTS_FAKES_MANUAL_CLOCK_H_

#include "absl/time/time.h"
#include "common/clock/clock.h"

namespace homeward {

// Not thread-safe.
class ManualClock : public Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixSeconds(1800000000) + now; }
  absl::Duration Monotonic() const override { return now; }
  absl::Duration now = absl::Seconds(1);
};

}  // namespace homeward

#endif  // HOMEWARD_TESTS_FAKES_MANUAL_CLOCK_H_
