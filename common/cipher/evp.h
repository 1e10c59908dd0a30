// What common/cipher asks of OpenSSL. For common/cipher only.
#ifndef HOMEWARD_COMMON_CIPHER_EVP_H_
#define HOMEWARD_COMMON_CIPHER_EVP_H_

#include <openssl/evp.h>

#include <algorithm>
#include <memory>

#include "common/base/bytes.h"
#include "common/base/check.h"

namespace homeward::cipher {

inline constexpr size_t kGcmNonceBytes = 12;

struct ContextEnd {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, ContextEnd>;

// OpenSSL fails here only where it has no memory, or is not what it says it is.
inline void Must(int done) { HW_CHECK(done == 1); }

inline Context MakeContext(const EVP_CIPHER* cipher) {
  Context context(EVP_CIPHER_CTX_new());
  HW_CHECK(context != nullptr);
  Must(EVP_CipherInit_ex(context.get(), cipher, nullptr, nullptr, nullptr, 1));
  return context;
}

// `out` null: `in` is authenticated only.
inline void Update(EVP_CIPHER_CTX* context, ConstBytes in, uint8_t* out) {
  constexpr size_t kUpdateBytesMax = size_t{1} << 30;  // OpenSSL counts in int
  while (!in.empty()) {
    const ConstBytes part = in.first(std::min(in.size(), kUpdateBytesMax));
    int length = 0;
    Must(EVP_CipherUpdate(context, out, &length, part.data(), static_cast<int>(part.size())));
    if (out != nullptr) out += part.size();
    in.remove_prefix(part.size());
  }
}

}  // namespace homeward::cipher

#endif  // HOMEWARD_COMMON_CIPHER_EVP_H_
