#include "common/replication/stream_call.h"

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/replication/queued_writer.h"

namespace homeward {
namespace {

using replication::v1::Downstream;
using replication::v1::Upstream;

// More than any window: only a sender that ignores its credit gets here.
constexpr uint64_t kUnhandledBytesMax = 24 * kMiB;

// How much was read and waits for the strand.
class Unhandled {
 public:
  void Add(uint64_t bytes) {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &Unhandled::HasRoom));
    bytes_ += bytes;
  }
  void Remove(uint64_t bytes) {
    absl::MutexLock lock(&mutex_);
    bytes_ -= bytes;
  }

 private:
  bool HasRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return bytes_ <= kUnhandledBytesMax;
  }
  absl::Mutex mutex_;
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

class SenderLink : public UpstreamLink {
 public:
  explicit SenderLink(SenderCall* call)
      : call_(*call),
        writer_(
            call, [] {}, call->quiet_max()) {}
  void Send(Upstream message) override { writer_.Write({std::move(message), {}}); }
  void SendBatch(SealedBatch batch) override { writer_.Write({{}, std::move(batch)}); }
  void Close() override { call_.Cancel(); }

 private:
  SenderCall& call_;
  QueuedWriter<UpstreamMessage, SenderCall> writer_;
};

class ReceiverLink : public DownstreamLink {
 public:
  // A refusal ends the call, and the sender closes it then. One that does not is cut off.
  explicit ReceiverLink(ReceiverCall* call)
      : writer_(
            call,
            [this, call] {
              if (!read_ended_.WaitForNotificationWithTimeout(absl::Seconds(2))) call->Cancel();
            },
            call->quiet_max()) {}
  void Send(Downstream message) override { writer_.Write(std::move(message)); }
  void Close() override { writer_.End(); }
  void NoteReadEnded() { read_ended_.Notify(); }

 private:
  absl::Notification read_ended_;
  QueuedWriter<Downstream, ReceiverCall> writer_;
};

}  // namespace

bool RunSender(Strand* strand, StreamSender* sender,
               const std::function<replication::v1::Hello()>& hello, SenderCall* call,
               const std::function<bool(const replication::v1::HelloReply&)>& take) {
  bool greeted = false;
  SenderLink link(call);
  strand->Run([&] { sender->Connect(&link, hello()); });
  auto message = std::make_shared<Downstream>();
  while (call->Read(message.get())) {
    if (message->has_hello_reply()) {
      if (take && !take(message->hello_reply())) break;
      greeted = true;
    }
    strand->Post([sender, message] { sender->OnMessage(*message); });
    message = std::make_shared<Downstream>();
  }
  strand->Run([&] { sender->Disconnect(); });
  call->Cancel();  // A write that still waits must not hold us.
  return greeted;
}

void RunReceiver(const HostedInbox& host, UpstreamMessage first, ReceiverCall* call,
                 uint32_t data_channel_port) {
  ReceiverLink link(call);
  StreamReceiver receiver(host.inbox, &link, data_channel_port);
  Strand& strand = *host.strand;
  Unhandled unhandled;
  auto message = std::make_shared<UpstreamMessage>(std::move(first));
  do {
    const uint64_t bytes = message->batch.size() + message->message.ByteSizeLong();
    unhandled.Add(bytes);
    strand.Post([&host, &receiver, &strand, &unhandled, bytes, message] {
      const bool greeted = receiver.greeted();
      const bool flush = message->batch.empty() ? receiver.OnMessage(std::move(message->message))
                                                : receiver.OnBatch(std::move(message->batch));
      unhandled.Remove(bytes);
      // Who is refused takes nobody's place.
      if (receiver.greeted() && !greeted && host.attach) host.attach(&receiver);
      if (flush) strand.Post([&receiver] { receiver.Flush(); });
    });
    message = std::make_shared<UpstreamMessage>();
  } while (call->Read(message.get()));
  link.NoteReadEnded();
  // The first wait lets a flush be posted, the second lets it run: nothing refers to the receiver
  // any more.
  strand.Run([] {});
  strand.Run([&] {
    if (host.release) host.release(&receiver);
  });
}

}  // namespace homeward
