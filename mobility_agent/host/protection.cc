#include "mobility_agent/host/protection.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/log/log.h"
#include "common/os/run_program.h"
#include "common/problem/problem.h"
#include "common/replication/data_keys.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"

namespace homeward {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(50);
constexpr absl::Duration kRetry = absl::Seconds(1);
constexpr absl::Duration kLookInterval = absl::Seconds(2);
// A disk that is away for longer may come back as another device of its name.
constexpr absl::Duration kAwayMax = absl::Seconds(30);
constexpr absl::Duration kSyncStandsStill = absl::Minutes(1);
// Or two intervals, where application-consistent points are made at intervals.
constexpr absl::Duration kAppErrorKept = absl::Minutes(15);
constexpr char kStreams[] = "streams";
constexpr char kStateSuffix[] = ".state";

ConsistencyScripts::Options ScriptsOf(const Protection::Options& options) {
  ConsistencyScripts::Options scripts = options.scripts;
  const config::v1::Hooks& hooks = options.hooks;
  scripts.owed_directory = JoinPath(options.state_directory, "owed_thaws");
  scripts.pre_freeze.assign(hooks.pre_freeze().begin(), hooks.pre_freeze().end());
  scripts.post_thaw.assign(hooks.post_thaw().begin(), hooks.post_thaw().end());
  scripts.hook_timeout = options.hook_timeout;
  return scripts;
}

// Whether a job may have waited for it: not only for more of the same.
bool IsNews(const control::v1::AgentObserved& before, const control::v1::AgentObserved& now) {
  return now.replica_id() != before.replica_id() || now.generation() != before.generation() ||
         now.syncing() != before.syncing() || now.streaming() != before.streaming() ||
         now.refused() != before.refused() || now.resync_token() != before.resync_token() ||
         now.point_token() != before.point_token() ||
         now.quiesced_token() != before.quiesced_token() ||
         now.quiesced_point() != before.quiesced_point() ||
         now.data_key_id() != before.data_key_id();
}

types::v1::Percentiles Summarize(const std::deque<absl::Duration>& durations) {
  types::v1::Percentiles out;
  out.set_count(durations.size());
  if (durations.empty()) return out;
  std::vector<absl::Duration> sorted(durations.begin(), durations.end());
  std::sort(sorted.begin(), sorted.end());
  *out.mutable_p50() = ToProto(sorted[sorted.size() / 2]);
  *out.mutable_p95() = ToProto(sorted[sorted.size() * 95 / 100]);
  *out.mutable_max() = ToProto(sorted.back());
  return out;
}

}  // namespace

absl::StatusOr<bool> Protection::TakeCleanStops(FileSystem& files,
                                                const std::string& state_directory) {
  const std::string directory = JoinPath(state_directory, kStreams);
  const absl::StatusOr<std::vector<std::string>> names = files.List(directory);
  if (absl::IsNotFound(names.status())) return false;
  HW_RETURN_IF_ERROR(names.status());
  bool cleanly = false;
  for (const std::string& name : *names) {
    if (!absl::EndsWith(name, kStateSuffix)) continue;
    HW_ASSIGN_OR_RETURN(const bool taken, TakeCleanStop(files, JoinPath(directory, name)));
    cleanly = cleanly || taken;
  }
  return cleanly;
}

Protection::Protection(StreamRuntime runtime, Options options, std::vector<CapturedDisk>* disks)
    : runtime_(std::move(runtime)),
      options_(std::move(options)),
      disks_(*disks),
      stopped_cleanly_(options_.stopped_cleanly),
      next_look_(runtime_.clock.Monotonic() + kLookInterval),
      group_(options_.group_hold_max, runtime_.on_news),
      scripts_(runtime_.files, runtime_.clock, ScriptsOf(options_),
               runtime_.make_strand("scripts")),
      stream_(runtime_.make_strand("stream")),
      control_(runtime_.make_strand("protection")) {
  ListDisks();
  stream_->Post([this] { Tick(); });
  control_->Post([this] { KeepTrying(); });
}

