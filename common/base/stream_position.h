// StreamPosition: where something stands in the one ordered stream of a disk set.
#ifndef HOMEWARD_COMMON_BASE_STREAM_POSITION_H_
#define HOMEWARD_COMMON_BASE_STREAM_POSITION_H_

#include <compare>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"

namespace homeward {

// Ordered by epoch, then sequence. Epoch 0 means "nothing yet". Sequence 0 of an epoch is always
// its EpochBegin.
struct StreamPosition {
  uint64_t epoch = 0;
  uint64_t sequence = 0;
  friend auto operator<=>(const StreamPosition&, const StreamPosition&) = default;
  bool none() const { return epoch == 0; }
  // Whether an entry at `next` may directly follow this position.
  bool MayPrecede(StreamPosition next) const {
    if (next.epoch == epoch) return next.sequence == sequence + 1;
    return next.epoch > epoch && next.sequence == 0;
  }
  std::string ToString() const { return absl::StrCat(epoch, ".", sequence); }
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_BASE_STREAM_POSITION_H_
