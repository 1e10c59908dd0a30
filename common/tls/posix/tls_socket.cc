#include "common/tls/tls_socket.h"

#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "common/base/check.h"
#include "common/os/posix/unique_fd.h"
#include "common/os/posix/wake_pipe.h"
#include "common/status/status_macros.h"
#include "common/tls/openssl.h"
#include "common/tls/posix/tcp.h"
#include "common/tls/posix/tcp_options.h"
#include "common/tls/posix/tcp_socket.h"
#include "common/tls/tls_context.h"

namespace homeward {
namespace {

// Measured: records gathered to this many bytes for each send, and read in such pieces, cost a
// third less than one call of the kernel for each record, and larger ones leave the cache.
constexpr size_t kGatherBytes = 64 * kKiB;
constexpr size_t kRecordBytesMax = 17 * kKiB;

using Session = std::unique_ptr<SSL, openssl::Freer<SSL_free>>;

std::string SslError() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "the connection was closed";
  char text[160];
  ERR_error_string_n(code, text, sizeof(text));
  return text;
}

// OpenSSL writes its records here; they leave the process in one piece.
class Gathered {
 public:
  static int Write(BIO* bio, const char* bytes, int length) {
    static_cast<Gathered*>(BIO_get_data(bio))->bytes_.append(bytes, static_cast<size_t>(length));
    return length;
  }
  static long Control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }
  BIO* MakeBio() {
    static BIO_METHOD* const method = [] {
      BIO_METHOD* const made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "gathered");
      BIO_meth_set_write(made, &Gathered::Write);
      BIO_meth_set_ctrl(made, &Gathered::Control);
      return made;
    }();
    BIO* const bio = BIO_new(method);
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    return bio;
  }
  // Their memory changes places with that of `out`.
  void TakeInto(std::string* out) {
    out->clear();
    bytes_.swap(*out);
  }

 private:
  std::string bytes_;
};

class OpenTlsSocket : public TlsSocket {
 public:
  OpenTlsSocket(UniqueFd fd, std::shared_ptr<const TlsContext> context)
      : fd_(std::move(fd)), context_(std::move(context)), ssl_(SSL_new(context_->get())) {
    SSL_set_read_ahead(ssl_.get(), 1);
    SSL_set_default_read_buffer_len(ssl_.get(), kGatherBytes);
    SSL_set0_rbio(ssl_.get(), BIO_new_socket(fd_.get(), BIO_NOCLOSE));
    SSL_set0_wbio(ssl_.get(), gathered_.MakeBio());
  }
  SSL* ssl() { return ssl_.get(); }

