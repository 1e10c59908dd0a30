#include "mobility_agent/pipeline/still_copy.h"

#include <algorithm>

#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr size_t kCollectedMin = 8;
constexpr size_t kCollectedMax = 4096;

}  // namespace

StillCopy::StillCopy(uint64_t bytes_max, size_t extents_max)
    : pieces_(extents_max), collected_(kCollectedMax), content_(bytes_max) {
  pieces_.clear();  // Its memory stays.
}

bool StillCopy::Begin(const std::vector<ExtentSet>& dirty) {
  pieces_.clear();
  for (uint32_t disk = 0; disk < dirty.size(); ++disk) {
    if (dirty[disk].range_count() > pieces_.capacity() - pieces_.size()) return false;
    for (const Extent& range : dirty[disk].Ranges()) pieces_.push_back({disk, range});
  }
  return true;
}

absl::Status StillCopy::Read(const std::vector<WriteSource*>& sources, bool* whole) {
  for (uint32_t disk = 0; disk < sources.size(); ++disk) {
    const size_t room = std::min(collected_.size(), pieces_.capacity() - pieces_.size());
    if (room < kCollectedMin) return absl::OkStatus();
    HW_ASSIGN_OR_RETURN(const WriteSource::Collected collected,
                        sources[disk]->Collect({collected_.data(), room}));
    for (size_t i = 0; i < collected.count; ++i) pieces_.push_back({disk, collected_[i]});
    if (collected.more) return absl::OkStatus();
  }
  uint64_t at = 0;
  for (const auto& [disk, extent] : pieces_) {
    if (extent.length > content_.size() - at) return absl::OkStatus();
    HW_RETURN_IF_ERROR(sources[disk]->Read(extent.offset, content_.Part(at, extent.length)));
    at += extent.length;
  }
  *whole = true;
  return absl::OkStatus();
}

void StillCopy::GiveBack(std::vector<ExtentSet>* dirty) const {
  for (const auto& [disk, extent] : pieces_) (*dirty)[disk].Add(extent);
}

void StillCopy::Visit(
    const std::function<void(uint32_t disk, Extent extent, ConstBytes content)>& visit) const {
  uint64_t at = 0;
  for (const auto& [disk, extent] : pieces_) {
    visit(disk, extent, content_.Part(at, extent.length));
    at += extent.length;
  }
}

}  // namespace homeward
