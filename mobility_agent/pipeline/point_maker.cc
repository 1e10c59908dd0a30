#include "mobility_agent/pipeline/point_maker.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr size_t kFreezesMax = 1024;
constexpr char kNotAllStoodStill[] = "not all members stood still in time";
constexpr char kWroteMeanwhile[] = "something was written while it stood still";

void AddMissing(const std::vector<std::string>& names, std::vector<std::string>* all) {
  for (const std::string& name : names) {
    if (!absl::c_linear_search(*all, name)) all->push_back(name);
  }
}

}  // namespace

PointMaker::PointMaker(const Clock& clock, const PointOptions& options, uint64_t batch_bytes,
                       const std::vector<WriteSource*>& sources, MarkerTaken marker_taken)
    : clock_(clock),
      options_(options),
      sources_(sources),
      marker_taken_(std::move(marker_taken)),
      interval_(options_.marker_interval),
      last_made_(clock.Monotonic()),
      chase_(options_, batch_bytes),
      write_backs_(options_),
      freeze_pause_(options_),
      search_(options_),
      copy_(options_.frozen_bytes_max, options_.frozen_extents_max) {}

void PointMaker::Request(PointKind kind) {
  requested_ = true;
  kind_ = kind;
}

void PointMaker::RequestCommon(CommonPointRequest request) {
  Miss("another one was asked for");
  Request();
  common_ = std::move(request);
}

void PointMaker::Miss(absl::string_view why) {
  const absl::optional<CommonPointRequest> common = std::exchange(common_, absl::nullopt);
  if (common.has_value()) common->rendezvous->OnMissed(why);
}

bool PointMaker::Due() const { return clock_.Monotonic() - last_made_ >= interval_; }

Marker PointMaker::NewMarker(uint64_t epoch) {
  ++markers_;
  const bool common_app =
      meets_ && common_.has_value() && common_->kind == PointKind::kApplicationConsistent;
  return {.kind = common_app ? common_->kind : kind_,
          .time = clock_.Now(),
          .id = absl::StrCat(epoch, "-", markers_),
          .consistency = Consistency::kWriteOrder,
          .how = "every write was captured in its order",
          .number = markers_};
}

void PointMaker::OnMade() {
  requested_ = common_.has_value();
  kind_ = PointKind::kCrashConsistent;
  last_made_ = clock_.Monotonic();
  chase_.End();
  search_.End();
}

absl::Status PointMaker::MarkTogetherIn(LogFeed* log, uint64_t epoch) {
  Marker marker = NewMarker(epoch);
  marker.id = common_->id;
  absl::Duration since;
  HW_RETURN_IF_ERROR(Freeze(&since));
  const uint64_t appended = log->appended();
  const bool all = common_->rendezvous->AwaitAll();
  marker.time = clock_.Now();
  const bool marked = all && log->MarkBehind(appended, marker);
  if (marked && marker_taken_) marker_taken_(marker);
  Thaw(since);
  if (!all) return absl::UnavailableError(kNotAllStoodStill);
  if (!marked) return absl::UnavailableError(kWroteMeanwhile);
  return absl::OkStatus();
}

void PointMaker::MarkIn(LogFeed* log, uint64_t epoch) {
  meets_ = common_.has_value() && WriteBackTook().has_value() && common_->rendezvous->MayHold();
  if (common_.has_value() && !meets_ && !Due()) return;
  if (meets_) {
    const absl::Status marked = MarkTogetherIn(log, epoch);
    if (marked.ok()) {
      std::exchange(common_, absl::nullopt)->rendezvous->OnTaken();
      not_one_instant_.clear();
      return OnMade();
    }
    Miss(marked.message());
  }
  const Marker marker = NewMarker(epoch);
  if (!log->Mark(marker)) return;
  if (marker_taken_) marker_taken_(marker);
  not_one_instant_.clear();
  NoteFreeze(absl::ZeroDuration());
  OnMade();
}

