#include "common/cipher/gmac.h"

#include <openssl/crypto.h>

#include <cstring>

#include "common/cipher/evp.h"

namespace homeward {

struct Gmac::Context {
  const cipher::Context evp = cipher::MakeContext(EVP_aes_256_gcm());
};

Gmac::Gmac(ConstBytes key) : context_(std::make_unique<Context>()) {
  HW_CHECK(key.size() == kGmacKeyBytes);
  cipher::Must(EVP_CipherInit_ex(context_->evp.get(), nullptr, nullptr, key.data(), nullptr, 1));
}

Gmac::~Gmac() = default;

void Gmac::Begin(uint64_t number) {
  std::array<uint8_t, cipher::kGcmNonceBytes> nonce{};
  std::memcpy(nonce.data() + sizeof(uint32_t), &number, sizeof(number));
  cipher::Must(EVP_CipherInit_ex(context_->evp.get(), nullptr, nullptr, nullptr, nonce.data(), 1));
}

void Gmac::Add(ConstBytes part) { cipher::Update(context_->evp.get(), part, nullptr); }

Tag Gmac::End() {
  Tag tag;
  int none = 0;
  cipher::Must(EVP_CipherFinal_ex(context_->evp.get(), nullptr, &none));
  cipher::Must(
      EVP_CIPHER_CTX_ctrl(context_->evp.get(), EVP_CTRL_AEAD_GET_TAG, kTagBytes, tag.data()));
  return tag;
}

}  // namespace homeward
