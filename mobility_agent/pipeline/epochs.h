// Epochs: which epochs a machine's stream has had, how far they are durable, and what became of the
// markers in them. See docs/decisions/0001, 0005 and 0009.
#ifndef HOMEWARD_MOBILITY_AGENT_PIPELINE_EPOCHS_H_
#define HOMEWARD_MOBILITY_AGENT_PIPELINE_EPOCHS_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/base/stream_position.h"
#include "common/wire/change_batch.h"

namespace homeward {

// Where the epochs of an incarnation begin. An epoch is used once: the replica takes what it has
// passed for duplicates. Neither a lost memory nor one that is older than it seems (a machine
// reverted to a snapshot) may repeat one, so an incarnation begins above what is remembered and at
// the clock.
struct EarlierEpochs {
  uint64_t remembered = 0;  // the last one, as the state says
  uint64_t stride = 0;      // above that, at random
  uint64_t had = 0;         // this machine's, in other streams
};
uint64_t LeastEpoch(const EarlierEpochs& earlier, absl::Time now);

// Must run on one strand. Makes nothing durable: what Begin() changed is to be, before anything is
// sent in that epoch.
class Epochs {
 public:
  // What an earlier incarnation of the agent remembered; empty when it remembered nothing.
  struct Remembered {
    uint64_t current = 0;
    StreamPosition durable;
    std::vector<uint64_t> begun;
  };
  // All epochs of this incarnation are `least` or above.
  Epochs(Remembered remembered, uint64_t least);

  // The next epoch may continue from what is durable. Otherwise it continues from nothing.
  bool CanContinue() const;
  // Begins the next epoch, above all that this incarnation has had, and returns what its first
  // entry says. A marker that is not durable is lost with the epoch that ends. Requires:
  // `continues` only where CanContinue().
  EpochBegin Begin(bool continues);
  // The other side follows an epoch that this agent does not remember: the next one begins above
  // it, and nothing is durable.
  void ForgetBelow(uint64_t epoch);

  // Whether the position is of an incarnation that this agent remembers.
  bool KnowsOf(StreamPosition durable) const;
  // Requires: KnowsOf(durable).
  void OnDurable(StreamPosition durable);
  void OnMarkerSealed(StreamPosition position, const Marker& marker);

  uint64_t current() const { return current_; }
  StreamPosition durable() const { return durable_; }
  // Since what is durable, oldest first; the last one is current().
  const std::vector<uint64_t>& begun() const { return begun_; }
  // Markers sealed in this incarnation, and the newest one's id.
  uint64_t markers_sealed() const { return markers_sealed_; }
  const std::string& last_marker() const { return last_marker_; }
  uint64_t last_marker_number() const { return last_marker_number_; }
  bool last_marker_durable() const { return durable_ >= last_marker_position_; }
  // Markers whose epoch ended before they were durable.
  uint64_t markers_lost() const { return markers_lost_; }

 private:
  // Constant after construction.
  const uint64_t least_;
  // Touched only on the strand.
  uint64_t current_ = 0;
  StreamPosition durable_;
  std::vector<uint64_t> begun_;
  uint64_t markers_sealed_ = 0;
  uint64_t markers_lost_ = 0;
  std::string last_marker_;
  uint64_t last_marker_number_ = 0;
  StreamPosition last_marker_position_;
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_PIPELINE_EPOCHS_H_
