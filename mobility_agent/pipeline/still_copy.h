// StillCopy: what is read of a machine's disks for a marker, and whether anything wrote meanwhile.
#ifndef HOMEWARD_MOBILITY_AGENT_PIPELINE_STILL_COPY_H_
#define HOMEWARD_MOBILITY_AGENT_PIPELINE_STILL_COPY_H_

#include <vector>

#include "absl/status/statusor.h"
#include "common/base/aligned_buffer.h"
#include "common/base/extent_set.h"
#include "common/wire/change_batch.h"
#include "mobility_agent/capture/write_source.h"
#include "mobility_agent/pipeline/dirty_map.h"

namespace homeward {

// The copy is made in passes: a pass reads what is dirty, then asks the sources what was written
// since the pass began. Only that is read again by the next one. Once a pass has seen no write from
// its beginning to its end, what was read by it and by all before it is the content of one instant
// of that pass: nothing that was read earlier has changed since, or the next pass would have read
// it again.
//
// Not thread-safe. All its memory is made and touched before the freeze, at construction and in
// Begin(): the agent's own root file system may be the one that stands still, and finding memory
// could wait for it. Few machines need all of it, so it grows with what is dirty.
class StillCopy {
 public:
  enum class Seen {
    kNothing,  // no write during the pass: the copy is of one instant
    kWrites,   // another pass may be tried
    kTooMuch   // there was not room for what had to be read; the next Begin() makes more
  };

  StillCopy(uint64_t bytes_max, size_t extents_max);

  // Nothing was read.
  void Clear();
  // Before the freeze: what is known to be dirty, by disk. Makes room for it and for what is
  // written until the thaw. False: there may not be as much.
  bool Begin(const std::vector<ExtentSet>& dirty);
  // Between freeze and thaw; allocates nothing when it is OK. The first pass also reads what the
  // sources have collected until then.
  absl::StatusOr<Seen> Pass(const std::vector<WriteSource*>& sources);
  // A disk that the last pass saw a write to, where it did not say kNothing.
  uint32_t disturbed_disk() const {
    return read_ < pieces_.size() ? pieces_[read_].disk : pieces_.empty() ? 0 : pieces_.back().disk;
  }
  size_t passes() const { return passes_; }

  // After the thaw. All that was taken from the sources or from `dirty`: when the copy is of no
  // use.
  void GiveBackAll(DirtyMap* dirty) const { GiveBack(0, dirty); }
  // What was written meanwhile and not read again.
  void GiveBackUnread(DirtyMap* dirty) const { GiveBack(read_, dirty); }
  // Moves what was read on into the builder, up to `batch_bytes` of payload, in the order in which
  // it was read: where extents overlap, the later content holds. False: there is no more.
  bool Fill(uint64_t batch_bytes, BatchBuilder* builder);

 private:
  struct Piece {
    uint32_t disk = 0;
    Extent extent;
  };
  // Of the pieces that are not read yet, those of the first one's disk.
  absl::Status ReadOfOneDisk(const std::vector<WriteSource*>& sources);
  // False: there is not room for all.
  absl::StatusOr<bool> Collect(const std::vector<WriteSource*>& sources);
  void GiveBack(size_t first, DirtyMap* dirty) const;
  // Of content; never less than there was.
  void MakeRoom(uint64_t bytes);

  const uint64_t bytes_max_;
  std::vector<Piece> pieces_;             // never beyond its capacity
  std::vector<WriteSource::Part> parts_;  // likewise; of what is read at once
  std::vector<Extent> collected_;
  AlignedBuffer content_;       // of the pieces that were read, one behind the other
  uint64_t bytes_wanted_ = 0;   // of content, by the last pass that there was not room for
  size_t read_ = 0;             // so many pieces
  uint64_t content_bytes_ = 0;  // of them
  size_t passes_ = 0;
  size_t filled_ = 0;          // so many pieces are in batches
  uint64_t filled_bytes_ = 0;  // of content_
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_PIPELINE_STILL_COPY_H_
