#include "master_target/keeper/keeper_stream.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "common/fault/fault.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr int kMendRangesMax = 256;

}  // namespace

absl::StatusOr<StreamPosition> KeeperStream::Admit(const replication::v1::Hello& hello) {
  HW_RETURN_IF_ERROR(broken_);
  if (hello.machine_id() != options_.machine_id) {
    return absl::NotFoundError(
        absl::StrCat("machine ", hello.machine_id(), " is not kept by this master target"));
  }
  if (hello.generation() < keeper_.state().generation && !HW_FAULT("mutation.ignore_generation")) {
    return absl::AbortedError(
        absl::StrCat("generation ", hello.generation(), " of machine ", hello.machine_id(),
                     " is over; this master target follows ", keeper_.state().generation));
  }
  HW_RETURN_IF_ERROR(CheckFence(hello, fence_));
  if (!std::equal(hello.disk_bytes().begin(), hello.disk_bytes().end(), options_.disk_bytes.begin(),
                  options_.disk_bytes.end())) {
    return absl::FailedPreconditionError(
        absl::StrCat("the disks of machine ", hello.machine_id(), " have other sizes (",
                     absl::StrJoin(hello.disk_bytes(), ", "), " bytes) than were protected (",
                     absl::StrJoin(options_.disk_bytes, ", "),
                     "): a disk was resized. It goes on by itself when the sizes are as they were; "
                     "for the new ones, remove the protection and protect the machine again, which "
                     "destroys its recovery points"));
  }
  return keeper_.position();
}

absl::Status KeeperStream::Store(std::vector<SealedBatch> batches) {
  HW_RETURN_IF_ERROR(broken_);
  std::vector<absl::string_view> sealed;
  for (const SealedBatch& batch : batches) sealed.push_back(batch.view());
  const absl::Status applied = keeper_.Apply(sealed);
  const bool about_the_stream =
      absl::IsAborted(applied) || absl::IsDataLoss(applied) || absl::IsOutOfRange(applied) ||
      absl::IsFailedPrecondition(applied) || absl::IsResourceExhausted(applied);
  if (!applied.ok() && !about_the_stream) broken_ = applied;
  return applied;
}

void KeeperStream::OnDigestQuery(const replication::v1::DigestQuery& query, StreamReceiver& from) {
  if (query.epoch() != keeper_.position().epoch) return;
  const std::vector<std::string> digests(query.digests().begin(), query.digests().end());
  const auto differing =
      keeper_.Differing(query.disk(), query.offset_bytes(), query.block_bytes(), digests);
  if (!differing.ok()) return from.Refuse(differing.status());
  replication::v1::DigestReply reply;
  reply.set_query_id(query.query_id());
  for (const uint32_t index : *differing) reply.add_differing(index);
  from.SendDigestReply(reply);
}

void KeeperStream::AskToMend(StreamReceiver& sender) const {
  replication::v1::MendRequest request;
  for (uint32_t disk = 0; disk < keeper_.damaged().size(); ++disk) {
    for (const Extent& extent : keeper_.damaged()[disk].Ranges()) {
      if (request.ranges_size() == kMendRangesMax) break;
      auto& range = *request.add_ranges();
      range.set_disk(disk);
      range.set_offset_bytes(extent.offset);
      range.set_length_bytes(extent.length);
    }
  }
  if (request.ranges_size() > 0) sender.SendMendRequest(request);
}

}  // namespace homeward
