#include "mobility_agent/pipeline/still_copy.h"

#include <algorithm>

#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr size_t kCollectedMin = 8;
constexpr size_t kCollectedMax = 4096;
constexpr uint64_t kRoomMin = 4 * kMiB;
constexpr uint64_t kRoomForDirty = 4;  // times what is dirty before the freeze

}  // namespace

StillCopy::StillCopy(uint64_t bytes_max, size_t extents_max)
    : bytes_max_(bytes_max), pieces_(extents_max), parts_(extents_max), collected_(kCollectedMax) {
  Clear();
  parts_.clear();
}

void StillCopy::Clear() {
  pieces_.clear();  // Their memory stays.
  read_ = 0;
  content_bytes_ = 0;
  passes_ = 0;
  filled_ = 0;
  filled_bytes_ = 0;
}

bool StillCopy::Begin(const std::vector<ExtentSet>& dirty) {
  Clear();
  uint64_t bytes = 0;
  for (uint32_t disk = 0; disk < dirty.size(); ++disk) {
    if (dirty[disk].range_count() > pieces_.capacity() - pieces_.size()) return false;
    for (const Extent& range : dirty[disk].Ranges()) pieces_.push_back({disk, range});
    bytes += dirty[disk].bytes();
  }
  MakeRoom(std::max({kRoomMin, kRoomForDirty * bytes, 2 * bytes_wanted_}));
  return true;
}

void StillCopy::MakeRoom(uint64_t bytes) {
  bytes = std::min(AlignedBuffer::RoundUp(bytes), bytes_max_);
  if (bytes <= content_.size()) return;
  content_ = AlignedBuffer();  // Never both.
  content_ = AlignedBuffer(bytes);
}

absl::StatusOr<bool> StillCopy::Collect(const std::vector<WriteSource*>& sources) {
  for (uint32_t disk = 0; disk < sources.size(); ++disk) {
    const size_t room = std::min(collected_.size(), pieces_.capacity() - pieces_.size());
    if (room < kCollectedMin) return false;
    HW_ASSIGN_OR_RETURN(const WriteSource::Collected collected,
                        sources[disk]->Collect({collected_.data(), room}));
    for (size_t i = 0; i < collected.count; ++i) pieces_.push_back({disk, collected_[i]});
    if (collected.more) return false;
  }
  return true;
}

absl::StatusOr<StillCopy::Seen> StillCopy::Pass(const std::vector<WriteSource*>& sources) {
  // The end of one pass is the beginning of the next.
  if (passes_++ == 0) {
    HW_ASSIGN_OR_RETURN(const bool all, Collect(sources));
    if (!all) return Seen::kTooMuch;
  }
  uint64_t bytes = content_bytes_;
  for (size_t i = read_; i < pieces_.size(); ++i) bytes += pieces_[i].extent.length;
  if (bytes > content_.size()) {
    bytes_wanted_ = bytes;
    return Seen::kTooMuch;
  }
  while (read_ < pieces_.size()) HW_RETURN_IF_ERROR(ReadOfOneDisk(sources));
  HW_ASSIGN_OR_RETURN(const bool all, Collect(sources));
  if (!all) return Seen::kTooMuch;
  return read_ == pieces_.size() ? Seen::kNothing : Seen::kWrites;
}

absl::Status StillCopy::ReadOfOneDisk(const std::vector<WriteSource*>& sources) {
  const uint32_t disk = pieces_[read_].disk;
  parts_.clear();
  uint64_t at = content_bytes_;
  for (size_t i = read_; i < pieces_.size() && pieces_[i].disk == disk; ++i) {
    const Extent& extent = pieces_[i].extent;
    parts_.push_back({extent.offset, content_.Part(at, extent.length)});
    at += extent.length;
  }
  HW_RETURN_IF_ERROR(sources[disk]->ReadParts(parts_));
  read_ += parts_.size();
  content_bytes_ = at;
  return absl::OkStatus();
}

void StillCopy::GiveBack(size_t first, DirtyMap* dirty) const {
  for (size_t i = first; i < pieces_.size(); ++i) dirty->Add(pieces_[i].disk, pieces_[i].extent);
}

bool StillCopy::Fill(uint64_t batch_bytes, BatchBuilder* builder) {
  while (filled_ < read_ && builder->payload_bytes() < batch_bytes && builder->Fits(batch_bytes)) {
    Piece& piece = pieces_[filled_];
    if (piece.extent.length == 0) {
      ++filled_;
      continue;
    }
    const Extent part{piece.extent.offset,
                      std::min(piece.extent.length, batch_bytes - builder->payload_bytes())};
    builder->AddContent(piece.disk, part, content_.Part(filled_bytes_, part.length));
    filled_bytes_ += part.length;
    piece.extent = {part.end(), piece.extent.length - part.length};
  }
  return !builder->empty();
}

}  // namespace homeward
