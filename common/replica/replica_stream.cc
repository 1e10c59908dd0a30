#include "common/replica/replica_stream.h"

#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr int kRepairRangesMax = 256;

}  // namespace

absl::StatusOr<StreamPosition> ReplicaStream::Admit(const replication::v1::Hello& hello) {
  HW_RETURN_IF_ERROR(broken_);
  HW_RETURN_IF_ERROR(store_.order().Admit(hello, terms_));
  return store_.position();
}

absl::Status ReplicaStream::Store(std::vector<SealedBatch> batches) {
  HW_RETURN_IF_ERROR(broken_);
  std::vector<absl::string_view> sealed;
  for (const SealedBatch& batch : batches) sealed.push_back(batch.view());
  const absl::Status applied = store_.Apply(sealed);
  const bool about_the_stream =
      absl::IsAborted(applied) || absl::IsDataLoss(applied) || absl::IsOutOfRange(applied) ||
      absl::IsFailedPrecondition(applied) || absl::IsResourceExhausted(applied);
  if (!applied.ok() && !about_the_stream) broken_ = applied;
  return applied;
}

void ReplicaStream::OnDigestQuery(const replication::v1::DigestQuery& query, StreamReceiver& from) {
  if (query.epoch() != store_.position().epoch) return;
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