absl::StatusOr<absl::optional<Marker>> PointMaker::Approach(uint64_t epoch, DirtyMap* dirty,
                                                            LogFeed* log) {
  if (!search_.Due(clock_.Monotonic())) return absl::nullopt;
  if (!chase_.SmallEnough(dirty->bytes())) {
    if (!chase_.InVain(dirty->bytes(), clock_.Monotonic())) return absl::nullopt;
    return MarkAsItIs(epoch, *dirty);
  }
  HW_ASSIGN_OR_RETURN(const bool written_back, WrittenBack(dirty));
  if (!written_back || !chase_.SmallEnough(dirty->bytes())) return absl::nullopt;
  meets_ = common_.has_value() && common_->rendezvous->MayHold();
  // While others are not so far, the points of its own are made when they are due.
  if (common_.has_value() && !meets_ && !Due()) return absl::nullopt;
  return Take(epoch, dirty, log);
}

absl::optional<absl::Duration> PointMaker::WriteBackTook() {
  if (!write_back_begun_.has_value()) {
    for (WriteSource* source : sources_) source->BeginWriteBack();
    write_back_begun_ = clock_.Monotonic();
  }
  for (WriteSource* source : sources_) {
    if (!source->WrittenBack()) return absl::nullopt;
  }
  return clock_.Monotonic() - *std::exchange(write_back_begun_, absl::nullopt);
}

absl::StatusOr<bool> PointMaker::WrittenBack(DirtyMap* dirty) {
  const absl::optional<absl::Duration> took = WriteBackTook();
  if (!took.has_value()) return false;
  HW_RETURN_IF_ERROR(dirty->Collect({sources_.size(), 0}));
  return !write_backs_.Again(*took);
}

Marker PointMaker::MarkAsItIs(uint64_t epoch, const DirtyMap& dirty) {
  const uint32_t disk = dirty.dirtiest_disk();
  Marker marker = NewMarker(epoch);
  marker.kind = PointKind::kCrashConsistent;
  marker.consistency = Consistency::kNotOneInstant;
  marker.how =
      absl::StrCat(DiskName(disk), " is written to faster than it can be copied", LastWriter(disk));
  not_one_instant_ = marker.how;
  Miss(marker.how);
  copy_.Clear();
  OnMade();
  return marker;
}

absl::StatusOr<absl::optional<Marker>> PointMaker::Take(uint64_t epoch, DirtyMap* dirty,
                                                        LogFeed* log) {
  if (!copy_.Begin(dirty->by_disk())) return absl::nullopt;  // Another round of copying.
  Marker marker = NewMarker(epoch);
  log->Prepare();
  const AtRest rest = CopyAtRest(&marker, log);
  write_backs_.End();
  const bool instant = rest.seen.ok() && *rest.seen == StillCopy::Seen::kNothing;
  const absl::Duration now = clock_.Monotonic();
  if (rest.missed != nullptr) Miss(rest.missed);
  if (!instant && !(rest.seen.ok() && search_.GivesUp(now))) {
    copy_.GiveBackAll(dirty);
    search_.Pause(now);
    HW_RETURN_IF_ERROR(rest.seen.status());
    return absl::nullopt;
  }
  Describe(rest.frozen, instant, &marker);
  not_one_instant_ = instant ? "" : marker.how;
  if (meets_ && !rest.frozen.ok()) Miss(rest.frozen.message());
  if (meets_ && !instant) Miss(marker.how);
  dirty->Clear();
  copy_.GiveBackUnread(dirty);
  if (meets_ && common_.has_value()) std::exchange(common_, absl::nullopt)->rendezvous->OnTaken();
  OnMade();
  return marker;
}

void PointMaker::MeetOthers(Marker* marker, AtRest* rest) {
  if (!rest->frozen.ok()) return;
  if (!common_->rendezvous->AwaitAll()) {
    rest->missed = kNotAllStoodStill;
    return;
  }
  // The copy is what the disks held all the while, unless something was written since.
  const absl::StatusOr<StillCopy::Seen> seen = copy_.Pass(sources_);
  if (seen.ok() && *seen == StillCopy::Seen::kNothing) {
    marker->id.swap(common_->id);
    return;
  }
  rest->missed = kWroteMeanwhile;
  // What it could not look at may have been written to anywhere.
  if (!seen.ok()) rest->seen = seen.status();
}

