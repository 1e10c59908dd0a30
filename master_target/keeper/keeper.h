// Keeper: one machine's replica disks and its recovery journal. It writes what the stream brings so
// that what it reports as position is durable, makes recovery points, and brings the disks to any
// of them.
#ifndef HOMEWARD_MASTER_TARGET_KEEPER_KEEPER_H_
#define HOMEWARD_MASTER_TARGET_KEEPER_KEEPER_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/replica/replica_store.h"
#include "master_target/keeper/scrub.h"

namespace homeward {

class Keeper : public ReplicaStore {
 public:
  // `disks` must be the machine's, in stream order, and outlive nothing else.
  static absl::StatusOr<std::unique_ptr<Keeper>> Open(FileSystem& files,
                                                      const std::string& journal_directory,
                                                      std::vector<ReplicaDisk> disks);

  const std::vector<ReplicaPoint>& points() const override { return journal_->points(); }
  uint64_t journal_bytes() const override { return journal_->size_bytes(); }
  uint64_t KeptBytes(size_t point) const override { return journal_->KeptBytes(point); }
  absl::StatusOr<std::vector<uint32_t>> Differing(uint32_t disk, uint64_t offset,
                                                  uint64_t block_bytes,
                                                  const std::vector<std::string>& digests) override;
  absl::StatusOr<bool> ScrubStep(uint64_t bytes) override {
    return scrub_.Step(*journal_, disks_, bytes);
  }
  absl::Status damage() const override { return scrub_.damage(); }
  const std::vector<ExtentSet>& damaged() const override { return scrub_.damaged(); }

 protected:
  // Steps 1 and 2 of the protocol.
  absl::Status Write(const std::vector<Range>& ranges) override;
  absl::Status Commit(const StreamState& state) override { return journal_->CommitState(state); }
  absl::Status MakePoint(const Marker& marker, const StreamState& state) override {
    return journal_->MakePoint(marker, state);
  }
  absl::Status GoToPoint(absl::string_view point_id) override;
  absl::Status DropOldestPoint() override { return journal_->DropOldestPoint(); }

 private:
  // tests/fakes/point_content.h: what a test compares points with looks at both.
  friend absl::StatusOr<std::vector<std::string>> PointContent(const Keeper& keeper,
                                                               absl::string_view point_id);
  Keeper(std::unique_ptr<RecoveryJournal> journal, std::vector<ReplicaDisk> disks,
         std::vector<uint64_t> disk_bytes);
  absl::Status SaveOld(const std::vector<Range>& ranges);
  struct OldContent;
  // What of `ranges` is not saved in the open delta, in pieces.
  std::vector<std::pair<uint32_t, Extent>> UnsavedOf(const std::vector<Range>& ranges) const;
  absl::Status BeginReading(OldContent* old);
  absl::Status AwaitReading();
  absl::Status Append(const OldContent& old);
  absl::Status WriteRanges(const std::vector<Range>& ranges);

  const std::unique_ptr<RecoveryJournal> journal_;
  std::vector<ReplicaDisk> disks_;
  Scrub scrub_;
};

}  // namespace homeward

#endif  // HOMEWARD_MASTER_TARGET_KEEPER_KEEPER_H_
