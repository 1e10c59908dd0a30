// Keeper: one machine's replica disks and its recovery journal. It applies sealed batches so that
// what it reports as position is durable, makes recovery points, and brings the disks to any of
// them.
#ifndef HOMEWARD_MASTER_TARGET_KEEPER_KEEPER_H_
#define HOMEWARD_MASTER_TARGET_KEEPER_KEEPER_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "common/base/limits.h"
#include "master_target/keeper/scrub.h"

namespace homeward {

struct RetentionPolicy {
  absl::Duration age_max = kRetentionAgeDefault;
  uint64_t bytes_max = UINT64_MAX;
};

// The content of the disks at one recovery point, without touching the replica. Valid until the
// keeper applies, recovers or drops anything. Memory: about 60 bytes for each undo record since the
// point.
class PointView {
 public:
  absl::Status Read(uint32_t disk, uint64_t offset, MutableBytes out) const;

 private:
  friend class Keeper;
  struct Piece {
    uint64_t length = 0;
    UndoPlace place;
    uint64_t skip_bytes = 0;  // into the undo record's range
  };
  const RecoveryJournal* journal_ = nullptr;
  const std::vector<ReplicaDisk>* disks_ = nullptr;
  std::vector<absl::btree_map<uint64_t, Piece>> pieces_;  // by disk: offset -> piece
};

// Must run on one strand. A failure that is not RESOURCE_EXHAUSTED leaves it unusable: open it
// anew.
class Keeper {
 public:
  // `disks` must be the machine's, in stream order, and outlive nothing else.
  static absl::StatusOr<std::unique_ptr<Keeper>> Open(FileSystem& files,
                                                      const std::string& journal_directory,
                                                      std::vector<ReplicaDisk> disks);

  // Applies batches in order; on OK all of them are durable. What is at or before position() is
  // skipped.
  //   ABORTED              a batch of an older generation: the sender is not the machine's any more
  //   DATA_LOSS            damaged batch, an extent past the end of its disk, or an epoch that
  //   continues from
  //                        what this replica does not hold: begin a new epoch that synchronises
  //   OUT_OF_RANGE         a gap: send from position() on
  //   FAILED_PRECONDITION  the replica was recovered to a point and follows nothing until a new
  //   epoch
  //                        synchronises it
  //   RESOURCE_EXHAUSTED   a volume is full; nothing of the failing group was acknowledged, try
  //   again
  absl::Status Apply(const std::vector<absl::string_view>& sealed_batches);

  // Refuses all of an older generation from now on.
  absl::Status Fence(uint64_t generation);

  StreamPosition position() const { return journal_->state().position; }
  const KeeperState& state() const { return journal_->state(); }
  const std::vector<RecoveryJournal::Point>& points() const { return journal_->points(); }
  const std::string& recovered_point() const { return journal_->recovered_point(); }
  uint64_t journal_bytes() const { return journal_->size_bytes(); }

  // Brings all disks to the point, durably, also out of a resynchronisation that has not ended.
  // NOT_FOUND. After a failure or a crash, do it again. Newer points stay reachable.
  absl::Status RecoverTo(absl::string_view point_id);
  absl::StatusOr<PointView> View(absl::string_view point_id) const;

  // Indexes of the blocks at `offset` whose digests differ from `digests`.
  absl::StatusOr<std::vector<uint32_t>> Differing(uint32_t disk, uint64_t offset,
                                                  uint64_t block_bytes,
                                                  const std::vector<std::string>& digests);

  // Reads about `bytes` of journal and replica further, to find what changed by itself; true when
  // it was once through. What was found: damage().
  absl::StatusOr<bool> ScrubStep(uint64_t bytes) { return scrub_.Step(*journal_, disks_, bytes); }
  absl::Status damage() const { return scrub_.damage(); }
  const std::vector<ExtentSet>& damaged() const { return scrub_.damaged(); }

  // Drops what the policy does not keep and returns it, oldest first. The newest point stays,
  // and, whatever its age, the newest that is one instant.
  absl::StatusOr<std::vector<Marker>> Retain(const RetentionPolicy& policy, absl::Time now);

 private:
  // A range to write, in order. `content` empty means zeroes.
  struct Staged {
    uint32_t disk = 0;
    Extent extent;
    absl::string_view content;
  };

  Keeper(std::unique_ptr<RecoveryJournal> journal, std::vector<ReplicaDisk> disks);
  absl::Status CheckGeneration(const BatchHeader& header) const;
  absl::Status CheckExtents(const ParsedBatch& batch) const;
  absl::Status BeginEpoch(const ParsedBatch& batch, KeeperState* next);
  absl::Status ApplyOne(const ParsedBatch& batch, KeeperState* next, std::vector<Staged>* staged);
  // Steps 1 and 2 of the protocol.
  absl::Status WriteProtected(const std::vector<Staged>& staged);
  absl::Status SaveOld(const std::vector<Staged>& staged);
  struct OldContent;
  // What of `staged` is not saved in the open delta, in pieces.
  std::vector<std::pair<uint32_t, Extent>> UnsavedOf(const std::vector<Staged>& staged) const;
  absl::Status BeginReading(OldContent* old);
  absl::Status AwaitReading();
  absl::Status Append(const OldContent& old);
  absl::Status WriteStaged(const std::vector<Staged>& staged);

  const std::unique_ptr<RecoveryJournal> journal_;
  std::vector<ReplicaDisk> disks_;
  Scrub scrub_;
  uint64_t generation_ = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_MASTER_TARGET_KEEPER_KEEPER_H_
