#include "common/replica/hosted_replica.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/limits.h"
#include "common/log/log.h"
#include "common/problem/problem.h"
#include "common/replication/data_keys.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"

namespace homeward {
namespace {

using control::v1::DELETE;
using control::v1::FOLLOW;
using control::v1::RECOVER;
using control::v1::RELEASE;

constexpr absl::Duration kTick = absl::Milliseconds(200);
constexpr absl::Duration kRetentionInterval = absl::Seconds(5);
constexpr absl::Duration kRepairInterval = absl::Seconds(5);
constexpr uint64_t kScrubStepBytes = 4 * kMiB;  // at least, as the scrub reads in whole blocks
constexpr absl::Duration kSlowRetryMin = absl::Seconds(2);
constexpr absl::Duration kSlowRetryMax = absl::Minutes(1);
constexpr char kHandoverName[] = "handover";

// But for what changes while the replica is the same: who may stream and how, and what is kept.
std::string WithoutSession(control::v1::Replica replica) {
  replica.clear_retention_age();
  replica.clear_retention_bytes();
  replica.clear_fence();
  replica.clear_data_keys();
  replica.clear_refuses_plain();
  return replica.SerializeAsString();
}

// Whether a job may have waited for it: not only for more of the same.
bool IsNews(const control::v1::ReplicaObserved& before, const control::v1::ReplicaObserved& now) {
  const auto newest = [](const control::v1::ReplicaObserved& seen) {
    return seen.points().empty() ? "" : seen.points().rbegin()->id();
  };
  return now.replica_id() != before.replica_id() || now.generation() != before.generation() ||
         now.phase() != before.phase() || now.point_id() != before.point_id() ||
         now.syncing() != before.syncing() || now.has_problem() != before.has_problem() ||
         now.data_key_ids_size() != before.data_key_ids_size() || newest(now) != newest(before);
}

}  // namespace

HostedReplica::HostedReplica(const StreamRuntime& runtime, BackendTable backends,
                             BackendParts parts)
    : files_(runtime.files),
      clock_(runtime.clock),
      on_news_(runtime.on_news),
      backends_(std::move(backends)),
      parts_(std::move(parts)),
      retention_directory_(parts_.retention_directory),
      strand_(runtime.make_strand("replica")) {
  strand_->Post([this] { Tick(); });
}

HostedReplica::~HostedReplica() {
  strand_->Stop();
  // It posts to the strand until it is gone.
  stream_.reset();
  store_.reset();
}

void HostedReplica::Want(const control::v1::Replica& desired, ScrubPace scrub) {
  strand_->Post([this, desired, scrub] {
    scrub_pace_ = scrub;
    const bool same = WithoutSession(desired) == WithoutSession(desired_);
    desired_ = desired;
    SetFence();
    FollowKeys();
    // What failed before may be over with it.
    if (!same) ChangeBackend();
    Reconcile();
  });
}

void HostedReplica::ChangeBackend() {
  failure_ = absl::OkStatus();
  slow_retry_ = {};
  const std::string claim = store_ != nullptr ? backend_->claim() : "";
  backend_ = MakeBackend(backends_, parts_, desired_);
  if (!claim.empty()) backend_->GoOnWith(claim);
}

void HostedReplica::SetFence() {
  if (stream_ == nullptr) return;
  const absl::Status told = stream_->SetFence(desired_.fence());
  if (!told.ok() && receiver_ != nullptr) receiver_->Refuse(told);
}

void HostedReplica::FollowKeys() {
  DataKeys told = DataKeysOf(desired_);
  // An older configuration server knows none, and what they encrypted may still be on its way.
  if (told.keys.empty() && keys_.generation == told.generation) told.keys = std::move(keys_.keys);
  keys_ = std::move(told);
  if (store_ != nullptr) store_->SetKeys(keys_);
}

void HostedReplica::Retire() {
  strand_->Run([this] {
    if (store_ != nullptr) store_->Leave();
    Close();
    desired_.Clear();
    reached_ = control::v1::REPLICA_PHASE_UNSPECIFIED;
  });
}

HostedInbox HostedReplica::inbox() {
  return {strand_.get(), this, [this](StreamReceiver* receiver) { receiver_ = receiver; },
          [this](StreamReceiver* receiver) {
            if (receiver_ == receiver) receiver_ = nullptr;
          },
          nullptr};
}

absl::Status HostedReplica::Open() {
  if (store_ != nullptr) {
    const absl::Status fenced = store_->Fence(desired_.generation());
    if (fenced.ok()) return fenced;
    LogError("replica.broken", {{"replica", desired_.replica_id()}, {"error", fenced}});
    // It was lost before, and is this host's again from this generation on.
    Close();
    backend_ = MakeBackend(backends_, parts_, desired_);
  }
  HW_ASSIGN_OR_RETURN(ReplicaBackend::Opened opened, backend_->Open());
  store_ = std::move(opened.store);
  store_->SetKeys(keys_);
  store_->SetOnArrival([this] { strand_->Post([this] { OnArrival(); }); });
  std::vector<uint64_t> sizes;
  for (const types::v1::Disk& disk : desired_.disks()) sizes.push_back(disk.size_bytes());
  HW_RETURN_IF_ERROR(store_->Fence(desired_.generation()));
  created_fresh_ = opened.created && store_->position().none();
  stream_ = std::make_unique<ReplicaStream>(
      store_.get(),
      ReplicaStream::Options{.machine_id = desired_.machine_id(),
                             .disk_bytes = std::move(sizes),
                             .window_bytes = backend_->window_bytes(),
                             .resend_clock = backend_->machines_send() ? &clock_ : nullptr});
  (void)stream_->SetFence(desired_.fence());  // Nobody streams yet.
  LogInfo("replica.opened", {{"replica", desired_.replica_id()},
                             {"position", store_->position().ToString()},
                             {"points", store_->points().size()}});
  return absl::OkStatus();
}

void HostedReplica::Close() {
  if (receiver_ != nullptr)
    receiver_->Refuse(absl::UnavailableError("the server closed the replica"));
  stream_.reset();
  store_.reset();
  repairing_ = false;  // What the scrub knew is forgotten.
}

// After a handover the disks are the machine's. One that was written to since cannot go to another
// point: what the points remember fits only what the keeper itself wrote.
absl::Status HostedReplica::CheckUntouched() {
  const absl::StatusOr<std::string> note =
      ReadWholeFile(files_, JoinPath(retention_directory_, kHandoverName));
  if (absl::IsNotFound(note.status())) return absl::OkStatus();
  HW_RETURN_IF_ERROR(note.status());
  const std::vector<std::string> lines = absl::StrSplit(*note, '\n', absl::AllowEmpty());
  const std::vector<std::string> paths = backend_->Paths();
  for (size_t i = 0; i < paths.size(); ++i) {
    HW_ASSIGN_OR_RETURN(const std::string stamp, backend_->Stamp(static_cast<int>(i)));
    if (!stamp.empty() && i + 1 < lines.size() && lines[i + 1] == stamp) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        paths[i], stamp.empty() ? " may have been" : " was",
        " written to since it was handed to the machine: it cannot go to another recovery point. "
        "Commit the failback, or test points with a copy."));
  }
  return absl::OkStatus();
}

