// Fleet: the sessions of the components, and what is sent there. Soft state: after a restart the
// components tell it again.
#ifndef HOMEWARD_CONFIG_SERVER_FLEET_FLEET_H_
#define HOMEWARD_CONFIG_SERVER_FLEET_FLEET_H_

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "common/clock/clock.h"
#include "config_server/model/fleet_state.h"
#include "homeward/control/v1/control.pb.h"

namespace homeward {

// Must run on one strand.
class Fleet {
 public:
  // `heartbeat_timeout`: a component that has been silent for longer is gone. `ask_interval`: what
  // is desired is sent that often even if it is the same, so that the answer shows who still runs.
  Fleet(const Clock& clock, absl::Duration heartbeat_timeout,
        absl::Duration ask_interval = absl::Seconds(10))
      : clock_(clock), ask_interval_(ask_interval) {
    state_.heartbeat_timeout = heartbeat_timeout;
    state_.started = clock.Monotonic();
  }

  const FleetState& state() const { return state_; }

  // A component's way down. Never calls back from within.
  struct Session {
    std::function<void(const control::v1::Down&)> send;
    std::function<void(const absl::Status&)> end;
    std::string incarnation = {};  // of the component: what one proved says nothing of another
    std::string address = {};      // where it calls from
  };
  // Replaces, and ends, an older session of the host. Returns its number.
  uint64_t Connect(const std::string& host_id, Session session);
  void Disconnect(const std::string& host_id, uint64_t session);
  // False: the session was replaced meanwhile.
  bool Hear(const std::string& host_id, uint64_t session, const control::v1::Heartbeat& heartbeat);
  // Ends the host's session, if there is one.
  void Expel(const std::string& host_id, const absl::Status& why);
  // What is desired of a component from now on, whether or not it has a session.
  void Want(const std::string& host_id, const control::v1::Desired& desired);
  // Nothing is desired of it any more: it is forgotten.
  void Forget(const std::string& host_id);
  // Sends to each open session what is desired of its part, when that is not what was sent last, or
  // was sent a while ago. Looks only at those that are due.
  void Tell();

  // A session may be half open: nobody is there any more, and nothing has said so. Ask() sends to
  // it what it was sent last, and says, when it is called again, whether an answer has come. `who`
  // wants to know: an answer counts for the one on whose behalf it was asked.
  enum class Answer { kAwaited, kGiven, kMissing };
  Answer Ask(const std::string& host_id, const std::string& who);
  // `refused.at` is now. Whether it was noted before, and is not forgotten yet.
  bool NoteRefused(const std::string& host_id, RefusedCopy refused);
  void ForgetRefused(const std::string& host_id) { state_.refused.erase(host_id); }

 private:
  struct Member {
    uint64_t session = 0;  // 0: not connected
    Session link;
    bool informed = false;  // in this session
    std::string sent;       // the desired state, without its revision
    absl::Duration due;     // in due_, while there is a session
    uint64_t revision = 0;
    std::map<uint64_t, absl::Duration> unanswered;  // revisions of this session, and when sent
    absl::Duration sent_at;
    std::string asked_by;  // empty: nobody asks
    absl::Duration asked_at;
  };
  void End(const std::string& host_id, Member* member);
  void Send(const std::string& host_id, Member* member);
  // When Tell() looks at the member next. It has a session.
  void SetDue(const std::string& host_id, Member* member, absl::Duration due);

  const Clock& clock_;
  const absl::Duration ask_interval_;
  FleetState state_;  // of each member; of others only who was refused
  std::map<std::string, Member> members_;
  std::map<std::string, std::string> wanted_;             // by host id; without a revision
  std::set<std::pair<absl::Duration, std::string>> due_;  // the open sessions, next one first
  uint64_t next_session_ = 1;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_FLEET_FLEET_H_
