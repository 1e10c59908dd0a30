#include "common/tls/lean_connections.h"

#include <openssl/ssl.h>

#include "common/base/check.h"

namespace homeward {
namespace {

// gRPC keeps its contexts to itself. OpenSSL calls this for every connection that is made, when
// all else of it is set up.
void MakeLean(void* parent, void*, CRYPTO_EX_DATA*, int, long, void*) {
  SSL* const connection = static_cast<SSL*>(parent);
  SSL_set_mode(connection, SSL_MODE_RELEASE_BUFFERS);
  SSL_set_num_tickets(connection, 0);
}

void LeaveOutChain(void* parent, void*, CRYPTO_EX_DATA*, int, long, void*) {
  SSL_set_mode(static_cast<SSL*>(parent), SSL_MODE_NO_AUTO_CHAIN);
}

}  // namespace

void UseLeanConnections() {
  static const int index = SSL_get_ex_new_index(0, nullptr, MakeLean, nullptr, nullptr);
  HW_CHECK(index >= 0);
}

void ShowCertificateAlone() {
  static const int index = SSL_get_ex_new_index(0, nullptr, LeaveOutChain, nullptr, nullptr);
  HW_CHECK(index >= 0);
}

}  // namespace homeward
