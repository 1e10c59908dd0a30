// TlsSocket: one connection over TCP and TLS 1.3, certificates checked on both sides. For bulk
// data; what calls and answers goes over gRPC.
#ifndef HOMEWARD_COMMON_TLS_TLS_SOCKET_H_
#define HOMEWARD_COMMON_TLS_TLS_SOCKET_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/bytes.h"
#include "common/base/held_bytes.h"
#include "common/tls/identity.h"

namespace homeward {

// A connection. One thread may read while another writes; Shutdown() from any thread. UNAVAILABLE:
// the connection is over, whoever ended it.
class Socket {
 public:
  virtual ~Socket() = default;

  // Fills `out`. Blocks.
  virtual absl::Status Read(MutableBytes out) = 0;
  // Blocks until all of it is with the kernel.
  virtual absl::Status Write(ConstBytes bytes) = 0;
  // Ends reading and writing, here and there.
  virtual void Shutdown() = 0;
  // A Read() or a Hold() that waits longer than this ends the connection. Infinite at first.
  virtual void SetReadTimeout(absl::Duration timeout) = 0;

  // Reads up to `bytes` that stay with the kernel. Blocks until all of them are there, or it holds
  // no more of them. Null: it holds none here.
  virtual absl::StatusOr<std::unique_ptr<HeldBytes>> Hold(size_t) { return nullptr; }
  // As Write(), without copying them. False: nothing was written, since that cannot be. Requires:
  // the process ignores SIGPIPE, which a closed connection would send it here and nowhere else.
  virtual absl::StatusOr<bool> WriteHeld(const HeldBytes&) { return false; }
};

// Over TCP alone, for what is encrypted and vouched for elsewhere. UNAVAILABLE: nobody answers at
// `address` (host:port).
absl::StatusOr<std::unique_ptr<Socket>> ConnectWithoutTls(const std::string& address,
                                                          absl::Duration timeout);

class TlsSocket : public Socket {
 public:
  // Of the certificate on the other side.
  virtual const std::string& peer_host_id() const = 0;
  // The one of those offered that both sides took (ALPN).
  virtual const std::string& protocol() const = 0;
  // Bytes that the two ends of this connection have in common, and nobody else: of each purpose
  // others (RFC 8446, 7.5).
  virtual std::string SharedSecret(const std::string& purpose, size_t bytes) = 0;

  struct ConnectOptions {
    std::string address;                 // host:port
    std::vector<std::string> protocols;  // any of them is taken
    Role server_role = Role::kMasterTarget;
    absl::Duration timeout = absl::Seconds(3);
  };
  // UNAVAILABLE: nobody answers there, or it is somebody else.
  static absl::StatusOr<std::unique_ptr<TlsSocket>> Connect(const TlsIdentity& identity,
                                                            const ConnectOptions& options);
};

// Listens, and hands out connections whose handshake has not begun. Thread-safe.
class TlsListener {
 public:
  virtual ~TlsListener() = default;
  struct Options {
    std::string address;                 // host:port; port 0: one that is free
    std::vector<std::string> protocols;  // the first that is offered is taken
    std::vector<Role> callers;
  };
  // UNAVAILABLE: it cannot listen there.
  static absl::StatusOr<std::unique_ptr<TlsListener>> Listen(const Options& options);

  virtual uint32_t port() const = 0;
  // A connection that was taken and of which nothing is known yet.
  class Arrival {
   public:
    virtual ~Arrival() = default;
    virtual std::string address() const = 0;  // of who connects, for people
    // Whether it begins as TLS does. Blocks. UNAVAILABLE: nothing came within `timeout`.
    virtual absl::StatusOr<bool> BeginsTls(absl::Duration timeout) = 0;
    // PERMISSION_DENIED: a certificate, but not of one of the roles. UNAVAILABLE: no handshake
    // within `timeout`, or a failed one. Blocks. Once, and not with WithoutTls().
    virtual absl::StatusOr<std::unique_ptr<TlsSocket>> Handshake(const TlsIdentity& identity,
                                                                 absl::Duration timeout) = 0;
    // As it is. Nobody knows who it is.
    virtual std::unique_ptr<Socket> WithoutTls() = 0;
  };
  // Blocks. Null when Stop() was called.
  virtual std::unique_ptr<Arrival> Accept() = 0;
  virtual void Stop() = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_TLS_TLS_SOCKET_H_
