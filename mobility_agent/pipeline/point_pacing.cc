#include "mobility_agent/pipeline/point_pacing.h"

#include <algorithm>

namespace homeward {
namespace {

constexpr int kVainRounds = 64;  // a link that stood still for a while is no chase

}  // namespace

bool Chase::SmallEnough(uint64_t dirty_bytes) const {
  const bool long_chase = rounds_ > options_.precopy_rounds_max;
  return dirty_bytes <= options_.frozen_bytes_max / (long_chase ? 2 : 4);
}

bool Chase::InVain(uint64_t dirty_bytes, absl::Duration now) {
  ++rounds_;
  if (!least_.has_value() || dirty_bytes + progress_bytes_ <= least_->bytes)
    least_ = Least{dirty_bytes, now, rounds_};
  return now - least_->since >= options_.chase_patience && rounds_ - least_->round > kVainRounds;
}

void Chase::End() {
  rounds_ = 0;
  least_.reset();
}

bool WriteBackRounds::Again(absl::Duration took) {
  return took > options_.write_back_short && ++long_ones_ < options_.long_write_backs_max;
}

void FreezePause::OnTried(bool took_too_long, absl::Duration now) {
  if (!took_too_long) {
    pause_ = options_.freeze_pause_min;
    return;
  }
  until_ = now + pause_;
  pause_ = std::min(pause_ * 2, options_.freeze_pause_max);
}

bool InstantSearch::GivesUp(absl::Duration now) {
  if (!disturbed_since_.has_value()) disturbed_since_ = now;
  return now - *disturbed_since_ >= options_.instant_patience;
}

void InstantSearch::Pause(absl::Duration now) {
  pause_ = std::max(options_.instant_retry, pause_ * 2);
  next_ = now + pause_;
}

void InstantSearch::End() {
  disturbed_since_.reset();
  next_ = -absl::InfiniteDuration();
  pause_ = absl::ZeroDuration();
}

}  // namespace homeward