absl::Status HostedReplica::NoteHandover() {
  std::string note = absl::StrCat(desired_.point_id(), "\n");
  for (int i = 0; i < desired_.disks_size(); ++i) {
    HW_ASSIGN_OR_RETURN(const std::string stamp, backend_->Stamp(i));
    absl::StrAppend(&note, stamp, "\n");
  }
  return WriteFileAtomically(files_, JoinPath(retention_directory_, kHandoverName), note);
}

absl::Status HostedReplica::Recover() {
  const absl::StatusOr<std::string> note =
      ReadWholeFile(files_, JoinPath(retention_directory_, kHandoverName));
  const bool handed_over = note.ok() && note->substr(0, note->find('\n')) == desired_.point_id();
  if (!handed_over) HW_RETURN_IF_ERROR(CheckUntouched());
  // They are on their way to the machine's VM.
  if (handed_over && backend_->leaves()) return absl::OkStatus();
  // Where another host kept it before, nothing is here yet.
  if (!backend_->points_are_here())
    HW_RETURN_IF_ERROR(files_.MakeDirectories(retention_directory_));
  HW_RETURN_IF_ERROR(Open());
  if (!handed_over) {
    // Whoever looks at the note while the disks change must not believe it.
    HW_RETURN_IF_ERROR(files_.Remove(JoinPath(retention_directory_, kHandoverName)));
    HW_RETURN_IF_ERROR(files_.SyncDirectory(retention_directory_));
    const absl::Duration began = clock_.Monotonic();
    const absl::Status recovered = store_->RecoverTo(desired_.point_id());
    // Retention may have dropped it since it was chosen; waiting does not bring it back.
    if (absl::IsNotFound(recovered)) return absl::OutOfRangeError(recovered.message());
    HW_RETURN_IF_ERROR(recovered);
    LogInfo("replica.recovered", {{"replica", desired_.replica_id()},
                                  {"point", desired_.point_id()},
                                  {"took", clock_.Monotonic() - began}});
  }
  recovered_paths_ = store_->PathsAt(desired_.point_id());
  // It was recovered to once, and somebody removed it since: what it follows now is no point.
  if (!backend_->points_are_here() && recovered_paths_.empty()) {
    return absl::OutOfRangeError(
        absl::StrCat("there is no whole recovery point ", desired_.point_id(), " any more"));
  }
  Publish();  // The points, while they can be read.
  Close();
  if (!handed_over) HW_RETURN_IF_ERROR(NoteHandover());
  return absl::OkStatus();
}

