// Fleet: who is connected, when they were last heard, what they said. Soft state: after a restart
// the parts tell it again.
#ifndef HOMEWARD_CONFIG_SERVER_FLEET_FLEET_H_
#define HOMEWARD_CONFIG_SERVER_FLEET_FLEET_H_

#include <functional>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "common/clock/clock.h"
#include "homeward/control/v1/control.pb.h"

namespace homeward {

// Must run on one strand.
class Fleet {
 public:
  // `heartbeat_timeout`: a part that has been silent for longer is gone.
  Fleet(const Clock& clock, absl::Duration heartbeat_timeout)
      : clock_(clock), heartbeat_timeout_(heartbeat_timeout), started_(clock.Monotonic()) {}

  // A part's way down. Never calls back from within.
  struct Session {
    std::function<void(const control::v1::Down&)> send;
    std::function<void(const absl::Status&)> end;
  };
  // Replaces, and ends, an older session of the host. Returns its number.
  uint64_t Connect(const std::string& host_id, Session session);
  void Disconnect(const std::string& host_id, uint64_t session);
  // False: the session was replaced meanwhile.
  bool Hear(const std::string& host_id, uint64_t session, const control::v1::Heartbeat& heartbeat);
  // Ends the host's session, if there is one.
  void Expel(const std::string& host_id, const absl::Status& why);
  // Sends the desired state when it is not the one sent last.
  void Want(const std::string& host_id, control::v1::Desired desired);

  bool connected(const std::string& host_id) const;
  // Connected, or heard of within the time-out, or not yet missed since this server started.
  bool alive(const std::string& host_id) const;
  // Everything but an open session: absent when never heard since the start.
  const control::v1::Heartbeat* heartbeat(const std::string& host_id) const;
  // Wall time of the last heartbeat; the infinite past when there was none.
  absl::Time last_heard(const std::string& host_id) const;

 private:
  struct Member {
    uint64_t session = 0;  // 0: not connected
    Session link;
    bool heard = false;
    control::v1::Heartbeat heartbeat;
    absl::Duration heard_at;
    absl::Time heard_time = absl::InfinitePast();
    bool informed = false;  // in this session
    std::string sent;       // the desired state, without its revision
    uint64_t revision = 0;
  };
  const Member* Find(const std::string& host_id) const;

  const Clock& clock_;
  const absl::Duration heartbeat_timeout_;
  const absl::Duration started_;
  std::map<std::string, Member> members_;
  uint64_t next_session_ = 1;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_FLEET_FLEET_H_