  absl::Status Handshake(bool server, absl::Duration timeout) {
    const absl::Duration end = tcp::EndOf(timeout);
    while (true) {
      const int done = server ? SSL_accept(ssl_.get()) : SSL_connect(ssl_.get());
      const int why = SSL_get_error(ssl_.get(), done);
      const absl::Status sent = Send(end);
      if (done == 1) {
        NoteProtocol();
        return sent;
      }
      if (why != SSL_ERROR_WANT_READ)
        return absl::UnavailableError(absl::StrCat("TLS handshake: ", SslError()));
      HW_RETURN_IF_ERROR(sent);
      if (!tcp::Await(fd_, POLLIN, end))
        return absl::UnavailableError("TLS handshake: no answer in time");
    }
  }
  // Whether the other side's certificate is of one of the roles; notes its host id.
  bool Knows(const std::vector<Role>& roles) {
    const openssl::Certificate certificate(SSL_get1_peer_certificate(ssl_.get()));
    if (certificate == nullptr) return false;
    char name[256] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate.get()), NID_commonName, name,
                              sizeof(name));
    peer_host_id_ = name;
    return std::any_of(roles.begin(), roles.end(), [&](Role role) {
      const std::string dns = RoleDnsName(role);
      return X509_check_host(certificate.get(), dns.data(), dns.size(), 0, nullptr) == 1;
    });
  }

  absl::Status Read(MutableBytes out) override {
    const absl::Duration end = read_timeout_.End();
    while (!out.empty()) {
      size_t count = 0;
      int why = SSL_ERROR_NONE;
      std::string error;
      {
        absl::MutexLock lock(&mutex_);
        // An error that is left over from elsewhere on this thread would be taken for this call's.
        ERR_clear_error();
        const int done = SSL_read_ex(ssl_.get(), out.data(), out.size(), &count);
        if (done != 1) why = SSL_get_error(ssl_.get(), done);
        if (why != SSL_ERROR_NONE && why != SSL_ERROR_WANT_READ) error = SslError();
      }
      out.remove_prefix(count);
      if (why == SSL_ERROR_NONE) continue;
      if (why != SSL_ERROR_WANT_READ) return absl::UnavailableError(error);
      // OpenSSL may hold a part of one record.
      wake_size_.Set(fd_, out.size() < kRecordBytesMax ? 1 : out.size() - kRecordBytesMax);
      if (!tcp::Await(fd_, POLLIN, end))
        return absl::UnavailableError("nothing was received in time");
    }
    return absl::OkStatus();
  }

  absl::Status Write(ConstBytes bytes) override {
    while (!bytes.empty()) {
      const ConstBytes part = bytes.first(std::min(bytes.size(), kGatherBytes));
      {
        absl::MutexLock lock(&mutex_);
        ERR_clear_error();
        size_t count = 0;
        if (SSL_write_ex(ssl_.get(), part.data(), part.size(), &count) != 1)
          return absl::UnavailableError(SslError());
        bytes.remove_prefix(count);
      }
      HW_RETURN_IF_ERROR(Send(absl::InfiniteDuration()));
    }
    return absl::OkStatus();
  }

  void Shutdown() override { ::shutdown(fd_.get(), SHUT_RDWR); }
  void SetReadTimeout(absl::Duration timeout) override { read_timeout_.Set(timeout); }
  const std::string& peer_host_id() const override { return peer_host_id_; }
  const std::string& protocol() const override { return protocol_; }
  std::string SharedSecret(const std::string& purpose, size_t bytes) override {
    absl::MutexLock lock(&mutex_);
    const std::string label = absl::StrCat("EXPORTER-homeward-", purpose);
    std::string out(bytes, '\0');
    HW_CHECK(SSL_export_keying_material(ssl_.get(), Writable(&out).data(), bytes, label.data(),
                                        label.size(), nullptr, 0, 0) == 1);
    return out;
  }

 private:
  void NoteProtocol() {
    const unsigned char* chosen = nullptr;
    unsigned length = 0;
    SSL_get0_alpn_selected(ssl_.get(), &chosen, &length);
    protocol_.assign(reinterpret_cast<const char*>(chosen), length);
  }
  // Sends what was gathered, in its order.
  absl::Status Send(absl::Duration end) {
    absl::MutexLock sending(&send_mutex_);
    {
      absl::MutexLock lock(&mutex_);
      gathered_.TakeInto(&outgoing_);
    }
    return tcp::Send(fd_, AsBytes(outgoing_), end);
  }

  const UniqueFd fd_;  // non-blocking
  const std::shared_ptr<const TlsContext> context_;
  tcp::WakeSize wake_size_;   // the reader's
  std::string peer_host_id_;  // constant after the handshake
  std::string protocol_;      // likewise
  tcp::ReadTimeout read_timeout_;
  // OpenSSL's object is for one thread at a time. Held while it computes, never while waiting.
  // Lock order: send_mutex_, mutex_.
  absl::Mutex send_mutex_;
  std::string outgoing_ ABSL_GUARDED_BY(send_mutex_);
  absl::Mutex mutex_;
  Gathered gathered_;  // as ssl_
  const Session ssl_;
};

class TcpArrival : public TlsListener::Arrival {
 public:
  TcpArrival(UniqueFd fd, std::string address, const TlsListener::Options& options)
      : fd_(std::move(fd)), address_(std::move(address)), options_(options) {}

  std::string address() const override { return address_; }
  absl::StatusOr<bool> BeginsTls(absl::Duration timeout) override {
    const absl::Duration end = tcp::EndOf(timeout);
    while (tcp::Await(fd_, POLLIN, end)) {
      uint8_t first = 0;
      const ssize_t n = ::recv(fd_.get(), &first, 1, MSG_PEEK);
      if (n == 1) return first == SSL3_RT_HANDSHAKE;
      if (n == 0) return absl::UnavailableError("it was closed before it said anything");
      if (errno != EINTR && errno != EAGAIN)
        return absl::UnavailableError(absl::StrCat("recv: ", ::strerror(errno)));
    }
    return absl::UnavailableError("it said nothing in time");
  }
  std::unique_ptr<Socket> WithoutTls() override { return MakeTcpSocket(std::move(fd_)); }
  absl::StatusOr<std::unique_ptr<TlsSocket>> Handshake(const TlsIdentity& identity,
                                                       absl::Duration timeout) override {
    HW_ASSIGN_OR_RETURN(auto context, TlsContext::OfServer(identity, options_.protocols));
    auto socket = std::make_unique<OpenTlsSocket>(std::move(fd_), std::move(context));
    HW_RETURN_IF_ERROR(socket->Handshake(/*server=*/true, timeout));
    if (!socket->Knows(options_.callers)) {
      return absl::PermissionDeniedError(
          absl::StrCat("host ", socket->peer_host_id(), " may not call this"));
    }
    return socket;
  }

