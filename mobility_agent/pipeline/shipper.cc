#include "mobility_agent/pipeline/shipper.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr int kQueriesOfAnEpochBits = 24;
// A stream that was refused for its state is not offered again at once when the hello was taken.
constexpr absl::Duration kRefusalLasts = absl::Seconds(5);

}  // namespace

absl::StatusOr<std::unique_ptr<Shipper>> Shipper::Open(FileSystem& files, const Clock& clock,
                                                       Options options,
                                                       std::vector<WriteSource*> sources,
                                                       MarkerTaken marker_taken) {
  HW_ASSIGN_OR_RETURN(absl::optional<AgentState> remembered,
                      ReadAgentState(files, options.state_path));
  const bool first = !remembered.has_value();
  AgentState state = std::move(remembered).value_or(AgentState{});
  const bool trusted =
      options.stopped_cleanly && !state.syncing && state.dirty.size() <= sources.size() &&
      absl::c_all_of(sources, [](const WriteSource* source) { return source->continues(); });
  const uint64_t least_epoch = LeastEpoch(
      {.remembered = state.epoch, .stride = options.epoch_stride, .had = options.epoch_min},
      clock.Now());
  Start start{.epochs = {state.epoch, state.durable, std::move(state.begun)},
              .least_epoch = least_epoch,
              .trusted = trusted,
              // Only the very first synchronisation may take the replica to be zeroes.
              .fresh = options.fresh_replica && first};
  std::unique_ptr<Shipper> shipper(new Shipper(files, clock, std::move(options), std::move(sources),
                                               std::move(marker_taken), std::move(start)));
  if (trusted) shipper->dirty_.Add(state.dirty);
  HW_RETURN_IF_ERROR(shipper->BeginEpoch(!trusted));
  return shipper;
}

Shipper::Shipper(FileSystem& files, const Clock& clock, Options options,
                 std::vector<WriteSource*> sources, MarkerTaken marker_taken, Start start)
    : files_(files),
      clock_(clock),
      options_(std::move(options)),
      sources_(std::move(sources)),
      epochs_(std::move(start.epochs), start.least_epoch),
      window_(options_.generation, options_.in_flight_max),
      compressing_(clock, options_.compression_share),
      dirty_(sources_, options_.ranges_max),
      log_(sources_, options_.log_bytes_max),
      linger_(options_.linger, options_.linger_bytes),
      points_(clock, options_.points, options_.batch_bytes, sources_, std::move(marker_taken)),
      // A reply to an agent that was here before may still be on its way, through a process server
      // that passes it to whoever is connected.
      sync_(clock, options_.sync, sources_,
            {.running = !start.trusted,
             .fresh = start.fresh,
             .first_query = start.least_epoch << kQueriesOfAnEpochBits},
            [this](const replication::v1::DigestQuery& query) { sender_.SendDigestQuery(query); }) {
  SetDataKey(options_.data_key);
}

absl::Status Shipper::SaveState(bool stopped_cleanly) {
  const AgentState state{.stopped_cleanly = stopped_cleanly,
                         .syncing = sync_.running(),
                         .epoch = epochs_.current(),
                         .durable = epochs_.durable(),
                         .begun = epochs_.begun(),
                         .dirty = stopped_cleanly ? dirty_.by_disk() : std::vector<ExtentSet>()};
  HW_RETURN_IF_ERROR(files_.MakeDirectories(ParentDirectory(options_.state_path)));
  return WriteFileAtomically(files_, options_.state_path, EncodeAgentState(state));
}

absl::Status Shipper::BeginEpoch(bool synchronise) {
  ReturnAll();
  // A synchronisation whose beginning never arrived must be begun again.
  const bool continues =
      !synchronise && epochs_.CanContinue() && !sync_.NeverArrived(epochs_.durable());
  EpochBegin begin = epochs_.Begin(continues);
  if (!continues) sync_.Begin({epochs_.current(), 0});
  begin.fresh_replica = !continues && sync_.fresh();
  window_.BeginEpoch(epochs_.current());
  // The number is durable before anyone sees it, so no epoch is ever used twice.
  if (absl::Status saved = SaveState(/*stopped_cleanly=*/false); !saved.ok()) {
    // Nothing may be sent in an epoch that is not remembered. Opened anew, the shipper
    // synchronises.
    refused_ = Annotate(saved, "begin an epoch");
    return refused_;
  }
  window_.SealBegin(begin);
  return absl::OkStatus();
}