absl::Status HostedReplica::RemoveJournal() {
  Close();
  HW_RETURN_IF_ERROR(backend_->RemovePoints());
  const auto names = files_.List(retention_directory_);
  if (absl::IsNotFound(names.status())) return absl::OkStatus();
  HW_RETURN_IF_ERROR(names.status());
  for (const std::string& name : *names)
    HW_RETURN_IF_ERROR(files_.Remove(JoinPath(retention_directory_, name)));
  HW_RETURN_IF_ERROR(files_.Remove(retention_directory_));
  return files_.SyncDirectory(ParentDirectory(retention_directory_));
}

void HostedReplica::Reconcile() {
  if (!failure_.ok() && backend_->TroubleOf(failure_).slow && clock_.Monotonic() < next_try_)
    return;
  const bool done = reached_ == desired_.phase() &&
                    (desired_.phase() != RECOVER || reached_point_ == desired_.point_id());
  if (done && desired_.phase() != FOLLOW) return;
  switch (desired_.phase()) {
    case FOLLOW:
      failure_ = absl::OkStatus();
      if (reached_ != FOLLOW) {
        failure_ = files_.MakeDirectories(retention_directory_);
        if (failure_.ok()) failure_ = files_.Remove(JoinPath(retention_directory_, kHandoverName));
      }
      if (failure_.ok()) failure_ = Open();
      break;
    case RECOVER:
      failure_ = Recover();
      if (failure_.ok()) failure_ = backend_->LetGo();
      break;
    case RELEASE:
      failure_ = RemoveJournal();
      if (failure_.ok()) failure_ = backend_->LetGo();
      break;
    case DELETE:
      failure_ = RemoveJournal();
      if (failure_.ok()) failure_ = backend_->Remove();
      if (failure_.ok()) failure_ = backend_->LetGo();
      break;
    default:
      return;
  }
  if (failure_.ok()) {
    slow_retry_ = {};
    reached_ = desired_.phase();
    reached_point_ = desired_.point_id();
  } else {
    // It is tried again and again.
    DelayNextTry();
    if (failure_ != logged_failure_) {
      LogError("replica.failed", {{"replica", desired_.replica_id()},
                                  {"phase", control::v1::ReplicaPhase_Name(desired_.phase())},
                                  {"error", failure_}});
    }
    Close();
  }
  logged_failure_ = failure_;
  Publish();
}