 private:
  UniqueFd fd_;
  const std::string address_;
  const TlsListener::Options options_;
};

class TcpListener : public TlsListener {
 public:
  TcpListener(UniqueFd fd, WakePipe stop, uint32_t port, Options options)
      : fd_(std::move(fd)), stop_(std::move(stop)), port_(port), options_(std::move(options)) {}

  uint32_t port() const override { return port_; }
  std::unique_ptr<Arrival> Accept() override {
    while (true) {
      pollfd waiting[2] = {{fd_.get(), POLLIN, 0}, {stop_.fd(), POLLIN, 0}};
      if (::poll(waiting, 2, -1) < 0 && errno != EINTR) return nullptr;
      if (waiting[1].revents != 0) return nullptr;
      sockaddr_storage from{};
      socklen_t length = sizeof(from);
      UniqueFd fd(::accept4(fd_.get(), reinterpret_cast<sockaddr*>(&from), &length,
                            SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!fd.valid()) {
        // Out of descriptors: the connection stays where it is until one is free.
        if (errno == EMFILE || errno == ENFILE) ::poll(&waiting[1], 1, 100);
        continue;
      }
      SetTcpOptions(fd);
      char host[NI_MAXHOST] = "?", service[NI_MAXSERV] = "?";
      ::getnameinfo(reinterpret_cast<sockaddr*>(&from), length, host, sizeof(host), service,
                    sizeof(service), NI_NUMERICHOST | NI_NUMERICSERV);
      return std::make_unique<TcpArrival>(std::move(fd), absl::StrCat(host, ":", service),
                                          options_);
    }
  }
  void Stop() override { stop_.Wake(); }

 private:
  const UniqueFd fd_;
  WakePipe stop_;
  const uint32_t port_;
  const Options options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TlsSocket>> TlsSocket::Connect(const TlsIdentity& identity,
                                                              const ConnectOptions& options) {
  HW_ASSIGN_OR_RETURN(auto context, TlsContext::OfClient(identity));
  HW_ASSIGN_OR_RETURN(UniqueFd fd, tcp::Connect(options.address, options.timeout));
  auto socket = std::make_unique<OpenTlsSocket>(std::move(fd), std::move(context));
  const std::string name = RoleDnsName(options.server_role), offer = WireNames(options.protocols);
  SSL_set_tlsext_host_name(socket->ssl(), name.c_str());
  SSL_set1_host(socket->ssl(), name.c_str());
  SSL_set_alpn_protos(socket->ssl(), reinterpret_cast<const unsigned char*>(offer.data()),
                      static_cast<unsigned>(offer.size()));
  HW_RETURN_IF_ERROR(socket->Handshake(/*server=*/false, options.timeout));
  if (std::find(options.protocols.begin(), options.protocols.end(), socket->protocol()) ==
      options.protocols.end()) {
    return absl::UnavailableError(absl::StrCat(options.address, " does not speak ",
                                               absl::StrJoin(options.protocols, " or ")));
  }
  if (!socket->Knows({options.server_role}))
    return absl::UnavailableError(
        absl::StrCat(options.address, " is not a ", RoleName(options.server_role)));
  return socket;
}

absl::StatusOr<std::unique_ptr<TlsListener>> TlsListener::Listen(const Options& options) {
  tcp::AddressList list;
  HW_RETURN_IF_ERROR(tcp::Resolve(options.address, /*passive=*/true, &list));
  const addrinfo* const at = list.first;
  UniqueFd fd(::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  WakePipe stop;
  if (!fd.valid() || !stop.valid()) return absl::ErrnoToStatus(errno, "open a socket");
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(fd.get(), at->ai_addr, at->ai_addrlen) != 0 || ::listen(fd.get(), SOMAXCONN) != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", options.address, ": ", ::strerror(errno)));
  }
  sockaddr_storage bound{};
  socklen_t length = sizeof(bound);
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &length);
  const uint32_t port = bound.ss_family == AF_INET6
                            ? ntohs(reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port)
                            : ntohs(reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
  return std::make_unique<TcpListener>(std::move(fd), std::move(stop), port, options);
}

}  // namespace homeward
