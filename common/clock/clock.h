// Clock: the only way our code learns the time. Real in daemons, moved by hand in simulation.
#ifndef HOMEWARD_COMMON_CLOCK_CLOCK_H_
#define HOMEWARD_COMMON_CLOCK_CLOCK_H_

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace homeward {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Wall time; may jump. For what people read and for time-stamps that leave the process.
  virtual absl::Time Now() const = 0;
  // Never goes back and never jumps. For every interval and time-out.
  virtual absl::Duration Monotonic() const = 0;
};

class RealClock : public Clock {
 public:
  absl::Time Now() const override;
  absl::Duration Monotonic() const override;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_CLOCK_CLOCK_H_
