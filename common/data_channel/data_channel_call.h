// DataChannel calls: the replication protocol over a TLS connection of its own, with its own
// framing, for bulk data. Format: docs/formats/data_channel.md. gRPC is the way that always works;
// a data channel is offered there and costs a fraction of the processor time.
#ifndef HOMEWARD_COMMON_DATA_CHANNEL_DATA_CHANNEL_CALL_H_
#define HOMEWARD_COMMON_DATA_CHANNEL_DATA_CHANNEL_CALL_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/replication/stream_call.h"
#include "common/tls/tls_socket.h"

namespace homeward {

inline constexpr char kDataChannelProtocol[] = "homeward-lane/1";

// Frames over one socket. Threads as SenderCall.
class DataChannel {
 public:
  // `socket` outlives it.
  explicit DataChannel(TlsSocket* socket) : socket_(*socket) {}

  // `message` holds a serialised protobuf; `batch` a batch that is not verified. One of them is
  // empty. UNAVAILABLE: the connection is over. INVALID_ARGUMENT: not a frame, or too long a one.
  struct Frame {
    std::string message;
    SealedBatch batch;
  };
  absl::Status Read(Frame* frame);
  absl::Status Write(const std::string& message);
  absl::Status Write(const SealedBatch& batch);

 private:
  absl::Status WriteFrame(uint16_t kind, uint32_t head_bytes, absl::string_view body);
  TlsSocket& socket_;
};

// Calls a data channel. Blocks until it is connected. UNAVAILABLE: it cannot be reached.
absl::StatusOr<std::unique_ptr<SenderCall>> DialDataChannel(const TlsIdentity& identity,
                                                            const std::string& address,
                                                            Role server_role);

// Takes calls of a process server or a master target, each on a thread of its own.
class DataChannelServer {
 public:
  struct Options {
    std::string address;  // host:port; port 0: one that is free
    std::vector<Role> callers;
    // Read anew for each call.
    std::function<absl::StatusOr<TlsIdentity>()> identity;
    size_t calls_max = 1024;
    absl::Duration greeting_timeout = absl::Seconds(5);  // handshake, then hello
    // Told of each connection that never became a stream, from any thread.
    std::function<void()> on_refused = [] {};
  };
  // Where the machine's stream is received.
  using Find = std::function<absl::StatusOr<HostedInbox>(const std::string& machine_id)>;
  static absl::StatusOr<std::unique_ptr<DataChannelServer>> Start(Options options, Find find);
  // Ends all calls.
  virtual ~DataChannelServer() = default;
  virtual uint32_t port() const = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_DATA_CHANNEL_DATA_CHANNEL_CALL_H_
