#include "mobility_agent/pipeline/shipper.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_join.h"
#include "common/base/aligned_buffer.h"
#include "common/base/check.h"
#include "common/fault/fault.h"
#include "common/status/status_macros.h"
#include "common/wire/checksum.h"

namespace homeward {
namespace {

constexpr size_t kQueriesMax = 32;
constexpr uint64_t kDigestReadBytes = kMiB;
constexpr int kQueriesOfAnEpochBits = 24;
constexpr size_t kFreezesMax = 1024;
constexpr size_t kCollectedMax = 4096;
// A stream that was refused for its state is not offered again at once when the hello was taken.
constexpr int kVainRounds = 64;  // a link that stood still for a while is no chase
constexpr absl::Duration kRefusalLasts = absl::Seconds(5);

// Adds one extent, as zeroes when it is.
void AddContent(BatchBuilder* builder, uint32_t disk, Extent extent, ConstBytes content) {
  if (IsZero(content)) return builder->AddZeroes(disk, extent);
  std::memcpy(builder->AddData(disk, extent).data(), content.data(), content.size());
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
      collected_(kCollectedMax),
      still_(options_.frozen_bytes_max, options_.frozen_extents_max),
      log_(options_.log_bytes_max),
      sync_dirty_(sources_.size()) {
  last_marker_ = clock_.Monotonic();
}

Shipper::~Shipper() {
  for (WriteSource* source : sources_) source->LogTo(nullptr, 0);
}

absl::StatusOr<std::unique_ptr<Shipper>> Shipper::Open(FileSystem& files, const Clock& clock,
                                                       Options options,
                                                       std::vector<WriteSource*> sources,
                                                       MarkerTaken marker_taken) {
  std::unique_ptr<Shipper> shipper(
      new Shipper(files, clock, std::move(options), std::move(sources), std::move(marker_taken)));
  AgentState state;
  const absl::StatusOr<std::string> bytes =
      ReadWholeFile(files, shipper->options_.state_path, kAgentStateBytesMax);
  const bool first = absl::IsNotFound(bytes.status());
  if (!first) {
    HW_RETURN_IF_ERROR(bytes.status());
    const absl::StatusOr<AgentState> decoded = DecodeAgentState(*bytes);
    if (decoded.ok()) state = *decoded;
  }
  // An epoch is used once: the replica takes what it has passed for duplicates. Neither a lost
  // memory nor one that is older than it seems (a machine set back to a snapshot) may repeat one,
  // so each life begins above what is remembered and at the clock.
  shipper->epoch_min_ = std::max({state.epoch + 1 + shipper->options_.epoch_stride,
                                  static_cast<uint64_t>(absl::ToUnixMicros(clock.Now())),
                                  shipper->options_.epoch_min + 1});
  shipper->epoch_ = state.epoch;
  shipper->begun_ = state.begun;
  shipper->durable_ = state.durable;
  // A reply to an agent that was here before may still be on its way, through a process server that
  // passes it to whoever is connected: no number of a query is used twice.
  shipper->next_query_id_ = shipper->epoch_min_ << kQueriesOfAnEpochBits;
  bool trusted = shipper->options_.stopped_cleanly && !state.syncing &&
                 state.dirty.size() <= shipper->sources_.size();
  for (const WriteSource* source : shipper->sources_) trusted = trusted && source->continues();
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
                         .begun = begun_,
                         .dirty = stopped_cleanly ? dirty_ : std::vector<ExtentSet>()};
  HW_RETURN_IF_ERROR(files_.MakeDirectories(ParentDirectory(options_.state_path)));
  return WriteFileAtomically(files_, options_.state_path, EncodeAgentState(state));
}

absl::Status Shipper::BeginEpoch(bool synchronise) {
  ReturnInFlight();
  const uint64_t next = std::max(epoch_ + 1, epoch_min_);
  if (!last_marker_durable()) {
    ++markers_lost_;
    last_marker_position_ = {UINT64_MAX, 0};  // Until the next one.
  }
  // A synchronisation whose beginning never arrived must be begun again.
  if (synchronise || durable_.none() || (syncing_ && durable_ < sync_base_) ||
      begun_.size() >= kBegunEpochsMax) {
    syncing_ = true;
    sync_base_ = {next, 0};
    sync_disk_ = 0;
    sync_offset_ = 0;
    for (ExtentSet& differing : sync_dirty_) differing.Clear();
    queries_.clear();
  }
  epoch_ = next;
  next_sequence_ = 0;
  const bool anew = syncing_ && sync_base_.epoch == epoch_;
  if (anew) begun_.clear();
  const EpochBegin begin{anew ? StreamPosition() : durable_, anew && fresh_, begun_};
  begun_.push_back(epoch_);
  // The number is durable before anyone sees it, so no epoch is ever used twice.
  if (absl::Status saved = SaveState(/*stopped_cleanly=*/false); !saved.ok()) {
    // Nothing may be sent in an epoch that is not remembered. Opened anew, the shipper
    // synchronises.
    refused_ = Annotate(saved, "begin an epoch");
    return refused_;
  }
  const StreamPosition position = NextPosition();
  spooled_ = {};
  Remember({position,
            BatchKind::kEpochBegin,
            {},
            SealEpochBegin({BatchKind::kEpochBegin, position, options_.generation}, begin)});
  send_index_ = 0;
  return absl::OkStatus();
}

void Shipper::ReturnInFlight() {
  LeaveLog();
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
  coarsened_ = coarsened_ && DirtyBytes() > 0;
  for (size_t i = 0; i < sources_.size(); ++i) {
    for (bool more = true; more;) {
      HW_ASSIGN_OR_RETURN(const WriteSource::Collected collected,
                          sources_[i]->Collect(absl::MakeSpan(collected_)));
      for (size_t at = 0; at < collected.count; ++at) dirty_[i].Add(collected_[at]);
      more = collected.more;
    }
    LeaveToSync(i);
    coarsened_ = coarsened_ || dirty_[i].range_count() > options_.ranges_max;
    dirty_[i].Coarsen(options_.ranges_max, sources_[i]->size_bytes());
  }
  // What was not logged must be read, and that only after all that was.
  if (logging_ && DirtyBytes() > 0) log_.Close();
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

Marker Shipper::MakeMarker() {
  return {marker_kind_, clock_.Now(), absl::StrCat(epoch_, "-", ++markers_taken_),
          Consistency::kWriteOrder, "every write was captured in its order"};
}

SealedBatch Shipper::SealAndRememberMarker(const Marker& marker) {
  const StreamPosition position = NextPosition();
  ++markers_sealed_;
  last_point_ = marker.id;
  last_marker_position_ = position;
  return Remember({position,
                   BatchKind::kMarker,
                   {},
                   SealMarker({BatchKind::kMarker, position, options_.generation}, marker)});
}

absl::Status Shipper::ApproachMarker() {
  if (clock_.Monotonic() < next_attempt_) return absl::OkStatus();
  const auto small = [this] {
    // Small enough to be read while everything stands still. After a long chase that may be more,
    // but never what a freeze would be in vain for.
    const bool chased = precopy_rounds_ > options_.precopy_rounds_max;
    return DirtyBytes() <= options_.frozen_bytes_max / (chased ? 2 : 4);
  };
  if (!small()) {
    ++precopy_rounds_;
    if (ChaseIsInVain()) MarkAsItIs();
    return absl::OkStatus();
  }
  if (!writing_back_) {
    for (WriteSource* source : sources_) source->BeginWriteBack();
    writing_back_ = true;
    write_back_begun_ = clock_.Monotonic();
  }
  for (WriteSource* source : sources_) {
    if (!source->WrittenBack()) return absl::OkStatus();
  }
  writing_back_ = false;
  HW_RETURN_IF_ERROR(CollectAll());
  // What was written in the meantime is in the page cache still, and the freeze would write it.
  const bool again = clock_.Monotonic() - write_back_begun_ > options_.write_back_short &&
                     ++long_write_backs_ < options_.long_write_backs_max;
  if (again || !small()) return absl::OkStatus();
  return TakeMarker();
}

bool Shipper::ChaseIsInVain() {
  const absl::Duration now = clock_.Monotonic();
  const uint64_t dirty = DirtyBytes();
  if (!chase_.has_value() || dirty + options_.batch_bytes <= chase_->least_bytes)
    chase_ = Chase{dirty, now, precopy_rounds_};
  return now - chase_->since >= options_.chase_patience &&
         precopy_rounds_ - chase_->since_round > kVainRounds;
}

void Shipper::MarkAsItIs() {
  Marker marker = MakeMarker();
  uint32_t most = 0;
  for (uint32_t disk = 1; disk < dirty_.size(); ++disk) {
    if (dirty_[disk].bytes() > dirty_[most].bytes()) most = disk;
  }
  marker.kind = PointKind::kCrashConsistent;
  marker.consistency = Consistency::kNotOneInstant;
  const std::string writer = sources_[most]->LastWriter();
  marker.how = absl::StrCat(DiskName(most), " is written to faster than it can be copied",
                            writer.empty() ? "" : absl::StrCat(", last by ", writer));
  not_one_instant_ = marker.how;
  frozen_.push_back(SealAndRememberMarker(marker));
  MarkerIsMade();
}

void Shipper::MarkerIsMade() {
  marker_requested_ = false;
  marker_kind_ = PointKind::kCrashConsistent;
  precopy_rounds_ = 0;
  chase_.reset();
  instant_sought_since_.reset();
  next_attempt_ = -absl::InfiniteDuration();
  attempt_pause_ = absl::ZeroDuration();
  last_marker_ = clock_.Monotonic();
}

absl::Status Shipper::TakeMarker() {
  if (!still_.Begin(dirty_)) return absl::OkStatus();  // Another round of pre-copy.
  Marker marker = MakeMarker();
  log_.Open();
  absl::Status frozen, status;
  const StillCopy::Seen seen = CopyAtRest(&marker, &frozen, &status);
  long_write_backs_ = 0;
  const bool instant = status.ok() && seen == StillCopy::Seen::kNothing;
  const absl::Duration now = clock_.Monotonic();
  if (status.ok() && !instant && !instant_sought_since_.has_value()) instant_sought_since_ = now;
  const bool given_up =
      status.ok() && !instant && now - *instant_sought_since_ >= options_.instant_patience;
  if (!instant && !given_up) {
    still_.GiveBackAll(&dirty_);
    attempt_pause_ = std::max(options_.instant_retry, attempt_pause_ * 2);
    next_attempt_ = now + attempt_pause_;
    return status;
  }
  Describe(frozen, instant, &marker);
  not_one_instant_ = instant ? "" : marker.how;
  can_log_ = can_log_ || logging_;
  for (ExtentSet& dirty : dirty_) dirty.Clear();
  still_.GiveBackUnread(&dirty_);
  SealStill();
  frozen_.push_back(SealAndRememberMarker(marker));
  MarkerIsMade();
  return absl::OkStatus();
}

StillCopy::Seen Shipper::CopyAtRest(Marker* marker, absl::Status* frozen, absl::Status* status) {
  const absl::Duration asked = clock_.Monotonic();
  absl::Duration begun = asked;
  const auto thaw = [&] {
    for (WriteSource* source : sources_) source->Thaw();
    freezes_.push_back(clock_.Monotonic() - begun);
    if (freezes_.size() > kFreezesMax) freezes_.pop_front();
  };
  const bool tries = asked >= freeze_again_at_;
  if (!tries)
    *frozen = absl::UnavailableError("the last freeze took too long, the next is not due yet");
  if (tries) {
    for (WriteSource* source : sources_) source->BeginFreeze();
  }
  absl::Duration first = absl::InfiniteDuration();
  for (WriteSource* source : sources_) {
    if (!frozen->ok()) break;
    *frozen = source->AwaitFrozen(options_.freeze_timeout - (clock_.Monotonic() - asked));
    if (!frozen->ok()) break;
    const absl::optional<absl::Duration> stood_for = source->rest().stood_for;
    first = std::min(first, stood_for.has_value() ? clock_.Monotonic() - *stood_for : asked);
  }
  if (frozen->ok()) begun = first;
  // Where not all can be frozen nothing is: it is copied as it is, and what is written is seen.
  if (!frozen->ok() && tries) thaw();
  // Each freeze in vain holds the machine up for as long as it may take.
  const bool too_long = absl::IsDeadlineExceeded(*frozen);
  if (too_long) freeze_again_at_ = clock_.Monotonic() + freeze_pause_;
  if (tries) {
    freeze_pause_ = too_long ? std::min(freeze_pause_ * 2, options_.freeze_pause_max)
                             : options_.freeze_pause_min;
  }
  const absl::StatusOr<StillCopy::Seen> seen =
      Passes(frozen->ok() ? options_.frozen_passes_time : options_.passes_time);
  marker->time = clock_.Now();
  if (seen.ok() && *seen == StillCopy::Seen::kNothing) {
    if (marker_taken_) marker_taken_(*marker);
    logging_ = frozen->ok() && LogAll();
  }
  if (frozen->ok()) thaw();
  *status = seen.status();
  return seen.value_or(StillCopy::Seen::kTooMuch);
}

absl::StatusOr<StillCopy::Seen> Shipper::Passes(absl::Duration time) {
  HW_ASSIGN_OR_RETURN(StillCopy::Seen seen, still_.Pass(sources_));
  const absl::Duration end = clock_.Monotonic() + time;
  while (seen == StillCopy::Seen::kWrites && clock_.Monotonic() < end &&
         still_.passes() < options_.passes_max) {
    HW_ASSIGN_OR_RETURN(seen, still_.Pass(sources_));
  }
  return seen;
}

void Shipper::Describe(const absl::Status& frozen, bool instant, Marker* marker) const {
  std::vector<std::string> still, moving;
  for (const WriteSource* source : sources_) {
    const WriteSource::Rest& rest = source->rest();
    for (const std::string& name : rest.still) {
      if (!absl::c_linear_search(still, name)) still.push_back(name);
    }
    for (const std::string& name : rest.moving) {
      if (!absl::c_linear_search(moving, name)) moving.push_back(name);
    }
  }
  if (!frozen.ok()) moving = {std::string(frozen.message())};
  if (instant && frozen.ok() && moving.empty() && !still.empty()) {
    marker->consistency = Consistency::kFrozen;
    marker->how = absl::StrCat("stood still: ", absl::StrJoin(still, ", "));
  } else if (instant) {
    marker->consistency = Consistency::kUndisturbed;
    marker->how =
        absl::StrCat("nothing was written while the last of it was read; not frozen: ",
                     moving.empty() ? "no file system is mounted" : absl::StrJoin(moving, ", "));
  } else {
    const uint32_t disk = still_.disturbed_disk();
    const std::string writer = sources_[disk]->LastWriter();
    marker->kind = PointKind::kCrashConsistent;
    marker->consistency = Consistency::kNotOneInstant;
    marker->how = absl::StrCat(
        DiskName(disk), " was written to all the time",
        writer.empty() ? "" : absl::StrCat(", last by ", writer),
        moving.empty() ? "" : absl::StrCat("; not frozen: ", absl::StrJoin(moving, ", ")));
  }
  if (marker->how.size() > kMarkerHowBytesMax) {
    marker->how.resize(kMarkerHowBytesMax - 3);
    marker->how += "...";
  }
}

std::string Shipper::DiskName(uint32_t disk) const {
  return disk < options_.disk_names.size() ? options_.disk_names[disk]
                                           : absl::StrCat("disk ", disk);
}

void Shipper::SealStill() {
  BatchBuilder builder;
  const auto seal = [&] {
    if (!builder.empty()) frozen_.push_back(SealAndRemember(BatchKind::kWrites, &builder));
  };
  still_.Visit([&](uint32_t disk, Extent extent, ConstBytes content) {
    for (uint64_t done = 0; done < extent.length;) {
      if (builder.payload_bytes() >= options_.batch_bytes || !builder.Fits(options_.batch_bytes))
        seal();
      const Extent piece{
          extent.offset + done,
          std::min(extent.length - done, options_.batch_bytes - builder.payload_bytes())};
      AddContent(&builder, disk, piece, content.subspan(done, piece.length));
      done += piece.length;
    }
  });
  seal();
}

bool Shipper::LogAll() {
  for (uint32_t disk = 0; disk < sources_.size(); ++disk) {
    if (sources_[disk]->LogTo(&log_, disk)) continue;
    for (uint32_t other = 0; other < disk; ++other) sources_[other]->LogTo(nullptr, 0);
    return false;
  }
  return true;
}

bool Shipper::Lingers() {
  const uint64_t bytes = DirtyBytes() + log_.bytes();
  if (bytes == 0) {
    waits_since_.reset();
    hurries_ = false;
    return false;
  }
  if (!waits_since_.has_value()) waits_since_ = clock_.Monotonic();
  hurries_ = hurries_ || syncing_ || marker_requested_ || (logging_ && !log_.open()) ||
             bytes >= options_.linger_bytes ||
             clock_.Monotonic() - *waits_since_ >= options_.linger;
  return !hurries_;
}

SealedBatch Shipper::NextFromLog() {
  if (marker_requested_) {
    const Marker marker = MakeMarker();
    if (log_.Mark(marker)) {
      if (marker_taken_) marker_taken_(marker);
      not_one_instant_.clear();
      freezes_.push_back(absl::ZeroDuration());
      if (freezes_.size() > kFreezesMax) freezes_.pop_front();
      marker_requested_ = false;
      marker_kind_ = PointKind::kCrashConsistent;
      last_marker_ = clock_.Monotonic();
    }
  }
  BatchBuilder builder;
  while (builder.payload_bytes() < options_.batch_bytes && builder.Fits(options_.batch_bytes)) {
    if (!logged_.has_value()) {
      // A batch ends before a marker, which goes alone.
      if (!builder.empty() && log_.MarkerIsNext()) break;
      absl::optional<WriteLog::Entry> entry = log_.Next();
      if (!entry.has_value()) break;
      if (const Marker* const marker = absl::get_if<Marker>(&*entry))
        return SealAndRememberMarker(*marker);
      logged_ = std::move(absl::get<LoggedWrite>(*entry));
    }
    TakeLogged(&builder);
  }
  return builder.empty() ? SealedBatch() : SealAndRemember(BatchKind::kWrites, &builder);
}

void Shipper::TakeLogged(BatchBuilder* builder) {
  if (logged_->data.empty()) {
    builder->AddZeroes(logged_->disk, logged_->extent);
    return logged_.reset();
  }
  const Extent piece{
      logged_->extent.offset,
      std::min(logged_->extent.length, options_.batch_bytes - builder->payload_bytes())};
  const ConstBytes rest = AsBytes(logged_->data).last(logged_->extent.length);
  AddContent(builder, logged_->disk, piece, rest.first(piece.length));
  logged_->extent = {piece.end(), logged_->extent.length - piece.length};
  if (logged_->extent.length == 0) logged_.reset();
}

void Shipper::LeaveLog() {
  if (!logging_) return;
  logging_ = false;
  log_.Close();
  for (WriteSource* source : sources_) source->LogTo(nullptr, 0);
  if (logged_.has_value()) dirty_[logged_->disk].Add(logged_->extent);
  logged_.reset();
  for (auto entry = log_.Next(); entry.has_value(); entry = log_.Next()) {
    const LoggedWrite* const write = absl::get_if<LoggedWrite>(&*entry);
    if (write != nullptr) dirty_[write->disk].Add(write->extent);
  }
  // A point brings the log back, and is in place of those that were in it.
  marker_requested_ = true;
}

SealedBatch Shipper::Remember(InFlight entry) {
  SealedBatch payload = entry.payload;
  sent_bytes_ += payload.size();
  in_flight_.push_back(std::move(entry));
  send_index_ = in_flight_.size();
  return payload;
}

SealedBatch Shipper::SealAndRemember(BatchKind kind, BatchBuilder* builder) {
  const StreamPosition position = NextPosition();
  std::vector<BatchExtent> extents = builder->extents();
  return Remember(
      {position, kind, std::move(extents), builder->Seal({kind, position, options_.generation})});
}

void Shipper::Tick() {
  if (!refused_.ok() && !TakenAgain()) return;
  const absl::Status collected = CollectAll();
  if (absl::IsUnavailable(collected) || absl::IsFailedPrecondition(collected)) {
    away_ = collected;
    return;
  }
  const bool returned = !std::exchange(away_, absl::OkStatus()).ok() &&
                        !HW_FAULT("mutation.trust_a_disk_that_was_away");
  if ((returned || absl::IsDataLoss(collected)) && !Resync().ok()) return;
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

// Whether what was refused may be over: the other side has taken a hello since.
bool Shipper::TakenAgain() {
  const bool passes = absl::IsAborted(refused_) || absl::IsFailedPrecondition(refused_);
  if (!passes || !sender_.streaming() || clock_.Monotonic() - refused_at_ < kRefusalLasts)
    return false;
  refused_ = absl::OkStatus();
  return true;
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
  HW_RETURN_IF_ERROR(away_);  // Also of one that is back: it is not compared yet.
  ReturnInFlight();
  HW_RETURN_IF_ERROR(CollectAll());
  return SaveState(/*stopped_cleanly=*/true);
}

replication::v1::Hello Shipper::MakeHello() const {
  replication::v1::Hello hello;
  hello.set_machine_id(options_.machine_id);
  hello.set_generation(options_.generation);
  if (!durable_.none()) ToProto(durable_, hello.mutable_durable());
  for (const WriteSource* source : sources_) hello.add_disk_bytes(source->size_bytes());
  return hello;
}

uint64_t Shipper::pending_bytes() const {
  uint64_t bytes = DirtyBytes() + log_.bytes();
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
  return !syncing_ && in_flight_.empty() && frozen_.empty() && DirtyBytes() == 0 &&
         !logged_.has_value() && log_.empty();
}

Shipper::Tracking Shipper::tracking() const {
  if (logging_ && log_.open()) return Tracking::kData;
  return coarsened_ ? Tracking::kBitmap : Tracking::kExtents;
}

bool Shipper::degraded() const { return coarsened_ || (can_log_ && tracking() != Tracking::kData); }

absl::Status Shipper::BeginBeyond(uint64_t epoch) {
  epoch_ = epoch;
  durable_ = {};
  fresh_ = false;
  return BeginEpoch(/*synchronise=*/true);
}

absl::Status Shipper::GoOnBehind(StreamPosition held) {
  // It takes the stream after all: it had not been told of this session.
  if (absl::IsAborted(refused_)) refused_ = absl::OkStatus();
  if (held.epoch > epoch_) return BeginBeyond(held.epoch);
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

absl::StatusOr<SealedBatch> Shipper::NextBatch() {
  if (!refused_.ok() || !away_.ok()) return SealedBatch();
  if (!frozen_.empty()) {
    SealedBatch sealed = std::move(frozen_.front());
    frozen_.pop_front();
    return sealed;
  }
  if (send_index_ < in_flight_.size()) return in_flight_[send_index_++].payload;
  if (in_flight_.size() >= options_.in_flight_max || Lingers()) return SealedBatch();

  if (logging_) {
    SealedBatch logged = NextFromLog();
    if (!logged.empty() || log_.open()) return logged;
    LeaveLog();
    HW_RETURN_IF_ERROR(CollectAll());
  }
  if (marker_requested_ && !syncing_) {
    const absl::Status taken = ApproachMarker();
    if (absl::IsDataLoss(taken)) HW_RETURN_IF_ERROR(Resync());
    if (!frozen_.empty()) return NextBatch();
  }
  BatchBuilder builder;
  BatchKind kind = BatchKind::kWrites;
  HW_RETURN_IF_ERROR(FillNext(&builder, &kind));
  if (!builder.empty()) return SealAndRemember(kind, &builder);
  if (!syncing_ || !SyncFinished()) return SealedBatch();
  syncing_ = false;
  marker_requested_ = true;
  return SealAndRemember(BatchKind::kSyncEnd, &builder);
}

absl::Status Shipper::FillNext(BatchBuilder* builder, BatchKind* kind) {
  // By turns: writes that never end must not hold a synchronisation up.
  for (int turn = 0; turn < 2 && builder->empty(); ++turn) {
    const bool sync = std::exchange(sync_turn_, !sync_turn_);
    *kind = sync ? BatchKind::kSyncChunk : BatchKind::kWrites;
    if (!sync) {
      HW_RETURN_IF_ERROR(FillFromDirty(&dirty_, builder));
    } else if (syncing_) {
      HW_RETURN_IF_ERROR(FillFromDirty(&sync_dirty_, builder));
      if (builder->empty()) HW_RETURN_IF_ERROR(SyncStep(builder));
      // It ends only when all of it was sent, whatever is written meanwhile.
      if (builder->empty() && SyncFinished()) return absl::OkStatus();
    }
  }
  return absl::OkStatus();
}

void Shipper::LeaveToSync(size_t disk) {
  if (!syncing_ || disk < sync_disk_) return;
  dirty_[disk].Remove({disk == sync_disk_ ? sync_offset_ : 0, sources_[disk]->size_bytes()});
}

bool Shipper::SyncFinished() const { return sync_disk_ == sources_.size() && queries_.empty(); }

absl::Status Shipper::SyncStep(BatchBuilder* builder) {
  while (sync_disk_ < sources_.size()) {
    const uint64_t disk_bytes = sources_[sync_disk_]->size_bytes();
    if (fresh_ && sync_offset_ < disk_bytes)
      sync_offset_ = sources_[sync_disk_]->NextData(sync_offset_) / kSectorBytes * kSectorBytes;
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

// One long read into the batch, of which only the blocks that are not zero stay.
absl::Status Shipper::ReadAhead(BatchBuilder* builder) {
  const auto disk = static_cast<uint32_t>(sync_disk_);
  const uint64_t length =
      std::min(options_.batch_bytes, sources_[sync_disk_]->size_bytes() - sync_offset_);
  const MutableBytes content = builder->AddData(disk, {sync_offset_, length});
  const absl::Status read = sources_[sync_disk_]->Read(sync_offset_, content);
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
      const MutableBytes place = builder->AddData(disk, {sync_offset_ + at, end - at});
      if (place.data() != content.data() + at)
        std::memmove(place.data(), content.data() + at, end - at);
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
  const uint64_t end =
      std::min(disk_bytes, sync_offset_ + options_.digest_blocks_max * options_.digest_block_bytes);
  // Long reads, of whole blocks.
  const uint64_t step = std::max(kDigestReadBytes / options_.digest_block_bytes, uint64_t{1}) *
                        options_.digest_block_bytes;
  const AlignedBuffer content = AlignedBuffer::Unwritten(AlignedBuffer::RoundUp(step));
  for (uint64_t at = sync_offset_; at < end; at += step) {
    const MutableBytes read = content.Part(0, std::min(step, end - at));
    HW_RETURN_IF_ERROR(sources_[sync_disk_]->Read(at, read));
    for (uint64_t done = 0; done < read.size(); done += options_.digest_block_bytes) {
      query.message.add_digests(
          Digest128(read.subspan(done, std::min(options_.digest_block_bytes, read.size() - done))));
    }
  }
  sync_offset_ = end;
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

void Shipper::OnMendRequest(const replication::v1::MendRequest& request) {
  for (const replication::v1::MendRequest::Range& range : request.ranges()) {
    if (range.disk() >= sources_.size() || HW_FAULT("mutation.ignore_mend_request")) continue;
    const uint64_t disk_bytes = sources_[range.disk()]->size_bytes();
    if (range.offset_bytes() >= disk_bytes) continue;
    const uint64_t begin = range.offset_bytes() / kSectorBytes * kSectorBytes;
    const uint64_t end =
        range.offset_bytes() + std::min(range.length_bytes(), disk_bytes - range.offset_bytes());
    const uint64_t rounded = (end + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
    dirty_[range.disk()].Add({begin, std::min(rounded, disk_bytes) - begin});
  }
  // As in CollectAll(): what must be read is read only after all that was logged.
  if (logging_ && DirtyBytes() > 0) log_.Close();
  sender_.Pump();
}

bool Shipper::KnowsOf(StreamPosition durable) const {
  return durable <= durable_ || durable.epoch == durable_.epoch ||
         absl::c_linear_search(begun_, durable.epoch) ||
         HW_FAULT("mutation.believe_a_set_back_agent");
}

void Shipper::OnAcknowledged(StreamPosition spooled, StreamPosition durable) {
  if (!KnowsOf(durable)) {
    // What comes from before a synchronisation that is to begin is not news.
    const bool begins_anew = syncing_ && durable_ < sync_base_;
    if (durable.epoch < epoch_ && begins_anew) return;
    const absl::Status begun = BeginBeyond(std::max(epoch_, durable.epoch));
    if (!begun.ok()) refused_ = begun;
    return;
  }
  if (spooled.epoch == epoch_ && spooled > spooled_) {
    spooled_ = spooled;
    for (InFlight& entry : in_flight_) {
      if (entry.position > spooled) break;
      entry.payload = {};
    }
  }
  if (durable > durable_) durable_ = durable;
  while (!begun_.empty() && begun_.front() <= durable_.epoch) begun_.erase(begun_.begin());
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
    refused_at_ = clock_.Monotonic();
  }
}

}  // namespace homeward
