#include <list>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/data_channel/data_channel_call.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

using replication::v1::Downstream;
using replication::v1::Upstream;

class DataChannelReceiverCall : public ReceiverCall {
 public:
  explicit DataChannelReceiverCall(TlsSocket* socket) : socket_(*socket), data_channel_(socket) {}
  bool Read(UpstreamMessage* message) override { return Receive(message).ok(); }
  absl::Status Receive(UpstreamMessage* message) {
    DataChannel::Frame frame;
    HW_RETURN_IF_ERROR(data_channel_.Read(&frame));
    message->batch = std::move(frame.batch);
    if (message->batch.empty() && !message->message.ParseFromString(frame.message))
      return absl::InvalidArgumentError("a message that is none");
    return absl::OkStatus();
  }
  bool Write(const Downstream& message) override {
    return data_channel_.Write(message.SerializeAsString()).ok();
  }
  void Cancel() override { socket_.Shutdown(); }

 private:
  TlsSocket& socket_;
  DataChannel data_channel_;
};

class ThreadedDataChannelServer : public DataChannelServer {
 public:
  ThreadedDataChannelServer(Options options, std::unique_ptr<TlsListener> listener, Find find)
      : options_(std::move(options)),
        listener_(std::move(listener)),
        find_(std::move(find)),
        thread_([this] { Run(); }) {}

  ~ThreadedDataChannelServer() override {
    listener_->Stop();
    thread_.join();
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
      for (Served& call : calls_) {
        if (call.socket != nullptr) call.socket->Shutdown();
      }
    }
    for (Served& call : calls_) call.thread.join();
  }

  uint32_t port() const override { return listener_->port(); }

 private:
  struct Served {
    std::unique_ptr<TlsListener::Arrival> arrival;
    std::thread thread;
    TlsSocket* socket = nullptr;  // while it can be shut down; guarded by mutex_
    bool ended = false;           // guarded by mutex_
  };

  void Run() {
    while (std::unique_ptr<TlsListener::Arrival> arrival = listener_->Accept()) {
      Reap();
      if (calls_.size() >= options_.calls_max) {
        options_.on_refused();
        LogWarn("data_channel.too_many_calls",
                {{"from", arrival->address()}, {"calls", calls_.size()}});
        continue;
      }
      absl::MutexLock lock(&mutex_);
      Served& call = calls_.emplace_back();
      call.arrival = std::move(arrival);
      call.thread = std::thread([this, &call] {
        const absl::Status served = Serve(&call);
        if (!served.ok()) {
          options_.on_refused();
          LogWarn("data_channel.refused", {{"from", call.arrival->address()}, {"why", served}});
        }
        absl::MutexLock lock(&mutex_);
        call.ended = true;
      });
    }
  }
  void Reap() {
    std::list<Served> ended;
    {
      absl::MutexLock lock(&mutex_);
      for (auto it = calls_.begin(); it != calls_.end();) {
        const auto next = std::next(it);
        if (it->ended) ended.splice(ended.end(), calls_, it);
        it = next;
      }
    }
    for (Served& call : ended) call.thread.join();
  }

  // Not OK: it never became a stream.
  absl::Status Serve(Served* call) {
    HW_ASSIGN_OR_RETURN(const TlsIdentity identity, options_.identity());
    HW_ASSIGN_OR_RETURN(const std::unique_ptr<TlsSocket> socket,
                        call->arrival->Handshake(identity, options_.greeting_timeout));
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return absl::OkStatus();
      call->socket = socket.get();
    }
    const absl::Status served = Converse(socket.get());
    absl::MutexLock lock(&mutex_);
    call->socket = nullptr;
    return served;
  }
  absl::Status Converse(TlsSocket* socket) {
    DataChannelReceiverCall receiver(socket);
    socket->SetReadTimeout(options_.greeting_timeout);
    UpstreamMessage first;
    HW_RETURN_IF_ERROR(receiver.Receive(&first));
    if (!first.message.has_hello())
      return absl::InvalidArgumentError("the first message must be a hello");
    socket->SetReadTimeout(absl::InfiniteDuration());
    const absl::StatusOr<HostedInbox> host = find_(first.message.hello().machine_id());
    if (!host.ok()) return host.status();
    RunReceiver(*host, std::move(first), &receiver, /*data_channel_port=*/0);
    return absl::OkStatus();
  }

  const Options options_;
  const std::unique_ptr<TlsListener> listener_;
  const Find find_;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::list<Served> calls_;  // added to and removed from on thread_ only
  std::thread thread_;       // last: starts when all above is there
};

}  // namespace

absl::StatusOr<std::unique_ptr<DataChannelServer>> DataChannelServer::Start(Options options,
                                                                            Find find) {
  HW_ASSIGN_OR_RETURN(std::unique_ptr<TlsListener> listener,
                      TlsListener::Listen({.address = options.address,
                                           .protocol = kDataChannelProtocol,
                                           .callers = options.callers}));
  return std::make_unique<ThreadedDataChannelServer>(std::move(options), std::move(listener),
                                                     std::move(find));
}

}  // namespace homeward
