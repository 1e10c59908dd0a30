#include "common/replication/stream_order.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

absl::Status CheckDisks(const replication::v1::Hello& hello, const StreamTerms& terms) {
  // Who passes it on leaves a hello that names no disks to the one where the stream ends.
  if (hello.disk_bytes().empty() && !terms.ends_here) return absl::OkStatus();
  if (absl::c_equal(hello.disk_bytes(), terms.disk_bytes)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "the disks of machine ", terms.machine_id, " have other sizes (",
      absl::StrJoin(hello.disk_bytes(), ", "), " bytes) than were protected (",
      absl::StrJoin(terms.disk_bytes, ", "),
      "): a disk was resized. It goes on by itself when the sizes are as they were; for the new "
      "ones, remove the protection, with all recovery points, and protect the machine anew"));
}

}  // namespace

StreamStep StepTo(StreamPosition next, StreamPosition held) {
  if (next <= held) return StreamStep::kHeld;
  return held.MayPrecede(next) ? StreamStep::kNext : StreamStep::kGap;
}

absl::Status StreamOrder::CheckGeneration(uint64_t generation, const std::string& whose) const {
  if (generation >= state_.generation) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat("generation ", generation, whose, " is over; generation ",
                                         state_.generation, " is followed here"));
}

absl::Status StreamOrder::Admit(const replication::v1::Hello& hello,
                                const StreamTerms& terms) const {
  if (hello.machine_id() != terms.machine_id) {
    return absl::NotFoundError(
        absl::StrCat("machine ", hello.machine_id(), " has no stream to ", terms.receiver));
  }
  HW_RETURN_IF_ERROR(
      CheckGeneration(hello.generation(), absl::StrCat(" of machine ", terms.machine_id)));
  if (hello.generation() > state_.generation && !terms.ends_here) {
    return absl::UnavailableError(absl::StrCat("generation ", hello.generation(), " of machine ",
                                               terms.machine_id, " is not assigned to ",
                                               terms.receiver, " yet"));
  }
  if (fence_ != 0 && hello.fence() != fence_) {
    return absl::AbortedError(
        absl::StrCat("this session of machine ", terms.machine_id,
                     " may not stream: the configuration server has admitted another one, or has "
                     "not told of this one here yet"));
  }
  return CheckDisks(hello, terms);
}

absl::Status StreamOrder::SetFence(uint64_t fence) {
  if (std::exchange(fence_, fence) == fence) return absl::OkStatus();
  return absl::AbortedError("another session of the machine streams from now on");
}

bool StreamOrder::RaiseGeneration(uint64_t generation) {
  if (generation <= state_.generation) return false;
  state_.generation = generation;
  return true;
}

// Whoever streams may not know it, as an agent that was away meanwhile. It is taken again when it
// compares, and only then.
absl::Status StreamOrder::Recovered() const {
  return absl::DataLossError(
      absl::StrCat("the replica was recovered to point ", recovered_point_, ": compare all of it"));
}

absl::StatusOr<bool> StreamOrder::Takes(const BatchHeader& header) const {
  HW_RETURN_IF_ERROR(CheckGeneration(header.generation, ""));
  switch (StepTo(header.position, state_.position)) {
    case StreamStep::kHeld:
      return false;
    case StreamStep::kNext:
      break;
    case StreamStep::kGap:
      return absl::OutOfRangeError(absl::StrCat("position ", header.position.ToString(),
                                                " does not follow ", state_.position.ToString()));
  }
  if (!recovered_point_.empty() && header.kind != BatchKind::kEpochBegin) return Recovered();
  return true;
}

absl::Status StreamOrder::CheckEpoch(uint64_t epoch, const EpochBegin& begin) const {
  if (begin.fresh_replica && !state_.position.none()) {
    return absl::DataLossError(
        "the sender takes this replica to be empty, and it is not: compare all of it");
  }
  if (begin.continues_from.none()) return absl::OkStatus();
  if (!recovered_point_.empty()) return Recovered();
  const uint64_t ours = state_.position.epoch;
  const bool known = !begin.begun.has_value() || ours == begin.continues_from.epoch ||
                     absl::c_linear_search(*begin.begun, ours);
  if (!known) {
    return absl::DataLossError(
        absl::StrCat("this replica follows epoch ", ours,
                     ", which the agent does not know: it was reverted, as to a snapshot"));
  }
  // Every epoch up to ours was checked like this one, so a position that is not smaller holds all
  // of it.
  if (state_.position < begin.continues_from) {
    return absl::DataLossError(absl::StrCat("epoch ", epoch, " continues from ",
                                            begin.continues_from.ToString(),
                                            ", this replica holds ", state_.position.ToString()));
  }
  return absl::OkStatus();
}

absl::Status StreamOrder::Take(const ParsedBatch& batch) {
  switch (batch.header.kind) {
    case BatchKind::kEpochBegin: {
      HW_ASSIGN_OR_RETURN(const EpochBegin begin, ParseEpochBegin(batch));
      HW_RETURN_IF_ERROR(CheckEpoch(batch.header.position.epoch, begin));
      state_.syncing = state_.syncing || begin.continues_from.none();
      recovered_point_.clear();
      break;
    }
    case BatchKind::kWrites:
    case BatchKind::kSyncChunk:
      break;
    case BatchKind::kSyncEnd:
      state_.syncing = false;
      break;
    case BatchKind::kMarker:
      if (state_.syncing)
        return absl::FailedPreconditionError("a marker in the middle of a synchronisation");
      break;
  }
  state_.position = batch.header.position;
  RaiseGeneration(batch.header.generation);
  return absl::OkStatus();
}

}  // namespace homeward
