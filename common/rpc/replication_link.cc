#include "common/rpc/replication_link.h"

#include <grpcpp/alarm.h>

#include <algorithm>
#include <random>
#include <utility>

#include "common/data_channel/data_channel_call.h"
#include "common/log/log.h"
#include "common/net/address.h"
#include "common/rpc/credentials.h"
#include "common/status/status_macros.h"

namespace homeward {

using replication::v1::Downstream;
using replication::v1::ReplicationService;
using replication::v1::Upstream;

namespace {

class GrpcSenderCall : public SenderCall {
 public:
  GrpcSenderCall(const ReplicationClient::Options& options, const TlsIdentity& identity)
      : stub_(ReplicationService::NewStub(
            MakeChannel(options.address, options.server_role, identity))),
        stream_(stub_->Replicate(&context_)) {}
  ~GrpcSenderCall() override {
    context_.TryCancel();  // A call that nobody ran has no end of its own.
    stream_->Finish();
  }
  bool Read(Downstream* message) override { return stream_->Read(message); }
  bool Write(const UpstreamMessage& message) override {
    if (message.batch.empty()) return stream_->Write(message.message);
    Upstream carrier;
    carrier.set_batch(message.batch.view().data(), message.batch.size());
    return stream_->Write(carrier);
  }
  void Cancel() override { context_.TryCancel(); }

 private:
  grpc::ClientContext context_;
  const std::unique_ptr<ReplicationService::Stub> stub_;
  const std::unique_ptr<grpc::ClientReaderWriter<Upstream, Downstream>> stream_;
};

class GrpcReceiverCall : public ReceiverCall {
 public:
  GrpcReceiverCall(grpc::ServerContext* context,
                   grpc::ServerReaderWriter<Downstream, Upstream>* stream)
      : context_(*context), stream_(*stream) {}
  bool Read(UpstreamMessage* message) override {
    if (!stream_.Read(&message->message)) return false;
    if (message->message.has_batch())
      message->batch = SealedBatch(std::move(*message->message.mutable_batch()));
    return true;
  }
  bool Write(const Downstream& message) override { return stream_.Write(message); }
  void Cancel() override { context_.TryCancel(); }

 private:
  grpc::ServerContext& context_;
  grpc::ServerReaderWriter<Downstream, Upstream>& stream_;
};

// Cancels a call that takes longer than it may, until it ends.
class GreetingLimit {
 public:
  GreetingLimit(grpc::ServerContext* context, absl::Duration timeout)
      : call_(std::make_shared<Call>()) {
    call_->context = context;
    const gpr_timespec span =
        gpr_time_from_millis(absl::ToInt64Milliseconds(timeout), GPR_TIMESPAN);
    alarm_.Set(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), span), [call = call_](bool expired) {
      absl::MutexLock lock(&call->mutex);
      if (expired && call->context != nullptr) call->context->TryCancel();
    });
  }
  ~GreetingLimit() {
    {
      absl::MutexLock lock(&call_->mutex);
      call_->context = nullptr;
    }
    alarm_.Cancel();
  }

 private:
  // The alarm may go off while the call ends.
  struct Call {
    absl::Mutex mutex;
    grpc::ServerContext* context ABSL_GUARDED_BY(mutex) = nullptr;
  };
  const std::shared_ptr<Call> call_;
  grpc::Alarm alarm_;
};

}  // namespace

ReplicationClient::ReplicationClient(Strand* strand, StreamSender* sender,
                                     std::function<replication::v1::Hello()> hello, Options options)
    : strand_(*strand),
      sender_(*sender),
      hello_(std::move(hello)),
      options_(std::move(options)),
      data_channel_port_(options_.data_channel_port),
      thread_([this] { Run(); }) {}

ReplicationClient::~ReplicationClient() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    if (call_ != nullptr) call_->Cancel();
  }
  thread_.join();
}

void ReplicationClient::Run() {
  std::mt19937 random(std::random_device{}());
  absl::Duration delay = options_.retry_min;
  while (true) {
    RunOnce();
    delay = greeted_ ? options_.retry_min : std::min(delay * 2, options_.retry_max);
    const absl::Duration jittered =
        delay * (0.5 + std::uniform_real_distribution<>(0, 0.5)(random));
    absl::MutexLock lock(&mutex_);
    if (mutex_.AwaitWithTimeout(absl::Condition(&stopping_), jittered)) return;
  }
}

absl::StatusOr<std::unique_ptr<SenderCall>> ReplicationClient::TryDataChannel(
    const TlsIdentity& identity, uint32_t port) {
  HW_ASSIGN_OR_RETURN(HostPort peer, ParseHostPort(options_.address));
  peer.port = static_cast<int>(port);
  return DialDataChannel(
      identity, {FormatHostPort(peer), options_.server_role, options_.beside ? &beside_ : nullptr});
}

bool ReplicationClient::Converse(SenderCall* call, const Take& take) {
  {
    absl::MutexLock lock(&mutex_);
    if (stopping_) return false;
    call_ = call;
  }
  const bool greeted = RunSender(&strand_, &sender_, hello_, call, take);
  absl::MutexLock lock(&mutex_);
  call_ = nullptr;
  return greeted;
}

