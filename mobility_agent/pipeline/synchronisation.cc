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
// A reply may take so many times as long as the slowest one so far.
constexpr int kPatience = 3;
constexpr absl::Duration kPatienceMax = absl::Minutes(2);
// Between two questions to one that is silent.
constexpr absl::Duration kSilenceMax = absl::Seconds(10);
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
      patience_(options.digest_timeout),
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
  if (queries_.empty()) heard_ = clock_.Monotonic();
  const uint64_t id = query.message.query_id();
  Send(&queries_.emplace(id, std::move(query)).first->second);
  return absl::OkStatus();
}

void Synchronisation::Send(Query* query) {
  query->order = next_order_++;
  ask_(query->message);
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
  answered_order_ = std::max(answered_order_, it->second.order);
  queries_.erase(it);
  const absl::Duration now = clock_.Monotonic();
  if (replies_since_probe_) ++*replies_since_probe_;
  // The first reply after a silence says nothing of how long replies take. Nor does one that this
  // process slept through: it was not there to see the silence.
  const bool slept = now - std::max(heard_, probed_) >= patience_;
  if (replies_since_probe_ != 1 && !slept)
    patience_ = std::clamp(std::max(patience_ / 2, kPatience * (now - heard_)),
                           options_.digest_timeout, kPatienceMax);
  heard_ = now;
}

void Synchronisation::AskAgain(uint64_t epoch) {
  if (queries_.empty()) return;
  const absl::Duration now = clock_.Monotonic();
  const bool silent = now - std::max(heard_, probed_) >= patience_;
  const bool all = connected_anew_ || (silent && replies_since_probe_ == 1);
  const uint64_t answered = answered_order_;
  // The digests may be of an older epoch: what was written since is in the map of changes.
  for (auto& [id, query] : queries_) query.message.set_epoch(epoch);
  for (auto& [id, query] : queries_) {
    if (all || query.order < answered) Send(&query);
  }
  if (silent && !all) {
    ask_(queries_.begin()->second.message);
    patience_ = std::max(patience_, std::min(2 * patience_, kSilenceMax));
  }
  if (!silent && !all) return;
  probed_ = now;
  replies_since_probe_ = all ? std::nullopt : std::make_optional(0);
  connected_anew_ = false;
}

void Synchronisation::OnConnected() { connected_anew_ = !queries_.empty(); }

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
