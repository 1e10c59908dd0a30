// StillCopy: what is read of a machine's disks while they stand still for a marker.
#ifndef HOMEWARD_MOBILITY_AGENT_PIPELINE_STILL_COPY_H_
#define HOMEWARD_MOBILITY_AGENT_PIPELINE_STILL_COPY_H_

#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "common/base/aligned_buffer.h"
#include "common/base/extent_set.h"
#include "mobility_agent/capture/write_source.h"

namespace homeward {

// Not thread-safe. All its memory is made and touched at construction: the agent's own root file
// system may be the one that stands still, and finding memory could wait for it.
class StillCopy {
 public:
  StillCopy(uint64_t bytes_max, size_t extents_max);

  // Before the freeze: what is known to be dirty, by disk. False: there is not room for it.
  bool Begin(const std::vector<ExtentSet>& dirty);
  // Between freeze and thaw; allocates nothing when it is OK. Adds what the sources collected, then
  // reads all of it. `*whole` stays false when there was not room for all.
  absl::Status Read(const std::vector<WriteSource*>& sources, bool* whole);
  // After the thaw, when it is not whole: nothing that was collected is forgotten.
  void GiveBack(std::vector<ExtentSet>* dirty) const;
  // After the thaw, when it is whole. Extents may overlap; then their content is the same.
  void Visit(
      const std::function<void(uint32_t disk, Extent extent, ConstBytes content)>& visit) const;

 private:
  struct Piece {
    uint32_t disk = 0;
    Extent extent;
  };
  std::vector<Piece> pieces_;  // never beyond its capacity
  std::vector<Extent> collected_;
  const AlignedBuffer content_;  // of the pieces, one behind the other
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_PIPELINE_STILL_COPY_H_
