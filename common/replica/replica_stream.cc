#include "common/replica/replica_stream.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr int kRepairRangesMax = 256;

}  // namespace

absl::StatusOr<StreamPosition> ReplicaStream::Admit(const replication::v1::Hello& hello) {
  HW_RETURN_IF_ERROR(broken_);
  HW_RETURN_IF_ERROR(Noted(store_.Finish()));
  HW_RETURN_IF_ERROR(store_.order().Admit(hello, terms_));
  return store_.position();
}

absl::Status ReplicaStream::SetFence(uint64_t fence) {
  if (fence == store_.order().fence()) return absl::OkStatus();
  const absl::Status finished = Noted(store_.Finish());
  const absl::Status told = store_.order().SetFence(fence);
  return finished.ok() ? told : finished;
}

absl::Status ReplicaStream::Noted(absl::Status of_store) {
  const bool about_the_stream =
      absl::IsAborted(of_store) || absl::IsDataLoss(of_store) || absl::IsOutOfRange(of_store) ||
      absl::IsFailedPrecondition(of_store) || absl::IsResourceExhausted(of_store);
  if (!of_store.ok() && !about_the_stream) broken_ = of_store;
  return of_store;
}

absl::Status ReplicaStream::Store(std::vector<SealedBatch> batches) {
  HW_RETURN_IF_ERROR(broken_);
  const bool unchecked =
      absl::c_any_of(batches, [](const SealedBatch& batch) { return !batch.checked(); });
  const absl::Status stored = Noted(store_.Begin(std::move(batches)));
  // What is refused for another reason is refused again when it comes over TLS.
  const bool asks = resend_clock_ != nullptr && unchecked && absl::IsDataLoss(stored);
  return asks ? AskAgain(stored) : stored;
}

absl::Status ReplicaStream::AskAgain(const absl::Status& refusal) {
  pause_.Begin(resend_clock_->Monotonic());
  LogWarn("replica.asked_again", {{"machine", terms_.machine_id}, {"why", refusal.message()}});
  return SendAgainOverTls(refusal.message());
}

absl::Status ReplicaStream::Settle() {
  HW_RETURN_IF_ERROR(broken_);
  return Noted(store_.Settle());
}

absl::Status ReplicaStream::Finish() {
  HW_RETURN_IF_ERROR(broken_);
  return Noted(store_.Finish());
}

uint64_t ReplicaStream::AvailableBytes() {
  return window_bytes_ - std::min(window_bytes_, store_.under_way_bytes());
}

void ReplicaStream::OnDigestQuery(const replication::v1::DigestQuery& query, StreamReceiver& from) {
  if (query.epoch() != store_.position().epoch) return;
  if (const absl::Status finished = Noted(store_.Finish()); !finished.ok())
    return from.Refuse(finished);
  const std::vector<std::string> digests(query.digests().begin(), query.digests().end());
  const auto differing =
      store_.Differing(query.disk(), query.offset_bytes(), query.block_bytes(), digests);
  if (!differing.ok()) return from.Refuse(differing.status());
  replication::v1::DigestReply reply;
  reply.set_query_id(query.query_id());
  for (const uint32_t index : *differing) reply.add_differing(index);
  from.SendDigestReply(reply);
}

void ReplicaStream::AskForRepair(StreamReceiver& sender) const {
  replication::v1::RepairRequest request;
  for (uint32_t disk = 0; disk < store_.damaged().size(); ++disk) {
    for (const Extent& extent : store_.damaged()[disk].Ranges()) {
      if (request.ranges_size() == kRepairRangesMax) break;
      auto& range = *request.add_ranges();
      range.set_disk(disk);
      range.set_offset_bytes(extent.offset);
      range.set_length_bytes(extent.length);
    }
  }
  if (request.ranges_size() > 0) sender.SendRepairRequest(request);
}

}  // namespace homeward
