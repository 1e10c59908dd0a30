#include "mobility_agent/pipeline/dirty_map.h"

#include <algorithm>

#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr size_t kCollectedMax = 4096;

// As zeroes, when it is.
absl::Status ReadExtent(WriteSource* source, uint32_t disk, Extent extent, BatchBuilder* builder) {
  const MutableBytes place = builder->AddData(disk, extent);
  HW_RETURN_IF_ERROR(source->Read(extent.offset, place));
  if (!IsZero(place)) return absl::OkStatus();
  builder->DropLast();
  builder->AddZeroes(disk, extent);
  return absl::OkStatus();
}

}  // namespace

DirtyMap::DirtyMap(const std::vector<WriteSource*>& sources, size_t ranges_max)
    : sources_(sources), ranges_max_(ranges_max), by_disk_(sources.size()) {}

void DirtyMap::AddNamed(uint32_t disk, uint64_t offset, uint64_t length) {
  if (disk >= sources_.size()) return;
  const uint64_t disk_bytes = sources_[disk]->size_bytes();
  if (offset >= disk_bytes) return;
  const uint64_t begin = offset / kSectorBytes * kSectorBytes;
  const uint64_t end = offset + std::min(length, disk_bytes - offset);
  const uint64_t rounded = (end + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
  Add(disk, {begin, std::min(rounded, disk_bytes) - begin});
}

void DirtyMap::Add(const std::vector<ExtentSet>& by_disk) {
  for (size_t disk = 0; disk < by_disk.size(); ++disk) by_disk_[disk].Add(by_disk[disk]);
}

void DirtyMap::Clear() {
  for (ExtentSet& dirty : by_disk_) dirty.Clear();
}

absl::Status DirtyMap::Collect(DiskPlace unread) {
  collected_.resize(kCollectedMax);
  coarsened_ = coarsened_ && !empty();
  for (size_t disk = 0; disk < sources_.size(); ++disk) {
    HW_RETURN_IF_ERROR(CollectOf(disk));
    const uint64_t disk_bytes = sources_[disk]->size_bytes();
    ExtentSet& dirty = by_disk_[disk];
    if (disk >= unread.disk) dirty.Remove({disk == unread.disk ? unread.offset : 0, disk_bytes});
    coarsened_ = coarsened_ || dirty.range_count() > ranges_max_;
    dirty.Coarsen(ranges_max_, disk_bytes);
  }
  return absl::OkStatus();
}

absl::Status DirtyMap::CollectOf(size_t disk) {
  for (bool more = true; more;) {
    HW_ASSIGN_OR_RETURN(const WriteSource::Collected collected,
                        sources_[disk]->Collect(absl::MakeSpan(collected_)));
    for (size_t at = 0; at < collected.count; ++at) by_disk_[disk].Add(collected_[at]);
    more = collected.more;
  }
  return absl::OkStatus();
}

absl::Status DirtyMap::ReadInto(BatchBuilder* builder, uint64_t batch_bytes) {
  for (uint32_t disk = 0; disk < by_disk_.size(); ++disk) {
    ExtentSet& dirty = by_disk_[disk];
    while (!dirty.empty() && builder->Fits(batch_bytes) && builder->payload_bytes() < batch_bytes) {
      const Extent extent = dirty.TakeFirst(batch_bytes - builder->payload_bytes());
      const absl::Status read = ReadExtent(sources_[disk], disk, extent, builder);
      if (read.ok()) continue;
      for (const BatchExtent& unread : builder->extents()) Add(unread.disk, unread.extent);
      return read;
    }
  }
  return absl::OkStatus();
}

uint64_t DirtyMap::bytes() const {
  uint64_t bytes = 0;
  for (const ExtentSet& dirty : by_disk_) bytes += dirty.bytes();
  return bytes;
}

uint32_t DirtyMap::dirtiest_disk() const {
  uint32_t most = 0;
  for (uint32_t disk = 1; disk < by_disk_.size(); ++disk) {
    if (by_disk_[disk].bytes() > by_disk_[most].bytes()) most = disk;
  }
  return most;
}

}  // namespace homeward
