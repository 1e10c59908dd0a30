#include "common/replica/replica_store.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"

namespace homeward {

struct ReplicaStore::Batches {
  std::vector<SealedBatch> sealed;
  std::deque<ParsedBatch> parsed;
};

struct ReplicaStore::UnderWay {
  Staged staged;
  std::vector<ExtentSet> ranges;       // the same, by disk
  std::unique_ptr<Delivery> delivery;  // null: there was nothing to write
  bool has_ended() const { return delivery == nullptr || delivery->has_ended(); }
};

ReplicaStore::ReplicaStore(std::vector<uint64_t> disk_bytes, StreamOrder order)
    : disk_bytes_(std::move(disk_bytes)), order_(std::move(order)) {}

ReplicaStore::~ReplicaStore() = default;

absl::Status ReplicaStore::Fence(uint64_t generation) {
  if (generation <= state().generation) return absl::OkStatus();
  HW_RETURN_IF_ERROR(Finish());
  StreamOrder next = order_;
  if (!next.RaiseGeneration(generation)) return absl::OkStatus();
  // A commit would end the recovered state; there the fence holds in memory until the next epoch.
  if (next.recovered_point().empty()) HW_RETURN_IF_ERROR(Commit(next.state()));
  order_ = std::move(next);
  return absl::OkStatus();
}

uint64_t ReplicaStore::under_way_bytes() const {
  uint64_t bytes = staged_.batch_bytes;
  for (const UnderWay& one : under_way_) bytes += one.staged.batch_bytes;
  return bytes;
}

bool ReplicaStore::IsUnderWay(const Range& range) const {
  return absl::c_any_of(under_way_, [&](const UnderWay& one) {
    return one.ranges[range.disk].Touches(range.extent);
  });
}

void ReplicaStore::ResetStaged() {
  staged_ = {under_way_.empty() ? order_ : under_way_.back().staged.order};
}

void ReplicaStore::Abandon() {
  under_way_.clear();
  ResetStaged();
}

absl::Status ReplicaStore::Await(size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (under_way_[i].delivery == nullptr) continue;
    HW_RETURN_IF_ERROR(under_way_[i].delivery->Await());
  }
  return absl::OkStatus();
}

absl::Status ReplicaStore::SettleOldest(size_t count) {
  if (count == 0) return absl::OkStatus();
  HW_RETURN_IF_ERROR(Await(count));
  const StreamOrder order = under_way_[count - 1].staged.order;
  HW_RETURN_IF_ERROR(Commit(order.state()));
  order_ = order;
  under_way_.erase(under_way_.begin(), under_way_.begin() + static_cast<ptrdiff_t>(count));
  return absl::OkStatus();
}

absl::Status ReplicaStore::Settle() {
  const auto first_open =
      absl::c_find_if(under_way_, [](const UnderWay& one) { return !one.has_ended(); });
  const auto ended = static_cast<size_t>(first_open - under_way_.begin());
  // A commit of a far medium is a request, too: one for several, unless nothing else is to come.
  const bool waits = ended < under_way_.size() && ended < deliveries_max() / 4;
  absl::Status settled = waits ? absl::OkStatus() : SettleOldest(ended);
  if (settled.ok()) settled = SendOrWait();
  if (!settled.ok()) Abandon();
  return settled;
}

