#include "config_server/model/fleet_state.h"

namespace homeward {

const FleetState::Component* FleetState::Find(const std::string& host_id) const {
  const auto it = components.find(host_id);
  return it == components.end() ? nullptr : &it->second;
}

bool FleetState::connected(const std::string& host_id) const {
  const Component* const component = Find(host_id);
  return component != nullptr && component->connected;
}

bool FleetState::alive(const std::string& host_id, absl::Duration now) const {
  const Component* const component = Find(host_id);
  const absl::Duration since = component == nullptr ? started : component->heard_at;
  return (component != nullptr && component->connected) || now - since <= heartbeat_timeout;
}

const control::v1::Heartbeat* FleetState::heartbeat(const std::string& host_id) const {
  const Component* const component = Find(host_id);
  return component == nullptr || !component->heartbeat ? nullptr : &*component->heartbeat;
}

absl::Time FleetState::last_heard(const std::string& host_id) const {
  const Component* const component = Find(host_id);
  return component == nullptr ? absl::InfinitePast() : component->heard_time;
}

absl::Duration FleetState::proven_at(const std::string& host_id) const {
  const Component* const component = Find(host_id);
  return component == nullptr ? -absl::InfiniteDuration() : component->proven_at;
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
