// ReplicaStore: where a machine's stream ends and its recovery points are kept. What is taken of
// the stream is the same for all and is decided here, with StreamOrder; how it is kept is an
// implementation's. Keeper writes the machine's disks and keeps a journal of what they were.
#ifndef HOMEWARD_COMMON_REPLICA_REPLICA_STORE_H_
#define HOMEWARD_COMMON_REPLICA_REPLICA_STORE_H_

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/extent_set.h"
#include "common/base/limits.h"
#include "common/replication/stream_order.h"
#include "common/wire/change_batch.h"

namespace homeward {

struct RetentionPolicy {
  absl::Duration age_max = kRetentionAgeDefault;
  uint64_t bytes_max = UINT64_MAX;
  // This point stays, and what is newer, whatever else it says. Empty: none.
  std::string kept_point_id = "";
};

struct ReplicaPoint {
  Marker marker;
  uint64_t number = 0;  // grows from point to point
};

// Must run on one strand. A failure that is not RESOURCE_EXHAUSTED leaves it unusable: open it
// anew. CANCELLED: another host has the replica now.
class ReplicaStore {
 public:
  virtual ~ReplicaStore();
  ReplicaStore(const ReplicaStore&) = delete;
  ReplicaStore& operator=(const ReplicaStore&) = delete;

  // Applies batches in order; on OK all of them are durable. What is at or before position() is
  // skipped. Errors as StreamOrder::Takes() and Take(), and
  //   DATA_LOSS           a damaged batch, or an extent past the end of its disk
  //   RESOURCE_EXHAUSTED  a volume is full; nothing of the failing group was acknowledged, try
  //                       again
  absl::Status Apply(const std::vector<absl::string_view>& sealed_batches);
  // As Apply(), but what was taken last may still be on its way to the medium when it returns, so
  // that what comes next can be on its way at the same time. position() says what is durable. An
  // error may also be of what was begun before: then nothing of that is under way any more, and
  // what is behind position() is to be sent again.
  absl::Status Begin(std::vector<SealedBatch> batches);
  // Makes durable what was begun and has arrived. The same error.
  absl::Status Settle();
  // The same, once all has arrived: nothing is under way any more.
  absl::Status Finish();
  // Of the batches that are under way.
  uint64_t under_way_bytes() const;
  // `on_arrival` is called on any thread when there is something to settle, or position() may have
  // moved outside of Begin() and Settle(), until the store is destroyed. Set it before the first
  // Begin().
  void SetOnArrival(std::function<void()> on_arrival) { on_arrival_ = std::move(on_arrival); }

  // What encrypted batches are opened with, from the next one on. Without: none is taken.
  void SetKeys(DataKeys keys) { keys_ = std::move(keys); }

  // Refuses all of an older generation from now on.
  absl::Status Fence(uint64_t generation);

  // Who may stream is told to it and asked of it. Requires: nothing is under way.
  StreamOrder& order() { return order_; }
  StreamPosition position() const { return order_.position(); }
  const StreamState& state() const { return order_.state(); }
  const std::string& recovered_point() const { return order_.recovered_point(); }

  // Oldest first.
  virtual const std::vector<ReplicaPoint>& points() const = 0;
  // What the points take.
  virtual uint64_t journal_bytes() const = 0;
  // What of it is kept for points()[point]: what was overwritten from it to the next one.
  virtual uint64_t KeptBytes(size_t point) const = 0;
  // Drops what the policy does not keep and returns it, oldest first. The newest point stays,
  // and, whatever its age, the newest that is one instant.
  absl::StatusOr<std::vector<Marker>> Retain(const RetentionPolicy& policy, absl::Time now);
  // Brings the replica to the point, durably, also out of a resynchronisation that has not ended.
  // NOT_FOUND. After a failure or a crash, do it again. Newer points stay reachable.
  absl::Status RecoverTo(absl::string_view point_id);

  // Where a point's disks are when recovering changes no disk. Empty: the replica's own are brought
  // to the point.
  virtual std::vector<std::string> PathsAt(absl::string_view) const { return {}; }
  // Another host may open the replica now, without taking it from this one. Nothing may be asked of
  // the store any more.
  virtual void Leave() {}
  // Called every few seconds at least: where other hosts can reach the replica too, they see that
  // this one lives.
  virtual absl::Status ShowLife() { return absl::OkStatus(); }

