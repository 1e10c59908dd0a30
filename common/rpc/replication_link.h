// The replication protocol over gRPC: ReplicationClient keeps one StreamSender connected,
// ReplicationEndpoint serves StreamReceivers. Both only carry messages between the network's
// threads and the strand that owns the stream.
#ifndef HOMEWARD_COMMON_RPC_REPLICATION_LINK_H_
#define HOMEWARD_COMMON_RPC_REPLICATION_LINK_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/exec/strand.h"
#include "common/replication/stream_receiver.h"
#include "common/replication/stream_sender.h"
#include "common/tls/identity.h"
#include "homeward/replication/v1/replication.grpc.pb.h"

namespace homeward {

// Thread-safe. Connects at once and, with a growing, jittered delay, again whenever the connection
// ends.
class ReplicationClient {
 public:
  struct Options {
    std::string address;  // host:port
    Role server_role = Role::kProcessServer;
    // Asked at each connection: a renewed certificate is used by the next one.
    std::function<absl::StatusOr<TlsIdentity>()> identity;
    absl::Duration retry_min = absl::Milliseconds(100);
    absl::Duration retry_max = absl::Seconds(10);
  };
  // `hello` is called on `strand`. All three outlive it.
  ReplicationClient(Strand* strand, StreamSender* sender,
                    std::function<replication::v1::Hello()> hello, Options options);
  // Blocks until the connection has ended and nothing of it runs on the strand. Not from the strand
  // itself.
  ~ReplicationClient();

 private:
  void Run();
  void RunOnce();

  Strand& strand_;
  StreamSender& sender_;
  const std::function<replication::v1::Hello()> hello_;
  const Options options_;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool greeted_ = false;  // the thread's
  std::thread thread_;    // last: starts when all above is there
};

// Where a machine's stream is received. Everything in it lives until `release` was called.
struct HostedInbox {
  Strand* strand = nullptr;
  Inbox* inbox = nullptr;
  std::function<void(StreamReceiver*)>
      attach;  // on the strand, before the first message; may be empty
  std::function<void(StreamReceiver*)>
      release;                       // on the strand, after the last message; may be empty
  std::shared_ptr<void> keep_alive;  // held by the call: strand and inbox live as long
};

// The gRPC service of a process server or a master target.
class ReplicationEndpoint : public replication::v1::ReplicationService::Service {
 public:
  // NOT_FOUND when the machine is not this part's. Called from the network's threads.
  using Find = std::function<absl::StatusOr<HostedInbox>(const std::string& machine_id)>;
  ReplicationEndpoint(std::vector<Role> callers, Find find)
      : callers_(std::move(callers)), find_(std::move(find)) {}

  grpc::Status Replicate(grpc::ServerContext* context,
                         grpc::ServerReaderWriter<replication::v1::Downstream,
                                                  replication::v1::Upstream>* stream) override;

 private:
  const std::vector<Role> callers_;
  const Find find_;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_RPC_REPLICATION_LINK_H_
