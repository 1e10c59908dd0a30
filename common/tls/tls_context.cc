#include "common/tls/tls_context.h"

#include <deque>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/bytes.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

// As a client and as a server, with an identity and with the one that renews it.
constexpr size_t kContextsMax = 4;

int ChooseProtocol(SSL*, const unsigned char** out, unsigned char* out_length,
                   const unsigned char* offered, unsigned offered_length, void* ours) {
  const std::string& names = *static_cast<const std::string*>(ours);
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(
          &chosen, out_length, reinterpret_cast<const unsigned char*>(names.data()),
          static_cast<unsigned>(names.size()), offered, offered_length) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

struct TlsContext::Newest {
  absl::Mutex mutex;
  std::deque<std::shared_ptr<const TlsContext>> contexts ABSL_GUARDED_BY(mutex);
};

TlsContext::TlsContext(TlsIdentity identity, std::string wire_names, Context context)
    : identity_(std::move(identity)),
      wire_names_(std::move(wire_names)),
      context_(std::move(context)) {
  if (!wire_names_.empty())
    SSL_CTX_set_alpn_select_cb(context_.get(), &ChooseProtocol, &wire_names_);
}

absl::StatusOr<std::shared_ptr<const TlsContext>> TlsContext::OfClient(
    const TlsIdentity& identity) {
  return For(identity, TLS_client_method(), "");
}

absl::StatusOr<std::shared_ptr<const TlsContext>> TlsContext::OfServer(
    const TlsIdentity& identity, const std::vector<std::string>& protocols) {
  return For(identity, TLS_server_method(), WireNames(protocols));
}

absl::StatusOr<std::shared_ptr<const TlsContext>> TlsContext::For(const TlsIdentity& identity,
                                                                  const SSL_METHOD* method,
                                                                  std::string wire_names) {
  static Newest& newest = *new Newest;
  absl::MutexLock lock(&newest.mutex);
  for (const std::shared_ptr<const TlsContext>& one : newest.contexts) {
    if (one->identity_.certificate == identity.certificate && one->identity_.key == identity.key &&
        one->identity_.ca == identity.ca && SSL_CTX_get_ssl_method(one->get()) == method &&
        one->wire_names_ == wire_names)
      return one;
  }
  HW_ASSIGN_OR_RETURN(Context context, Make(identity, method));
  newest.contexts.push_front(std::shared_ptr<const TlsContext>(
      new TlsContext(identity, std::move(wire_names), std::move(context))));
  if (newest.contexts.size() > kContextsMax) newest.contexts.pop_back();
  return newest.contexts.front();
}

absl::StatusOr<TlsContext::Context> TlsContext::Make(const TlsIdentity& identity,
                                                     const SSL_METHOD* method) {
  Context context(SSL_CTX_new(method));
  SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
  SSL_CTX_set_ciphersuites(
      context.get(), "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256");
  SSL_CTX_set_num_tickets(context.get(), 0);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  const openssl::Bio ca_text = openssl::ReadFrom(identity.ca),
                     certificate_text = openssl::ReadFrom(identity.certificate),
                     key_text = openssl::ReadFrom(identity.key);
  const openssl::Certificate ca(PEM_read_bio_X509(ca_text.get(), nullptr, nullptr, nullptr));
  const openssl::Certificate certificate(
      PEM_read_bio_X509(certificate_text.get(), nullptr, nullptr, nullptr));
  const openssl::Key key(PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr));
  const bool usable = ca != nullptr && certificate != nullptr && key != nullptr &&
                      X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), ca.get()) == 1 &&
                      SSL_CTX_use_certificate(context.get(), certificate.get()) == 1 &&
                      SSL_CTX_use_PrivateKey(context.get(), key.get()) == 1;
  if (!usable) return openssl::Failed("TLS identity");
  return context;
}

std::string WireNames(const std::vector<std::string>& protocols) {
  std::string out;
  for (const std::string& protocol : protocols)
    absl::StrAppend(&out, std::string(1, static_cast<char>(protocol.size())), protocol);
  return out;
}

}  // namespace homeward