Protection::~Protection() {
  control_->Run([this] { link_.reset(); });
  control_->Stop();
  stream_->Run([this] {
    if (shipper_ == nullptr) return;
    bool all_kept = true;
    for (CapturedDisk& disk : disks_)
      all_kept = (disk.source == nullptr || disk.source->KeepForNextOpen()) && all_kept;
    if (!all_kept) return;
    const absl::Status kept = shipper_->StopCleanly();
    if (!kept.ok()) LogWarn("protection.map_not_kept", {{"error", kept}});
  });
  stream_->Stop();
}

void Protection::Want(const control::v1::AgentDesired& desired) {
  // At once: the stream may stand still until it is told.
  const control::v1::Protection& protection = desired.protection();
  group_.Want(protection.has_common_point() ? &protection.common_point() : nullptr);
  control_->Post([this, desired] {
    wanted_ = desired;
    Reconcile();
  });
}

void Protection::KeepTrying() {
  Reconcile();
  control_->PostAfter(kRetry, [this] { KeepTrying(); });
}

void Protection::Reconcile() {
  const control::v1::Protection& wanted = wanted_.protection();
  std::string key;
  if (wanted_.has_protection()) {
    key = absl::StrCat(wanted.replica_id(), "/", wanted.generation());
    for (const std::string& disk : wanted.disks()) absl::StrAppend(&key, "/", disk);
  }
  if (key != stream_key_) {
    link_.reset();
    address_.clear();
    absl::Status begun;
    stream_->Run([&] {
      End();
      LookAtDisks();
      if (!key.empty()) begun = Begin(wanted);
      failure_ = begun;
      Publish();
    });
    if (!begun.ok()) {
      if (begun != logged_failure_)
        LogError("protection.cannot_begin", {{"machine", wanted.machine_id()}, {"error", begun}});
      logged_failure_ = begun;
      stream_key_ = "none";
      return;
    }
    stream_key_ = key;
    logged_failure_ = absl::OkStatus();
    if (!key.empty()) {
      LogInfo("protection.began", {{"replica", wanted.replica_id()},
                                   {"generation", wanted.generation()},
                                   {"address", wanted.address()}});
    }
  } else if (!key.empty()) {
    stream_->Post([this, wanted] {
      desired_ = wanted;
      if (shipper_ == nullptr) return;
      FollowGroup();
      shipper_->sender().Pump();  // towards the next step of a common point
    });
  }
  if (key.empty()) return;
  // A shipper whose state could not be written is of no use any more. One that was refused finds
  // out by itself when that is over.
  bool useless = false;
  stream_->Run([&] {
    useless = shipper_ != nullptr && !shipper_->refused().ok() &&
              !absl::IsAborted(shipper_->refused()) &&
              !absl::IsFailedPrecondition(shipper_->refused());
    // It was refused, maybe for its disks, and they are others by now.
    useless = useless || (shipper_ != nullptr && !shipper_->refused().ok() &&
                          absl::c_any_of(disks_, [](const CapturedDisk& disk) {
                            return disk.source != nullptr &&
                                   absl::IsFailedPrecondition(disk.source->Present());
                          }));
    useless = useless || runtime_.clock.Monotonic() - away_since_ > kAwayMax;
  });
  if (useless) {
    stream_key_ = "none";
    return;
  }
  if (address_ == wanted.address() && fence_ == wanted.fence()) return;
  link_.reset();
  address_ = wanted.address();
  fence_ = wanted.fence();
  if (address_.empty()) return;
  StreamSender* sender = nullptr;
  stream_->Run([&] { sender = &shipper_->sender(); });
  link_ = runtime_.dialer->Dial(stream_.get(), sender,
                                [this] {
                                  replication::v1::Hello hello = shipper_->MakeHello();
                                  hello.set_fence(desired_.fence());
                                  return hello;
                                },
                                {.address = address_,
                                 .master_target = wanted.direct(),
                                 .data_channel_port = wanted.data_channel_port(),
                                 .beside = !wanted.direct()});
}

