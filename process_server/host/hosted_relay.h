// HostedRelay: one machine's Relay with its strand, its way to the master target, and its health.
#ifndef HOMEWARD_PROCESS_SERVER_HOST_HOSTED_RELAY_H_
#define HOMEWARD_PROCESS_SERVER_HOST_HOSTED_RELAY_H_

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/replication/stream_runtime.h"
#include "homeward/control/v1/control.pb.h"
#include "process_server/relay/relay.h"

namespace homeward {

// Shared by the process server and the calls it serves: a call keeps its relay until it has ended.
class HostedRelay {
 public:
  static absl::StatusOr<std::shared_ptr<HostedRelay>> Start(
      const StreamRuntime& runtime, const control::v1::RelayedStream& stream,
      Relay::Options options);
  ~HostedRelay();

  // Its fence may have changed since.
  const control::v1::RelayedStream& stream() const { return stream_; }
  HostedInbox inbox();
  // Thread-safe.
  void SetBytesMax(uint64_t spool_bytes, uint64_t memory_bytes);
  control::v1::RelayObserved observed() const;
  uint64_t forwarded_bytes() const;
  // As Relay::SetFence().
  void SetFence(uint64_t fence);
  // Touches its spool no more once this returns; the agent is told to come again.
  void Retire();
  // Its disk failed; a new one is needed.
  bool broken() const { return !observed().broken().empty(); }

 private:
  HostedRelay(const control::v1::RelayedStream& stream, std::unique_ptr<Relay> relay,
              std::function<void()> on_news)
      : stream_(stream), on_news_(std::move(on_news)), relay_(std::move(relay)) {}
  void Tick();

  const control::v1::RelayedStream stream_;
  const std::function<void()> on_news_;
  uint64_t start_overs_ = 0;            // on the strand
  const std::unique_ptr<Relay> relay_;  // on the strand
  mutable absl::Mutex mutex_;
  control::v1::RelayObserved observed_ ABSL_GUARDED_BY(mutex_);
  uint64_t forwarded_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<Strand> strand_;
  std::unique_ptr<StreamLink> link_;  // ends before its strand
};

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_HOST_HOSTED_RELAY_H_
