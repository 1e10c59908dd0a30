// Scrub: reads a replica and its recovery journal again and again, slowly, to find what changed by
// itself. The journal has its checksums. The replica has none beside it, so a pass notes a digest
// of each block, and the next one compares it, unless the keeper wrote there in between. Nothing of
// it is durable: after a restart the first pass compares nothing of the replica.
#ifndef HOMEWARD_MASTER_TARGET_KEEPER_SCRUB_H_
#define HOMEWARD_MASTER_TARGET_KEEPER_SCRUB_H_

#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/statusor.h"
#include "common/base/aligned_buffer.h"
#include "common/base/extent_set.h"
#include "master_target/keeper/recovery_journal.h"

namespace homeward {

struct ReplicaDisk {
  std::unique_ptr<File> file;  // a flat extent or a block device
  uint64_t size_bytes = 0;
};

// On the keeper's strand. Memory: about 32 bytes for each block with content.
class Scrub {
 public:
  static constexpr uint64_t kBlockBytes = 4 * kMiB;
  explicit Scrub(size_t disks) : digests_(disks), damaged_(disks) {}

  // The keeper is about to write there: what was noted of its content is no more.
  void Touched(uint32_t disk, Extent extent);
  // The keeper wrote there: it is not damaged any more.
  void Written(uint32_t disk, Extent extent);

  // Reads about `bytes` further. True when a pass ended with it. What is damaged or cannot be read
  // is no error, see below.
  absl::StatusOr<bool> Step(const RecoveryJournal& journal, const std::vector<ReplicaDisk>& disks,
                            uint64_t bytes);

  // What changed by itself or could not be read, and was not written since: DATA_LOSS names file
  // and offset, or disk and range. OK when nothing is known to have.
  absl::Status damage() const;
  // The same of the replica alone, by disk.
  const std::vector<ExtentSet>& damaged() const { return damaged_; }

 private:
  absl::StatusOr<uint64_t> StepJournal(const RecoveryJournal& journal, uint64_t bytes);
  absl::StatusOr<uint64_t> StepReplica(const std::vector<ReplicaDisk>& disks, uint64_t bytes);

  // Where the pass is: first the journal, then the disks.
  bool in_journal_ = true;
  RecoveryJournal::ReadPlace journal_at_;
  uint32_t disk_ = 0;
  uint64_t offset_ = 0;
  std::vector<absl::btree_map<uint64_t, uint64_t>> digests_;  // by disk: block -> checksum
  std::vector<ExtentSet> damaged_;                            // by disk
  absl::Status journal_damage_;                               // of this pass or the one before
};

}  // namespace homeward

#endif  // HOMEWARD_MASTER_TARGET_KEEPER_SCRUB_H_
