// Keeper: one machine's replica disks and its recovery journal. It writes what the stream brings so
// that what it reports as position is durable, makes recovery points, and brings the disks to any
// of them.
#ifndef HOMEWARD_MASTER_TARGET_KEEPER_KEEPER_H_
#define HOMEWARD_MASTER_TARGET_KEEPER_KEEPER_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/exec/strand.h"
#include "common/replica/replica_store.h"
#include "master_target/keeper/scrub.h"

namespace homeward {

class Keeper : public ReplicaStore {
 public:
  using MakeStrand = std::function<std::unique_ptr<Strand>(const std::string& name)>;
  struct Options {
    // With it, what was begun is written on strands of the keeper's own, while what follows is
    // taken: one group while the one before is synced.
    MakeStrand make_strand = nullptr;
    uint64_t delivery_bytes = 8 * kMiB;  // of a group, when it is written there
    size_t recover_ranges_max = 4096;    // of a point, at a time
  };
  // `disks` must be the machine's, in stream order, and outlive nothing else.
  static absl::StatusOr<std::unique_ptr<Keeper>> Open(FileSystem& files,
                                                      const std::string& journal_directory,
                                                      std::vector<ReplicaDisk> disks,
                                                      const Options& options);
  static absl::StatusOr<std::unique_ptr<Keeper>> Open(FileSystem& files,
                                                      const std::string& journal_directory,
                                                      std::vector<ReplicaDisk> disks) {
    return Open(files, journal_directory, std::move(disks), Options());
  }
  ~Keeper() override;

  const std::vector<ReplicaPoint>& points() const override { return journal_->points(); }
  uint64_t journal_bytes() const override {
    absl::MutexLock lock(&journal_mutex_);
    return journal_->size_bytes();
  }
  uint64_t KeptBytes(size_t point) const override {
    absl::MutexLock lock(&journal_mutex_);
    return journal_->KeptBytes(point);
  }
  absl::StatusOr<std::vector<uint32_t>> Differing(uint32_t disk, uint64_t offset,
                                                  uint64_t block_bytes,
                                                  const std::vector<std::string>& digests) override;
  // Requires: nothing is under way.
  absl::StatusOr<bool> ScrubStep(uint64_t bytes) override {
    return scrub_.Step(*journal_, disks_, bytes);
  }
  absl::Status damage() const override { return scrub_.damage(); }
  const std::vector<ExtentSet>& damaged() const override { return scrub_.damaged(); }

 protected:
  // Steps 1 and 2 of the protocol.
  absl::Status Write(const std::vector<Range>& ranges) override;
  std::unique_ptr<Delivery> Deliver(const std::vector<Range>& ranges) override;
  uint64_t delivery_bytes() const override;
  size_t deliveries_max() const override { return 4; }
  // Step 3.
  absl::Status Commit(const StreamState& state) override {
    absl::MutexLock lock(&journal_mutex_);
    return journal_->CommitState(state);
  }
  absl::Status MakePoint(const Marker& marker, const StreamState& state) override {
    return journal_->MakePoint(marker, state);
  }
  absl::Status GoToPoint(absl::string_view point_id) override;
  absl::Status DropOldestPoint() override {
    absl::MutexLock lock(&journal_mutex_);
    return journal_->DropOldestPoint();
  }
  absl::Status DropUnused() override {
    absl::MutexLock lock(&journal_mutex_);
    return journal_->DropSpare();
  }

 private:
  // tests/fakes/point_content.h: what a test compares points with looks at both.
  friend absl::StatusOr<std::vector<std::string>> PointContent(const Keeper& keeper,
                                                               absl::string_view point_id);
  Keeper(std::unique_ptr<RecoveryJournal> journal, std::vector<ReplicaDisk> disks,
         std::vector<uint64_t> disk_bytes, const Options& options);
  class Writing;
  // Nothing that was known of what is there is known of what will be.
  void Touch(const std::vector<Range>& ranges);
  void NoteWritten(const std::vector<Range>& ranges);
  // On any thread. With `save_old`, steps 1 and 2, otherwise step 2 alone.
  absl::Status SaveAndWrite(const std::vector<Range>& ranges, bool save_old);
  // Of what was written: until all up to this one, and this, is durable.
  absl::Status SyncUpTo(uint64_t number);
  absl::Status SaveOld(const std::vector<Range>& ranges);
  struct OldContent;
  // What of `ranges` is not saved in the open delta, in pieces.
  std::vector<std::pair<uint32_t, Extent>> UnsavedOf(const std::vector<Range>& ranges) const;
  absl::Status BeginReading(OldContent* old);
  absl::Status AwaitReading();
  absl::Status Append(const OldContent& old);
  absl::Status WriteRanges(const std::vector<Range>& ranges);

  const uint64_t delivery_bytes_;
  const size_t recover_ranges_max_;
  // What a delivery does to the open delta, and what is asked of that meanwhile. All else of the
  // journal is asked for and changed while nothing is under way, or is not the open delta.
  mutable absl::Mutex journal_mutex_;
  const std::unique_ptr<RecoveryJournal> journal_;
  // Held by who saves and writes, a delivery or Write(): one at a time, in no order. Who waits for
  // a delivery may be about to write it while the writer is at the one behind it already. That this
  // is right all the same, what is there at the end and what is saved of what was there, is because
  // no two that are under way overlap: ReplicaStore waits before it begins one that would.
  absl::Mutex writing_mutex_;
  // Lock order: writing_mutex_, written_mutex_; syncing_mutex_, written_mutex_.
  absl::Mutex written_mutex_;
  // Groups, in the order of their writing.
  uint64_t begun_ ABSL_GUARDED_BY(written_mutex_) = 0;
  uint64_t written_ ABSL_GUARDED_BY(written_mutex_) = 0;
  std::vector<bool> unsynced_ ABSL_GUARDED_BY(written_mutex_);  // disks
  absl::Mutex syncing_mutex_;
  uint64_t synced_ ABSL_GUARDED_BY(syncing_mutex_) = 0;  // all up to this one
  // The kernel tells of a failed write once: whoever syncs next may hear of another's.
  uint64_t failed_up_to_ ABSL_GUARDED_BY(syncing_mutex_) = 0;
  absl::Status failed_ ABSL_GUARDED_BY(syncing_mutex_);
  std::vector<ReplicaDisk> disks_;  // files: of who writes; otherwise while nothing is under way
  Scrub scrub_;
  // Empty: nothing is under way when Begin() returns.
  std::vector<std::unique_ptr<Strand>> writers_;
  size_t next_writer_ = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_MASTER_TARGET_KEEPER_KEEPER_H_
