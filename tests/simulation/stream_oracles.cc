#include <algorithm>
#include <deque>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "tests/fakes/point_content.h"
#include "tests/simulation/stream_cluster.h"

namespace homeward::simulation {

bool Cluster::Found(const absl::Status& status) {
  if (damaged_.empty() || !absl::IsDataLoss(status)) return false;
  if (!absl::StrContains(status.message(), damaged_))
    Fail(absl::StrCat("damage of ", damaged_, " was found as: ", status.ToString()));
  Say("found: " + status.ToString());
  if (!std::exchange(found_, true)) found_at_ = world_.Monotonic();
  return true;
}

void Cluster::ScheduleChecks() {
  world_.After(world_.Between(absl::Milliseconds(100), absl::Seconds(2)), [this] {
    if (keeper_ != nullptr && !keeper_disk_.dead()) {
      CheckSomeView();
      Scrub(world_.Pick(128 * kKiB));
      if (world_.Chance(0.2)) RetainSome();
      // A drop that the machine did not survive may or may not have happened.
      listed_.clear();
      if (!keeper_disk_.dead()) {
        for (const auto& point : keeper_->points()) listed_.insert(point.marker.id);
      }
    }
    CheckBounds();
    ScheduleChecks();
  });
}

void Cluster::Scrub(uint64_t bytes) {
  if (keeper_->state().syncing || keeper_->points().empty() || !FinishKeeper()) return;
  // It takes part in nothing either.
  const uint64_t failing = keeper_disk_.failing_reads();
  keeper_disk_.FailReads(0);
  keeper_->ScrubStep(bytes).IgnoreError();
  keeper_disk_.FailReads(failing);
  const absl::Status damage = keeper_->damage();
  if (!damage.ok() && !Found(damage)) return Fail("the scrub: " + damage.ToString());
  if (found_ && flipped_.has_value()) Repair();
}

void Cluster::Repair() {
  if (keeper_->damage().ok()) {
    if (repaired_after_.empty()) {
      Say("repaired");
      repaired_after_ = keeper_->points().back().marker.id;
    }
    return;
  }
  // Not at once, so that the machine writes elsewhere meanwhile.
  if (world_.Chance(0.5)) return;
  for (const auto& node : relays_) {
    if (node->to_keeper != nullptr) stream_->AskForRepair(node->to_keeper->receiver());
  }
}

bool Cluster::MustBeRepaired() {
  constexpr absl::Duration kRepairTime = absl::Seconds(20);
  if (!found_) return false;
  if (!repaired_after_.empty()) return keeper_->points().back().marker.id != repaired_after_;
  if (world_.Monotonic() - std::max(found_at_, kFaultyTime) > kRepairTime)
    Fail("nobody repaired " + damaged_);
  return false;
}

void Cluster::ScrubOnce() {
  // From wherever it stands: what is left of one pass, and another.
  for (int pass = 0; pass < 2 && !found_; ++pass) Scrub(kGiB);
}

void Cluster::RetainSome() {
  if (drops_by_age_ && keeper_->points().size() > 1) {
    // The oldest one, whose file is used again.
    const absl::Duration age = world_.Now() - keeper_->points()[1].marker.time;
    if (!keeper_->Retain({.age_max = age}, world_.Now()).ok()) return;
  }
  const uint64_t bytes_max = 64 * kKiB + world_.Pick(256 * kKiB);
  std::deque<ReplicaPoint> stay(keeper_->points().begin(), keeper_->points().end());
  std::deque<std::string> deltas;
  for (const std::string& path : keeper_disk_.Paths()) {
    if (absl::EndsWith(path, ".hwl")) deltas.push_back(path);
  }
  uint64_t bytes = keeper_->journal_bytes();
  if (bytes > bytes_max) bytes -= keeper_disk_.Content("/retention/m1/spare").size();
  while (stay.size() > 1 && bytes > bytes_max) {
    const std::string last = absl::StrFormat("delta-%016d.hwl", stay.front().number);
    for (bool more = true; more; deltas.pop_front()) {
      bytes -= keeper_disk_.Content(deltas.front()).size();
      more = !absl::EndsWith(deltas.front(), last);
    }
    stay.pop_front();
  }
  const auto dropped =
      keeper_->Retain({.age_max = absl::InfiniteDuration(), .bytes_max = bytes_max}, world_.Now());
  if (dropped.ok() && keeper_->points().size() != stay.size())
    Fail(absl::StrCat("retention kept ", keeper_->points().size(), " points, the policy keeps ",
                      stay.size()));
}

void Cluster::CheckSomeView() {
  const auto& points = keeper_->points();
  if (points.empty()) return;
  CheckView(points[world_.Pick(points.size())].marker.id);
}

void Cluster::CheckEveryView() {
  for (const auto& point : keeper_->points()) CheckView(point.marker.id);
}

void Cluster::CheckView(const std::string& id) {
  const uint64_t failing = keeper_disk_.failing_reads();
  keeper_disk_.FailReads(0);
  CompareView(id);
  keeper_disk_.FailReads(failing);
}

void Cluster::CompareView(const std::string& id) {
  const auto content = PointContent(*keeper_, id);
  if (Found(content.status())) return;
  if (!content.ok()) return Fail(absl::StrCat("view of ", id, ": ", content.status().ToString()));
  if (IsNoInstant(id)) return;
  const auto model = model_.find(id);
  if (model == model_.end()) return Fail("a point that nobody made: " + id);
  for (uint32_t disk = 0; disk < disk_bytes_.size(); ++disk) {
    std::string seen = (*content)[disk];
    ForgiveFlipped(disk, model->second[disk], &seen);
    const auto differs =
        std::mismatch(seen.begin(), seen.end(), model->second[disk].begin()).first - seen.begin();
    if (static_cast<size_t>(differs) == seen.size()) continue;
    return Fail(absl::StrCat("point ", id, " differs from the source on disk ", disk, " at byte ",
                             differs, "; the keeper is at ", keeper_->position().ToString()));
  }
  ++outcome_.views_checked;
}

bool Cluster::IsNoInstant(const std::string& id) const {
  const auto point = std::find_if(keeper_->points().begin(), keeper_->points().end(),
                                  [&](const auto& one) { return one.marker.id == id; });
  return point != keeper_->points().end() &&
         point->marker.consistency == Consistency::kNotOneInstant;
}

// A byte that changed by itself may be overwritten, and then nothing finds it any more.
void Cluster::ForgiveFlipped(size_t disk, const std::string& expected, std::string* seen) const {
  if (flipped_.has_value() && flipped_->first == disk)
    (*seen)[flipped_->second] = expected[flipped_->second];
}

std::string Cluster::ReplicaContent(size_t disk, const std::string& expected) const {
  std::string content = keeper_disk_.Content(ReplicaPath(disk));
  ForgiveFlipped(disk, expected, &content);
  return content;
}

void Cluster::CheckBounds() {
  for (auto& node : relays_) {
    if (node->relay != nullptr && node->relay->pending_bytes() > kSpoolBytesMax + 64 * kKiB) {
      Fail(absl::StrCat("a spool passed its bound: ", node->relay->pending_bytes(), " bytes pend"));
    }
  }
}

void Cluster::CheckTheEnd() {
  if (shipper_ == nullptr || keeper_ == nullptr) return Fail("a node did not come back");
  outcome_.points = keeper_->points().size();
  if (!drained_) {
    return Fail(absl::StrCat("not drained after ", absl::FormatDuration(kQuietTime),
                             " without faults: durable ", shipper_->durable().ToString(),
                             ", keeper at ", keeper_->position().ToString(),
                             shipper_->syncing() ? ", synchronising" : ""));
  }
  if (keeper_->points().empty()) return Fail("no recovery point");
  std::vector<std::string> ids;
  for (const auto& point : keeper_->points()) ids.push_back(point.marker.id);
  for (const std::string& id : ids) CheckView(id);
  if (IsNoInstant(ids.back())) return Fail("nothing writes any more, and no point is one instant");
  const bool repaired = MustBeRepaired();
  for (const std::string& id : {ids[world_.Pick(ids.size())], ids.back()}) {
    if (repaired && id == ids.back()) flipped_.reset();
    if (IsNoInstant(id) && id != ids.back()) continue;
    const absl::Status recovered = keeper_->RecoverTo(id);
    if (!recovered.ok()) return Fail(recovered.ToString());
    for (size_t disk = 0; disk < disk_bytes_.size(); ++disk) {
      if (ReplicaContent(disk, model_[id][disk]) != model_[id][disk]) {
        return Fail(absl::StrCat("recovered to ", id, ": disk ", disk, " differs"));
      }
    }
  }
  for (size_t disk = 0; disk < disk_bytes_.size(); ++disk) {
    const std::string content = sources_[disk]->content();
    if (ReplicaContent(disk, content) != content) {
      return Fail("the newest point is not the source, which stood still");
    }
  }
}

}  // namespace homeward::simulation