absl::Status Protection::Begin(const control::v1::Protection& desired) {
  std::vector<WriteSource*> sources;
  for (const std::string& name : desired.disks()) {
    const auto it = std::find_if(disks_.begin(), disks_.end(),
                                 [&](const CapturedDisk& disk) { return disk.name == name; });
    if (it == disks_.end()) {
      return absl::NotFoundError(
          absl::StrCat("disk ", name, " is protected, and this agent does not have it"));
    }
    if (it->source == nullptr) {
      return absl::UnavailableError(absl::StrCat("disk ", name, " cannot be used: ", it->unusable));
    }
    sources.push_back(it->source.get());
  }
  const std::string directory = JoinPath(options_.state_directory, kStreams);
  const std::string file = absl::StrCat(desired.replica_id(), kStateSuffix);
  HW_RETURN_IF_ERROR(runtime_.files.MakeDirectories(directory));
  HW_ASSIGN_OR_RETURN(const std::vector<std::string> names, runtime_.files.List(directory));
  Shipper::Options stream = options_.stream;
  for (const std::string& name : names) {
    HW_ASSIGN_OR_RETURN(
        const std::string bytes,
        ReadWholeFile(runtime_.files, JoinPath(directory, name), kAgentStateBytesMax));
    const absl::StatusOr<AgentState> state = DecodeAgentState(bytes);
    if (state.ok()) stream.epoch_min = std::max(stream.epoch_min, state->epoch);
  }
  desired_ = desired;
  stream.machine_id = desired.machine_id();
  stream.generation = desired.generation();
  stream.state_path = JoinPath(directory, file);
  stream.stopped_cleanly = std::exchange(stopped_cleanly_, false);
  stream.fresh_replica = desired.fresh_replica();
  stream.data_key = DataKeyOf(desired.data_key());
  stream.points.marker_interval = FromProto(desired.point_interval());
  stream.points.disk_names.assign(desired.disks().begin(), desired.disks().end());
  HW_ASSIGN_OR_RETURN(shipper_, Shipper::Open(runtime_.files, runtime_.clock, std::move(stream),
                                              std::move(sources), options_.marker_taken));
  // All that another replica's stream remembered of use was its epoch. One that stays does no harm.
  for (const std::string& name : names) {
    if (name != file) runtime_.files.Remove(JoinPath(directory, name)).IgnoreError();
  }
  resync_token_ = desired.resync_token();
  // Whoever asked for a point before this agent started may still wait for it: it is made again.
  point_token_ = point_token_wanted_ = 0;
  requested_point_.clear();
  quiesce_token_ = quiesced_token_ = 0;
  markers_lost_ = 0;
  sync_stands_since_ = runtime_.clock.Monotonic();
  sync_done_bytes_ = 0;
  last_app_point_ = runtime_.clock.Monotonic();
  return absl::OkStatus();
}

void Protection::End() {
  shipper_.reset();
  group_.OnMissed("its stream has ended");
  common_due_.reset();
  ThawScripts();
  desired_.Clear();
  away_since_ = absl::InfiniteDuration();
}

void Protection::LookAtDisks() {
  if (options_.open_disks == nullptr) return;
  next_look_ = runtime_.clock.Monotonic() + kLookInterval;
  for (CapturedDisk& disk : disks_) {
    if (shipper_ != nullptr || disk.source == nullptr) continue;
    const absl::Status present = disk.source->Present();
    if (present.ok()) continue;
    LogWarn("disk.closed", {{"disk", disk.name}, {"why", present}});
    disk.source.reset();
    disk.unusable = std::string(present.message());
  }
  options_.open_disks(&disks_);
  ListDisks();
}

