#include "process_server/relay/relay.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr uint64_t kMemoryRoomMin = kMiB;  // a batch
constexpr uint64_t kFirstWayTicks = 50;    // that the first connection may take
}  // namespace

Relay::Relay(FileSystem& files, Options options, std::unique_ptr<Spool> spool)
    : files_(files),
      options_(std::move(options)),
      spool_(std::move(spool)),
      terms_{.machine_id = options_.machine_id,
             .disk_bytes = options_.disk_bytes,
             .ends_here = false,
             .receiver = "this process server"},
      order_({.position = spool_->appended(), .generation = options_.generation}),
      spool_bytes_max_(options_.spool_bytes_max),
      memory_bytes_max_(options_.memory_bytes_max) {
  (void)order_.SetFence(options_.fence);  // Nobody streams yet.
}

absl::StatusOr<std::unique_ptr<Relay>> Relay::Open(FileSystem& files, const Options& options) {
  absl::StatusOr<std::unique_ptr<Spool>> spool = Spool::Open(files, options.spool);
  if (absl::IsDataLoss(spool.status())) {
    HW_RETURN_IF_ERROR(Spool::Discard(files, options.spool.directory));
    spool = Spool::Open(files, options.spool);
  }
  HW_RETURN_IF_ERROR(spool.status());
  return std::unique_ptr<Relay>(new Relay(files, options, *std::move(spool)));
}

replication::v1::Hello Relay::MakeHello() const {
  replication::v1::Hello hello;
  hello.set_machine_id(options_.machine_id);
  hello.set_generation(options_.generation);
  for (const uint64_t bytes : options_.disk_bytes) hello.add_disk_bytes(bytes);
  return hello;
}

void Relay::Retire(const absl::Status& why) {
  broken_ = why;
  if (receiver_ != nullptr) receiver_->Refuse(why);
}

void Relay::SetFence(uint64_t fence) {
  const absl::Status told = order_.SetFence(fence);
  if (!told.ok() && receiver_ != nullptr) receiver_->Refuse(told);
}

absl::StatusOr<StreamPosition> Relay::Admit(const replication::v1::Hello& hello) {
  HW_RETURN_IF_ERROR(broken_);
  HW_RETURN_IF_ERROR(order_.Admit(hello, terms_));
  agent_compresses_ = hello.version_minor() >= kCompressesSinceMinor;
  // An agent that was told of more than what is here needs none of it again.
  const StreamPosition durable = FromProto(hello.durable());
  if (durable > order_.position()) {
    waiting_.clear();
    memory_bytes_ = 0;
    durable_ = std::max(durable_, durable);
    const absl::Status skipped = spool_->SkipTo(durable);
    order_.ResumeAfter(spool_->appended());
    HW_RETURN_IF_ERROR(skipped);
  }
  return order_.position();
}

absl::Status Relay::Take(SealedBatch sealed) {
  // Whoever opens what is not checked finds out what its checksum could say.
  if (sealed.checked()) {
    ParsedBatch batch;
    HW_RETURN_IF_ERROR(ParseBatch(sealed.view(), /*decode=*/false, &batch));
  }
  HW_ASSIGN_OR_RETURN(const BatchHeader header, PeekBatchHeader(sealed));
  HW_ASSIGN_OR_RETURN(const bool next, order_.Takes(header));
  if (!next) return absl::OkStatus();
  order_.ResumeAfter(header.position);
  memory_bytes_ += sealed.size();
  waiting_.push_back(
      {header.position, ticks_, header.kind == BatchKind::kSyncChunk, std::move(sealed)});
  return absl::OkStatus();
}

absl::Status Relay::Store(std::vector<SealedBatch> batches) {
  HW_RETURN_IF_ERROR(broken_);
  absl::Status refused;
  for (SealedBatch& sealed : batches) {
    refused = Take(std::move(sealed));
    if (!refused.ok()) break;
  }
  sender_.Pump();
  // Without a way on, or with too much on it, the disk is the place to wait. Who keeps to his
  // credit does not bring too much: its last batch may end beyond it.
  if (!waiting_.empty() && (memory_bytes_ > memory_bytes_max_ + kBatchBytesMax || !has_way_on())) {
    const absl::Status spooled = SpoolThrough(waiting_.back().position);
    if (!spooled.ok()) return spooled;
    // Whose part of the memory became smaller only has what was on its way to it.
    if (!has_way_on() || memory_bytes_ > options_.memory_bytes_max + kBatchBytesMax)
      AskAgain("it has to wait for the master target");
  }
  return refused;
}

