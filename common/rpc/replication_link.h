// The replication protocol over gRPC: ReplicationClient keeps one StreamSender connected,
// ReplicationEndpoint serves StreamReceivers. Both only carry messages between the network's
// threads and the strand that owns the stream.
#ifndef HOMEWARD_COMMON_RPC_REPLICATION_LINK_H_
#define HOMEWARD_COMMON_RPC_REPLICATION_LINK_H_

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/data_channel/data_channel_call.h"
#include "common/exec/strand.h"
#include "common/metrics/metrics.h"
#include "common/replication/stream_call.h"
#include "common/replication/stream_runtime.h"
#include "common/tls/identity.h"
#include "homeward/replication/v1/replication.grpc.pb.h"

namespace homeward {

// Calls over gRPC, and moves to the data channel that is offered there where it can be reached.
class ReplicationClient : public StreamLink {
 public:
  struct Options {
    std::string address;  // host:port
    Role server_role = Role::kProcessServer;
    uint32_t data_channel_port = 0;  // as StreamDialer::Peer has it
    bool beside = false;             // likewise
    // Asked at each connection: a renewed certificate is used by the next one.
    std::function<absl::StatusOr<TlsIdentity>()> identity;
    absl::Duration retry_min = absl::Milliseconds(100);
    absl::Duration retry_max = absl::Seconds(10);
  };
  // `hello` is called on `strand`. All three outlive it.
  ReplicationClient(Strand* strand, StreamSender* sender,
                    std::function<replication::v1::Hello()> hello, Options options);
  ~ReplicationClient() override;

 private:
  using Take = std::function<bool(const replication::v1::HelloReply&)>;
  void Run();
  void RunOnce();
  bool Converse(SenderCall* call, const Take& take);
  absl::StatusOr<std::unique_ptr<SenderCall>> TryDataChannel(const TlsIdentity& identity,
                                                             uint32_t port);

  Strand& strand_;
  StreamSender& sender_;
  const std::function<replication::v1::Hello()> hello_;
  const Options options_;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  SenderCall* call_ ABSL_GUARDED_BY(mutex_) = nullptr;
  // The thread's.
  bool greeted_ = false;
  uint32_t data_channel_port_;         // as was told, then of the one that carried the stream last
  bool data_channel_asked_ = false;    // the peer itself named it
  bool data_channel_in_vain_ = false;  // it named one that connected, and no stream came of it
  BesideTrials beside_;
  std::thread thread_;  // last: starts when all above is there
};

// Dials with one identity, read anew at each connection.
class ReplicationDialer : public StreamDialer {
 public:
  explicit ReplicationDialer(std::function<absl::StatusOr<TlsIdentity>()> identity)
      : identity_(std::move(identity)) {}
  std::unique_ptr<StreamLink> Dial(Strand* strand, StreamSender* sender,
                                   std::function<replication::v1::Hello()> hello,
                                   const Peer& peer) override;

 private:
  const std::function<absl::StatusOr<TlsIdentity>()> identity_;
};

// The gRPC service of a process server or a master target.
class ReplicationEndpoint : public replication::v1::ReplicationService::Service {
 public:
  // NOT_FOUND when the machine is not this component's. Called from the network's threads.
  using Find = std::function<absl::StatusOr<HostedInbox>(const std::string& machine_id)>;
  // A call that says no hello within `greeting_timeout` is ended.
  ReplicationEndpoint(std::vector<Role> callers, Find find,
                      absl::Duration greeting_timeout = absl::Seconds(5))
      : callers_(std::move(callers)), find_(std::move(find)), greeting_timeout_(greeting_timeout) {}
  struct DataChannelOptions {
    std::string listen_address;  // of the gRPC server
    // Where the data channel listens. Empty: the same host, a free port. "none": there is none.
    std::string data_channel_address;
    // Read anew for each call.
    std::function<absl::StatusOr<TlsIdentity>()> identity;
  };
  // Takes calls over a data channel too, and offers it to those that come over gRPC. Before the
  // service is served. UNAVAILABLE: it cannot listen there.
  absl::Status StartDataChannel(const DataChannelOptions& options);
  // 0: there is none.
  uint32_t data_channel_port() const {
    return data_channel_ == nullptr ? 0 : data_channel_->port();
  }
  // Ends the data channel's calls. After the service was shut down.
  void StopDataChannel() { data_channel_.reset(); }
  // Connections and calls that never became a stream. Each is in the log, with who it was.
  uint64_t refused_count() const { return refused_; }
  void Measure(Metrics* metrics) const;

  grpc::Status Replicate(grpc::ServerContext* context,
                         grpc::ServerReaderWriter<replication::v1::Downstream,
                                                  replication::v1::Upstream>* stream) override;

 private:
  // An error: it is no stream, and why.
  absl::StatusOr<HostedInbox> Greet(grpc::ServerContext* context, ReceiverCall* call,
                                    UpstreamMessage* first) const;

  const std::vector<Role> callers_;
  const Find find_;
  const absl::Duration greeting_timeout_;
  std::atomic<uint64_t> refused_{0};
  std::unique_ptr<DataChannelServer> data_channel_;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_RPC_REPLICATION_LINK_H_
