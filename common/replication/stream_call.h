// StreamCall: the threads of one call of the replication protocol, whatever carries it. A thread
// reads, another writes, and what was received is handled on a strand.
#ifndef HOMEWARD_COMMON_REPLICATION_STREAM_CALL_H_
#define HOMEWARD_COMMON_REPLICATION_STREAM_CALL_H_

#include <functional>

#include "common/replication/stream_runtime.h"

namespace homeward {

// What goes up: a message, or a batch where `batch` is not empty.
struct UpstreamMessage {
  replication::v1::Upstream message;
  SealedBatch batch;
};

// The sender's end of a call. One thread reads, one writes, any may cancel.
class SenderCall {
 public:
  virtual ~SenderCall() = default;
  // When there is nothing to say for so long, an empty message is written, so that the other end
  // can tell a quiet call from a dead one. Infinite: what carries the call sees to that.
  virtual absl::Duration quiet_max() const { return absl::InfiniteDuration(); }
  // Both block; false: the call is over.
  virtual bool Read(replication::v1::Downstream* message) = 0;
  virtual bool Write(const UpstreamMessage& message) = 0;
  // What blocks returns soon.
  virtual void Cancel() = 0;
};

// The receiver's end, likewise.
class ReceiverCall {
 public:
  virtual ~ReceiverCall() = default;
  virtual absl::Duration quiet_max() const { return absl::InfiniteDuration(); }
  virtual bool Read(UpstreamMessage* message) = 0;
  virtual bool Write(const replication::v1::Downstream& message) = 0;
  virtual void Cancel() = 0;
};

// Sends until the call is over. Blocks. `take` looks at the hello's reply first; when it says
// false, the sender never sees that reply and the call ends. True: the receiver took the stream.
bool RunSender(Strand* strand, StreamSender* sender,
               const std::function<replication::v1::Hello()>& hello, SenderCall* call,
               const std::function<bool(const replication::v1::HelloReply&)>& take = nullptr);

// Receives until the call is over. Blocks. `first` holds the hello. `data_channel_port`: see
// HelloReply. What was read and not handled yet is bounded: a sender that ignores its credit waits.
void RunReceiver(const HostedInbox& host, UpstreamMessage first, ReceiverCall* call,
                 uint32_t data_channel_port);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_REPLICATION_STREAM_CALL_H_
