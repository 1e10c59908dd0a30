#include "mobility_agent/pipeline/synchronisation.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "common/base/aligned_buffer.h"
#include "common/status/status_macros.h"
#include "common/wire/checksum.h"

namespace homeward {
namespace {

constexpr size_t kQueriesMax = 32;
constexpr uint64_t kDigestReadBytes = kMiB;
constexpr size_t kRangesMax = std::numeric_limits<size_t>::max();  // nothing is collected

}  // namespace

Synchronisation::Synchronisation(const Clock& clock, const Options& options,
                                 const std::vector<WriteSource*>& sources, Start start, Ask ask)
    : clock_(clock),
      options_(options),
      sources_(sources),
      ask_(std::move(ask)),
      running_(start.running),
      fresh_(start.fresh),
      next_query_id_(start.first_query),
      differing_(sources, kRangesMax) {}

void Synchronisation::Begin(StreamPosition base) {
  running_ = true;
  base_ = base;
  place_ = {};
  differing_.Clear();
  queries_.clear();
}

bool Synchronisation::Finished() const { return AtEnd() && queries_.empty() && differing_.empty(); }

DiskPlace Synchronisation::unread() const {
  return running_ ? place_ : DiskPlace{sources_.size(), 0};
}

absl::Status Synchronisation::Fill(uint64_t epoch, uint64_t batch_bytes, BatchBuilder* builder) {
  HW_RETURN_IF_ERROR(differing_.ReadInto(builder, batch_bytes));
  return builder->empty() ? Compare(epoch, batch_bytes, builder) : absl::OkStatus();
}

absl::Status Synchronisation::Compare(uint64_t epoch, uint64_t batch_bytes, BatchBuilder* builder) {
  while (!AtEnd()) {
    WriteSource* const source = sources_[place_.disk];
    const uint64_t disk_bytes = source->size_bytes();
    if (fresh_ && place_.offset < disk_bytes)
      place_.offset = source->NextData(place_.offset) / kSectorBytes * kSectorBytes;
    if (place_.offset >= disk_bytes) {
      place_ = {place_.disk + 1, 0};
      continue;
    }
    if (!fresh_) {
      if (queries_.size() >= kQueriesMax) return absl::OkStatus();
      HW_RETURN_IF_ERROR(AskDigests(epoch));
      continue;
    }
    if (builder->payload_bytes() > 0) return absl::OkStatus();
    HW_RETURN_IF_ERROR(ReadFresh(batch_bytes, builder));
  }
  return absl::OkStatus();
}

// One long read into the batch, of which only the blocks that are not zero stay.
absl::Status Synchronisation::ReadFresh(uint64_t batch_bytes, BatchBuilder* builder) {
  const auto disk = static_cast<uint32_t>(place_.disk);
  const uint64_t length = std::min(batch_bytes, sources_[disk]->size_bytes() - place_.offset);
  const MutableBytes content = builder->AddData(disk, {place_.offset, length});
  const absl::Status read = sources_[disk]->Read(place_.offset, content);
  // What follows moves bytes to the front of where they are, if at all.
  builder->DropLast();
  HW_RETURN_IF_ERROR(read);
  for (uint64_t at = 0; at < length;) {
    uint64_t end = at;
    while (end < length) {
      const uint64_t block = std::min(options_.digest_block_bytes, length - end);
      if (IsZero(content.subspan(end, block))) break;
      end += block;
    }
    if (end > at) {
      const MutableBytes place = builder->AddData(disk, {place_.offset + at, end - at});
      if (place.data() != content.data() + at)
        std::memmove(place.data(), content.data() + at, end - at);
    }
    at = std::max(end, at + std::min(options_.digest_block_bytes, length - at));
  }
  place_.offset += length;
  return absl::OkStatus();
}

absl::Status Synchronisation::AskDigests(uint64_t epoch) {
  WriteSource* const source = sources_[place_.disk];
  Query query;
  query.asked = clock_.Monotonic();
  query.message.set_query_id(next_query_id_++);
  query.message.set_epoch(epoch);
  query.message.set_disk(static_cast<uint32_t>(place_.disk));
  query.message.set_offset_bytes(place_.offset);
  query.message.set_block_bytes(options_.digest_block_bytes);
  const uint64_t end =
      std::min(source->size_bytes(),
               place_.offset + options_.digest_blocks_max * options_.digest_block_bytes);
  // Long reads, and many at once.
  const uint64_t length = end - place_.offset;
  const AlignedBuffer memory = AlignedBuffer::Unwritten(AlignedBuffer::RoundUp(length));
  std::vector<WriteSource::Part> parts;
  for (uint64_t at = 0; at < length; at += kDigestReadBytes) {
    parts.push_back({place_.offset + at, memory.Part(at, std::min(kDigestReadBytes, length - at))});
  }
  HW_RETURN_IF_ERROR(source->ReadParts(parts));
  for (uint64_t at = 0; at < length; at += options_.digest_block_bytes) {
    query.message.add_digests(
        Digest128(memory.Part(at, std::min(options_.digest_block_bytes, length - at))));
  }
  place_.offset = end;
  ask_(query.message);
  queries_.emplace(query.message.query_id(), std::move(query));
  return absl::OkStatus();
}

void Synchronisation::OnReply(const replication::v1::DigestReply& reply) {
  const auto it = queries_.find(reply.query_id());
  if (it == queries_.end()) return;
  const replication::v1::DigestQuery& query = it->second.message;
  for (const uint32_t index : reply.differing()) {
    if (index >= static_cast<uint32_t>(query.digests_size())) continue;
    const uint64_t offset = query.offset_bytes() + index * query.block_bytes();
    const uint64_t length =
        std::min(query.block_bytes(), sources_[query.disk()]->size_bytes() - offset);
    differing_.Add(query.disk(), {offset, length});
  }
  queries_.erase(it);
}

void Synchronisation::AskAgain(uint64_t epoch) {
  const absl::Duration now = clock_.Monotonic();
  for (auto& [id, query] : queries_) {
    if (now - query.asked < options_.digest_timeout) continue;
    query.asked = now;
    // The digests may be of an older epoch: what was written since is in the map of changes.
    query.message.set_epoch(epoch);
    ask_(query.message);
  }
}

void Synchronisation::OnConnected() {
  for (auto& [id, query] : queries_) query.asked = -absl::InfiniteDuration();
}

Synchronisation::Progress Synchronisation::progress() const {
  Progress progress;
  for (size_t disk = 0; disk < sources_.size(); ++disk) {
    progress.total_bytes += sources_[disk]->size_bytes();
    if (disk < place_.disk) progress.done_bytes += sources_[disk]->size_bytes();
  }
  if (!AtEnd()) progress.done_bytes += place_.offset;
  return progress;
}

}  // namespace homeward
