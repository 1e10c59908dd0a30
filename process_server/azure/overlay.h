// What a group of writes comes to: the last writer of each byte, in few large puts.
#ifndef HOMEWARD_PROCESS_SERVER_AZURE_OVERLAY_H_
#define HOMEWARD_PROCESS_SERVER_AZURE_OVERLAY_H_

#include <deque>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/base/extent_set.h"

namespace homeward {

// Of a disk. Offset and length are multiples of 512. `content` empty: zeroes.
struct DiskWrite {
  uint32_t disk = 0;
  Extent extent;
  absl::string_view content;
};

struct Overlay {
  // Disjoint, in order of disk and offset. Data is at most `put_bytes_max` long, zeroes are of any
  // length.
  std::vector<DiskWrite> writes;
  std::deque<std::string> joined;  // what content of several writes is in; the rest is the caller's
};

// `writes` as if done one after another.
Overlay OverlayOf(const std::vector<DiskWrite>& writes, uint64_t put_bytes_max);

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_AZURE_OVERLAY_H_
