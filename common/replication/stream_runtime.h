// StreamRuntime: what a component that keeps streams runs on. Replaced as a whole under simulation.
#ifndef HOMEWARD_COMMON_REPLICATION_STREAM_RUNTIME_H_
#define HOMEWARD_COMMON_REPLICATION_STREAM_RUNTIME_H_

#include <functional>
#include <memory>
#include <string>

#include "common/clock/clock.h"
#include "common/exec/strand.h"
#include "common/os/file_system.h"
#include "common/replication/stream_receiver.h"
#include "common/replication/stream_sender.h"

namespace homeward {

// Connects a StreamSender at once and, with a growing, jittered delay, again whenever the
// connection ends. Thread-safe.
class StreamLink {
 public:
  // Blocks until the connection has ended and nothing of it runs on the strand. Not from the strand
  // itself.
  virtual ~StreamLink() = default;
};

// Thread-safe.
class StreamDialer {
 public:
  virtual ~StreamDialer() = default;
  struct Peer {
    std::string address;         // host:port
    bool master_target = false;  // otherwise a process server
    // Of its data channel, on the same host. 0: it is asked for. A wrong one costs a try.
    uint32_t data_channel_port = 0;
    // Encrypted content may go beside TLS: what was changed there is found out before it is kept,
    // and comes again from here, or by way of here.
    bool beside = false;
  };
  // `hello` is called on `strand`. Strand, sender and what `hello` uses outlive the link.
  virtual std::unique_ptr<StreamLink> Dial(Strand* strand, StreamSender* sender,
                                           std::function<replication::v1::Hello()> hello,
                                           const Peer& peer) = 0;
};

// Where a machine's stream is received. Everything in it lives until `release` was called.
struct HostedInbox {
  Strand* strand = nullptr;
  Inbox* inbox = nullptr;
  std::function<void(StreamReceiver*)>
      attach;  // on the strand, once its hello was admitted; may be empty
  std::function<void(StreamReceiver*)>
      release;                       // on the strand, after the last message; may be empty
  std::shared_ptr<void> keep_alive;  // held by the call: strand and inbox live as long
  // What is encrypted is for somebody else, and need not come to memory.
  bool passes_on = false;
};

// Copied freely; what it refers to outlives every copy.
struct StreamRuntime {
  FileSystem& files;
  const Clock& clock;
  std::function<std::unique_ptr<Strand>(const std::string& name)> make_strand;
  StreamDialer* dialer = nullptr;  // null where streams only end
  // Told what jobs wait for, once it can be observed. From any thread; must not block.
  std::function<void()> on_news = [] {};
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_REPLICATION_STREAM_RUNTIME_H_
