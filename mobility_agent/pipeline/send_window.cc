#include "mobility_agent/pipeline/send_window.h"

#include <utility>

namespace homeward {

SendWindow::SendWindow(uint64_t generation, size_t entries_max)
    : generation_(generation), entries_max_(entries_max) {}

void SendWindow::SetDataKey(const absl::optional<DataKey>& key, RandomBytes random) {
  encryptor_ =
      key.has_value() ? std::make_unique<PayloadEncryptor>(*key, std::move(random)) : nullptr;
  data_key_from_ = {};
}

void SendWindow::BeginEpoch(uint64_t epoch) {
  epoch_ = epoch;
  next_sequence_ = 0;
  spooled_ = {};
  entries_.clear();
  next_ = 0;
  data_key_from_ = {};
}

void SendWindow::SealBegin(const EpochBegin& begin) {
  const BatchHeader header = NextHeader(BatchKind::kEpochBegin);
  Keep(header, {}, SealEpochBegin(header, begin, encryptor_.get()));
}

StreamPosition SendWindow::SealMarker(const Marker& marker) {
  const BatchHeader header = NextHeader(BatchKind::kMarker);
  Keep(header, {}, homeward::SealMarker(header, marker, encryptor_.get()));
  return header.position;
}

void SendWindow::Seal(BatchKind kind, BatchBuilder* builder, const Compression& compression) {
  const BatchHeader header = NextHeader(kind);
  std::vector<BatchExtent> extents = builder->extents();
  Keep(header, std::move(extents), builder->Seal(header, encryptor_.get(), compression));
}

BatchHeader SendWindow::NextHeader(BatchKind kind) {
  const StreamPosition position{epoch_, next_sequence_++};
  if (encryptor_ != nullptr && data_key_from_.none()) data_key_from_ = position;
  return {kind, position, generation_};
}

void SendWindow::Keep(const BatchHeader& header, std::vector<BatchExtent> extents,
                      SealedBatch payload) {
  sealed_bytes_ += payload.size();
  entries_.push_back({header.position, header.kind, std::move(extents), std::move(payload)});
}

SealedBatch SendWindow::Next() { return HasNext() ? entries_[next_++].payload : SealedBatch(); }

bool SendWindow::ResumeAfter(StreamPosition held) {
  size_t index = 0;
  while (index < entries_.size() && entries_[index].position <= held) ++index;
  const StreamPosition last{epoch_, next_sequence_ - 1};
  // What is spooled is not here any more, and what was durable is forgotten.
  const bool whole =
      held >= spooled_ &&
      (index == entries_.size() ? held == last : held.MayPrecede(entries_[index].position));
  if (whole) next_ = index;
  return whole;
}

void SendWindow::OnSpooled(StreamPosition spooled) {
  if (spooled.epoch != epoch_ || spooled <= spooled_) return;
  spooled_ = spooled;
  for (Entry& entry : entries_) {
    if (entry.position > spooled) break;
    entry.payload = {};
  }
}

void SendWindow::OnDurable(StreamPosition durable) {
  while (!entries_.empty() && entries_.front().position <= durable) {
    entries_.pop_front();
    if (next_ > 0) --next_;
  }
}

bool SendWindow::GiveBack(DirtyMap* dirty) {
  bool sync_end = false;
  for (const Entry& entry : entries_) {
    sync_end = sync_end || entry.kind == BatchKind::kSyncEnd;
    for (const BatchExtent& extent : entry.extents) dirty->Add(extent.disk, extent.extent);
  }
  entries_.clear();
  next_ = 0;
  return sync_end;
}

uint64_t SendWindow::bytes() const {
  uint64_t bytes = 0;
  for (const Entry& entry : entries_) {
    for (const BatchExtent& extent : entry.extents) bytes += extent.extent.length;
  }
  return bytes;
}

}  // namespace homeward
