#include "config_server/jobs/common_points.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/limits.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "config_server/model/groups.h"

namespace homeward {
namespace {

using control::v1::CommonPointObserved;
using storage::v1::Machine;

// From the end of one that was missed to the next. Shorter only where the group's own interval is.
constexpr absl::Duration kRetry = absl::Seconds(30);

absl::Duration IntervalOf(const google::protobuf::Duration& interval) {
  const absl::Duration time = FromProto(interval);
  return time == absl::ZeroDuration() ? absl::InfiniteDuration() : time;
}

absl::Duration DueWithin(absl::Duration interval, absl::Duration now, absl::Duration due) {
  return interval == absl::InfiniteDuration() ? interval : std::min(due, now + interval);
}

std::string WhoMissed(const View& view, const CommonPoints::Attempt& attempt) {
  std::vector<std::string> missed;
  for (const auto& [machine_id, why] : attempt.missed)
    missed.push_back(absl::StrCat(view.MachineName(machine_id), ": ", why));
  return absl::StrJoin(missed, "; ");
}

// What the member said last of this point. Null: nothing yet.
const CommonPointObserved* SeenOf(const View& view, const Machine& member,
                                  const std::string& point_id) {
  const control::v1::AgentObserved* const agent = view.AgentOf(member);
  const bool of_this = agent != nullptr && agent->common_point().point_id() == point_id;
  return of_this ? &agent->common_point() : nullptr;
}

absl::Duration LimitOf(const control::v1::CommonPoint& point) {
  if (point.step() != control::v1::PREPARE) return kCommonPointHoldMax;
  return point.kind() == types::v1::APP_CONSISTENT ? kCommonAppPointPrepareMax
                                                   : kCommonPointPrepareMax;
}

const char* NotReached(control::v1::CommonPointStep step) {
  switch (step) {
    case control::v1::PREPARE:
      return "it did not come to where little is left to copy in time";
    case control::v1::HOLD:
      return "it did not stand still in time";
    default:
      return "it did not say that it has taken it";
  }
}

}  // namespace

const CommonPoints::Attempt* CommonPoints::LastOf(const std::string& group) const {
  const auto it = states_.find(group);
  const bool any = it != states_.end() && !it->second.attempt.point.point_id().empty();
  return any ? &it->second.attempt : nullptr;
}

const CommonPoints::Attempt* CommonPoints::LastEndedOf(const std::string& group) const {
  const auto it = states_.find(group);
  if (it == states_.end()) return nullptr;
  const State& state = it->second;
  if (state.attempt.ended) return &state.attempt;
  return state.before.has_value() ? &*state.before : nullptr;
}

const control::v1::CommonPoint* CommonPoints::WantedOf(const std::string& machine_id) const {
  const auto it = group_of_.find(machine_id);
  return it == group_of_.end() ? nullptr : &states_.at(it->second).attempt.point;
}

void CommonPoints::Follow() {
  if (followed_revision_ == groups_.revision()) return;
  followed_revision_ = groups_.revision();
  std::map<std::string, State> before = std::exchange(states_, {});
  for (const storage::v1::ReplicationGroup& group : groups_.All()) {
    const absl::Duration now = clock_.Monotonic();
    State state = before.contains(group.name()) ? std::move(before.at(group.name()))
                                                : State{.next = now, .next_app = now};
    state.point_interval = IntervalOf(group.point_interval());
    state.app_point_interval = IntervalOf(group.app_point_interval());
    state.next = DueWithin(state.point_interval, now, state.next);
    state.next_app = DueWithin(state.app_point_interval, now, state.next_app);
    states_.emplace(group.name(), std::move(state));
  }
  std::erase_if(group_of_, [&](const auto& member) {
    const bool gone = !states_.contains(member.second);
    if (gone) changed_.insert(member.first);
    return gone;
  });
}

absl::StatusOr<std::string> CommonPoints::Begin(const std::string& group,
                                                types::v1::PointKind kind) {
  HW_RETURN_IF_ERROR(groups_.Find(group).status());
  Follow();
  State& state = states_.at(group);
  if (state.under_way()) {
    if (state.attempt.point.kind() == kind) return state.attempt.point.point_id();
    return Refused(MakeProblem(ProblemId::kCommonPointMissed,
                               absl::StrCat("the members of ", group,
                                            " are about to take another common point: try again")));
  }
  const View view = view_();
  BeginAttempt(view, group, kind, &state);
  if (!state.attempt.ended) return state.attempt.point.point_id();
  return Refused(MakeProblem(ProblemId::kCommonPointMissed, WhoMissed(view, state.attempt)));
}

void CommonPoints::BeginAttempt(const View& view, const std::string& group,
                                types::v1::PointKind kind, State* state) {
  Attempt attempt;
  // By the clock, so that no server before this one has asked for it.
  last_id_ = std::max(last_id_ + 1, absl::ToUnixMicros(clock_.Now()));
  attempt.point.set_point_id(absl::StrCat(kCommonPointPrefix, last_id_));
  attempt.point.set_kind(kind);
  attempt.began = clock_.Now();
  state->members.clear();
  for (const Machine* const member : MembersOf(view, group)) {
    state->members.insert(member->machine_id());
    const std::string why = MissesCommonPoints(view, *member);
    if (!why.empty()) attempt.missed[member->machine_id()] = why;
  }
  if (state->attempt.ended) state->before = std::move(state->attempt);
  state->attempt = std::move(attempt);
  const absl::Duration now = clock_.Monotonic();
  state->next = now + state->point_interval;
  if (kind == types::v1::APP_CONSISTENT) state->next_app = now + state->app_point_interval;
  if (state->attempt.missed.empty() && !state->members.empty()) {
    for (const std::string& machine_id : state->members) group_of_[machine_id] = group;
    return SetStep(control::v1::PREPARE, state);
  }
  // Nobody was asked for anything.
  state->attempt.ended = true;
  if (state->members.empty()) return;
  OnMissed(state);
  Tell(view, group, state);
}

void CommonPoints::OnMissed(State* state) const {
  const absl::Duration now = clock_.Monotonic();
  // Not at once: a member that does not answer would otherwise always be asked.
  const auto due = [&](absl::Duration interval, absl::Duration* next) {
    if (interval != absl::InfiniteDuration()) *next = now + std::min(interval, kRetry);
  };
  due(state->point_interval, &state->next);
  if (state->attempt.point.kind() == types::v1::APP_CONSISTENT)
    due(state->app_point_interval, &state->next_app);
}

void CommonPoints::SetStep(control::v1::CommonPointStep step, State* state) {
  state->attempt.point.set_step(step);
  state->step_began = clock_.Monotonic();
  changed_.insert(state->members.begin(), state->members.end());
}

void CommonPoints::MoveAttempt(const View& view, const std::string& group, State* state) {
  Attempt& attempt = state->attempt;
  const control::v1::CommonPointStep step = attempt.point.step();
  const bool late = clock_.Monotonic() - state->step_began > LimitOf(attempt.point);
  size_t reached = 0;
  for (const std::string& machine_id : state->members) {
    const Machine* const member = records_.FindMachine(machine_id);
    if (member == nullptr || member->replication_group() != group) {
      attempt.missed[machine_id] = "it is no member any more";
      continue;
    }
    const CommonPointObserved* const seen = SeenOf(view, *member, attempt.point.point_id());
    if (seen != nullptr && !seen->missed().empty()) {
      attempt.missed[machine_id] = seen->missed();
    } else if (seen != nullptr && seen->reached() >= step) {
      ++reached;
    } else if (const std::string why = MissesCommonPoints(view, *member); !why.empty()) {
      attempt.missed[machine_id] = why;
    } else if (late) {
      attempt.missed[machine_id] = NotReached(step);
    }
  }
  const bool all_said = reached + attempt.missed.size() == state->members.size();
  // What all were told to take each may have taken: that is heard to its end.
  if (step == control::v1::TAKE ? all_said : !attempt.missed.empty())
    return EndAttempt(view, group, state);
  if (!all_said) return;
  SetStep(step == control::v1::PREPARE ? control::v1::HOLD : control::v1::TAKE, state);
}

void CommonPoints::EndAttempt(const View& view, const std::string& group, State* state) {
  state->attempt.ended = true;
  for (const std::string& machine_id : state->members) {
    group_of_.erase(machine_id);
    changed_.insert(machine_id);
  }
  Tell(view, group, state);
  if (!state->attempt.missed.empty()) OnMissed(state);
}

void CommonPoints::Tell(const View& view, const std::string& group, State* state) {
  const Attempt& attempt = state->attempt;
  const bool news = std::exchange(state->told, attempt.missed) != attempt.missed;
  if (attempt.missed.empty() || !news) return;
  records_.AddEvent(
      "group.point_missed", "", "",
      absl::StrCat(group, ", ", attempt.point.point_id(), ": ", WhoMissed(view, attempt)));
}

std::set<std::string> CommonPoints::Step() {
  Follow();
  const absl::Duration now = clock_.Monotonic();
  std::optional<View> view;
  for (auto& [group, state] : states_) {
    const bool app = now >= state.next_app;
    if (!state.under_way() && !app && now < state.next) continue;
    if (!view.has_value()) view.emplace(view_());
    if (!state.under_way()) {
      BeginAttempt(*view, group, app ? types::v1::APP_CONSISTENT : types::v1::CRASH_CONSISTENT,
                   &state);
    } else {
      MoveAttempt(*view, group, &state);
    }
  }
  return std::exchange(changed_, {});
}

}  // namespace homeward
