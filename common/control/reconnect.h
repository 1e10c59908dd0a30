// Reconnect: how long a component that lost its configuration server waits before it comes again.
#ifndef HOMEWARD_COMMON_CONTROL_RECONNECT_H_
#define HOMEWARD_COMMON_CONTROL_RECONNECT_H_

#include <algorithm>
#include <random>

#include "absl/time/time.h"

namespace homeward {

// Waits double up to a limit, and chance takes up to half of each, so that a fleet does not come
// all at once. One thread.
class Reconnect {
 public:
  Reconnect(absl::Duration shortest, absl::Duration longest)
      : shortest_(shortest), longest_(longest), delay_(shortest) {}

  // `greeted`: the attempt that has ended now was one that the server took.
  template <typename Random>
  absl::Duration Next(bool greeted, Random* random) {
    delay_ = greeted ? shortest_ : std::min(delay_ * 2, longest_);
    return delay_ * (0.5 + std::uniform_real_distribution<>(0, 0.5)(*random));
  }

 private:
  const absl::Duration shortest_, longest_;
  absl::Duration delay_;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_CONTROL_RECONNECT_H_