void Protection::ListDisks() {
  DiskList list;
  for (const CapturedDisk& disk : disks_) {
    if (disk.source == nullptr) {
      types::v1::UnusableDisk& out = list.unusable.emplace_back();
      out.set_name(disk.name);
      out.set_reason(disk.unusable);
      continue;
    }
    types::v1::Disk& out = list.usable.emplace_back();
    out.set_name(disk.name);
    out.set_size_bytes(disk.source->size_bytes());
    out.set_uuid(disk.uuid);
    out.set_logical_sector_bytes(disk.logical_sector_bytes);
  }
  const auto differ = [](const auto& ours, const auto& theirs) {
    return !std::equal(ours.begin(), ours.end(), theirs.begin(), theirs.end(),
                       [](const auto& one, const auto& other) {
                         return one.SerializeAsString() == other.SerializeAsString();
                       });
  };
  absl::MutexLock lock(&mutex_);
  list.revision = list_.revision;
  if (differ(list.usable, list_.usable) || differ(list.unusable, list_.unusable)) ++list.revision;
  list_ = std::move(list);
}

void Protection::Tick() {
  if (shipper_ != nullptr) {
    FollowDataKey();
    shipper_->SetPointInterval(FromProto(desired_.point_interval()));
    FollowTokens();
    FollowAppPoint();
    FollowGroup();
    FollowScripts();
    FollowQuiesce();
    shipper_->Tick();
    away_since_ = absl::IsUnavailable(shipper_->away())
                      ? std::min(away_since_, runtime_.clock.Monotonic())
                      : absl::InfiniteDuration();
  }
  if (runtime_.clock.Monotonic() >= next_look_) LookAtDisks();
  Publish();
  stream_->PostAfter(kTick, [this] { Tick(); });
}

void Protection::FollowDataKey() {
  const absl::optional<DataKey> wanted = DataKeyOf(desired_.data_key());
  if ((wanted.has_value() ? wanted->id : 0) == shipper_->data_key_id()) return;
  shipper_->SetDataKey(wanted);
  LogInfo("protection.data_key",
          {{"key", absl::StrCat(absl::Hex(shipper_->data_key_id(), absl::kZeroPad16))}});
}

void Protection::FollowTokens() {
  if (shipper_->markers_lost() != markers_lost_) {
    // What was asked for may be among them.
    markers_lost_ = shipper_->markers_lost();
    point_token_wanted_ = point_token_;
    if (quiesced_token_ != quiesce_token_) quiesce_token_ = 0;
  }
  if (desired_.resync_token() != resync_token_) {
    resync_token_ = desired_.resync_token();
    // One that runs compares everything since the agent started: it is the one that was asked for.
    const absl::Status begun = shipper_->syncing() ? absl::OkStatus() : shipper_->Resync();
    LogInfo("protection.resync", {{"result", begun}});
  }
  if (desired_.point_token() != point_token_wanted_) {
    point_token_wanted_ = desired_.point_token();
    token_marker_awaited_ = shipper_->next_marker();
    if (desired_.point_kind() == types::v1::APP_CONSISTENT) {
      app_point_wanted_ = true;
    } else {
      shipper_->RequestMarker(PointKind::kCrashConsistent);
    }
  }
  if (point_token_ != point_token_wanted_ &&
      shipper_->last_marker_number() >= token_marker_awaited_ && !app_point_wanted_ &&
      shipper_->last_marker_durable()) {
    point_token_ = point_token_wanted_;
    requested_point_ = shipper_->last_point();
  }
}

void Protection::FollowAppPoint() {
  const absl::Duration interval = FromProto(desired_.app_point_interval());
  if (scripts_for_ != AppPoint::kNone || shipper_->syncing()) return;
  if (scripts_.state() != ConsistencyScripts::State::kThawed) return;
  const absl::Duration now = runtime_.clock.Monotonic();
  const bool due = interval > absl::ZeroDuration() && now - last_app_point_ >= interval;
  if (!due && !app_point_wanted_) return;
  last_app_point_ = now;
  if (!app_point_wanted_ && !scripts_.Any()) {
    app_error_.clear();  // Nobody asked for it.
    return;
  }
  scripts_for_ = AppPoint::kOwn;
  scripts_began_ = now;
  scripts_.Freeze("");
}

