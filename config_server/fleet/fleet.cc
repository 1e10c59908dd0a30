#include "config_server/fleet/fleet.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace homeward {
namespace {

// A component answers within its observe interval and the network's delay.
constexpr int kAnswerIntervals = 2;
constexpr size_t kRefusedMax = 16;
constexpr size_t kUnansweredMax = 64;

}  // namespace

uint64_t Fleet::Connect(const std::string& host_id, Session session) {
  Expel(host_id, absl::AbortedError("a newer session of this host has begun"));
  Member& member = members_[host_id];
  FleetState::Component& component = state_.components[host_id];
  if (member.link.incarnation != session.incarnation)
    component.proven_at = -absl::InfiniteDuration();
  member.session = next_session_++;
  member.link = std::move(session);
  member.unanswered.clear();
  member.asked_by.clear();
  member.informed = false;
  component.connected = true;
  component.heard_at = clock_.Monotonic();
  component.heard_time = clock_.Now();
  component.heartbeat.reset();
  SetDue(host_id, &member, component.heard_at);
  return member.session;
}

void Fleet::Disconnect(const std::string& host_id, uint64_t session) {
  const auto it = members_.find(host_id);
  if (it == members_.end() || it->second.session != session) return;
  End(host_id, &it->second);
}

bool Fleet::Hear(const std::string& host_id, uint64_t session,
                 const control::v1::Heartbeat& heartbeat) {
  const auto it = members_.find(host_id);
  if (it == members_.end() || it->second.session != session) return false;
  auto& unanswered = it->second.unanswered;
  FleetState::Component& component = state_.components[host_id];
  while (!unanswered.empty() && unanswered.begin()->first <= heartbeat.desired_revision()) {
    component.proven_at = std::max(component.proven_at, unanswered.begin()->second);
    unanswered.erase(unanswered.begin());
  }
  component.heartbeat = heartbeat;
  component.heard_at = clock_.Monotonic();
  component.heard_time = clock_.Now();
  return true;
}

void Fleet::Expel(const std::string& host_id, const absl::Status& why) {
  const auto it = members_.find(host_id);
  if (it == members_.end() || it->second.session == 0) return;
  const auto end = std::move(it->second.link.end);
  End(host_id, &it->second);
  end(why);
}

void Fleet::End(const std::string& host_id, Member* member) {
  member->session = 0;
  member->link.send = nullptr;
  member->link.end = nullptr;
  due_.erase({member->due, host_id});
  state_.components[host_id].connected = false;
}

void Fleet::Want(const std::string& host_id, const control::v1::Desired& desired) {
  std::string bytes = desired.SerializeAsString();
  std::string& wanted = wanted_[host_id];
  if (wanted == bytes) return;
  wanted = std::move(bytes);
  const auto it = members_.find(host_id);
  if (it != members_.end() && it->second.session != 0)
    SetDue(host_id, &it->second, clock_.Monotonic());
}

void Fleet::Forget(const std::string& host_id) { wanted_.erase(host_id); }

void Fleet::Tell() {
  const absl::Duration now = clock_.Monotonic();
  while (!due_.empty() && due_.begin()->first <= now) {
    const std::string host_id = due_.begin()->second;
    Member& member = members_[host_id];
    const auto wanted = wanted_.find(host_id);
    if (wanted == wanted_.end()) {
      // It registered a moment ago, or is about to be forgotten.
      SetDue(host_id, &member, now + ask_interval_);
      continue;
    }
    member.informed = true;
    member.sent = wanted->second;
    Send(host_id, &member);
  }
}

void Fleet::SetDue(const std::string& host_id, Member* member, absl::Duration due) {
  due_.erase({member->due, host_id});
  member->due = due;
  due_.emplace(due, host_id);
}

void Fleet::Send(const std::string& host_id, Member* member) {
  control::v1::Down down;
  HW_CHECK(down.mutable_desired()->ParseFromString(member->sent));
  down.mutable_desired()->set_revision(++member->revision);
  member->sent_at = clock_.Monotonic();
  member->unanswered[member->revision] = member->sent_at;
  // Whoever answers none of so many proves nothing by the oldest.
  if (member->unanswered.size() > kUnansweredMax)
    member->unanswered.erase(member->unanswered.begin());
  SetDue(host_id, member, member->sent_at + ask_interval_);
  member->link.send(down);
}

Fleet::Answer Fleet::Ask(const std::string& host_id, const std::string& who) {
  const auto it = members_.find(host_id);
  if (it == members_.end() || it->second.session == 0) return Answer::kMissing;
  Member& member = it->second;
  const bool given = state_.proven_at(host_id) >= member.asked_at;
  if (!member.asked_by.empty() && !given) {
    return clock_.Monotonic() - member.asked_at > kAnswerIntervals * ask_interval_
               ? Answer::kMissing
               : Answer::kAwaited;
  }
  if (member.asked_by == who) return Answer::kGiven;
  if (!member.informed) return Answer::kAwaited;
  member.asked_by = who;
  Send(host_id, &member);
  member.asked_at = member.sent_at;
  return Answer::kAwaited;
}

bool Fleet::NoteRefused(const std::string& host_id, RefusedCopy refused) {
  refused.at = clock_.Monotonic();
  std::vector<RefusedCopy>& all = state_.refused[host_id];
  std::erase_if(
      all, [&](const RefusedCopy& old) { return refused.at - old.at > FleetState::kStillAsks; });
  const size_t asked_before = std::erase_if(all, [&](const RefusedCopy& old) {
    return old.copy.boot_id() == refused.copy.boot_id() &&
           old.copy.hardware_uuid() == refused.copy.hardware_uuid();
  });
  if (all.size() == kRefusedMax) all.erase(all.begin());
  all.push_back(std::move(refused));
  return asked_before > 0;
}

}  // namespace homeward