void ReplicationClient::RunOnce() {
  greeted_ = false;
  const absl::StatusOr<TlsIdentity> identity = options_.identity();
  if (!identity.ok()) return LogError("identity.unreadable", {{"error", identity.status()}});
  std::unique_ptr<SenderCall> channel;
  if (data_channel_port_ != 0) {
    absl::StatusOr<std::unique_ptr<SenderCall>> dialled =
        TryDataChannel(*identity, data_channel_port_);
    if (dialled.ok()) channel = *std::move(dialled);
  }
  if (channel == nullptr) {
    // Where the data channel is, or that there is none, is asked for.
    data_channel_port_ = 0;
    data_channel_asked_ = true;
    GrpcSenderCall call(options_, *identity);
    greeted_ = Converse(&call, [&](const replication::v1::HelloReply& reply) {
      if (reply.data_channel_port() == 0 || std::exchange(data_channel_in_vain_, false))
        return true;
      absl::StatusOr<std::unique_ptr<SenderCall>> dialled =
          TryDataChannel(*identity, reply.data_channel_port());
      if (!dialled.ok()) {
        LogInfo("data_channel.unreachable", {{"peer", options_.address},
                                             {"port", reply.data_channel_port()},
                                             {"why", dialled.status()}});
        return true;
      }
      data_channel_port_ = reply.data_channel_port();
      channel = *std::move(dialled);
      return false;
    });
  }
  if (channel == nullptr) return;
  greeted_ = Converse(channel.get(), nullptr);
  // What lets a connection through and no stream is not tried twice in a row. Before the peer
  // was asked it may have come too early.
  data_channel_in_vain_ = !greeted_ && data_channel_asked_;
  if (!greeted_) data_channel_port_ = 0;
}

std::unique_ptr<StreamLink> ReplicationDialer::Dial(Strand* strand, StreamSender* sender,
                                                    std::function<replication::v1::Hello()> hello,
                                                    const Peer& peer) {
  return std::make_unique<ReplicationClient>(
      strand, sender, std::move(hello),
      ReplicationClient::Options{
          .address = peer.address,
          .server_role = peer.master_target ? Role::kMasterTarget : Role::kProcessServer,
          .data_channel_port = peer.data_channel_port,
          .beside = peer.beside,
          .identity = identity_});
}

absl::Status ReplicationEndpoint::StartDataChannel(const DataChannelOptions& options) {
  std::string address = options.data_channel_address;
  if (address == "none") return absl::OkStatus();
  if (address.empty()) {
    HW_ASSIGN_OR_RETURN(HostPort free, ParseHostPort(options.listen_address));
    free.port = 0;
    address = FormatHostPort(free);
  }
  HW_ASSIGN_OR_RETURN(data_channel_,
                      DataChannelServer::Start({.address = address,
                                                .callers = callers_,
                                                .identity = options.identity,
                                                .greeting_timeout = greeting_timeout_,
                                                .on_refused = [this] { ++refused_; }},
                                               find_));
  LogInfo("data_channel.listens", {{"address", address}, {"port", data_channel_->port()}});
  return absl::OkStatus();
}

void ReplicationEndpoint::Measure(Metrics* metrics) const {
  metrics->SetCounter("homeward_replication_refused_total",
                      "Connections and calls that never became a stream", {},
                      static_cast<double>(refused_));
  if (data_channel_ == nullptr) return;
  metrics->SetCounter("homeward_replication_beside_total",
                      "Streams whose encrypted content came past TLS", {},
                      static_cast<double>(data_channel_->beside_count()));
}

absl::StatusOr<HostedInbox> ReplicationEndpoint::Greet(grpc::ServerContext* context,
                                                       ReceiverCall* call,
                                                       UpstreamMessage* first) const {
  HW_RETURN_IF_ERROR(Authorize(*context, callers_).status());
  {
    const GreetingLimit limit(context, greeting_timeout_);
    if (!call->Read(first))
      return absl::DeadlineExceededError(
          "it ended, or said nothing for too long, before its hello");
  }
  if (!first->message.has_hello())
    return absl::InvalidArgumentError("the first message must be a hello");
  return find_(first->message.hello().machine_id());
}

grpc::Status ReplicationEndpoint::Replicate(
    grpc::ServerContext* context, grpc::ServerReaderWriter<Downstream, Upstream>* stream) {
  const std::string from = context->peer();  // an ended call names its peer no more
  GrpcReceiverCall call(context, stream);
  UpstreamMessage first;
  const absl::StatusOr<HostedInbox> host = Greet(context, &call, &first);
  if (!host.ok()) {
    ++refused_;
    LogWarn("replication.refused", {{"from", from}, {"why", host.status()}});
    return ToGrpc(host.status());
  }
  RunReceiver(*host, std::move(first), &call, data_channel_port());
  return grpc::Status::OK;
}

}  // namespace homeward
