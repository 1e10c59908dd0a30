// DirtyMap: where the disks of a machine hold what is to be read and sent.
#ifndef HOMEWARD_MOBILITY_AGENT_PIPELINE_DIRTY_MAP_H_
#define HOMEWARD_MOBILITY_AGENT_PIPELINE_DIRTY_MAP_H_

#include <vector>

#include "absl/status/status.h"
#include "common/base/extent_set.h"
#include "common/wire/change_batch.h"
#include "mobility_agent/capture/write_source.h"

namespace homeward {

// A place on the disks, which are gone through one after the other.
struct DiskPlace {
  size_t disk = 0;
  uint64_t offset = 0;  // bytes
};

// Must run on one strand, that of the sources. Bounded: beyond `ranges_max` ranges a disk, what was
// collected is remembered in larger blocks.
class DirtyMap {
 public:
  // `sources` outlives it.
  DirtyMap(const std::vector<WriteSource*>& sources, size_t ranges_max);

  // Requires: the extent is on the disk.
  void Add(uint32_t disk, Extent extent) { by_disk_[disk].Add(extent); }
  // What a peer named: of it what is on a disk, in whole sectors.
  void AddNamed(uint32_t disk, uint64_t offset, uint64_t length);
  // By disk. Requires: not more disks than there are sources.
  void Add(const std::vector<ExtentSet>& by_disk);
  void Clear();

  // Moves what was written since it was last asked from the sources to here, but leaves out what
  // lies at or behind `unread`, which is going to be read in any case. Errors as
  // WriteSource::Collect(); what was moved until then stays.
  absl::Status Collect(DiskPlace unread);
  // Reads the first of it into the builder, up to `batch_bytes` of payload. Leaves the builder as
  // it is when nothing is dirty. On an error nothing is lost: all that is in the builder is dirty
  // again.
  absl::Status ReadInto(BatchBuilder* builder, uint64_t batch_bytes);

  uint64_t bytes() const;
  bool empty() const { return bytes() == 0; }
  // What was collected is remembered in larger blocks, since the map was last empty.
  bool coarsened() const { return coarsened_; }
  // The disk with the most dirty bytes.
  uint32_t dirtiest_disk() const;
  const std::vector<ExtentSet>& by_disk() const { return by_disk_; }

 private:
  absl::Status CollectOf(size_t disk);

  // Constant after construction.
  const std::vector<WriteSource*>& sources_;
  const size_t ranges_max_;
  // Touched only on the strand.
  std::vector<ExtentSet> by_disk_;
  std::vector<Extent> collected_;  // room for Collect(), made by the first one
  bool coarsened_ = false;
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_PIPELINE_DIRTY_MAP_H_
