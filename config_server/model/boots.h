// Boots: how long machines take from power-on until their agents are registered.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_BOOTS_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_BOOTS_H_

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "homeward/control/v1/control.pb.h"
#include "homeward/storage/v1/storage.pb.h"

namespace homeward {

// A machine keeps the last of its boots only.
constexpr int kBootsKept = 10;

// Notes in the record that the machine's agent is registered now, where it was not yet in this boot
// and it is known when that began: a job powered the machine on, or else the agent says since when
// it runs. An agent that is new to this server counts only when it began with its machine, and so
// was not installed later. `machine` is as it was before this registration.
void NoteBoot(const control::v1::Registration& registration, absl::Time now,
              storage::v1::Machine* machine);

absl::Duration TookOf(const storage::v1::Boot& boot);
// Since when a machine that a job powered on is waited for. Nothing: it is not.
absl::optional<absl::Time> WaitsSince(const storage::v1::Machine& machine);

// Durations by rank: `share` of them are no longer. Requires: `sorted`, shortest first, and not
// empty; 0 < `share` <= 1.
absl::Duration RankOf(const std::vector<absl::Duration>& sorted, double share);

// No longer than `limit`, and longer than the one before; the last one has none.
struct BootBucket {
  absl::optional<absl::Duration> limit;
  uint64_t count = 0;
};
// Without the empty ones at either end.
std::vector<BootBucket> HistogramOf(const std::vector<absl::Duration>& durations);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_BOOTS_H_