PointMaker::AtRest PointMaker::CopyAtRest(Marker* marker, LogFeed* log) {
  AtRest rest;
  absl::Duration since;
  rest.frozen = Freeze(&since);
  rest.seen = Passes(rest.frozen.ok() ? options_.frozen_passes_time : options_.passes_time);
  const bool instant = rest.seen.ok() && *rest.seen == StillCopy::Seen::kNothing;
  if (instant && meets_) MeetOthers(marker, &rest);
  marker->time = clock_.Now();
  if (instant && rest.missed != kWroteMeanwhile) {
    if (marker_taken_) marker_taken_(*marker);
    if (rest.frozen.ok()) log->Start();
  }
  if (rest.frozen.ok()) Thaw(since);
  return rest;
}

absl::Status PointMaker::Freeze(absl::Duration* since) {
  const absl::Duration asked = clock_.Monotonic();
  if (!freeze_pause_.Over(asked))
    return absl::UnavailableError("the last freeze took too long, the next is not due yet");
  for (WriteSource* source : sources_) source->BeginFreeze();
  const absl::Status frozen = AwaitFrozen(asked, since);
  // Where not all can be frozen nothing is: it is copied as it is, and what is written is seen.
  if (!frozen.ok()) Thaw(asked);
  freeze_pause_.OnTried(absl::IsDeadlineExceeded(frozen), clock_.Monotonic());
  return frozen;
}

absl::Status PointMaker::AwaitFrozen(absl::Duration asked, absl::Duration* since) {
  *since = absl::InfiniteDuration();
  for (WriteSource* source : sources_) {
    HW_RETURN_IF_ERROR(source->AwaitFrozen(options_.freeze_timeout - (clock_.Monotonic() - asked)));
    const absl::optional<absl::Duration> stood_for = source->rest().stood_for;
    *since = std::min(*since, stood_for.has_value() ? clock_.Monotonic() - *stood_for : asked);
  }
  return absl::OkStatus();
}

void PointMaker::Thaw(absl::Duration since) {
  for (WriteSource* source : sources_) source->Thaw();
  NoteFreeze(clock_.Monotonic() - since);
}

void PointMaker::NoteFreeze(absl::Duration lasted) {
  freezes_.push_back(lasted);
  if (freezes_.size() > kFreezesMax) freezes_.pop_front();
}

absl::StatusOr<StillCopy::Seen> PointMaker::Passes(absl::Duration time) {
  HW_ASSIGN_OR_RETURN(StillCopy::Seen seen, copy_.Pass(sources_));
  const absl::Duration end = clock_.Monotonic() + time;
  while (seen == StillCopy::Seen::kWrites && clock_.Monotonic() < end &&
         copy_.passes() < options_.passes_max) {
    HW_ASSIGN_OR_RETURN(seen, copy_.Pass(sources_));
  }
  return seen;
}

void PointMaker::Describe(const absl::Status& frozen, bool instant, Marker* marker) const {
  std::vector<std::string> still, moving;
  for (const WriteSource* source : sources_) {
    AddMissing(source->rest().still, &still);
    AddMissing(source->rest().moving, &moving);
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
    const uint32_t disk = copy_.disturbed_disk();
    marker->kind = PointKind::kCrashConsistent;
    marker->consistency = Consistency::kNotOneInstant;
    marker->how = absl::StrCat(
        DiskName(disk), " was written to all the time", LastWriter(disk),
        moving.empty() ? "" : absl::StrCat("; not frozen: ", absl::StrJoin(moving, ", ")));
  }
  if (marker->how.size() > kMarkerHowBytesMax) {
    marker->how.resize(kMarkerHowBytesMax - 3);
    marker->how += "...";
  }
}

std::string PointMaker::DiskName(uint32_t disk) const {
  return disk < options_.disk_names.size() ? options_.disk_names[disk]
                                           : absl::StrCat("disk ", disk);
}

std::string PointMaker::LastWriter(uint32_t disk) const {
  const std::string writer = sources_[disk]->LastWriter();
  return writer.empty() ? "" : absl::StrCat(", last by ", writer);
}

}  // namespace homeward