absl::Status Shipper::BeginBeyond(uint64_t epoch) {
  epochs_.ForgetBelow(epoch);
  return Resync();
}

void Shipper::ReturnAll() {
  LeaveLog();
  if (window_.GiveBack(&dirty_)) sync_.Reopen();
}

void Shipper::LeaveLog() {
  // A point brings the log back, and is in place of those that were in it.
  if (log_.Leave(&dirty_)) points_.Request();
}

absl::Status Shipper::CollectAll() {
  HW_RETURN_IF_ERROR(dirty_.Collect(sync_.unread()));
  CloseLogBeforeDirty();
  return absl::OkStatus();
}

void Shipper::CloseLogBeforeDirty() {
  if (log_.running() && !dirty_.empty()) log_.Close();
}

void Shipper::Tick() {
  if (!refused_.ok() && !TakenAgain()) return;
  const absl::Status collected = CollectAll();
  if (absl::IsUnavailable(collected) || absl::IsFailedPrecondition(collected)) {
    away_ = collected;
    return;
  }
  const bool returned = !std::exchange(away_, absl::OkStatus()).ok();
  if ((returned || absl::IsDataLoss(collected)) && !Resync().ok()) return;
  if (!sync_.running() && points_.Due()) points_.Request();
  sync_.AskAgain(epochs_.current());
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
  points_.Request(kind);
  sender_.Pump();
}

void Shipper::RequestCommonMarker(CommonPointRequest request) {
  points_.RequestCommon(std::move(request));
  sender_.Pump();
}

absl::Status Shipper::Resync() {
  sync_.DoubtFresh();
  return BeginEpoch(/*synchronise=*/true);
}

absl::Status Shipper::StopCleanly() {
  HW_RETURN_IF_ERROR(away_);  // Also of one that is back: it is not compared yet.
  ReturnAll();
  HW_RETURN_IF_ERROR(CollectAll());
  return SaveState(/*stopped_cleanly=*/true);
}

replication::v1::Hello Shipper::MakeHello() const {
  replication::v1::Hello hello;
  hello.set_machine_id(options_.machine_id);
  hello.set_generation(options_.generation);
  if (!epochs_.durable().none()) ToProto(epochs_.durable(), hello.mutable_durable());
  for (const WriteSource* source : sources_) hello.add_disk_bytes(source->size_bytes());
  return hello;
}

Shipper::Tracking Shipper::tracking() const {
  if (log_.TakesWrites()) return Tracking::kData;
  return dirty_.coarsened() ? Tracking::kBitmap : Tracking::kExtents;
}

absl::Status Shipper::ResumeAfter(StreamPosition held) {
  // It takes the stream after all: it had not been told of this session.
  if (absl::IsAborted(refused_)) refused_ = absl::OkStatus();
  if (held.epoch > epochs_.current()) return BeginBeyond(held.epoch);
  sync_.OnConnected();
  return window_.ResumeAfter(held) ? absl::OkStatus() : BeginEpoch(/*synchronise=*/false);
}

absl::StatusOr<SealedBatch> Shipper::NextBatch() {
  if (!refused_.ok() || !away_.ok()) return SealedBatch();
  if (!window_.HasNext() && !window_.full() && !Lingers()) HW_RETURN_IF_ERROR(SealNext());
  return window_.Next();
}

bool Shipper::Lingers() {
  const bool urgent =
      sync_.running() || points_.requested() || (log_.running() && !log_.TakesWrites());
  return linger_.Waits(dirty_.bytes() + log_.bytes(), urgent, clock_.Monotonic());
}