void Protection::FollowGroup() {
  GroupMember::Due due = group_.Next();
  if (due.cancel) {
    common_due_.reset();
    shipper_->CancelCommonMarker("it was given up");
  }
  if (due.begin.has_value()) {
    if (shipper_->syncing()) return group_.OnMissed("it is being synchronised");
    if (due.begin->kind != PointKind::kApplicationConsistent)
      return shipper_->RequestCommonMarker(*std::move(due.begin));
    common_due_ = std::move(due.begin);
  }
  if (!common_due_.has_value() || scripts_for_ != AppPoint::kNone ||
      scripts_.state() != ConsistencyScripts::State::kThawed)
    return;
  scripts_for_ = AppPoint::kCommon;
  scripts_began_ = last_app_point_ = runtime_.clock.Monotonic();
  scripts_.Freeze(common_due_->id);
}

void Protection::FollowScripts() {
  if (scripts_for_ == AppPoint::kNone) return;
  const bool own = scripts_for_ == AppPoint::kOwn;
  if (!own && !group_.under_way()) return ThawScripts();
  if (app_marker_asked_) {
    if (own && shipper_->last_marker_number() >= app_marker_awaited_) return ThawScripts();
    if (runtime_.clock.Monotonic() - scripts_began_ < options_.scripts.total_timeout) return;
    // No application is held for longer. The point is made without it.
    NoteAppError(absl::StrCat("the point was not made within ",
                              absl::FormatDuration(options_.scripts.total_timeout)));
    if (own) shipper_->RequestMarker(PointKind::kCrashConsistent);
    if (!own) shipper_->CancelCommonMarker("the applications were held for too long");
    return ThawScripts();
  }
  if (scripts_.state() != ConsistencyScripts::State::kFrozen) return;
  // A point is application-consistent only if the applications said so.
  const absl::Status frozen = scripts_.frozen();
  NoteAppError(std::string(frozen.message()));
  const PointKind kind =
      frozen.ok() ? PointKind::kApplicationConsistent : PointKind::kCrashConsistent;
  app_marker_asked_ = true;
  if (own) {
    app_marker_awaited_ = shipper_->next_marker();
    if (std::exchange(app_point_wanted_, false)) token_marker_awaited_ = app_marker_awaited_;
    shipper_->RequestMarker(kind);
  } else if (common_due_.has_value()) {
    common_due_->kind = kind;
    shipper_->RequestCommonMarker(*std::exchange(common_due_, absl::nullopt));
  }
}

void Protection::NoteAppError(std::string error) {
  app_error_ = std::move(error);
  app_error_at_ = runtime_.clock.Monotonic();
}

bool Protection::AppErrorCounts() const {
  const absl::Duration kept = std::max(kAppErrorKept, 2 * FromProto(desired_.app_point_interval()));
  return !app_error_.empty() && runtime_.clock.Monotonic() - app_error_at_ < kept;
}

void Protection::ThawScripts() {
  if (scripts_for_ == AppPoint::kNone) return;
  scripts_.Thaw(shipper_ == nullptr ? "" : shipper_->last_point());
  scripts_for_ = AppPoint::kNone;
  app_marker_asked_ = false;
}

