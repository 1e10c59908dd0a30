#include "config_server/fleet/fleet.h"

#include <algorithm>
#include <utility>

namespace homeward {
namespace {

// A part answers within its observe interval and the network's delay.
constexpr int kAnswerIntervals = 2;
// A copy that is refused comes again several times a minute.
constexpr absl::Duration kStillAsks = absl::Seconds(40);
constexpr size_t kRefusedMax = 16;
constexpr size_t kUnansweredMax = 64;

}  // namespace

const Fleet::Member* Fleet::Find(const std::string& host_id) const {
  const auto it = members_.find(host_id);
  return it == members_.end() ? nullptr : &it->second;
}

uint64_t Fleet::Connect(const std::string& host_id, Session session) {
  Expel(host_id, absl::AbortedError("a newer session of this host has begun"));
  Member& member = members_[host_id];
  if (member.link.incarnation != session.incarnation) member.proven_at = -absl::InfiniteDuration();
  member.session = next_session_++;
  member.link = std::move(session);
  member.unanswered.clear();
  member.asked_by.clear();
  member.heard_at = clock_.Monotonic();
  member.heard_time = clock_.Now();
  member.heartbeat.Clear();
  member.heard = false;
  member.informed = false;
  return member.session;
}

void Fleet::Disconnect(const std::string& host_id, uint64_t session) {
  const auto it = members_.find(host_id);
  if (it == members_.end() || it->second.session != session) return;
  it->second.session = 0;
  it->second.link.send = nullptr;
  it->second.link.end = nullptr;
}

bool Fleet::Hear(const std::string& host_id, uint64_t session,
                 const control::v1::Heartbeat& heartbeat) {
  const auto it = members_.find(host_id);
  if (it == members_.end() || it->second.session != session) return false;
  auto& unanswered = it->second.unanswered;
  while (!unanswered.empty() && unanswered.begin()->first <= heartbeat.desired_revision()) {
    it->second.proven_at = std::max(it->second.proven_at, unanswered.begin()->second);
    unanswered.erase(unanswered.begin());
  }
  it->second.heard = true;
  it->second.heartbeat = heartbeat;
  it->second.heard_at = clock_.Monotonic();
  it->second.heard_time = clock_.Now();
  return true;
}

void Fleet::Expel(const std::string& host_id, const absl::Status& why) {
  const auto it = members_.find(host_id);
  if (it == members_.end() || it->second.session == 0) return;
  const auto end = std::move(it->second.link.end);
  it->second.session = 0;
  it->second.link.send = nullptr;
  it->second.link.end = nullptr;
  end(why);
}

void Fleet::Want(const std::string& host_id, control::v1::Desired desired) {
  const auto it = members_.find(host_id);
  if (it == members_.end() || it->second.session == 0) return;
  Member& member = it->second;
  std::string bytes = desired.SerializeAsString();
  if (member.informed && bytes == member.sent &&
      clock_.Monotonic() - member.sent_at < ask_interval_) {
    return;
  }
  member.informed = true;
  member.sent = std::move(bytes);
  Send(&member);
}

void Fleet::Send(Member* member) {
  control::v1::Down down;
  if (!down.mutable_desired()->ParseFromString(member->sent)) return;
  down.mutable_desired()->set_revision(++member->revision);
  member->sent_at = clock_.Monotonic();
  member->unanswered[member->revision] = member->sent_at;
  // Whoever answers none of so many proves nothing by the oldest.
  if (member->unanswered.size() > kUnansweredMax)
    member->unanswered.erase(member->unanswered.begin());
  member->link.send(down);
}

Fleet::Answer Fleet::Ask(const std::string& host_id, const std::string& who) {
  const auto it = members_.find(host_id);
  if (it == members_.end() || it->second.session == 0) return Answer::kMissing;
  Member& member = it->second;
  const bool given = member.proven_at >= member.asked_at;
  if (!member.asked_by.empty() && !given) {
    return clock_.Monotonic() - member.asked_at > kAnswerIntervals * ask_interval_
               ? Answer::kMissing
               : Answer::kAwaited;
  }
  if (member.asked_by == who) return Answer::kGiven;
  if (!member.informed) return Answer::kAwaited;
  member.asked_by = who;
  Send(&member);
  member.asked_at = member.sent_at;
  return Answer::kAwaited;
}

absl::Duration Fleet::proven_at(const std::string& host_id) const {
  const Member* const member = Find(host_id);
  return member == nullptr ? -absl::InfiniteDuration() : member->proven_at;
}

void Fleet::NoteRefused(const std::string& host_id, RefusedCopy refused) {
  refused.at = clock_.Monotonic();
  std::vector<RefusedCopy>& all = refused_[host_id];
  std::erase_if(all, [&](const RefusedCopy& old) {
    return refused.at - old.at > kStillAsks ||
           (old.copy.boot_id() == refused.copy.boot_id() &&
            old.copy.hardware_uuid() == refused.copy.hardware_uuid());
  });
  if (all.size() == kRefusedMax) all.erase(all.begin());
  all.push_back(std::move(refused));
}

std::vector<Fleet::RefusedCopy> Fleet::Refused(const std::string& host_id) const {
  const auto it = refused_.find(host_id);
  if (it == refused_.end()) return {};
  std::vector<RefusedCopy> recent;
  for (const RefusedCopy& one : it->second) {
    if (clock_.Monotonic() - one.at <= kStillAsks) recent.push_back(one);
  }
  return recent;
}

bool Fleet::connected(const std::string& host_id) const {
  const Member* const member = Find(host_id);
  return member != nullptr && member->session != 0;
}

bool Fleet::alive(const std::string& host_id) const {
  const Member* const member = Find(host_id);
  const absl::Duration since = member == nullptr ? started_ : member->heard_at;
  return (member != nullptr && member->session != 0) ||
         clock_.Monotonic() - since <= heartbeat_timeout_;
}

const control::v1::Heartbeat* Fleet::heartbeat(const std::string& host_id) const {
  const Member* const member = Find(host_id);
  return member == nullptr || !member->heard ? nullptr : &member->heartbeat;
}

absl::Time Fleet::last_heard(const std::string& host_id) const {
  const Member* const member = Find(host_id);
  return member == nullptr ? absl::InfinitePast() : member->heard_time;
}

}  // namespace homeward
