// ReplicaStore: where a machine's stream ends and its recovery points are kept. What is taken of
// the stream is the same for all and is decided here, with StreamOrder; how it is kept is an
// implementation's. Keeper writes the machine's disks and keeps a journal of what they were.
#ifndef HOMEWARD_COMMON_REPLICA_REPLICA_STORE_H_
#define HOMEWARD_COMMON_REPLICA_REPLICA_STORE_H_

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
  virtual ~ReplicaStore() = default;
  ReplicaStore(const ReplicaStore&) = delete;
  ReplicaStore& operator=(const ReplicaStore&) = delete;

  // Applies batches in order; on OK all of them are durable. What is at or before position() is
  // skipped. Errors as StreamOrder::Takes() and Take(), and
  //   DATA_LOSS           a damaged batch, or an extent past the end of its disk
  //   RESOURCE_EXHAUSTED  a volume is full; nothing of the failing group was acknowledged, try
  //                       again
  absl::Status Apply(const std::vector<absl::string_view>& sealed_batches);
  // Refuses all of an older generation from now on.
  absl::Status Fence(uint64_t generation);

  // Who may stream is told to it and asked of it.
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

  ReplicaStore(std::vector<uint64_t> disk_bytes, StreamOrder order)
      : disk_bytes_(std::move(disk_bytes)), order_(std::move(order)) {}
  const std::vector<uint64_t>& disk_bytes() const { return disk_bytes_; }

  // All of these are durable on return, and may be done again after a crash.
  // Writes in order. Every range is within its disk.
  virtual absl::Status Write(const std::vector<Range>& ranges) = 0;
  // The stream was taken this far, and what of it was to be written is. Ends what RecoverTo() did.
  virtual absl::Status Commit(const StreamState& state) = 0;
  // As Commit(), and what the replica is now becomes a point.
  virtual absl::Status MakePoint(const Marker& marker, const StreamState& state) = 0;
  virtual absl::Status GoToPoint(absl::string_view point_id) = 0;
  // Requires: there is a newer one.
  virtual absl::Status DropOldestPoint() = 0;

 private:
  absl::Status CheckExtents(const ParsedBatch& batch) const;
  absl::Status ApplyOne(const ParsedBatch& batch, StreamOrder* next, std::vector<Range>* staged);

  const std::vector<uint64_t> disk_bytes_;
  StreamOrder order_;  // what is durable
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_REPLICA_REPLICA_STORE_H_
