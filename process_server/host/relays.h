// Relays: all streams of this process server, as the configuration server wants them.
#ifndef HOMEWARD_PROCESS_SERVER_HOST_RELAYS_H_
#define HOMEWARD_PROCESS_SERVER_HOST_RELAYS_H_

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "process_server/host/hosted_relay.h"

namespace homeward {

// Want() and Reconcile() on one strand; the others are thread-safe.
class Relays {
 public:
  // A stream's part of the cache is never smaller.
  static constexpr uint64_t kShareBytesMin = 64 * kMiB;
  struct Limits {
    std::string cache_directory;
    uint64_t cache_bytes_max = 0;
  };
  // Of `common`, what differs between streams is filled in.
  Relays(StreamRuntime runtime, Limits limits, Relay::Options common)
      : runtime_(std::move(runtime)), limits_(std::move(limits)), common_(std::move(common)) {}

  void Want(const control::v1::ProcessServerDesired& desired);
  // Begins again what broke. Call every second or so.
  void Reconcile();

  // Where the machine's stream goes. UNAVAILABLE: it is not assigned here (yet).
  absl::StatusOr<HostedInbox> Find(const std::string& machine_id) const;
  // Of all spools that are in `directory`.
  static uint64_t HeldBytes(FileSystem& files, const std::string& directory);
  // Fills in streams and pending bytes; returns the bytes forwarded by all.
  uint64_t Observe(control::v1::ProcessServerObserved* seen) const;

 private:
  using Wanted = std::map<std::string, const control::v1::RelayedStream*>;
  void Start(const std::string& key, const control::v1::RelayedStream& stream);
  void RemoveOldSpools(const Wanted& wanted);

  const StreamRuntime runtime_;
  const Limits limits_;
  const Relay::Options common_;
  control::v1::ProcessServerDesired desired_;  // on the strand
  bool informed_ = false;                      // on the strand
  // On the strand, by master target's address.
  std::map<std::string, std::shared_ptr<LinkMeter>> links_;
  mutable absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<HostedRelay>> relays_
      ABSL_GUARDED_BY(mutex_);  // by machine and generation
};

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_HOST_RELAYS_H_