void Relay::AskAgain(absl::string_view why) {
  const auto first =
      absl::c_find_if(waiting_, [](const Waiting& waiting) { return !waiting.sealed.checked(); });
  if (first == waiting_.end()) return;
  order_.ResumeAfter(first == waiting_.begin() ? std::max(spool_->appended(), durable_)
                                               : std::prev(first)->position);
  for (auto it = first; it != waiting_.end(); ++it) memory_bytes_ -= it->sealed.size();
  waiting_.erase(first, waiting_.end());
  pause_.Begin(age());
  asked_again_ = SendAgainOverTls(why);
  if (receiver_ != nullptr) receiver_->Refuse(asked_again_);
}

absl::Status Relay::SpoolThrough(StreamPosition last) {
  absl::Status appended;
  while (!waiting_.empty() && waiting_.front().position <= last &&
         waiting_.front().sealed.checked()) {
    Waiting& next = waiting_.front();
    // What came before was durable without ever being in the spool.
    if (!spool_->appended().MayPrecede(next.position) && durable_ > spool_->appended())
      appended = spool_->SkipTo(durable_);
    if (!appended.ok()) break;
    const uint64_t bytes = next.sealed.size();
    // The spool takes the batch only when it could write it.
    appended = spool_->Append(next.position, next.sealed);
    if (!appended.ok()) break;
    memory_bytes_ -= bytes;
    waiting_.pop_front();
  }
  spool_full_ = !appended.ok();
  const absl::Status synced = spool_->Sync();
  if (!synced.ok()) broken_ = synced;
  return synced.ok() ? appended : synced;
}

void Relay::Tick() {
  sender_.Pump();  // A bandwidth limit may have held it back.
  ++ticks_;
  if (!broken_.ok()) return;
  StreamPosition last;
  for (const Waiting& waiting : waiting_) {
    if (has_way_on() && ticks_ - WaitsSince(waiting) < options_.spool_after_ticks) break;
    last = waiting.position;
  }
  if (last.none()) return;
  // On a full disk it waits here, and is tried again.
  if (!SpoolThrough(last).ok()) return;
  if (receiver_ != nullptr) receiver_->Acknowledge();
  if (!waiting_.empty() && waiting_.front().position <= last)
    AskAgain("it has to wait for the master target");
}

bool Relay::has_way_on() const {
  return sender_.streaming() || (!streamed_ && ticks_ < kFirstWayTicks);
}

uint64_t Relay::WaitsSince(const Waiting& waiting) const {
  return waiting.of_synchronisation ? std::max(waiting.arrived_at, taken_at_) : waiting.arrived_at;
}

uint64_t Relay::AvailableBytes() {
  const uint64_t pending = pending_bytes();
  if (pending >= spool_bytes_max_) return 0;
  // What the disk does not take must not gather in memory instead.
  if (spool_full_ && !waiting_.empty() && memory_bytes_ >= memory_bytes_max_) return 0;
  uint64_t room = std::min(options_.window_bytes, spool_bytes_max_ - pending);
  // While nothing had to wait long, what is forwarded is waited for: writing more to the disk than
  // memory takes would only slow all streams down.
  const uint64_t memory = std::max(memory_bytes_max_, kMemoryRoomMin);
  if (has_way_on() && spool_->pending_bytes() == 0)
    room = std::min(room, memory > memory_bytes_ ? memory - memory_bytes_ : 0);
  return room;
}

void Relay::OnDigestQuery(const replication::v1::DigestQuery& query, StreamReceiver&) {
  // Not kept: when there is no way on, the agent asks again.
  sender_.SendDigestQuery(query);
}

absl::Status Relay::ResumeAfter(StreamPosition held) {
  HW_RETURN_IF_ERROR(broken_);
  if (!CanResumeAfter(held)) {
    // The master target holds less than was durable before: what is missing is gone here.
    const absl::Status lost = absl::DataLossError(absl::StrCat(
        "the master target is back at ", held.ToString(), ", which this process server passed"));
    GiveUp(lost);
    return lost;
  }
  forwarded_ = held;
  streamed_ = true;
  taken_at_ = ticks_;
  return absl::OkStatus();
}

bool Relay::CanResumeAfter(StreamPosition position) const {
  if (position < spool_->appended()) return spool_->CanResumeAfter(position);
  return homeward::CanResumeAfter(waiting_, order_.position(), position);
}

