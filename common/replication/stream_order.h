// StreamOrder: which batches of a stream a receiver takes, and where it resumes. Generation, fence,
// epoch, sequence and resume position are judged here, for the spool, the relay and the replica.
#ifndef HOMEWARD_COMMON_REPLICATION_STREAM_ORDER_H_
#define HOMEWARD_COMMON_REPLICATION_STREAM_ORDER_H_

#include <algorithm>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/stream_position.h"
#include "common/wire/change_batch.h"
#include "homeward/replication/v1/replication.pb.h"

namespace homeward {

// How far a receiver is. What is durable of it is its owner's business.
struct StreamState {
  StreamPosition position;  // everything up to here was taken
  uint64_t generation = 0;  // older ones are over
  bool syncing = true;  // a first synchronisation or a resync has not ended: no point can be made
};

// Whose stream a receiver takes, and what becomes of it there.
struct StreamTerms {
  std::string machine_id;
  std::vector<uint64_t> disk_bytes;
  // True: the stream ends here, and a hello of a newer generation raises this receiver's with its
  // first batch. False: it is passed on, and a newer generation waits until this receiver is
  // assigned it.
  bool ends_here = true;
  std::string receiver = "this master target";  // for people
};

// Where `next` stands for one that took everything up to `held`.
enum class StreamStep { kHeld, kNext, kGap };
StreamStep StepTo(StreamPosition next, StreamPosition held);

// The first of `entries`, which are in order of their `position`, behind `position`.
template <typename Entries>
auto FirstBehind(Entries& entries, StreamPosition position) {
  return std::upper_bound(entries.begin(), entries.end(), position,
                          [](StreamPosition at, const auto& entry) { return at < entry.position; });
}
// Whether a stream can be handed on behind `position` by one that took it up to `held` and still
// has `entries` of it.
template <typename Entries>
bool CanResumeAfter(const Entries& entries, StreamPosition held, StreamPosition position) {
  const auto it = FirstBehind(entries, position);
  if (it == entries.end()) return position >= held;
  return StepTo(it->position, position) == StreamStep::kNext;
}

// A value. Not thread-safe.
class StreamOrder {
 public:
  // `recovered_point`: not empty, the receiver left the stream for that point, and follows nothing
  // until a new epoch synchronises it.
  explicit StreamOrder(const StreamState& state = {}, std::string recovered_point = "")
      : state_(state), recovered_point_(std::move(recovered_point)) {}

  const StreamState& state() const { return state_; }
  StreamPosition position() const { return state_.position; }
  const std::string& recovered_point() const { return recovered_point_; }
  uint64_t fence() const { return fence_; }

  // Whether a connection with this hello may stream.
  //   NOT_FOUND            another machine's
  //   ABORTED              an older generation, or the fence of another session
  //   UNAVAILABLE          a newer generation that is not assigned here yet
  //   FAILED_PRECONDITION  its disks have other sizes than were protected
  absl::Status Admit(const replication::v1::Hello& hello, const StreamTerms& terms) const;
  // Of the session that may stream from now on. 0: any may. ABORTED: it was another one before, and
  // a call that was admitted under that is to be told so.
  absl::Status SetFence(uint64_t fence);
  // Refuses all of an older generation from now on. False: it was as new already.
  bool RaiseGeneration(uint64_t generation);

  // Whether the batch is the next one. False: it was taken before, skip it.
  //   ABORTED              of an older generation: the sender is not the machine's any more
  //   OUT_OF_RANGE         a gap: send from position() on
  //   DATA_LOSS            the receiver was recovered to a point: begin an epoch that synchronises
  absl::StatusOr<bool> Takes(const BatchHeader& header) const;
  // Advances past a batch that ends here. Requires: Takes(). After an error it stands where it
  // was.
  //   DATA_LOSS            malformed, or an epoch that continues from what is not held here: begin
  //                        one that synchronises; or as Takes()
  //   FAILED_PRECONDITION  a marker within a synchronisation
  absl::Status Take(const ParsedBatch& batch);
  // Advances to `position`: past a batch that is only passed on, or to where the owner is, whatever
  // was taken.
  void ResumeAfter(StreamPosition position) { state_.position = position; }
  // The receiver is at the point now.
  void LeaveFor(std::string point_id) { recovered_point_ = std::move(point_id); }

 private:
  absl::Status CheckGeneration(uint64_t generation, const std::string& whose) const;
  absl::Status CheckEpoch(uint64_t epoch, const EpochBegin& begin) const;
  absl::Status Recovered() const;

  StreamState state_;
  std::string recovered_point_;
  uint64_t fence_ = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_REPLICATION_STREAM_ORDER_H_
