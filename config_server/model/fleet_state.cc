#include "config_server/model/fleet_state.h"

namespace homeward {

const FleetState::Part* FleetState::Find(const std::string& host_id) const {
  const auto it = parts.find(host_id);
  return it == parts.end() ? nullptr : &it->second;
}

bool FleetState::connected(const std::string& host_id) const {
  const Part* const part = Find(host_id);
  return part != nullptr && part->connected;
}

bool FleetState::alive(const std::string& host_id, absl::Duration now) const {
  const Part* const part = Find(host_id);
  const absl::Duration since = part == nullptr ? started : part->heard_at;
  return (part != nullptr && part->connected) || now - since <= heartbeat_timeout;
}

const control::v1::Heartbeat* FleetState::heartbeat(const std::string& host_id) const {
  const Part* const part = Find(host_id);
  return part == nullptr || !part->heartbeat ? nullptr : &*part->heartbeat;
}

absl::Time FleetState::last_heard(const std::string& host_id) const {
  const Part* const part = Find(host_id);
  return part == nullptr ? absl::InfinitePast() : part->heard_time;
}

absl::Duration FleetState::proven_at(const std::string& host_id) const {
  const Part* const part = Find(host_id);
  return part == nullptr ? -absl::InfiniteDuration() : part->proven_at;
}

std::vector<RefusedCopy> FleetState::RefusedCopies(const std::string& host_id,
                                                   absl::Duration now) const {
  const auto it = refused.find(host_id);
  if (it == refused.end()) return {};
  std::vector<RefusedCopy> recent;
  for (const RefusedCopy& one : it->second) {
    if (now - one.at <= kStillAsks) recent.push_back(one);
  }
  return recent;
}

}  // namespace homeward
