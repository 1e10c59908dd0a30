// What OpenSSL gives, owned; and its errors. For common/tls only: nobody else sees OpenSSL.
#ifndef HOMEWARD_COMMON_TLS_OPENSSL_H_
#define HOMEWARD_COMMON_TLS_OPENSSL_H_

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace homeward::openssl {

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Bio = std::unique_ptr<BIO, Freer<BIO_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;

// INVALID_ARGUMENT, with the oldest error of this thread, all of which are taken.
inline absl::Status Failed(absl::string_view doing) {
  char text[256] = "unknown";
  if (const unsigned long error = ERR_get_error(); error != 0)
    ERR_error_string_n(error, text, sizeof(text));
  ERR_clear_error();
  return absl::InvalidArgumentError(absl::StrCat(doing, ": ", text));
}

// `pem` outlives it.
inline Bio ReadFrom(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

}  // namespace homeward::openssl

#endif  // HOMEWARD_COMMON_TLS_OPENSSL_H_
