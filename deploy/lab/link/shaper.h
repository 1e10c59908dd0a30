// Shaper: what one direction of a link does to packets: bandwidth, a bounded queue, latency,
// jitter, loss, a cut. It sees sizes and times only; the packets are whoever's asks.
#ifndef HOMEWARD_DEPLOY_LAB_LINK_SHAPER_H_
#define HOMEWARD_DEPLOY_LAB_LINK_SHAPER_H_

#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "absl/time/time.h"

namespace homeward {

struct ShaperSettings {
  uint64_t bandwidth_bits_per_second = 0;  // 0: no limit
  absl::Duration latency = absl::ZeroDuration();
  absl::Duration jitter = absl::ZeroDuration();
  double loss_percent = 0;
  bool reorder = false;
  // Of the two limits of the queue the one that is given holds.
  std::optional<uint64_t> queue_bytes_max = std::nullopt;
  absl::Duration queue_time_max = absl::Milliseconds(100);
  uint64_t burst_bytes = 0;
  bool cut = false;

  // What may wait for the line.
  uint64_t QueueBytesMax() const;
};

struct ShaperCounters {
  uint64_t packets = 0;  // that departed
  uint64_t bytes = 0;    // of these
  uint64_t dropped_by_loss = 0;
  uint64_t dropped_by_queue = 0;
  uint64_t dropped_while_cut = 0;
  uint64_t dropped_by_memory = 0;
  uint64_t queue_bytes = 0;  // waiting for the line, or on it
  uint64_t queue_bytes_peak = 0;
  uint64_t in_flight_packets = 0;  // past the line, not yet due
  // How long after they were due packets departed.
  absl::Duration late_sum;
  absl::Duration late_max;
};

struct ShaperLimits {
  uint64_t seed = 1;
  // Waiting and in flight, together.
  uint64_t packets_max = 0;
};

// A packet waits for the line, is on it for as long as the bandwidth says, and is in flight for its
// latency. One thread. The same seed, packets and times have the same outcome. `now` never goes
// back. After construction nothing is allocated.
class Shaper {
 public:
  Shaper(const ShaperSettings& settings, const ShaperLimits& limits);

  // Whether the packet is on its way. If not, the counters say why. `packet` comes back from
  // Depart(). `size_bytes` is what it takes of the line.
  bool Enqueue(uint64_t packet, uint32_t size_bytes, absl::Duration now);

  // The one time to ask Depart() again, unless something is enqueued or changed. Nothing when the
  // shaper is empty.
  std::optional<absl::Duration> NextDeparture() const;

  // A packet that is due, the earliest first; of two that are due at once the one that came first.
  std::optional<uint64_t> Depart(absl::Duration now);

  // Takes effect at once for what waits: the rest of the packet on the line goes on at the new
  // bandwidth. What is in flight stays as it is. A shorter queue drops nothing that is in it. A cut
  // drops everything; the caller may then forget all packets.
  void Change(const ShaperSettings& settings, absl::Duration now);

  // Up to `now`.
  ShaperCounters Counters(absl::Duration now);
  const ShaperSettings& settings() const { return settings_; }
  bool empty() const { return waiting_count_ == 0 && in_flight_.empty(); }

 private:
  struct Waiting {
    uint64_t packet = 0;
    uint32_t size_bytes = 0;
    absl::Duration arrival;
  };
  struct InFlight {
    uint64_t packet = 0;
    uint64_t sequence = 0;
    uint32_t size_bytes = 0;
    absl::Duration due;
  };
  static bool Later(const InFlight& a, const InFlight& b);

  absl::Duration LineTime(uint32_t size_bytes) const;
  // Puts the first packet that waits on the line, which is free from then on.
  void StartLine(absl::Duration from);
  // Moves what has left the line by `now` into flight.
  void Advance(absl::Duration now);
  void Fly(const Waiting& waiting, absl::Duration left_line);
  void DropAll();
  // Evenly spread in [0, 1).
  double Draw();

  const uint64_t packets_max_;
  ShaperSettings settings_;
  ShaperCounters counters_;
  std::mt19937_64 random_;

  std::vector<Waiting> waiting_;  // a ring
  size_t waiting_first_ = 0;
  size_t waiting_count_ = 0;
  absl::Duration line_busy_until_;    // by the bandwidth alone; a burst is ahead of it
  absl::Duration first_leaves_line_;  // of the first that waits

  std::vector<InFlight> in_flight_;  // a heap by Later()
  uint64_t next_sequence_ = 0;
  absl::Duration last_due_;
};

}  // namespace homeward

#endif  // HOMEWARD_DEPLOY_LAB_LINK_SHAPER_H_
