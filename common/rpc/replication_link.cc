#include "common/rpc/replication_link.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/synchronization/notification.h"
#include "common/log/log.h"
#include "common/rpc/credentials.h"
#include "common/rpc/queued_writer.h"

namespace homeward {

using replication::v1::Downstream;
using replication::v1::ReplicationService;
using replication::v1::Upstream;

ReplicationClient::ReplicationClient(Strand* strand, StreamSender* sender,
                                     std::function<replication::v1::Hello()> hello, Options options)
    : strand_(*strand),
      sender_(*sender),
      hello_(std::move(hello)),
      options_(std::move(options)),
      thread_([this] { Run(); }) {}

ReplicationClient::~ReplicationClient() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    if (context_ != nullptr) context_->TryCancel();
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

void ReplicationClient::RunOnce() {
  greeted_ = false;
  const absl::StatusOr<TlsIdentity> identity = options_.identity();
  if (!identity.ok()) return LogError("identity.unreadable", {{"error", identity.status()}});
  const auto stub =
      ReplicationService::NewStub(MakeChannel(options_.address, options_.server_role, *identity));
  grpc::ClientContext context;
  {
    absl::MutexLock lock(&mutex_);
    if (stopping_) return;
    context_ = &context;
  }
  const auto stream = stub->Replicate(&context);
  {
    using Stream = grpc::ClientReaderWriter<Upstream, Downstream>;
    QueuedWriter<Upstream, Stream> writer(stream.get(), [] {});
    class Link : public UpstreamLink {
     public:
      Link(QueuedWriter<Upstream, Stream>* writer, grpc::ClientContext* context)
          : writer_(*writer), context_(*context) {}
      void Send(Upstream message) override { writer_.Write(std::move(message)); }
      void Close() override { context_.TryCancel(); }

     private:
      QueuedWriter<Upstream, Stream>& writer_;
      grpc::ClientContext& context_;
    } link(&writer, &context);
    strand_.Run([&] { sender_.Connect(&link, hello_()); });
    auto message = std::make_shared<Downstream>();
    while (stream->Read(message.get())) {
      greeted_ = greeted_ || message->has_hello_reply();
      strand_.Post([this, message] { sender_.OnMessage(*message); });
      message = std::make_shared<Downstream>();
    }
    strand_.Run([&] { sender_.Disconnect(); });
    context.TryCancel();  // A write that still waits must not hold us.
  }
  stream->Finish();
  absl::MutexLock lock(&mutex_);
  context_ = nullptr;
}

std::unique_ptr<StreamLink> ReplicationDialer::Dial(Strand* strand, StreamSender* sender,
                                                    std::function<replication::v1::Hello()> hello,
                                                    const Peer& peer) {
  return std::make_unique<ReplicationClient>(
      strand, sender, std::move(hello),
      ReplicationClient::Options{
          .address = peer.address,
          .server_role = peer.master_target ? Role::kMasterTarget : Role::kProcessServer,
          .identity = identity_});
}

grpc::Status ReplicationEndpoint::Replicate(
    grpc::ServerContext* context, grpc::ServerReaderWriter<Downstream, Upstream>* stream) {
  const absl::StatusOr<std::string> caller = Authorize(*context, callers_);
  if (!caller.ok()) return ToGrpc(caller.status());
  auto message = std::make_shared<Upstream>();
  if (!stream->Read(message.get())) return grpc::Status::OK;
  if (!message->has_hello())
    return ToGrpc(absl::InvalidArgumentError("the first message must be a hello"));
  const absl::StatusOr<HostedInbox> host = find_(message->hello().machine_id());
  if (!host.ok()) return ToGrpc(host.status());

  using Stream = grpc::ServerReaderWriter<Downstream, Upstream>;
  // A refusal ends the call, and the client closes it then. One that does not is cut off.
  constexpr absl::Duration kGrace = absl::Seconds(2);
  absl::Notification read_ended;
  QueuedWriter<Downstream, Stream> writer(stream, [context, &read_ended, kGrace] {
    if (!read_ended.WaitForNotificationWithTimeout(kGrace)) context->TryCancel();
  });
  class Link : public DownstreamLink {
   public:
    explicit Link(QueuedWriter<Downstream, Stream>* writer) : writer_(*writer) {}
    void Send(Downstream message) override { writer_.Write(std::move(message)); }
    void Close() override { writer_.End(); }

   private:
    QueuedWriter<Downstream, Stream>& writer_;
  } link(&writer);
  StreamReceiver receiver(host->inbox, &link);
  Strand& strand = *host->strand;
  strand.Run([&] {
    if (host->attach) host->attach(&receiver);
  });
  do {
    strand.Post([&receiver, &strand, message] {
      if (receiver.OnMessage(std::move(*message))) strand.Post([&receiver] { receiver.Flush(); });
    });
    message = std::make_shared<Upstream>();
  } while (stream->Read(message.get()));
  read_ended.Notify();
  // The first wait lets a flush be posted, the second lets it run: nothing refers to the receiver
  // any more.
  strand.Run([] {});
  strand.Run([&] {
    if (host->release) host->release(&receiver);
  });
  return grpc::Status::OK;
}

}  // namespace homeward
