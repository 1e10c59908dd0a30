#include "mobility_agent/pipeline/log_feed.h"

#include <algorithm>
#include <utility>

namespace homeward {

LogFeed::LogFeed(const std::vector<WriteSource*>& sources, uint64_t bytes_max)
    : sources_(sources), log_(bytes_max) {}

LogFeed::~LogFeed() { Detach(sources_.size()); }

void LogFeed::Start() {
  for (uint32_t disk = 0; disk < sources_.size(); ++disk) {
    if (!sources_[disk]->LogTo(&log_, disk)) return Detach(disk);
  }
  running_ = true;
  has_run_ = true;
}

void LogFeed::Detach(size_t disks) {
  for (size_t disk = 0; disk < disks; ++disk) sources_[disk]->LogTo(nullptr, 0);
}

bool LogFeed::Leave(DirtyMap* dirty) {
  if (!std::exchange(running_, false)) return false;
  log_.Close();
  Detach(sources_.size());
  if (part_.has_value()) dirty->Add(part_->disk, part_->extent);
  part_.reset();
  for (auto entry = log_.Next(); entry.has_value(); entry = log_.Next()) {
    const LoggedWrite* const write = absl::get_if<LoggedWrite>(&*entry);
    if (write != nullptr) dirty->Add(write->disk, write->extent);
  }
  return true;
}

absl::optional<Marker> LogFeed::Fill(uint64_t batch_bytes, BatchBuilder* builder) {
  while (builder->payload_bytes() < batch_bytes && builder->Fits(batch_bytes)) {
    if (!part_.has_value()) {
      // A batch ends before a marker, which goes alone.
      if (!builder->empty() && log_.MarkerIsNext()) break;
      absl::optional<WriteLog::Entry> entry = log_.Next();
      if (!entry.has_value()) break;
      if (Marker* const marker = absl::get_if<Marker>(&*entry)) return std::move(*marker);
      part_ = std::move(absl::get<LoggedWrite>(*entry));
    }
    MovePart(batch_bytes, builder);
  }
  return absl::nullopt;
}

void LogFeed::MovePart(uint64_t batch_bytes, BatchBuilder* builder) {
  if (part_->data.empty()) {
    builder->AddZeroes(part_->disk, part_->extent);
    return part_.reset();
  }
  const Extent piece{part_->extent.offset,
                     std::min(part_->extent.length, batch_bytes - builder->payload_bytes())};
  const ConstBytes rest = AsBytes(part_->data).last(part_->extent.length);
  builder->AddContent(part_->disk, piece, rest.first(piece.length));
  part_->extent = {piece.end(), part_->extent.length - piece.length};
  if (part_->extent.length == 0) part_.reset();
}

}  // namespace homeward
