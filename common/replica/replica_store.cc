#include "common/replica/replica_store.h"

#include <algorithm>
#include <deque>

#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"

namespace homeward {

absl::Status ReplicaStore::Fence(uint64_t generation) {
  StreamOrder next = order_;
  if (!next.RaiseGeneration(generation)) return absl::OkStatus();
  // A commit would end the recovered state; there the fence holds in memory until the next epoch.
  if (next.recovered_point().empty()) HW_RETURN_IF_ERROR(Commit(next.state()));
  order_ = std::move(next);
  return absl::OkStatus();
}

absl::Status ReplicaStore::CheckExtents(const ParsedBatch& batch) const {
  for (const BatchExtent& extent : batch.extents) {
    if (extent.disk >= disk_bytes_.size()) {
      return absl::DataLossError(absl::StrCat("position ", batch.header.position.ToString(),
                                              " names disk ", extent.disk, " of ",
                                              disk_bytes_.size()));
    }
    if (extent.extent.end() > disk_bytes_[extent.disk]) {
      return absl::DataLossError(absl::StrCat(
          "position ", batch.header.position.ToString(), " writes up to byte ", extent.extent.end(),
          " of disk ", extent.disk, ", which has ", disk_bytes_[extent.disk]));
    }
  }
  return absl::OkStatus();
}

absl::Status ReplicaStore::ApplyOne(const ParsedBatch& batch, StreamOrder* next,
                                    std::vector<Range>* staged) {
  StreamOrder taken = *next;
  HW_RETURN_IF_ERROR(taken.Take(batch));
  switch (batch.header.kind) {
    case BatchKind::kEpochBegin:
      // Durable before anything of this epoch touches the replica. Otherwise a crash could leave
      // writes of this epoch under a position of the last one, and an old process server that still
      // forwards that one would be believed.
      HW_RETURN_IF_ERROR(Write(*staged));
      staged->clear();
      HW_RETURN_IF_ERROR(Commit(taken.state()));
      order_ = taken;
      break;
    case BatchKind::kWrites:
    case BatchKind::kSyncChunk: {
      HW_RETURN_IF_ERROR(CheckExtents(batch));
      size_t at = 0;
      for (const BatchExtent& extent : batch.extents) {
        const size_t length = extent.zeroes ? 0 : extent.extent.length;
        staged->push_back({extent.disk, extent.extent, batch.payload.substr(at, length)});
        at += length;
      }
      break;
    }
    case BatchKind::kSyncEnd:
      break;
    case BatchKind::kMarker: {
      HW_ASSIGN_OR_RETURN(const Marker marker, ParseMarker(batch));
      HW_RETURN_IF_ERROR(Write(*staged));
      staged->clear();
      HW_RETURN_IF_ERROR(MakePoint(marker, taken.state()));
      order_ = taken;
      break;
    }
  }
  *next = std::move(taken);
  return absl::OkStatus();
}

absl::Status ReplicaStore::Apply(const std::vector<absl::string_view>& sealed_batches) {
  StreamOrder next = order_;
  std::vector<Range> staged;
  std::deque<ParsedBatch> batches;  // staged content points into them
  absl::Status refused;
  for (const absl::string_view sealed : sealed_batches) {
    ParsedBatch& batch = batches.emplace_back();
    refused = ParseBatch(sealed, true, &batch);
    if (!refused.ok()) break;
    const absl::StatusOr<bool> takes = next.Takes(batch.header);
    refused = takes.status();
    if (!refused.ok()) break;
    if (!*takes) continue;
    refused = ApplyOne(batch, &next, &staged);
    if (!refused.ok()) break;
  }
  // What came before the refused batch is good and is kept, unless a volume failed.
  if (!refused.ok() && !absl::IsAborted(refused) && !absl::IsDataLoss(refused) &&
      !absl::IsOutOfRange(refused) && !absl::IsFailedPrecondition(refused)) {
    return refused;
  }
  HW_RETURN_IF_ERROR(Write(staged));
  if (next.position() != order_.position()) HW_RETURN_IF_ERROR(Commit(next.state()));
  order_ = std::move(next);
  return refused;
}

absl::Status ReplicaStore::RecoverTo(absl::string_view point_id) {
  HW_RETURN_IF_ERROR(GoToPoint(point_id));
  order_.LeaveFor(std::string(point_id));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Marker>> ReplicaStore::Retain(const RetentionPolicy& policy,
                                                         absl::Time now) {
  std::vector<Marker> dropped;
  const auto is_instant = [](const ReplicaPoint& point) {
    return point.marker.consistency != Consistency::kNotOneInstant;
  };
  // The last point that can be trusted is worth more than its age.
  const auto precious = [&] {
    return is_instant(points().front()) &&
           std::none_of(points().begin() + 1, points().end(), is_instant);
  };
  while (points().size() > 1 && points().front().marker.id != policy.kept_point_id &&
         ((now - points().front().marker.time > policy.age_max && !precious()) ||
          journal_bytes() > policy.bytes_max)) {
    dropped.push_back(points().front().marker);
    HW_RETURN_IF_ERROR(DropOldestPoint());
  }
  return dropped;
}

absl::StatusOr<bool> ReplicaStore::ScrubStep(uint64_t) { return true; }

const std::vector<ExtentSet>& ReplicaStore::damaged() const {
  static const std::vector<ExtentSet> none;
  return none;
}

}  // namespace homeward
