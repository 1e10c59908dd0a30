// SessionLink: one agent's session with a configuration server, over a connection of its own and
// without a thread of its own.
#ifndef HOMEWARD_TESTS_FLEET_SESSION_LINK_H_
#define HOMEWARD_TESTS_FLEET_SESSION_LINK_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "common/tls/identity.h"
#include "homeward/control/v1/control.pb.h"

namespace homeward {

// Thread-safe. ControlClient, which the agent uses, has two threads for each session: 20,000 of
// them for a fleet. This one speaks the same messages over gRPC's callbacks.
class SessionLink {
 public:
  // From gRPC's threads, one at a time. What they use outlives the session's end.
  struct Events {
    std::function<void(const control::v1::Down&)> heard;
    // Once, and last.
    std::function<void(const absl::Status&)> ended;
  };
  // Connects, and sends the registration and the first heartbeat. It keeps itself until `ended`.
  static std::shared_ptr<SessionLink> Open(const std::string& address, const TlsIdentity& identity,
                                           control::v1::Registration registration,
                                           control::v1::Heartbeat first, Events events);
  virtual ~SessionLink() = default;
  // Instead of one that still waits to be sent: each says everything.
  virtual void Report(control::v1::Heartbeat heartbeat) = 0;
  virtual void Cancel() = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_TESTS_FLEET_SESSION_LINK_H_
