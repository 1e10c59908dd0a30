// TlsContext: what the TLS connections of one identity have in common. OpenSSL 3.0 takes a
// millisecond to read a key and its certificates, twice as long as its half of a handshake, so the
// newest contexts of the process are kept.
#ifndef HOMEWARD_COMMON_TLS_TLS_CONTEXT_H_
#define HOMEWARD_COMMON_TLS_TLS_CONTEXT_H_

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tls/identity.h"
#include "common/tls/openssl.h"

namespace homeward {

// TLS 1.3, certificates on both sides, no resumption. Constant.
class TlsContext {
 public:
  // The same one for the same identity, as long as that is among the newest. On any thread.
  // INVALID_ARGUMENT: the identity is of no use.
  static absl::StatusOr<std::shared_ptr<const TlsContext>> OfClient(const TlsIdentity& identity);
  // Takes the first of the protocols that is offered (ALPN), and nothing else.
  static absl::StatusOr<std::shared_ptr<const TlsContext>> OfServer(
      const TlsIdentity& identity, const std::vector<std::string>& protocols);

  // OpenSSL counts who uses it, for which it is not constant.
  SSL_CTX* get() const { return context_.get(); }

 private:
  using Context = std::unique_ptr<SSL_CTX, openssl::Freer<SSL_CTX_free>>;
  struct Newest;
  TlsContext(TlsIdentity identity, std::string wire_names, Context context);
  static absl::StatusOr<std::shared_ptr<const TlsContext>> For(const TlsIdentity& identity,
                                                               const SSL_METHOD* method,
                                                               std::string wire_names);
  static absl::StatusOr<Context> Make(const TlsIdentity& identity, const SSL_METHOD* method);

  const TlsIdentity identity_;
  std::string wire_names_;  // of a server; constant, though OpenSSL's callback cannot say so
  const Context context_;
};

// Protocols as ALPN writes them.
std::string WireNames(const std::vector<std::string>& protocols);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_TLS_TLS_CONTEXT_H_
