#include "process_server/azure/overlay.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

namespace homeward {
namespace {

// Of each byte the last writer, in order of disk and offset.
std::vector<DiskWrite> Visible(const std::vector<DiskWrite>& writes) {
  std::vector<DiskWrite> visible;
  std::map<uint32_t, ExtentSet> covered;
  for (auto it = writes.rbegin(); it != writes.rend(); ++it) {
    ExtentSet& later = covered[it->disk];
    for (const Extent& piece : later.Missing(it->extent)) {
      Pieces content;
      if (!it->content.empty())
        content = it->content.Part(piece.offset - it->extent.offset, piece.length);
      visible.push_back({it->disk, piece, std::move(content)});
    }
    later.Add(it->extent);
  }
  std::sort(visible.begin(), visible.end(), [](const DiskWrite& a, const DiskWrite& b) {
    return std::tie(a.disk, a.extent.offset) < std::tie(b.disk, b.extent.offset);
  });
  return visible;
}

bool Follows(const DiskWrite& next, const DiskWrite& last) {
  return next.disk == last.disk && next.extent.offset == last.extent.end() &&
         next.content.empty() == last.content.empty();
}

}  // namespace

std::vector<DiskWrite> Overlay(const std::vector<DiskWrite>& writes, uint64_t put_bytes_max) {
  std::vector<DiskWrite> overlay;
  for (const DiskWrite& write : Visible(writes)) {
    const uint64_t step = write.content.empty() ? write.extent.length : put_bytes_max;
    // In parts that fit into a put.
    for (uint64_t at = 0; at < write.extent.length; at += step) {
      const Extent part{write.extent.offset + at, std::min(step, write.extent.length - at)};
      Pieces content;
      if (!write.content.empty()) content = write.content.Part(at, part.length);
      DiskWrite* const last = overlay.empty() ? nullptr : &overlay.back();
      const bool joins = last != nullptr && Follows({write.disk, part, content}, *last) &&
                         (content.empty() || last->extent.length + part.length <= put_bytes_max);
      if (joins) {
        last->extent.length += part.length;
        last->content.Add(content);
      } else {
        overlay.push_back({write.disk, part, std::move(content)});
      }
    }
  }
  return overlay;
}

}  // namespace homeward
