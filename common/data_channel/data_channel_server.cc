#include <atomic>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
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
  // Both outlive it.
  DataChannelReceiverCall(TlsSocket* socket, BesidePlace* beside,
                          const DataChannelServer::Options& options)
      : socket_(*socket),
        beside_(*beside),
        data_channel_(socket, {.beside =
                                   [beside, timeout = options.greeting_timeout] {
                                     return beside->Await(timeout);
                                   },
                               .beside_time = options.beside_time}),
        silence_max_(options.silence_max) {
    data_channel_.SetReadTimeouts(options.greeting_timeout, options.greeting_timeout);
  }
  absl::Duration quiet_max() const override { return QuietMax(silence_max_); }
  // Who calls has said hello.
  void Greet(const replication::v1::Hello& hello) {
    data_channel_.SetReadTimeouts(SilenceMax(hello.version_minor(), silence_max_), kFrameTime);
  }
  void SetPassesOn(bool passes_on) { data_channel_.SetPassesOn(passes_on); }
  bool Read(UpstreamMessage* message) override { return Receive(message).ok(); }
  absl::Status Receive(UpstreamMessage* message) {
    DataChannel::Frame frame;
    const absl::Status read = data_channel_.Read(&frame);
    if (absl::IsAborted(read) && !cancelled_)
      LogWarn("data_channel.lost_beside", {{"host", socket_.peer_host_id()}, {"why", read}});
    HW_RETURN_IF_ERROR(read);
    message->batch = std::move(frame.batch);
    if (message->batch.empty() && !message->message.ParseFromString(frame.message))
      return absl::InvalidArgumentError("a message that is none");
    return absl::OkStatus();
  }
  bool Write(const Downstream& message) override {
    return data_channel_.Write(message.SerializeAsString()).ok();
  }
  void Cancel() override {
    cancelled_ = true;
    socket_.Shutdown();
    beside_.Shutdown();
  }

 private:
  TlsSocket& socket_;
  BesidePlace& beside_;
  DataChannel data_channel_;
  const absl::Duration silence_max_;
  std::atomic<bool> cancelled_{false};
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
        if (call.receiver != nullptr) call.receiver->Cancel();
      }
    }
    for (Served& call : calls_) call.thread.join();
  }

  uint32_t port() const override { return listener_->port(); }
  uint64_t beside_count() const override { return beside_count_; }

 private:
  struct Served {
    std::unique_ptr<TlsListener::Arrival> arrival;
    std::thread thread;
    ReceiverCall* receiver = nullptr;  // while it can be cancelled; guarded by mutex_
    bool ended = false;                // guarded by mutex_
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

  // Not OK: it never became a stream, or part of one.
  absl::Status Serve(Served* call) {
    HW_ASSIGN_OR_RETURN(const bool tls, call->arrival->BeginsTls(options_.greeting_timeout));
    if (!tls) return ServeBeside(call->arrival.get());
    HW_ASSIGN_OR_RETURN(const TlsIdentity identity, options_.identity());
    HW_ASSIGN_OR_RETURN(const std::unique_ptr<TlsSocket> socket,
                        call->arrival->Handshake(identity, options_.greeting_timeout));
    const auto beside = std::make_shared<BesidePlace>();
    DataChannelReceiverCall receiver(socket.get(), beside.get(), options_);
    const std::string token =
        socket->protocol() == kDataChannelBesideProtocol ? BesideToken(socket.get()) : "";
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return absl::OkStatus();
      call->receiver = &receiver;
      if (!token.empty()) places_[token] = beside;
    }
    const absl::Status served = Converse(&receiver);
    beside->Shutdown();
    absl::MutexLock lock(&mutex_);
    call->receiver = nullptr;
    places_.erase(token);
    return served;
  }
  absl::Status Converse(DataChannelReceiverCall* receiver) {
    UpstreamMessage first;
    HW_RETURN_IF_ERROR(receiver->Receive(&first));
    if (!first.message.has_hello())
      return absl::InvalidArgumentError("the first message must be a hello");
    receiver->Greet(first.message.hello());
    const absl::StatusOr<HostedInbox> host = find_(first.message.hello().machine_id());
    if (!host.ok()) return host.status();
    receiver->SetPassesOn(host->passes_on);
    RunReceiver(*host, std::move(first), receiver, /*data_channel_port=*/0);
    return absl::OkStatus();
  }
  // Anybody may connect so. Who does not know a token that nobody used is sent away.
  absl::Status ServeBeside(TlsListener::Arrival* arrival) {
    std::unique_ptr<Socket> socket = arrival->WithoutTls();
    socket->SetReadTimeout(options_.greeting_timeout);
    std::string greeting(kBesideGreeting.size(), '\0'), token(kBesideTokenBytes, '\0');
    HW_RETURN_IF_ERROR(socket->Read(Writable(&greeting)));
    if (greeting != kBesideGreeting) return absl::InvalidArgumentError("it does not speak TLS");
    HW_RETURN_IF_ERROR(socket->Read(Writable(&token)));
    std::shared_ptr<BesidePlace> place;
    {
      // Its data channel's handshake may end here after it ended there.
      absl::MutexLock lock(&mutex_);
      const auto known = [&] {
        mutex_.AssertReaderHeld();
        return stopping_ || places_.count(token) > 0;
      };
      mutex_.AwaitWithTimeout(absl::Condition(&known), options_.greeting_timeout);
      const auto found = places_.find(token);
      if (found == places_.end())
        return absl::PermissionDeniedError("it belongs to no data channel that waits for it");
      place = std::move(found->second);
      places_.erase(found);
    }
    HW_RETURN_IF_ERROR(socket->Write(AsBytes(kBesideAnswer)));
    ++beside_count_;
    place->Put(std::move(socket));
    LogInfo("data_channel.beside", {{"from", arrival->address()}});
    return absl::OkStatus();
  }

  const Options options_;
  const std::unique_ptr<TlsListener> listener_;
  const Find find_;
  std::atomic<uint64_t> beside_count_{0};
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::list<Served> calls_;  // added to and removed from on thread_ only
  // Of data channels beside which nobody has connected yet, by their tokens.
  absl::flat_hash_map<std::string, std::shared_ptr<BesidePlace>> places_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // last: starts when all above is there
};

}  // namespace

absl::StatusOr<std::unique_ptr<DataChannelServer>> DataChannelServer::Start(Options options,
                                                                            Find find) {
  HW_ASSIGN_OR_RETURN(std::unique_ptr<TlsListener> listener,
                      TlsListener::Listen({.address = options.address,
                                           .protocols = options.protocols,
                                           .callers = options.callers}));
  return std::make_unique<ThreadedDataChannelServer>(std::move(options), std::move(listener),
                                                     std::move(find));
}

}  // namespace homeward
