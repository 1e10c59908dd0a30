#include "common/base/extent_set.h"

#include <algorithm>

#include "common/base/bytes.h"
#include "common/base/check.h"

namespace homeward {

void ExtentSet::Add(Extent extent) {
  if (extent.length == 0) return;
  uint64_t begin = extent.offset;
  uint64_t end = extent.end();
  auto it = ranges_.upper_bound(begin);
  if (it != ranges_.begin()) {
    auto before = std::prev(it);
    if (before->second >= begin) it = before;
  }
  while (it != ranges_.end() && it->first <= end) {
    begin = std::min(begin, it->first);
    end = std::max(end, it->second);
    bytes_ -= it->second - it->first;
    it = ranges_.erase(it);
  }
  ranges_.emplace(begin, end);
  bytes_ += end - begin;
}

void ExtentSet::Add(const ExtentSet& other) {
  for (const auto& [begin, end] : other.ranges_) Add({begin, end - begin});
}

void ExtentSet::Remove(Extent extent) {
  if (extent.length == 0) return;
  auto it = ranges_.upper_bound(extent.offset);
  if (it != ranges_.begin()) --it;
  while (it != ranges_.end() && it->first < extent.end()) {
    const auto [begin, end] = *it;
    if (end <= extent.offset) {
      ++it;
      continue;
    }
    bytes_ -= end - begin;
    it = ranges_.erase(it);
    if (begin < extent.offset) {
      ranges_.emplace(begin, extent.offset);
      bytes_ += extent.offset - begin;
    }
    if (end > extent.end()) {
      ranges_.emplace(extent.end(), end);
      bytes_ += end - extent.end();
      return;
    }
    it = ranges_.lower_bound(end);
  }
}

bool ExtentSet::Touches(Extent extent) const {
  if (extent.length == 0) return false;
  auto it = ranges_.lower_bound(extent.end());
  return it != ranges_.begin() && std::prev(it)->second > extent.offset;
}

void ExtentSet::Clear() {
  ranges_.clear();
  bytes_ = 0;
}

std::vector<Extent> ExtentSet::Missing(Extent extent) const {
  std::vector<Extent> missing;
  uint64_t at = extent.offset;
  auto it = ranges_.upper_bound(at);
  if (it != ranges_.begin() && std::prev(it)->second > at) at = std::prev(it)->second;
  for (; at < extent.end(); ++it) {
    const uint64_t next = it == ranges_.end() ? extent.end() : std::min(it->first, extent.end());
    if (next > at) missing.push_back({at, next - at});
    if (it == ranges_.end()) break;
    at = it->second;
  }
  return missing;
}

Extent ExtentSet::TakeFirst(uint64_t length_max) {
  HW_CHECK(!empty());
  const auto [begin, end] = *ranges_.begin();
  const Extent first{begin, std::min(end - begin, length_max)};
  Remove(first);
  return first;
}

size_t ExtentSet::TakeInto(absl::Span<Extent> out) {
  size_t count = 0;
  auto it = ranges_.begin();
  for (; it != ranges_.end() && count < out.size(); ++it, ++count) {
    out[count] = {it->first, it->second - it->first};
    bytes_ -= out[count].length;
  }
  ranges_.erase(ranges_.begin(), it);
  return count;
}

void ExtentSet::Coarsen(size_t ranges_max, uint64_t disk_bytes) {
  for (uint64_t block = 4 * kKiB; ranges_.size() > ranges_max; block *= 2) {
    ExtentSet coarse;
    for (const auto& [begin, end] : ranges_) {
      const uint64_t low = begin / block * block;
      const uint64_t high = std::min((end + block - 1) / block * block, std::max(end, disk_bytes));
      coarse.Add({low, high - low});
    }
    *this = std::move(coarse);
  }
}

std::vector<Extent> ExtentSet::Ranges() const {
  std::vector<Extent> out;
  out.reserve(ranges_.size());
  for (const auto& [begin, end] : ranges_) out.push_back({begin, end - begin});
  return out;
}

}  // namespace homeward
