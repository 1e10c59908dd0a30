// FleetState: who is connected, when they were last heard, what they said. What Fleet keeps and
// rules read; plain data.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_FLEET_STATE_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_FLEET_STATE_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/problem/problem.h"
#include "homeward/control/v1/control.pb.h"
#include "homeward/storage/v1/storage.pb.h"

namespace homeward {

// A copy of a machine that asked for a session and was refused: `why` is for operators.
struct RefusedCopy {
  storage::v1::Incarnation copy;
  std::string why;
  ProblemId problem = ProblemId::kAgentCloned;  // what it was refused with
  absl::Duration at = {};                       // the last time, by Clock::Monotonic()
};

// All durations are times of Clock::Monotonic().
struct FleetState {
  // A copy that is refused comes again several times a minute.
  static constexpr absl::Duration kStillAsks = absl::Seconds(40);

  // One that had a session since this server started.
  struct Component {
    bool connected = false;
    absl::Duration heard_at;
    absl::Time heard_time;
    std::optional<control::v1::Heartbeat> heartbeat;  // none in this session yet
    absl::Duration proven_at = -absl::InfiniteDuration();
  };

  absl::Duration heartbeat_timeout;  // a component that has been silent for longer is gone
  absl::Duration started;            // this server
  std::map<std::string, Component> components;              // by host id
  std::map<std::string, std::vector<RefusedCopy>> refused;  // by host id

  bool connected(const std::string& host_id) const;
  // Connected, or heard of within the time-out, or not yet missed since this server started.
  bool alive(const std::string& host_id, absl::Duration now) const;
  // Everything but an open session: absent when never heard since the start.
  const control::v1::Heartbeat* heartbeat(const std::string& host_id) const;
  // Wall time of the last heartbeat; the infinite past when there was none.
  absl::Time last_heard(const std::string& host_id) const;
  // The newest time at which the incarnation that has, or had, the session certainly ran: when
  // something was sent that it has answered. The infinite past: it never did.
  absl::Duration proven_at(const std::string& host_id) const;
  // The copies that still ask.
  std::vector<RefusedCopy> RefusedCopies(const std::string& host_id, absl::Duration now) const;

 private:
  const Component* Find(const std::string& host_id) const;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_FLEET_STATE_H_
