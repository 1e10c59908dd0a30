#include "mobility_agent/pipeline/shipper.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/base/check.h"
#include "common/fault/fault.h"
#include "common/status/status_macros.h"
#include "common/wire/checksum.h"

namespace homeward {
namespace {

constexpr size_t kQueriesMax = 4;
constexpr size_t kFreezesMax = 1024;

MutableBytes Writable(std::string* text) {
  return {reinterpret_cast<uint8_t*>(text->data()), text->size()};
}

}  // namespace

Shipper::Shipper(FileSystem& files, const Clock& clock, Options options,
                 std::vector<WriteSource*> sources, MarkerTaken marker_taken)
    : files_(files),
      clock_(clock),
      options_(std::move(options)),
      sources_(std::move(sources)),
      marker_taken_(std::move(marker_taken)),
      dirty_(sources_.size()),
      sync_dirty_(sources_.size()) {
  last_marker_ = clock_.Monotonic();
}

absl::StatusOr<std::unique_ptr<Shipper>> Shipper::Open(FileSystem& files, const Clock& clock,
                                                       Options options,
                                                       std::vector<WriteSource*> sources,
                                                       MarkerTaken marker_taken) {
  std::unique_ptr<Shipper> shipper(
      new Shipper(files, clock, std::move(options), std::move(sources), std::move(marker_taken)));
  AgentState state;
  const absl::StatusOr<std::string> bytes =
      ReadWholeFile(files, shipper->options_.state_path, 64 * kMiB);
  const bool first = absl::IsNotFound(bytes.status());
  if (!first) {
    HW_RETURN_IF_ERROR(bytes.status());
    const absl::StatusOr<AgentState> decoded = DecodeAgentState(*bytes);
    if (decoded.ok()) state = *decoded;
  }
  // Without a memory of its epochs an agent begins far above any it may have used: an epoch is used
  // once, and the replica would take another one's batches for duplicates.
  if (state.epoch == 0) state.epoch = static_cast<uint64_t>(absl::ToUnixSeconds(clock.Now()));
  shipper->epoch_ = state.epoch;
  shipper->durable_ = state.durable;
  const bool trusted = (state.stopped_cleanly || HW_FAULT("mutation.trust_map_after_crash")) &&
                       !state.syncing && state.dirty.size() <= shipper->sources_.size();
  if (trusted) {
    for (size_t i = 0; i < state.dirty.size(); ++i) shipper->dirty_[i] = state.dirty[i];
  }
  // Only the very first synchronisation may take the replica to be zeroes.
  shipper->fresh_ = shipper->options_.fresh_replica && first;
  shipper->syncing_ = !trusted;
  HW_RETURN_IF_ERROR(shipper->BeginEpoch(!trusted));
  return shipper;
}

absl::Status Shipper::SaveState(bool stopped_cleanly) {
  const AgentState state{.stopped_cleanly = stopped_cleanly,
                         .syncing = syncing_,
                         .epoch = epoch_,
                         .durable = durable_,
                         .dirty = stopped_cleanly ? dirty_ : std::vector<ExtentSet>()};
  HW_RETURN_IF_ERROR(files_.MakeDirectories(ParentDirectory(options_.state_path)));
  return WriteFileAtomically(files_, options_.state_path, EncodeAgentState(state));
}

absl::Status Shipper::BeginEpoch(bool synchronise) {
  ReturnInFlight();
  // A synchronisation whose beginning never arrived must be begun again.
  if (synchronise || durable_.none() || (syncing_ && durable_ < sync_base_)) {
    syncing_ = true;
    sync_base_ = {epoch_ + 1, 0};
    sync_disk_ = 0;
    sync_offset_ = 0;
    for (ExtentSet& differing : sync_dirty_) differing.Clear();
    queries_.clear();
  }
  ++epoch_;
  next_sequence_ = 0;
  // The number is durable before anyone sees it, so no epoch is ever used twice.
  if (absl::Status saved = SaveState(/*stopped_cleanly=*/false); !saved.ok()) {
    // Nothing may be sent in an epoch that is not remembered. Opened anew, the shipper
    // synchronises.
    refused_ = Annotate(saved, "begin an epoch");
    return refused_;
  }
  const bool anew = syncing_ && sync_base_.epoch == epoch_;
  const StreamPosition position = NextPosition();
  spooled_ = {};
  Remember({position,
            BatchKind::kEpochBegin,
            {},
            SealEpochBegin({BatchKind::kEpochBegin, position, options_.generation},
                           {anew ? StreamPosition() : durable_, anew && fresh_})});
  send_index_ = 0;
  return absl::OkStatus();
}

void Shipper::ReturnInFlight() {
  for (const InFlight& entry : in_flight_) {
    if (entry.kind == BatchKind::kSyncEnd)
      syncing_ = true;  // It may never have arrived: say it again.
    if (HW_FAULT("mutation.forget_extents")) continue;
    for (const BatchExtent& extent : entry.extents) dirty_[extent.disk].Add(extent.extent);
  }
  in_flight_.clear();
  frozen_.clear();
  send_index_ = 0;
}

absl::Status Shipper::CollectAll() {
  degraded_ = degraded_ && DirtyBytes() > 0;
  for (size_t i = 0; i < sources_.size(); ++i) {
    HW_RETURN_IF_ERROR(sources_[i]->Collect(&dirty_[i]));
    degraded_ = degraded_ || dirty_[i].range_count() > options_.ranges_max;
    dirty_[i].Coarsen(options_.ranges_max, sources_[i]->size_bytes());
  }
  return absl::OkStatus();
}

absl::Status Shipper::ReadInto(BatchBuilder* builder, uint32_t disk, Extent extent) {
  const MutableBytes place = builder->AddData(disk, extent);
  HW_RETURN_IF_ERROR(sources_[disk]->Read(extent.offset, place));
  if (!IsZero(place)) return absl::OkStatus();
  builder->DropLast();
  builder->AddZeroes(disk, extent);
  return absl::OkStatus();
}

absl::Status Shipper::GiveBack(const BatchBuilder& builder, std::vector<ExtentSet>* dirty,
                               const absl::Status& status) {
  if (HW_FAULT("mutation.forget_unread")) return status;
  for (const BatchExtent& extent : builder.extents()) (*dirty)[extent.disk].Add(extent.extent);
  return status;
}

absl::Status Shipper::FillFromDirty(std::vector<ExtentSet>* dirty, BatchBuilder* builder) {
  for (uint32_t disk = 0; disk < dirty->size(); ++disk) {
    while (!(*dirty)[disk].empty() && builder->Fits(options_.batch_bytes) &&
           builder->payload_bytes() < options_.batch_bytes) {
      const Extent extent =
          (*dirty)[disk].TakeFirst(options_.batch_bytes - builder->payload_bytes());
      const absl::Status read = ReadInto(builder, disk, extent);
      if (!read.ok()) return GiveBack(*builder, dirty, read);
    }
  }
  return absl::OkStatus();
}

uint64_t Shipper::DirtyBytes() const {
  uint64_t bytes = 0;
  for (const ExtentSet& dirty : dirty_) bytes += dirty.bytes();
  return bytes;
}

absl::Status Shipper::TakeMarker() {
  const absl::Duration frozen_at = clock_.Monotonic();
  size_t frozen_count = 0;
  absl::Status status;
  for (; frozen_count < sources_.size() && status.ok(); ++frozen_count) {
    status = sources_[frozen_count]->Freeze(options_.freeze_timeout);
    if (!status.ok()) break;
  }
  std::vector<std::string> sealed;
  if (status.ok()) status = CollectAll();
  const bool fits = DirtyBytes() <= options_.frozen_bytes_max;
  Marker marker{marker_kind_, clock_.Now(), absl::StrCat(epoch_, "-", ++markers_taken_)};
  if (status.ok() && fits) {
    while (DirtyBytes() > 0) {
      BatchBuilder builder;
      status = FillFromDirty(&dirty_, &builder);
      if (!status.ok()) break;
      sealed.push_back(SealAndRemember(BatchKind::kWrites, &builder));
    }
    if (status.ok() && marker_taken_) marker_taken_(marker);
  }
  for (size_t i = 0; i < frozen_count; ++i) sources_[i]->Thaw();
  freezes_.push_back(clock_.Monotonic() - frozen_at);
  if (freezes_.size() > kFreezesMax) freezes_.pop_front();
  // What was sealed has its positions and goes, also when the marker does not.
  for (std::string& batch : sealed) frozen_.push_back(std::move(batch));
  HW_RETURN_IF_ERROR(status);
  if (!fits) return absl::OkStatus();  // Another round of pre-copy.
  const StreamPosition position = NextPosition();
  frozen_.push_back(
      Remember({position,
                BatchKind::kMarker,
                {},
                SealMarker({BatchKind::kMarker, position, options_.generation}, marker)}));
  marker_requested_ = false;
  marker_kind_ = PointKind::kCrashConsistent;
  precopy_rounds_ = 0;
  last_marker_ = clock_.Monotonic();
  return absl::OkStatus();
}

std::string Shipper::Remember(InFlight entry) {
  std::string payload = entry.payload;
  sent_bytes_ += payload.size();
  in_flight_.push_back(std::move(entry));
  send_index_ = in_flight_.size();
  return payload;
}

std::string Shipper::SealAndRemember(BatchKind kind, BatchBuilder* builder) {
  const StreamPosition position = NextPosition();
  std::vector<BatchExtent> extents = builder->extents();
  return Remember(
      {position, kind, std::move(extents), builder->Seal({kind, position, options_.generation})});
}

void Shipper::Tick() {
  if (!refused_.ok()) return;
  const absl::Status collected = CollectAll();
  if (absl::IsDataLoss(collected) && !Resync().ok()) return;
  if (absl::IsFailedPrecondition(collected)) {
    refused_ = collected;
    return;
  }
  if (!syncing_ && clock_.Monotonic() - last_marker_ >= options_.marker_interval)
    marker_requested_ = true;
  for (auto& [id, query] : queries_) {
    if (clock_.Monotonic() - query.asked < options_.digest_timeout) continue;
    query.asked = clock_.Monotonic();
    // The digests may be of an older epoch: what was written since is in the map of changes.
    query.message.set_epoch(epoch_);
    sender_.SendDigestQuery(query.message);
  }
  sender_.Pump();
}

void Shipper::RequestMarker(PointKind kind) {
  marker_requested_ = true;
  marker_kind_ = kind;
  sender_.Pump();
}

absl::Status Shipper::Resync() {
  fresh_ = false;
  return BeginEpoch(/*synchronise=*/true);
}

absl::Status Shipper::StopCleanly() {
  ReturnInFlight();
  HW_RETURN_IF_ERROR(CollectAll());
  return SaveState(/*stopped_cleanly=*/true);
}

replication::v1::Hello Shipper::MakeHello() const {
  replication::v1::Hello hello;
  hello.set_machine_id(options_.machine_id);
  hello.set_generation(options_.generation);
  for (const WriteSource* source : sources_) hello.add_disk_bytes(source->size_bytes());
  return hello;
}

uint64_t Shipper::pending_bytes() const {
  uint64_t bytes = DirtyBytes();
  for (const ExtentSet& differing : sync_dirty_) bytes += differing.bytes();
  for (const InFlight& entry : in_flight_) {
    for (const BatchExtent& extent : entry.extents) bytes += extent.extent.length;
  }
  return bytes;
}

Shipper::Progress Shipper::progress() const {
  Progress progress;
  for (size_t i = 0; i < sources_.size(); ++i) {
    progress.total_bytes += sources_[i]->size_bytes();
    if (i < sync_disk_) progress.done_bytes += sources_[i]->size_bytes();
  }
  if (sync_disk_ < sources_.size()) progress.done_bytes += sync_offset_;
  return progress;
}

bool Shipper::drained() const {
  return !syncing_ && in_flight_.empty() && frozen_.empty() && DirtyBytes() == 0;
}

absl::Status Shipper::GoOnBehind(StreamPosition held) {
  if (held.epoch > epoch_) {
    // This agent was set back, as from a snapshot of its machine. What it remembers is not to be
    // trusted.
    epoch_ = held.epoch;
    durable_ = {};
    fresh_ = false;
    return BeginEpoch(/*synchronise=*/true);
  }
  frozen_.clear();
  // What was asked on the connection before may be lost: ask again at once.
  for (auto& [id, query] : queries_) query.asked = -absl::InfiniteDuration();
  size_t index = 0;
  while (index < in_flight_.size() && in_flight_[index].position <= held) ++index;
  const StreamPosition last{epoch_, next_sequence_ - 1};
  bool whole =
      index == in_flight_.size() ? held == last : held.MayPrecede(in_flight_[index].position);
  // The position of what was dropped as durable must not be asked for again.
  if (held < spooled_) whole = false;
  for (size_t i = index; i < in_flight_.size() && whole; ++i)
    whole = !in_flight_[i].payload.empty();
  if (!whole) HW_RETURN_IF_ERROR(BeginEpoch(/*synchronise=*/false));
  send_index_ = whole ? index : 0;
  return absl::OkStatus();
}

absl::StatusOr<std::string> Shipper::NextBatch() {
  if (!refused_.ok()) return std::string();
  if (!frozen_.empty()) {
    std::string sealed = std::move(frozen_.front());
    frozen_.pop_front();
    return sealed;
  }
  if (send_index_ < in_flight_.size()) return in_flight_[send_index_++].payload;
  if (in_flight_.size() >= options_.in_flight_max) return std::string();

  // The rest is small enough to be read while everything stands still, or has been chased long
  // enough.
  if (marker_requested_ && !syncing_) {
    if (DirtyBytes() <= options_.frozen_bytes_max / 4 ||
        ++precopy_rounds_ > options_.precopy_rounds_max) {
      const absl::Status taken = TakeMarker();
      if (absl::IsDataLoss(taken)) HW_RETURN_IF_ERROR(Resync());
      if (!frozen_.empty()) return NextBatch();
    }
  }
  BatchBuilder builder;
  HW_RETURN_IF_ERROR(FillFromDirty(&dirty_, &builder));
  if (!builder.empty()) return SealAndRemember(BatchKind::kWrites, &builder);
  if (!syncing_) return std::string();
  HW_RETURN_IF_ERROR(FillFromDirty(&sync_dirty_, &builder));
  if (builder.empty()) HW_RETURN_IF_ERROR(SyncStep(&builder));
  if (!builder.empty()) return SealAndRemember(BatchKind::kSyncChunk, &builder);
  if (!SyncFinished()) return std::string();
  syncing_ = false;
  marker_requested_ = true;
  return SealAndRemember(BatchKind::kSyncEnd, &builder);
}

bool Shipper::SyncFinished() const { return sync_disk_ == sources_.size() && queries_.empty(); }

absl::Status Shipper::SyncStep(BatchBuilder* builder) {
  while (sync_disk_ < sources_.size()) {
    const uint64_t disk_bytes = sources_[sync_disk_]->size_bytes();
    if (sync_offset_ >= disk_bytes) {
      ++sync_disk_;
      sync_offset_ = 0;
      continue;
    }
    if (!fresh_) {
      if (queries_.size() >= kQueriesMax) return absl::OkStatus();
      HW_RETURN_IF_ERROR(AskDigests());
      continue;
    }
    if (builder->payload_bytes() > 0) return absl::OkStatus();
    HW_RETURN_IF_ERROR(ReadAhead(builder));
  }
  return absl::OkStatus();
}

// One long read, of which only the blocks that are not zero are sent.
absl::Status Shipper::ReadAhead(BatchBuilder* builder) {
  const auto disk = static_cast<uint32_t>(sync_disk_);
  const uint64_t length =
      std::min(options_.batch_bytes, sources_[sync_disk_]->size_bytes() - sync_offset_);
  read_ahead_.resize(length);
  HW_RETURN_IF_ERROR(sources_[sync_disk_]->Read(sync_offset_, Writable(&read_ahead_)));
  const ConstBytes content = AsBytes(read_ahead_);
  for (uint64_t at = 0; at < length;) {
    uint64_t end = at;
    while (end < length) {
      const uint64_t block = std::min(options_.digest_block_bytes, length - end);
      if (IsZero(content.subspan(end, block))) break;
      end += block;
    }
    if (end > at) {
      const MutableBytes place = builder->AddData(disk, {sync_offset_ + at, end - at});
      std::memcpy(place.data(), content.data() + at, end - at);
    }
    at = std::max(end, at + std::min(options_.digest_block_bytes, length - at));
  }
  sync_offset_ += length;
  return absl::OkStatus();
}

absl::Status Shipper::AskDigests() {
  const uint64_t disk_bytes = sources_[sync_disk_]->size_bytes();
  Query query;
  query.asked = clock_.Monotonic();
  query.message.set_query_id(next_query_id_++);
  query.message.set_epoch(epoch_);
  query.message.set_disk(static_cast<uint32_t>(sync_disk_));
  query.message.set_offset_bytes(sync_offset_);
  query.message.set_block_bytes(options_.digest_block_bytes);
  const uint64_t begin = sync_offset_;
  std::string block;
  for (uint32_t i = 0; i < options_.digest_blocks_max && sync_offset_ < disk_bytes; ++i) {
    block.resize(std::min(options_.digest_block_bytes, disk_bytes - sync_offset_));
    const absl::Status read = sources_[sync_disk_]->Read(sync_offset_, Writable(&block));
    if (!read.ok()) {
      sync_offset_ = begin;
      return read;
    }
    query.message.add_digests(Digest128(AsBytes(block)));
    sync_offset_ += block.size();
  }
  sender_.SendDigestQuery(query.message);
  queries_.emplace(query.message.query_id(), std::move(query));
  return absl::OkStatus();
}

void Shipper::OnDigestReply(const replication::v1::DigestReply& reply) {
  const auto it = queries_.find(reply.query_id());
  if (it == queries_.end()) return;  // Answered twice, or of an epoch that is over.
  const replication::v1::DigestQuery& query = it->second.message;
  for (const uint32_t index : reply.differing()) {
    if (index >= static_cast<uint32_t>(query.digests_size())) continue;
    const uint64_t offset = query.offset_bytes() + index * query.block_bytes();
    const uint64_t length =
        std::min(query.block_bytes(), sources_[query.disk()]->size_bytes() - offset);
    sync_dirty_[query.disk()].Add({offset, length});
  }
  queries_.erase(it);
  sender_.Pump();
}

void Shipper::OnAcknowledged(StreamPosition spooled, StreamPosition durable) {
  if (spooled.epoch == epoch_ && spooled > spooled_) {
    spooled_ = spooled;
    for (InFlight& entry : in_flight_) {
      if (entry.position > spooled) break;
      std::string().swap(entry.payload);  // Assigning an empty one would keep the memory.
    }
  }
  if (durable > durable_ && durable.epoch <= epoch_) durable_ = durable;
  while (!in_flight_.empty() && in_flight_.front().position <= durable_) {
    in_flight_.pop_front();
    if (send_index_ > 0) --send_index_;
  }
}

void Shipper::OnRefused(const absl::Status& status) {
  if (absl::IsDataLoss(status)) {
    const absl::Status resynced = Resync();
    if (!resynced.ok()) refused_ = resynced;
  } else if (absl::IsAborted(status) || absl::IsFailedPrecondition(status)) {
    refused_ = status;
  }
}

}  // namespace homeward
