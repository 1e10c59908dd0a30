// When a point is tried, and when it is given up: the decisions of PointMaker, without disks.
// `now` is Clock::Monotonic().
#ifndef HOMEWARD_MOBILITY_AGENT_PIPELINE_POINT_PACING_H_
#define HOMEWARD_MOBILITY_AGENT_PIPELINE_POINT_PACING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "common/base/bytes.h"

namespace homeward {

struct PointOptions {
  absl::Duration marker_interval = absl::Minutes(5);
  // What the disks are called in a point's `how`, in stream order. Missing ones: by number.
  std::vector<std::string> disk_names = {};

  // The chase: what is dirty is copied while the machine goes on, until little is left. So long it
  // may not become less, before a marker is made without the rest of it.
  absl::Duration chase_patience = absl::Minutes(5);
  int precopy_rounds_max = 8;
  // A write-back that takes longer leaves much behind, and is followed by another before the
  // freeze; by so many at the most.
  absl::Duration write_back_short = absl::Milliseconds(100);
  int long_write_backs_max = 4;

  absl::Duration freeze_timeout = absl::Seconds(5);
  // After a freeze that took too long none is tried for so long; twice as long after each.
  absl::Duration freeze_pause_min = absl::Minutes(1);
  absl::Duration freeze_pause_max = absl::Minutes(10);
  uint64_t frozen_bytes_max = 16 * kMiB;  // read between freeze and thaw at most; held in memory
  size_t frozen_extents_max = 16384;

  // Where something writes although the disks should be at rest, what it wrote is read again
  // until nothing was written meanwhile: for so long while file systems are frozen, for so long
  // while they are not, and so often at the most.
  absl::Duration frozen_passes_time = absl::Milliseconds(40);
  absl::Duration passes_time = absl::Milliseconds(200);
  size_t passes_max = 1000;
  // Then tried again, after ever longer pauses, for so long. A point that is made after that is
  // said to be of no one instant.
  absl::Duration instant_retry = absl::Milliseconds(250);
  absl::Duration instant_patience = absl::Seconds(15);
};

// Copying while the machine writes, until so little is dirty that the rest can be read while
// everything stands still. None of these classes is thread-safe; `options` outlives each.
class Chase {
 public:
  // What is dirty has become less when it is `progress_bytes` less.
  Chase(const PointOptions& options, uint64_t progress_bytes)
      : options_(options), progress_bytes_(progress_bytes) {}

  // After a long chase that may be more, but never what a freeze would be in vain for.
  bool SmallEnough(uint64_t dirty_bytes) const;
  // There was another round, and it is not small enough. True: what is dirty has not become less
  // for a long time, although it was copied all the while.
  bool InVain(uint64_t dirty_bytes, absl::Duration now);
  void End();

 private:
  struct Least {
    uint64_t bytes = 0;    // dirty, since the chase began
    absl::Duration since;  // when that was
    int round = 0;
  };
  const PointOptions& options_;
  const uint64_t progress_bytes_;
  int rounds_ = 0;
  absl::optional<Least> least_;
};

// Whether another write-back comes before the freeze.
class WriteBackRounds {
 public:
  explicit WriteBackRounds(const PointOptions& options) : options_(options) {}

  // One is over that took so long. What was written in the meantime is in the page cache still, and
  // the freeze would write it.
  bool Again(absl::Duration took);
  void End() { long_ones_ = 0; }

 private:
  const PointOptions& options_;
  int long_ones_ = 0;
};

// Each freeze in vain holds the machine up for as long as it may take.
class FreezePause {
 public:
  explicit FreezePause(const PointOptions& options)
      : options_(options), pause_(options.freeze_pause_min) {}

  bool Over(absl::Duration now) const { return now >= until_; }
  // A freeze was tried.
  void OnTried(bool took_too_long, absl::Duration now);

 private:
  const PointOptions& options_;
  absl::Duration pause_;  // the next one
  absl::Duration until_ = -absl::InfiniteDuration();
};

// The search for an instant in which nothing writes.
class InstantSearch {
 public:
  explicit InstantSearch(const PointOptions& options) : options_(options) {}

  bool Due(absl::Duration now) const { return now >= next_; }
  // Something wrote all the while. True: it has been sought for long enough.
  bool GivesUp(absl::Duration now);
  // There was none; it is sought again, after a pause.
  void Pause(absl::Duration now);
  void End();

 private:
  const PointOptions& options_;
  absl::optional<absl::Duration> disturbed_since_;
  absl::Duration next_ = -absl::InfiniteDuration();
  absl::Duration pause_;
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_PIPELINE_POINT_PACING_H_
