// Extent: a byte range of a disk. ExtentSet: a set of bytes held as disjoint, merged ranges.
#ifndef HOMEWARD_COMMON_BASE_EXTENT_SET_H_
#define HOMEWARD_COMMON_BASE_EXTENT_SET_H_

#include <cstdint>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/types/span.h"

namespace homeward {

struct Extent {
  uint64_t offset = 0;  // bytes
  uint64_t length = 0;  // bytes
  uint64_t end() const { return offset + length; }
  friend bool operator==(const Extent& a, const Extent& b) {
    return a.offset == b.offset && a.length == b.length;
  }
};

// Not thread-safe. Memory grows with the number of ranges; Coarsen() bounds it.
class ExtentSet {
 public:
  void Add(Extent extent);
  void Add(const ExtentSet& other);
  void Remove(Extent extent);
  void Clear();

  // The parts of `extent` that are not in the set, in order.
  std::vector<Extent> Missing(Extent extent) const;
  // Whether any byte of `extent` is in the set.
  bool Touches(Extent extent) const;
  // Removes and returns the first range, cut to `length_max` bytes. Requires: !empty().
  Extent TakeFirst(uint64_t length_max);

  // Moves the first ranges into `out` and says how many. Allocates nothing.
  size_t TakeInto(absl::Span<Extent> out);

  // While there are more than `ranges_max` ranges, rounds every range outward to ever larger
  // blocks. The set only grows; nothing reaches past `disk_bytes`.
  void Coarsen(size_t ranges_max, uint64_t disk_bytes);

  bool empty() const { return ranges_.empty(); }
  size_t range_count() const { return ranges_.size(); }
  uint64_t bytes() const { return bytes_; }
  std::vector<Extent> Ranges() const;

 private:
  absl::btree_map<uint64_t, uint64_t> ranges_;  // offset -> end
  uint64_t bytes_ = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_BASE_EXTENT_SET_H_
