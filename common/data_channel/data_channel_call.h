// DataChannel calls: the replication protocol over a TLS connection of its own, with its own
// framing, for bulk data. Format: docs/formats/data_channel.md. gRPC is the way that always works;
// a data channel is offered there and costs a fraction of the processor time.
#ifndef HOMEWARD_COMMON_DATA_CHANNEL_DATA_CHANNEL_CALL_H_
#define HOMEWARD_COMMON_DATA_CHANNEL_DATA_CHANNEL_CALL_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/data_channel/beside.h"
#include "common/replication/stream_call.h"
#include "common/tls/tls_socket.h"

namespace homeward {

inline constexpr char kDataChannelProtocol[] = "homeward-lane/1";
// As before, and what is encrypted may go beside it.
inline constexpr char kDataChannelBesideProtocol[] = "homeward-lane/3";

// Frames over one socket. Threads as SenderCall.
class DataChannel {
 public:
  // Where what comes beside it is read.
  using Beside = std::function<absl::StatusOr<Socket*>()>;
  struct Reading {
    Beside beside;
    // For 256 KiB of what is read there. Who sends is not waited for longer, and is alive on the
    // data channel.
    absl::Duration beside_time = absl::Seconds(60);
  };
  // `socket` outlives it.
  explicit DataChannel(TlsSocket* socket) : DataChannel(socket, Reading()) {}
  DataChannel(TlsSocket* socket, Reading reading)
      : socket_(*socket), reading_(std::move(reading)) {}

  // `message` holds a serialised protobuf; `batch` a batch that is not verified. One of them is
  // empty. UNAVAILABLE: the connection is over, or none came beside it. ABORTED: the one beside
  // it is over, or stood still. INVALID_ARGUMENT: not a frame, or too long a one.
  struct Frame {
    std::string message;
    SealedBatch batch;
  };
  absl::Status Read(Frame* frame);
  // How long Read() waits for the beginning of a frame, and then for the rest of it. Infinite at
  // first. The reader's.
  void SetReadTimeouts(absl::Duration beginning, absl::Duration rest) {
    beginning_timeout_ = beginning;
    rest_timeout_ = rest;
  }
  // Whether what comes beside it is for somebody else, and need not come to memory. The reader's.
  void SetPassesOn(bool passes_on) { passes_on_ = passes_on; }
  absl::Status Write(const std::string& message);
  absl::Status Write(const SealedBatch& batch);
  // Its payload goes over `beside`. Requires: PayloadIsEncrypted().
  absl::Status WriteBeside(const SealedBatch& batch, Socket* beside);

 private:
  struct FrameHeader;
  absl::Status WriteFrame(const FrameHeader& header, absl::string_view body);
  absl::Status ReadBeside(const FrameHeader& header, Frame* frame);
  absl::StatusOr<SealedBatch> ReadPayload(std::string head, size_t bytes, Socket* beside);
  TlsSocket& socket_;
  const Reading reading_;
  absl::Duration beginning_timeout_ = absl::InfiniteDuration();
  absl::Duration rest_timeout_ = absl::InfiniteDuration();
  bool passes_on_ = false;
};

// Both ends of a call show that they are there: who has nothing to say says an empty message after
// a quarter of this, and who hears nothing for all of it ends the call. TCP cannot tell: what
// answers its probes may be a proxy, whose other side is dead.
inline constexpr absl::Duration kSilenceMax = absl::Seconds(20);
// As long as a frame may take once it has begun: 1 MiB at 4 KiB/s.
inline constexpr absl::Duration kFrameTime = absl::Minutes(4);
inline absl::Duration QuietMax(absl::Duration silence_max) { return silence_max / 4; }
// Of a peer that says in its hello, or in the reply to one, that it is of `version_minor`.
inline absl::Duration SilenceMax(uint32_t version_minor, absl::Duration silence_max) {
  return version_minor >= kShowsLifeSinceMinor ? silence_max : absl::InfiniteDuration();
}

struct DataChannelPeer {
  std::string address;  // host:port
  Role role = Role::kMasterTarget;
  // When to connect beside it. Null: never. Outlives the call.
  BesideTrials* beside = nullptr;
  absl::Duration silence_max = kSilenceMax;
};
// Calls a data channel. Blocks until it is connected. UNAVAILABLE: it cannot be reached.
absl::StatusOr<std::unique_ptr<SenderCall>> DialDataChannel(const TlsIdentity& identity,
                                                            const DataChannelPeer& peer);

// Takes calls of a process server or a master target, each on a thread of its own.
class DataChannelServer {
 public:
  struct Options {
    std::string address;  // host:port; port 0: one that is free
    std::vector<Role> callers;
    // Read anew for each call.
    std::function<absl::StatusOr<TlsIdentity>()> identity;
    std::vector<std::string> protocols = {kDataChannelBesideProtocol, kDataChannelProtocol};
    size_t calls_max = 1024;
    absl::Duration greeting_timeout = absl::Seconds(5);  // handshake, then hello
    absl::Duration beside_time = absl::Seconds(60);      // as DataChannel's
    absl::Duration silence_max = kSilenceMax;
    // Told of each connection that never became a stream, from any thread.
    std::function<void()> on_refused = [] {};
  };
  // Where the machine's stream is received.
  using Find = std::function<absl::StatusOr<HostedInbox>(const std::string& machine_id)>;
  static absl::StatusOr<std::unique_ptr<DataChannelServer>> Start(Options options, Find find);
  // Ends all calls.
  virtual ~DataChannelServer() = default;
  virtual uint32_t port() const = 0;
  // Connections that came beside a data channel and were taken.
  virtual uint64_t beside_count() const = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_DATA_CHANNEL_DATA_CHANNEL_CALL_H_
