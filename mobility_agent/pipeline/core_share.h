// CoreShare: keeps work within a share of one core.
#ifndef HOMEWARD_MOBILITY_AGENT_PIPELINE_CORE_SHARE_H_
#define HOMEWARD_MOBILITY_AGENT_PIPELINE_CORE_SHARE_H_

#include <algorithm>

#include "absl/time/time.h"
#include "common/clock/clock.h"

namespace homeward {

// One piece of work may go beyond the share; the next ones wait until it is made up for. Not
// thread-safe.
class CoreShare {
 public:
  // `share`: 0 to 1. `clock` outlives it.
  CoreShare(const Clock& clock, double share) : clock_(clock), share_(share) {}

  bool HasLeft() {
    const absl::Duration now = clock_.Monotonic();
    left_ = std::min(left_ + (now - at_) * share_, kSavedMax * share_);
    at_ = now;
    return share_ > 0 && left_ >= absl::ZeroDuration();
  }
  // What HasLeft() found, as a part of the most that it can be.
  double saved() const { return absl::FDivDuration(left_, kSavedMax * share_); }
  // Does the work, whose time counts.
  template <typename Work>
  void Spend(const Work& work) {
    const absl::Duration begin = clock_.Monotonic();
    work();
    // A machine that was stopped meanwhile did not work so long.
    left_ = std::max(left_ - (clock_.Monotonic() - begin), -kSavedMax);
  }

 private:
  // Of time in which nothing was done.
  static constexpr absl::Duration kSavedMax = absl::Seconds(1);
  const Clock& clock_;
  const double share_;
  absl::Duration at_;
  absl::Duration left_;
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_PIPELINE_CORE_SHARE_H_