// It is opened anew.
void HostedReplica::Break(const absl::Status& why) {
  if (backend_->TroubleOf(why).slow) {
    failure_ = logged_failure_ = why;
    DelayNextTry();
  }
  Close();
  reached_ = control::v1::REPLICA_PHASE_UNSPECIFIED;
}

void HostedReplica::DelayNextTry() {
  slow_retry_ = std::clamp(2 * slow_retry_, kSlowRetryMin, kSlowRetryMax);
  next_try_ = clock_.Monotonic() + slow_retry_;
}

void HostedReplica::Tick() {
  if (stream_ != nullptr && !stream_->broken().ok()) {
    LogError("replica.broken", {{"replica", desired_.replica_id()}, {"error", stream_->broken()}});
    Break(stream_->broken());
  }
  if (desired_.phase() != control::v1::REPLICA_PHASE_UNSPECIFIED) Reconcile();
  if (store_ != nullptr) ShowLife();
  if (store_ != nullptr) RetainSome();
  if (store_ != nullptr) {
    ScrubSome();
    RepairSome();
  }
  Publish();
  strand_->PostAfter(kTick, [this] { Tick(); });
}

void HostedReplica::ShowLife() {
  const absl::Status shown = store_->ShowLife();
  if (shown.ok() || absl::IsResourceExhausted(shown)) return;
  LogError("replica.broken", {{"replica", desired_.replica_id()}, {"error", shown}});
  Break(shown);
}

void HostedReplica::RetainSome() {
  const absl::Duration now = clock_.Monotonic();
  if (now - last_retention_ < kRetentionInterval) return;
  last_retention_ = now;
  RetentionPolicy policy;
  if (desired_.has_retention_age()) policy.age_max = FromProto(desired_.retention_age());
  if (desired_.retention_bytes() != 0) policy.bytes_max = desired_.retention_bytes();
  policy.kept_point_id = desired_.shown_point_id();
  const absl::StatusOr<VolumeSpace> space = files_.Space(retention_directory_);
  if (backend_->points_are_here() && space.ok() &&
      space->free_bytes < RetentionReserveBytes(space->total_bytes)) {
    policy.bytes_max = std::min(policy.bytes_max, store_->journal_bytes() * 9 / 10);
  }
  const absl::Time wall = clock_.Now();
  const auto dropped = store_->Retain(policy, wall);
  if (!dropped.ok()) LogError("retention.failed", {{"error", dropped.status()}});
  if (!dropped.ok() && !absl::IsResourceExhausted(dropped.status())) return Break(dropped.status());
  for (size_t i = 0; dropped.ok() && i < dropped->size(); ++i) {
    const bool early = wall - (*dropped)[i].time <= policy.age_max;
    if (early) {
      LogWarn("retention.point_dropped_for_space",
              {{"replica", desired_.replica_id()}, {"point", (*dropped)[i].id}});
    }
  }
}