absl::StatusOr<SealedBatch> Relay::ReadBehind(StreamPosition position) {
  if (position < spool_->appended()) {
    HW_ASSIGN_OR_RETURN(SealedBatch sealed, spool_->ReadBehind(position));
    if (!sealed.empty()) return sealed;
  }
  const auto it = FirstBehind(waiting_, position);
  return it == waiting_.end() ? SealedBatch() : it->sealed;
}

Compression Relay::link() const {
  const bool pays = options_.adaptive_clock == nullptr || choice_.compress();
  return pays ? Compression{options_.compression, choice_.effort()} : Compression();
}

absl::StatusOr<SealedBatch> Relay::NextBatch() {
  HW_RETURN_IF_ERROR(broken_);
  if (options_.bandwidth != nullptr && !options_.bandwidth->MaySend()) return SealedBatch();
  absl::StatusOr<SealedBatch> next = ReadBehind(forwarded_);
  if (absl::IsDataLoss(next.status())) return GiveUpSpool(next.status());
  HW_RETURN_IF_ERROR(next.status());
  SealedBatch sealed = *std::move(next);
  if (sealed.empty()) return sealed;
  HW_ASSIGN_OR_RETURN(const BatchHeader header, PeekBatchHeader(sealed));
  forwarded_ = header.position;
  if (!agent_compresses_ && !link().none()) {
    SealedBatch compressed = CompressBatch(sealed.view(), link());
    if (!compressed.empty()) sealed = std::move(compressed);
  }
  if (options_.bandwidth != nullptr) options_.bandwidth->Sent(sealed.size());
  forwarded_bytes_ += sealed.size();
  return sealed;
}

void Relay::OnAcknowledged(StreamPosition, StreamPosition durable) {
  if (durable <= durable_) return;
  durable_ = durable;
  taken_at_ = ticks_;
  doubted_ = false;
  if (!broken_.ok()) return;
  // It came another way: what is still on its way here from before is late.
  if (durable > order_.position()) order_.ResumeAfter(durable);
  const uint64_t pending = pending_bytes();
  while (!waiting_.empty() && waiting_.front().position <= durable) {
    memory_bytes_ -= waiting_.front().sealed.size();
    waiting_.pop_front();
  }
  const absl::Status dropped = spool_->DropThrough(durable);
  if (options_.adaptive_clock != nullptr) {
    const uint64_t moved = pending - pending_bytes();
    choice_.Observe(options_.adaptive_clock->Monotonic(),
                    options_.link->durable_bytes.fetch_add(moved) + moved, pending_bytes() > 0);
  }
  if (!dropped.ok()) broken_ = dropped;
  if (receiver_ != nullptr) receiver_->Acknowledge();
}

void Relay::OnDigestReply(const replication::v1::DigestReply& reply) {
  if (receiver_ != nullptr) receiver_->SendDigestReply(reply);
}

void Relay::OnRepairRequest(const replication::v1::RepairRequest& request) {
  if (receiver_ != nullptr) receiver_->SendRepairRequest(request);
}

void Relay::OnRefused(const absl::Status& status) {
  // What is refused may have been changed on its way here, or from here. Then it is not refused
  // when it comes again over TLS.
  if (absl::IsDataLoss(status) && !doubted_) {
    doubted_ = true;
    return AskAgain(status.message());
  }
  GiveUp(status);
}

void Relay::GiveUp(const absl::Status& status) {
  // A refused stream is refused as long as its head is the same: let the agent begin anew.
  if (absl::IsDataLoss(status)) {
    const absl::Status started = StartOver();
    if (!started.ok()) broken_ = started;
  }
  const bool passes =
      absl::IsDataLoss(status) || absl::IsAborted(status) || absl::IsFailedPrecondition(status);
  if (receiver_ != nullptr && passes) receiver_->Refuse(status);
}

// The agent remembers what is not durable, and sends it again.
absl::Status Relay::GiveUpSpool(const absl::Status& damage) {
  const absl::Status started = StartOver();
  if (!started.ok()) broken_ = started;
  if (receiver_ != nullptr) {
    receiver_->Refuse(absl::UnavailableError(
        absl::StrCat("the process server's spool is damaged: ", damage.message())));
  }
  return damage;
}

absl::Status Relay::StartOver() {
  ++start_over_count_;
  HW_RETURN_IF_ERROR(Spool::Discard(files_, options_.spool.directory));
  HW_ASSIGN_OR_RETURN(spool_, Spool::Open(files_, options_.spool));
  waiting_.clear();
  memory_bytes_ = 0;
  spool_full_ = false;
  order_.ResumeAfter(spool_->appended());
  forwarded_ = {};
  durable_ = {};
  return absl::OkStatus();
}

}  // namespace homeward