void Protection::FollowQuiesce() {
  if (desired_.quiesce_token() == 0) {
    // The failback was cancelled: the machine goes on.
    if (resume_due_ && RunHook("resume", options_.hooks.resume())) {
      resume_due_ = false;
      quiesce_token_ = quiesced_token_ = 0;
      LogInfo("protection.resumed", {});
    }
    return;
  }
  if (quiesced_token_ == desired_.quiesce_token()) return;
  if (shipper_->syncing()) return;
  if (quiesce_token_ != desired_.quiesce_token()) {
    resume_due_ = true;
    if (!RunHook("quiesce", options_.hooks.quiesce())) return;  // Tried again at the next tick.
    quiesce_token_ = desired_.quiesce_token();
    marker_awaited_ = shipper_->next_marker();
    shipper_->RequestMarker(PointKind::kCrashConsistent);
    LogInfo("protection.quiescing", {{"token", quiesce_token_}});
    return;
  }
  // What a machine that was not stopped writes behind that point is not waited for.
  if (shipper_->last_marker_number() < marker_awaited_ || !shipper_->last_marker_durable()) return;
  quiesced_token_ = quiesce_token_;
  LogInfo("protection.quiesced", {{"point", shipper_->last_point()}});
}

bool Protection::RunHook(const char* name,
                         const google::protobuf::RepeatedPtrField<std::string>& arguments) {
  if (arguments.empty()) return true;
  const absl::Status ran = RunProgram({arguments.begin(), arguments.end()}, options_.hook_timeout);
  const std::string error =
      ran.ok() ? std::string() : absl::StrCat("hook ", name, ": ", ran.message());
  if (!error.empty() && error != hook_error_)
    LogError("hook.failed", {{"hook", name}, {"error", ran}});
  hook_error_ = error;
  return ran.ok();
}

types::v1::HealthIssue Protection::AwayIssue() const {
  std::string what(shipper_->away().message());
  for (const CapturedDisk& disk : disks_) {
    if (disk.source == nullptr) continue;
    const absl::Status present = disk.source->Present();
    if (!present.ok()) what = absl::StrCat("disk ", disk.name, ": ", present.message());
  }
  return MakeIssue(
      types::v1::CRITICAL,
      absl::IsUnavailable(shipper_->away()) ? ProblemId::kDiskAway : ProblemId::kDiskResized, what);
}

std::string Protection::SyncStandsStill() {
  const absl::Duration now = runtime_.clock.Monotonic();
  const Shipper::Progress progress = shipper_->progress();
  if (!shipper_->syncing() || progress.done_bytes != sync_done_bytes_) sync_stands_since_ = now;
  sync_done_bytes_ = progress.done_bytes;
  const absl::Duration stands = now - sync_stands_since_;
  // At its end it waits for what was read to be sent.
  if (stands < kSyncStandsStill || progress.done_bytes == progress.total_bytes) return "";
  return absl::StrCat("the synchronisation has stood at ", progress.done_bytes, " of ",
                      progress.total_bytes, " bytes for ",
                      absl::FormatDuration(absl::Trunc(stands, absl::Seconds(1))), "; ",
                      shipper_->pending_bytes(), " bytes wait to be sent",
                      shipper_->sender().streaming() ? "" : ", and there is no connection");
}