// What it reads is what the time since the last look allows, in whole blocks.
void HostedReplica::ScrubSome() {
  const absl::Duration now = clock_.Monotonic();
  const absl::Duration passed = std::min(now - std::exchange(last_scrub_, now), 2 * kTick);
  // Without a point everything is about to be written.
  if (now < next_scrub_ || store_->state().syncing || store_->points().empty()) return;
  scrub_bytes_due_ +=
      absl::ToDoubleSeconds(passed) * static_cast<double>(scrub_pace_.bytes_per_second);
  if (scrub_bytes_due_ < static_cast<double>(kScrubStepBytes)) return;
  const StreamPosition before = store_->position();
  if (store_->under_way_bytes() > 0 && !Settled(stream_->Finish(), before)) return;
  scrub_begun_ = std::min(scrub_begun_, now);
  const auto bytes = static_cast<uint64_t>(std::exchange(scrub_bytes_due_, 0));
  const absl::StatusOr<bool> through = store_->ScrubStep(bytes);
  if (!through.ok()) LogWarn("scrub.failed", {{"error", through.status()}});
  if (through.ok() && *through) {
    scrubbed_ = clock_.Now();
    next_scrub_ = std::exchange(scrub_begun_, absl::InfiniteDuration()) + scrub_pace_.interval;
  }
}

// The machine has what the replica should hold.
void HostedReplica::RepairSome() {
  const absl::Status damage = store_->damage();
  if (!damage.ok() && !damage_logged_)
    LogError("scrub.damage", {{"replica", desired_.replica_id()}, {"what", damage}});
  damage_logged_ = !damage.ok();

  const bool damaged =
      absl::c_any_of(store_->damaged(), [](const ExtentSet& ranges) { return !ranges.empty(); });
  if (damaged) repaired_ = std::string(damage.message());
  if (repairing_ && !damaged) {
    doubtful_through_ = store_->points().empty() ? 0 : store_->points().back().number;
    LogWarn("scrub.repaired", {{"replica", desired_.replica_id()}, {"what", repaired_}});
  }
  repairing_ = damaged;
  const absl::Duration now = clock_.Monotonic();
  if (!damaged || receiver_ == nullptr || now < next_repair_) return;
  next_repair_ = now + kRepairInterval;
  stream_->AskForRepair(*receiver_);
}

void HostedReplica::Publish() {
  control::v1::ReplicaObserved seen;
  seen.set_replica_id(desired_.replica_id());
  seen.set_machine_id(desired_.machine_id());
  seen.set_generation(desired_.generation());
  seen.set_phase(reached_);
  seen.set_point_id(reached_ == RECOVER ? reached_point_ : "");
  if (store_ != nullptr) {
    for (const DataKey& key : keys_.keys) seen.add_data_key_ids(key.id);
    seen.set_syncing(store_->state().syncing);
    seen.set_held_generation(store_->state().generation);
    ToProto(store_->position(), seen.mutable_position());
    seen.set_journal_bytes(store_->journal_bytes());
    if (const absl::Status damage = store_->damage(); !damage.ok()) {
      *seen.mutable_damage() =
          MakeProblem(ProblemId::kReplicaChangedByItself, std::string(damage.message()));
    }
    if (!store_->points().empty() && store_->points().front().number <= doubtful_through_) {
      *seen.mutable_repaired() = MakeProblem(ProblemId::kOlderPointsDoubtful,
                                             absl::StrCat("it was repaired since: ", repaired_));
    }
    if (scrubbed_ != absl::InfinitePast()) *seen.mutable_scrubbed() = ToProto(scrubbed_);
    const std::vector<std::string> shown = store_->PathsAt(desired_.shown_point_id());
    if (!shown.empty()) {
      seen.set_shown_point_id(desired_.shown_point_id());
      seen.mutable_shown_paths()->Assign(shown.begin(), shown.end());
    }
    points_.clear();
    for (size_t i = 0; i < store_->points().size(); ++i) {
      const ReplicaPoint& point = store_->points()[i];
      types::v1::RecoveryPoint& out = points_.emplace_back();
      out.set_id(point.marker.id);
      *out.mutable_time() = ToProto(point.marker.time);
      out.set_kind(point.marker.kind == PointKind::kApplicationConsistent
                       ? types::v1::APP_CONSISTENT
                       : types::v1::CRASH_CONSISTENT);
      out.set_consistency(static_cast<types::v1::Consistency>(point.marker.consistency));
      out.set_how(point.marker.how);
      out.set_kept_bytes(store_->KeptBytes(i));
    }
  }
  for (const types::v1::RecoveryPoint& point : points_) *seen.add_points() = point;
  if (backend_ != nullptr) {
    const bool elsewhere = reached_ == RECOVER && !recovered_paths_.empty();
    for (const std::string& path : elsewhere ? recovered_paths_ : backend_->Paths())
      seen.add_disk_paths(path);
  }
  const absl::Status& wrong = failure_.ok() ? full_ : failure_;
  if (!wrong.ok()) {
    *seen.mutable_problem() =
        MakeProblem(backend_->TroubleOf(wrong).problem, std::string(wrong.message()));
  }
  seen.set_received_bytes(received_bytes_);
  seen.set_created_fresh(created_fresh_);
  published_syncing_ = seen.syncing();
  published_point_ = NewestPoint();
  bool news = false;
  {
    absl::MutexLock lock(&mutex_);
    news = IsNews(observed_, seen);
    observed_ = std::move(seen);
  }
  if (news) on_news_();
}

