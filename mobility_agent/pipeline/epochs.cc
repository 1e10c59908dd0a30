#include "mobility_agent/pipeline/epochs.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"

namespace homeward {

uint64_t LeastEpoch(const EarlierEpochs& earlier, absl::Time now) {
  return std::max({earlier.remembered + 1 + earlier.stride,
                   static_cast<uint64_t>(absl::ToUnixMicros(now)), earlier.had + 1});
}

Epochs::Epochs(Remembered remembered, uint64_t least)
    : least_(least),
      current_(remembered.current),
      durable_(remembered.durable),
      begun_(std::move(remembered.begun)) {}

bool Epochs::CanContinue() const { return !durable_.none() && begun_.size() < kBegunEpochsMax; }

EpochBegin Epochs::Begin(bool continues) {
  if (!last_marker_durable()) {
    ++markers_lost_;
    last_marker_position_ = {UINT64_MAX, 0};  // Until the next one.
  }
  current_ = std::max(current_ + 1, least_);
  if (!continues) begun_.clear();
  EpochBegin begin;
  if (continues) begin.continues_from = durable_;
  begin.begun = begun_;
  begun_.push_back(current_);
  return begin;
}

void Epochs::ForgetBelow(uint64_t epoch) {
  current_ = epoch;
  durable_ = {};
}

bool Epochs::KnowsOf(StreamPosition durable) const {
  return durable <= durable_ || durable.epoch == durable_.epoch ||
         absl::c_linear_search(begun_, durable.epoch);
}

void Epochs::OnDurable(StreamPosition durable) {
  if (durable > durable_) durable_ = durable;
  while (!begun_.empty() && begun_.front() <= durable_.epoch) begun_.erase(begun_.begin());
}

void Epochs::OnMarkerSealed(StreamPosition position, const Marker& marker) {
  ++markers_sealed_;
  last_marker_ = marker.id;
  last_marker_number_ = marker.number;
  last_marker_position_ = position;
}

}  // namespace homeward
