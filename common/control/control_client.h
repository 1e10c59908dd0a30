// ControlClient: keeps a component's session with its configuration server: registers, reports what
// it observes, takes what is desired.
#ifndef HOMEWARD_COMMON_CONTROL_CONTROL_CLIENT_H_
#define HOMEWARD_COMMON_CONTROL_CONTROL_CLIENT_H_

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/clock/clock.h"
#include "common/control/enrolment.h"
#include "common/exec/news.h"
#include "homeward/control/v1/control.pb.h"

namespace grpc {
class ClientContext;
}

namespace homeward {

// Thread-safe. All callbacks come from the client's own threads, one at a time each; what they use
// outlives it.
class ControlClient {
 public:
  static constexpr absl::Duration kObserveInterval = absl::Milliseconds(250);
  static constexpr absl::Duration kRetryMin = absl::Milliseconds(200);
  static constexpr absl::Duration kRetryMax = absl::Seconds(15);
  struct Options {
    std::string address;
    IdentityFiles identity;
    // Before the first registration of this start.
    absl::Duration registration_delay = absl::ZeroDuration();
    // What changed is reported this soon; what did not, with the server's heartbeat interval.
    absl::Duration observe_interval = kObserveInterval;
    // When something is told here, it is reported at once: what jobs wait for. Outlives the client.
    News* news = nullptr;
    absl::Duration retry_min = kRetryMin;
    absl::Duration retry_max = kRetryMax;
  };
  struct Callbacks {
    std::function<control::v1::Registration()> registration;
    // Grows when the registration has become another one: the session begins anew with it. Null: it
    // stays the same.
    std::function<uint64_t()> registration_revision = nullptr;
    std::function<control::v1::Heartbeat()> observe;
    std::function<void(const control::v1::Desired&)> desired;
    // After each attempt that the server refused with a problem, from the thread that calls
    // `registration`; the next one waits for it. May be empty.
    std::function<void(const types::v1::Problem&)> refused = nullptr;
    // The server took the registration. May be empty.
    std::function<void()> registered = nullptr;
  };
  ControlClient(FileSystem& files, const Clock& clock, Options options, Callbacks callbacks);
  // Blocks until the session has ended.
  ~ControlClient();

  bool connected() const { return connected_; }

 private:
  void Run();
  // Returns when the session ends; true when the server took the registration.
  bool RunOnce();
  // Renews the certificate when that is due; returns when to look again.
  absl::Duration KeepCertificate();
  bool WaitOrStop(absl::Duration duration);

  FileSystem& files_;
  const Clock& clock_;
  const Options options_;
  const Callbacks callbacks_;
  std::atomic<bool> connected_ = false;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::thread thread_;  // last
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_CONTROL_CONTROL_CLIENT_H_