  // Indexes of the blocks at `offset` whose digests differ from `digests`. INVALID_ARGUMENT: not
  // within the disk.
  virtual absl::StatusOr<std::vector<uint32_t>> Differing(
      uint32_t disk, uint64_t offset, uint64_t block_bytes,
      const std::vector<std::string>& digests) = 0;

  // Reads about `bytes` of what is kept further, to find what changed by itself; true when it was
  // once through. What was found: damage(), and of the replica alone, by disk, damaged(). One whose
  // medium does that needs none of the three.
  virtual absl::StatusOr<bool> ScrubStep(uint64_t bytes);
  virtual absl::Status damage() const { return absl::OkStatus(); }
  virtual const std::vector<ExtentSet>& damaged() const;

 protected:
  // To be written. `content` empty means zeroes.
  struct Range {
    uint32_t disk = 0;
    Extent extent;
    absl::string_view content;
  };

  // Ranges on their way. Destruction waits for the end.
  class Delivery {
   public:
    virtual ~Delivery() = default;
    virtual bool has_ended() const = 0;
    // Blocks until it has; what it came to, as of Write().
    virtual absl::Status Await() = 0;
  };

  ReplicaStore(std::vector<uint64_t> disk_bytes, StreamOrder order);
  const std::vector<uint64_t>& disk_bytes() const { return disk_bytes_; }

  // All of these are durable on return, and may be done again after a crash.
  // Writes in order. Every range is within its disk.
  virtual absl::Status Write(const std::vector<Range>& ranges) = 0;
  // Begins what Write() does, calls OnArrival() when it has ended, and returns it. No range is
  // also in a delivery that is under way; contents stay as long as the delivery. Null: this medium
  // is near, and Write() is to be called.
  virtual std::unique_ptr<Delivery> Deliver(const std::vector<Range>&) { return nullptr; }
  // A delivery is begun as soon as it has so much.
  virtual uint64_t delivery_bytes() const { return UINT64_MAX; }
  // So many at a time. At least 1.
  virtual size_t deliveries_max() const { return 1; }
  void OnArrival() const {
    if (on_arrival_) on_arrival_();
  }
  // Waits for what is under way, and forgets it. Who overrides Deliver() calls it in its
  // destructor.
  void Abandon();
  // The stream was taken this far, and what of it was to be written is. Ends what RecoverTo() did.
  virtual absl::Status Commit(const StreamState& state) = 0;
  // As Commit(), and what the replica is now becomes a point.
  virtual absl::Status MakePoint(const Marker& marker, const StreamState& state) = 0;
  virtual absl::Status GoToPoint(absl::string_view point_id) = 0;
  // Requires: there is a newer one.
  virtual absl::Status DropOldestPoint() = 0;
  // What journal_bytes() counts and no point needs.
  virtual absl::Status DropUnused() { return absl::OkStatus(); }

 private:
  struct Batches;  // as long as somebody points into them
  // Ranges, and how far the stream is taken with them.
  struct Staged {
    StreamOrder order;
    std::vector<std::shared_ptr<Batches>> batches = {};
    std::vector<Range> ranges = {};
    uint64_t bytes = 0;        // of content
    uint64_t batch_bytes = 0;  // of the batches
  };
  struct UnderWay;  // what was staged, and its delivery

  absl::Status CheckExtents(const ParsedBatch& batch) const;
  absl::Status Take(const std::vector<absl::string_view>& sealed_batches,
                    const std::shared_ptr<Batches>& batches);
  absl::Status TakeOne(const ParsedBatch& batch);
  // Begins what is staged.
  absl::Status Send();
  // The same, unless it is little and comes with what follows, once something has arrived.
  absl::Status SendOrWait();
  // What was taken is at the medium, all of it. Requires a commit.
  absl::Status Land();
  // Waits for the oldest `count` that are under way.
  absl::Status Await(size_t count);
  absl::Status SettleOldest(size_t count);
  // Nothing is staged. The next batch follows what is under way.
  void ResetStaged();
  bool IsUnderWay(const Range& range) const;

  const std::vector<uint64_t> disk_bytes_;
  DataKeys keys_;
  StreamOrder order_;  // what is durable
  std::function<void()> on_arrival_;
  std::deque<UnderWay> under_way_;  // in the order of the stream
  Staged staged_;                   // behind that
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_REPLICA_REPLICA_STORE_H_