void Protection::Publish() {
  control::v1::AgentObserved seen;
  std::vector<types::v1::HealthIssue> issues;
  if (!disks_.empty()) seen.set_capture(disks_.front().capture);
  if (!failure_.ok()) {
    seen.set_refused(failure_.ToString());
    issues.push_back(MakeIssue(types::v1::CRITICAL, ProblemId::kAgentCannotProtect,
                               std::string(failure_.message())));
  }
  for (const CapturedDisk& disk : disks_) {
    if (disk.source != nullptr || !disk.missed || !failure_.ok()) continue;
    issues.push_back(
        MakeIssue(types::v1::WARNING, ProblemId::kDiskUnusable,
                  absl::StrCat("disk ", disk.name, " cannot be protected: ", disk.unusable)));
  }
  if (shipper_ != nullptr) {
    seen.set_machine_id(desired_.machine_id());
    seen.set_generation(desired_.generation());
    seen.set_replica_id(desired_.replica_id());
    seen.set_syncing(shipper_->syncing());
    seen.set_sync_done_bytes(shipper_->progress().done_bytes);
    seen.set_sync_total_bytes(shipper_->progress().total_bytes);
    seen.set_pending_bytes(shipper_->pending_bytes());
    seen.set_sent_bytes(shipper_->sent_bytes());
    ToProto(shipper_->durable(), seen.mutable_durable());
    seen.set_streaming(shipper_->sender().streaming());
    seen.set_resync_token(resync_token_);
    seen.set_point_token(point_token_);
    seen.set_requested_point(requested_point_);
    seen.set_quiesced_token(quiesced_token_);
    seen.set_data_key_id(shipper_->data_key_id());
    ToProto(shipper_->data_key_from(), seen.mutable_data_key_from());
    if (quiesced_token_ != 0) seen.set_quiesced_point(shipper_->last_point());
    *seen.mutable_freeze() = Summarize(shipper_->freezes());
    if (!shipper_->refused().ok()) {
      seen.set_refused(shipper_->refused().ToString());
      issues.push_back(MakeIssue(types::v1::CRITICAL, ProblemId::kStreamRefused,
                                 std::string(shipper_->refused().message())));
    } else if (!shipper_->away().ok()) {
      issues.push_back(AwayIssue());
      seen.set_refused(issues.back().problem().message());
    } else if (shipper_->degraded()) {
      const bool bitmap = shipper_->tracking() == Shipper::Tracking::kBitmap;
      issues.push_back(
          MakeIssue(types::v1::WARNING,
                    bitmap ? ProblemId::kChangesCoarsened : ProblemId::kChangesWithoutData,
                    bitmap ? "more was written than can be sent now; the agent remembers where, in "
                             "larger pieces, and will send more than was written"
                           : "more was written than can be sent now; the agent remembers where, "
                             "and reads it again; the next point needs a short stand-still"));
    }
  }
  const std::string stands_still = shipper_ == nullptr ? "" : SyncStandsStill();
  if (!stands_still.empty()) {
    issues.push_back(
        MakeIssue(types::v1::WARNING, ProblemId::kSynchronisationStandsStill, stands_still));
  }
  std::vector<std::string> troubles;
  for (const CapturedDisk& disk : disks_) {
    if (shipper_ == nullptr || disk.source == nullptr) continue;
    for (const std::string& trouble : disk.source->Troubles())
      troubles.push_back(absl::StrCat(disk.name, ": ", trouble));
  }
  if (!troubles.empty()) {
    issues.push_back(
        MakeIssue(types::v1::WARNING, ProblemId::kMountDoesNotAnswer,
                  absl::StrCat("not all that is on the disks can be brought to rest for a point: ",
                               absl::StrJoin(troubles, "; "))));
  }
  if (!hook_error_.empty()) {
    issues.push_back(MakeIssue(types::v1::WARNING, ProblemId::kHookFailed, hook_error_));
  }
  const absl::Status thawed = scripts_.thawed();
  if (AppErrorCounts() || !thawed.ok()) {
    issues.push_back(MakeIssue(
        types::v1::WARNING, ProblemId::kAppConsistencyFailed,
        AppErrorCounts()
            ? absl::StrCat("the last application-consistent point that was wanted is "
                           "crash-consistent: ",
                           app_error_)
            : absl::StrCat("an application may not have been thawed: ", thawed.message())));
  }
  bool news = false;
  {
    absl::MutexLock lock(&mutex_);
    news = IsNews(observed_, seen);
    observed_ = std::move(seen);
    issues_ = std::move(issues);
  }
  if (news) runtime_.on_news();
}

control::v1::AgentObserved Protection::observed() const {
  control::v1::AgentObserved seen;
  {
    absl::MutexLock lock(&mutex_);
    seen = observed_;
  }
  // As it is now: the stream publishes nothing while it stands still.
  const control::v1::CommonPointObserved common = group_.observed();
  if (!common.point_id().empty()) *seen.mutable_common_point() = common;
  return seen;
}

DiskList Protection::disks() const {
  absl::MutexLock lock(&mutex_);
  return list_;
}

std::vector<types::v1::HealthIssue> Protection::issues() const {
  absl::MutexLock lock(&mutex_);
  return issues_;
}

}  // namespace homeward