absl::Status Shipper::SealNext() {
  if (log_.running()) {
    SealFromLog();
    if (window_.HasNext() || log_.TakesWrites()) return absl::OkStatus();
    LeaveLog();
    HW_RETURN_IF_ERROR(CollectAll());
  }
  if (points_.requested() && !sync_.running()) {
    HW_RETURN_IF_ERROR(SealPoint());
    if (window_.HasNext()) return absl::OkStatus();
  }
  return SealDirtyOrSync();
}

void Shipper::SealFromLog() {
  if (points_.requested()) points_.MarkIn(&log_, epochs_.current());
  BatchBuilder builder;
  const absl::optional<Marker> marker = log_.Fill(options_.batch_bytes, &builder);
  if (marker.has_value()) return SealMarker(*marker);
  if (!builder.empty()) Seal(BatchKind::kWrites, &builder);
}

void Shipper::Seal(BatchKind kind, BatchBuilder* builder) {
  if (link_.none() || !compressing_.HasLeft()) return window_.Seal(kind, builder);
  // The less is left, the less is spent on each byte: what goes as it is takes the link longest.
  Compression affordable = link_;
  if (compressing_.saved() < 0.5) affordable.effort = CompressionEffort::kQuick;
  if (compressing_.saved() < 0.25) affordable.encoding = PayloadEncoding::kLz4;
  compressing_.Spend([&] { window_.Seal(kind, builder, affordable); });
}

absl::Status Shipper::SealPoint() {
  const absl::StatusOr<absl::optional<Marker>> taken =
      points_.Approach(epochs_.current(), &dirty_, &log_);
  if (!taken.ok()) return absl::IsDataLoss(taken.status()) ? Resync() : absl::OkStatus();
  if (!taken->has_value()) return absl::OkStatus();
  BatchBuilder builder;
  while (points_.copy().Fill(options_.batch_bytes, &builder)) Seal(BatchKind::kWrites, &builder);
  SealMarker(**taken);
  return absl::OkStatus();
}

void Shipper::SealMarker(const Marker& marker) {
  epochs_.OnMarkerSealed(window_.SealMarker(marker), marker);
}

absl::Status Shipper::SealDirtyOrSync() {
  BatchBuilder builder;
  // By turns: writes that never end must not hold a synchronisation up.
  for (int turn = 0; turn < 2; ++turn) {
    const bool sync = std::exchange(sync_turn_, !sync_turn_);
    if (!sync) {
      HW_RETURN_IF_ERROR(dirty_.ReadInto(&builder, options_.batch_bytes));
    } else if (sync_.running()) {
      HW_RETURN_IF_ERROR(sync_.Fill(epochs_.current(), options_.batch_bytes, &builder));
      // It ends only when all of it was sent, whatever is written meanwhile.
      if (builder.empty() && sync_.Finished()) break;
    }
    if (builder.empty()) continue;
    Seal(sync ? BatchKind::kSyncChunk : BatchKind::kWrites, &builder);
    return absl::OkStatus();
  }
  if (!sync_.running() || !sync_.Finished()) return absl::OkStatus();
  sync_.End();
  points_.Request();
  window_.Seal(BatchKind::kSyncEnd, &builder);
  return absl::OkStatus();
}

void Shipper::OnDigestReply(const replication::v1::DigestReply& reply) {
  sync_.OnReply(reply);
  sender_.Pump();
}

void Shipper::OnRepairRequest(const replication::v1::RepairRequest& request) {
  for (const replication::v1::RepairRequest::Range& range : request.ranges())
    dirty_.AddNamed(range.disk(), range.offset_bytes(), range.length_bytes());
  CloseLogBeforeDirty();
  sender_.Pump();
}

void Shipper::OnAcknowledged(StreamPosition spooled, StreamPosition durable) {
  if (!epochs_.KnowsOf(durable)) {
    // What comes from before a synchronisation that is to begin is not news.
    if (durable.epoch < epochs_.current() && sync_.NeverArrived(epochs_.durable())) return;
    const absl::Status begun = BeginBeyond(std::max(epochs_.current(), durable.epoch));
    if (!begun.ok()) refused_ = begun;
    return;
  }
  window_.OnSpooled(spooled);
  epochs_.OnDurable(durable);
  window_.OnDurable(epochs_.durable());
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