absl::Status ReplicaStore::Finish() {
  absl::Status finished = Send();
  if (finished.ok()) finished = SettleOldest(under_way_.size());
  if (!finished.ok()) Abandon();
  return finished;
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

absl::Status ReplicaStore::Send() {
  if (staged_.batch_bytes == 0) return absl::OkStatus();
  // Of two writes of a byte the later one stays.
  if (absl::c_any_of(staged_.ranges, [&](const Range& range) { return IsUnderWay(range); }))
    HW_RETURN_IF_ERROR(SettleOldest(under_way_.size()));
  if (under_way_.size() >= deliveries_max()) HW_RETURN_IF_ERROR(SettleOldest(1));
  std::unique_ptr<Delivery> delivery = staged_.ranges.empty() ? nullptr : Deliver(staged_.ranges);
  if (delivery == nullptr && (under_way_.empty() || !staged_.ranges.empty())) {
    HW_RETURN_IF_ERROR(SettleOldest(under_way_.size()));
    HW_RETURN_IF_ERROR(Write(staged_.ranges));
    HW_RETURN_IF_ERROR(Commit(staged_.order.state()));
    order_ = staged_.order;
  } else {
    std::vector<ExtentSet> ranges(disk_bytes_.size());
    for (const Range& range : staged_.ranges) ranges[range.disk].Add(range.extent);
    under_way_.push_back({std::move(staged_), std::move(ranges), std::move(delivery)});
  }
  ResetStaged();
  return absl::OkStatus();
}

absl::Status ReplicaStore::SendOrWait() {
  const bool waits =
      absl::c_any_of(under_way_, [](const UnderWay& one) { return !one.has_ended(); });
  return waits ? absl::OkStatus() : Send();
}

absl::Status ReplicaStore::Land() {
  HW_RETURN_IF_ERROR(Await(under_way_.size()));
  under_way_.clear();
  HW_RETURN_IF_ERROR(Write(staged_.ranges));
  staged_ = {std::move(staged_.order)};
  return absl::OkStatus();
}

absl::Status ReplicaStore::TakeOne(const ParsedBatch& batch) {
  StreamOrder taken = staged_.order;
  HW_RETURN_IF_ERROR(taken.Take(batch));
  switch (batch.header.kind) {
    case BatchKind::kEpochBegin:
      // Durable before anything of this epoch touches the replica. Otherwise a crash could leave
      // writes of this epoch under a position of the last one, and an old process server that still
      // forwards that one would be believed.
      HW_RETURN_IF_ERROR(Land());
      HW_RETURN_IF_ERROR(Commit(taken.state()));
      order_ = taken;
      break;
    case BatchKind::kWrites:
    case BatchKind::kSyncChunk: {
      HW_RETURN_IF_ERROR(CheckExtents(batch));
      size_t at = 0;
      for (const BatchExtent& extent : batch.extents) {
        const size_t length = extent.zeroes ? 0 : extent.extent.length;
        staged_.ranges.push_back({extent.disk, extent.extent, batch.payload.substr(at, length)});
        at += length;
      }
      staged_.bytes += at;
      break;
    }
    case BatchKind::kSyncEnd:
      break;
    case BatchKind::kMarker: {
      HW_ASSIGN_OR_RETURN(const Marker marker, ParseMarker(batch));
      HW_RETURN_IF_ERROR(Land());
      HW_RETURN_IF_ERROR(MakePoint(marker, taken.state()));
      order_ = taken;
      break;
    }
  }
  staged_.order = std::move(taken);
  return absl::OkStatus();
}

absl::Status ReplicaStore::Take(const std::vector<absl::string_view>& sealed_batches,
                                const std::shared_ptr<Batches>& batches) {
  if (staged_.batch_bytes == 0) ResetStaged();
  absl::Status refused;
  for (size_t i = 0; i < sealed_batches.size(); ++i) {
    const absl::string_view sealed = sealed_batches[i];
    ParsedBatch& batch = batches->parsed.emplace_back();
    refused = ParseForDecoding(sealed, &batch);
    if (!refused.ok()) break;
    const absl::StatusOr<bool> takes = staged_.order.Takes(batch.header);
    refused = takes.status();
    if (!refused.ok()) break;
    if (!*takes) {
      // Its key may have ended since it was taken.
      refused = ParseBatch(sealed, /*decode=*/false, &batch);
      if (!refused.ok()) break;
      continue;
    }
    // Who sent it keeps a copy of its own until it is durable.
    refused = DecodeBatch(keys_, &batch,
                          batches->sealed.empty() ? MutableBytes() : batches->sealed[i].Sole());
    if (!refused.ok()) break;
    refused = TakeOne(batch);
    if (!refused.ok()) break;
    if (staged_.order.position() == order_.position()) continue;
    staged_.batch_bytes += sealed.size();
    if (staged_.batches.empty() || staged_.batches.back() != batches)
      staged_.batches.push_back(batches);
    if (staged_.bytes >= delivery_bytes()) refused = Send();
    if (!refused.ok()) break;
  }
  // What came before the refused batch is good and is kept, unless a volume failed.
  const bool failed = !refused.ok() && !absl::IsAborted(refused) && !absl::IsDataLoss(refused) &&
                      !absl::IsOutOfRange(refused) && !absl::IsFailedPrecondition(refused);
  const absl::Status sent = failed ? refused : SendOrWait();
  if (!sent.ok()) Abandon();
  return sent.ok() ? refused : sent;
}

absl::Status ReplicaStore::Apply(const std::vector<absl::string_view>& sealed_batches) {
  const absl::Status taken = Take(sealed_batches, std::make_shared<Batches>());
  HW_RETURN_IF_ERROR(Finish());
  return taken;
}

absl::Status ReplicaStore::Begin(std::vector<SealedBatch> sealed_batches) {
  auto batches = std::make_shared<Batches>();
  batches->sealed = std::move(sealed_batches);
  std::vector<absl::string_view> sealed;
  for (const SealedBatch& batch : batches->sealed) sealed.push_back(batch.view());
  return Take(sealed, batches);
}

absl::Status ReplicaStore::RecoverTo(absl::string_view point_id) {
  HW_RETURN_IF_ERROR(Finish());
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
  while (true) {
    if (journal_bytes() > policy.bytes_max) HW_RETURN_IF_ERROR(DropUnused());
    if (points().size() < 2 || points().front().marker.id == policy.kept_point_id) break;
    const bool is_too_old = now - points().front().marker.time > policy.age_max && !precious();
    if (!is_too_old && journal_bytes() <= policy.bytes_max) break;
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