uint64_t HostedReplica::NewestPoint() const {
  return store_ == nullptr || store_->points().empty() ? 0 : store_->points().back().number;
}

void HostedReplica::PublishNews() {
  if (store_->state().syncing != published_syncing_ || NewestPoint() != published_point_) Publish();
}

control::v1::ReplicaObserved HostedReplica::observed() const {
  absl::MutexLock lock(&mutex_);
  return observed_;
}

absl::StatusOr<StreamPosition> HostedReplica::Admit(const replication::v1::Hello& hello) {
  if (stream_ == nullptr || reached_ != FOLLOW) {
    return absl::UnavailableError(
        absl::StrCat("the replica of machine ", hello.machine_id(), " takes no stream now"));
  }
  return stream_->Admit(hello);
}

absl::Status HostedReplica::Store(std::vector<SealedBatch> batches) {
  if (stream_ == nullptr) return absl::UnavailableError("the replica is closed");
  for (const SealedBatch& batch : batches) received_bytes_ += batch.size();
  const StreamPosition before = stream_->durable();
  const absl::Status stored = stream_->Store(std::move(batches));
  NoteSpace(stored, before);
  PublishNews();
  return stored;
}

void HostedReplica::OnArrival() {
  if (stream_ == nullptr) return;
  const StreamPosition before = stream_->durable();
  Settled(stream_->Settle(), before);
}

bool HostedReplica::Settled(const absl::Status& result, StreamPosition before) {
  NoteSpace(result, before);
  PublishNews();
  if (receiver_ == nullptr) return result.ok();
  if (result.ok()) {
    receiver_->Acknowledge();
  } else {
    receiver_->Refuse(result);
  }
  return result.ok();
}

// The sender comes again; meanwhile the operator must know. Not a failure of the replica itself.
void HostedReplica::NoteSpace(const absl::Status& stored, StreamPosition before) {
  if (absl::IsResourceExhausted(stored)) {
    full_ = stored;
  } else if (stream_->durable() != before) {
    full_ = absl::OkStatus();
  }
}

uint64_t HostedReplica::AvailableBytes() {
  return stream_ == nullptr ? 0 : stream_->AvailableBytes();
}
StreamPosition HostedReplica::spooled() const {
  return stream_ == nullptr ? StreamPosition() : stream_->spooled();
}
StreamPosition HostedReplica::durable() const {
  return stream_ == nullptr ? StreamPosition() : stream_->durable();
}
void HostedReplica::OnDigestQuery(const replication::v1::DigestQuery& query, StreamReceiver& from) {
  if (stream_ == nullptr) return;
  // What came before it has been waited for then.
  const StreamPosition before = stream_->durable();
  if (store_->under_way_bytes() > 0 && !Settled(stream_->Finish(), before)) return;
  stream_->OnDigestQuery(query, from);
}

}  // namespace homeward
