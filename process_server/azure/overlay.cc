#include "process_server/azure/overlay.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "absl/strings/str_cat.h"

namespace homeward {
namespace {

// Of each byte the last writer, in order of disk and offset.
std::vector<DiskWrite> Visible(const std::vector<DiskWrite>& writes) {
  std::vector<DiskWrite> visible;
  std::map<uint32_t, ExtentSet> covered;
  for (auto it = writes.rbegin(); it != writes.rend(); ++it) {
    ExtentSet& later = covered[it->disk];
    for (const Extent& piece : later.Missing(it->extent)) {
      const absl::string_view content =
          it->content.empty() ? it->content
                              : it->content.substr(piece.offset - it->extent.offset, piece.length);
      visible.push_back({it->disk, piece, content});
    }
    later.Add(it->extent);
  }
  std::sort(visible.begin(), visible.end(), [](const DiskWrite& a, const DiskWrite& b) {
    return std::tie(a.disk, a.extent.offset) < std::tie(b.disk, b.extent.offset);
  });
  return visible;
}

bool Follows(const DiskWrite& next, const DiskWrite& first, uint64_t end) {
  return next.disk == first.disk && next.extent.offset == end &&
         next.content.empty() == first.content.empty();
}

}  // namespace

Overlay OverlayOf(const std::vector<DiskWrite>& writes, uint64_t put_bytes_max) {
  Overlay overlay;
  std::vector<DiskWrite> pieces;
  // Data in parts that fit into a put.
  for (DiskWrite write : Visible(writes)) {
    while (!write.content.empty() && write.extent.length > put_bytes_max) {
      pieces.push_back({write.disk,
                        {write.extent.offset, put_bytes_max},
                        write.content.substr(0, put_bytes_max)});
      write.extent = {write.extent.offset + put_bytes_max, write.extent.length - put_bytes_max};
      write.content.remove_prefix(put_bytes_max);
    }
    pieces.push_back(write);
  }
  for (size_t i = 0; i < pieces.size();) {
    const DiskWrite& first = pieces[i];
    uint64_t end = first.extent.end();
    size_t next = i + 1;
    while (next < pieces.size() && Follows(pieces[next], first, end) &&
           (first.content.empty() ||
            pieces[next].extent.end() - first.extent.offset <= put_bytes_max)) {
      end = pieces[next++].extent.end();
    }
    const Extent whole{first.extent.offset, end - first.extent.offset};
    absl::string_view content = first.content;
    if (!content.empty() && next > i + 1) {
      std::string& text = overlay.joined.emplace_back();
      text.reserve(whole.length);
      for (size_t k = i; k < next; ++k) absl::StrAppend(&text, pieces[k].content);
      content = text;
    }
    overlay.writes.push_back({first.disk, whole, content});
    i = next;
  }
  return overlay;
}

}  // namespace homeward
