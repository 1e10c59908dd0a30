#include "config_server/fleet/fleet.h"

#include <utility>

namespace homeward {

const Fleet::Member* Fleet::Find(const std::string& host_id) const {
  const auto it = members_.find(host_id);
  return it == members_.end() ? nullptr : &it->second;
}

uint64_t Fleet::Connect(const std::string& host_id, Session session) {
  Expel(host_id, absl::AbortedError("a newer session of this host has begun"));
  Member& member = members_[host_id];
  member.session = next_session_++;
  member.link = std::move(session);
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
  it->second.link = {};
}

bool Fleet::Hear(const std::string& host_id, uint64_t session,
                 const control::v1::Heartbeat& heartbeat) {
  const auto it = members_.find(host_id);
  if (it == members_.end() || it->second.session != session) return false;
  it->second.heard = true;
  it->second.heartbeat = heartbeat;
  it->second.heard_at = clock_.Monotonic();
  it->second.heard_time = clock_.Now();
  return true;
}

void Fleet::Expel(const std::string& host_id, const absl::Status& why) {
  const auto it = members_.find(host_id);
  if (it == members_.end() || it->second.session == 0) return;
  const Session link = std::move(it->second.link);
  it->second.session = 0;
  it->second.link = {};
  link.end(why);
}

void Fleet::Want(const std::string& host_id, control::v1::Desired desired) {
  const auto it = members_.find(host_id);
  if (it == members_.end() || it->second.session == 0) return;
  Member& member = it->second;
  std::string bytes = desired.SerializeAsString();
  if (member.informed && bytes == member.sent) return;
  member.informed = true;
  member.sent = std::move(bytes);
  desired.set_revision(++member.revision);
  control::v1::Down down;
  *down.mutable_desired() = std::move(desired);
  member.link.send(down);
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
