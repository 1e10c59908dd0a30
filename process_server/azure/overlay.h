// What a group of writes comes to: the last writer of each byte, in few large puts.
#ifndef HOMEWARD_PROCESS_SERVER_AZURE_OVERLAY_H_
#define HOMEWARD_PROCESS_SERVER_AZURE_OVERLAY_H_

#include <vector>

#include "common/base/extent_set.h"
#include "common/base/pieces.h"

namespace homeward {

// Of a disk. Offset and length are multiples of 512. `content` empty: zeroes.
struct DiskWrite {
  uint32_t disk = 0;
  Extent extent;
  Pieces content;
};

// `writes` as if done one after another: disjoint, in order of disk and offset. Data is at most
// `put_bytes_max` long, zeroes are of any length. The content is that of `writes`, where it lies.
std::vector<DiskWrite> Overlay(const std::vector<DiskWrite>& writes, uint64_t put_bytes_max);

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_AZURE_OVERLAY_H_
