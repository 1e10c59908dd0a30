#include "common/cipher/payload_cipher.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/cipher/evp.h"

namespace homeward {
namespace cipher {

constexpr size_t kBlockBytes = 16;
using Block = std::array<uint8_t, kBlockBytes>;
using Secret = std::array<uint8_t, kDataKeyBytes>;

const uint8_t* SecretOf(const DataKey& key) {
  HW_CHECK(key.secret.size() == kDataKeyBytes);
  return reinterpret_cast<const uint8_t*>(key.secret.data());
}

// XAES-256-GCM's key for a nonce: two blocks of AES-CMAC in counter mode over its first half.
class SubkeyMaker {
 public:
  explicit SubkeyMaker(const uint8_t* key) : context_(MakeContext(EVP_aes_256_ecb())) {
    Must(EVP_CipherInit_ex(context_.get(), nullptr, nullptr, key, nullptr, 1));
    Must(EVP_CIPHER_CTX_set_padding(context_.get(), 0));
    const Block doubled = Encrypted(Block{});
    // Doubling in GF(2^128).
    uint8_t carry = 0;
    for (size_t i = kBlockBytes; i-- > 0;) {
      mask_[i] = static_cast<uint8_t>(doubled[i] << 1 | carry);
      carry = doubled[i] >> 7;
    }
    if (carry != 0) mask_[kBlockBytes - 1] ^= 0x87;
  }
  ~SubkeyMaker() { OPENSSL_cleanse(mask_.data(), mask_.size()); }

  Secret Make(const uint8_t* nonce) {
    Secret subkey;
    for (uint8_t counter = 1; counter <= 2; ++counter) {
      Block block{0, counter, 'X', 0};
      std::copy_n(nonce, kGcmNonceBytes, block.begin() + 4);
      for (size_t i = 0; i < kBlockBytes; ++i) block[i] ^= mask_[i];
      const Block half = Encrypted(block);
      std::copy(half.begin(), half.end(), subkey.begin() + (counter - 1) * kBlockBytes);
    }
    return subkey;
  }

 private:
  Block Encrypted(const Block& block) {
    Block out;
    Update(context_.get(), block, out.data());
    return out;
  }
  const Context context_;
  Block mask_{};
};

// Keys of their own for what else a data key is used for: HKDF-Expand of one block.
Secret Derived(const uint8_t* key, absl::string_view purpose) {
  std::string info(purpose);
  info.push_back(1);
  Secret out;
  unsigned length = 0;
  HW_CHECK(HMAC(EVP_sha256(), key, kDataKeyBytes, AsBytes(info).data(), info.size(), out.data(),
                &length) != nullptr &&
           length == out.size());
  return out;
}

// Begins a message of XAES-256-GCM.
void BeginMessage(EVP_CIPHER_CTX* gcm, SubkeyMaker* subkeys, const uint8_t* nonce, bool encrypts) {
  Secret subkey = subkeys->Make(nonce);
  Must(EVP_CipherInit_ex(gcm, nullptr, nullptr, subkey.data(), nonce + kGcmNonceBytes,
                         encrypts ? 1 : 0));
  OPENSSL_cleanse(subkey.data(), subkey.size());
}

}  // namespace cipher

void SystemRandomBytes(MutableBytes out) {
  cipher::Must(RAND_bytes(out.data(), static_cast<int>(out.size())));
}

struct PayloadEncryptor::Ciphers {
  explicit Ciphers(const uint8_t* key)
      : subkeys(key),
        gcm(cipher::MakeContext(EVP_aes_256_gcm())),
        digest(cipher::Derived(key, "homeward digest 1")),
        nonce_key(cipher::Derived(key, "homeward nonce 1")) {}
  ~Ciphers() { OPENSSL_cleanse(nonce_key.data(), nonce_key.size()); }

  cipher::SubkeyMaker subkeys;
  const cipher::Context gcm;
  Gmac digest;  // its tags are seen by nobody
  cipher::Secret nonce_key;
};

PayloadEncryptor::PayloadEncryptor(const DataKey& key, RandomBytes random)
    : key_id_(key.id),
      random_(std::move(random)),
      ciphers_(std::make_unique<Ciphers>(cipher::SecretOf(key))) {}

PayloadEncryptor::~PayloadEncryptor() = default;

std::array<uint8_t, kNonceBytes> PayloadEncryptor::NextNonce(absl::Span<const ConstBytes> told,
                                                             ConstBytes content) {
  std::array<uint8_t, kNonceBytes + kTagBytes> input;
  const MutableBytes in(input);
  random_(in.first(kNonceBytes));
  Gmac& digest = ciphers_->digest;
  digest.Begin(0);
  uint64_t told_bytes = 0;
  for (const ConstBytes piece : told) {
    digest.Add(piece);
    told_bytes += piece.size();
  }
  digest.Add(content);
  // Where one ends and the other begins.
  digest.Add(ConstBytes(reinterpret_cast<const uint8_t*>(&told_bytes), sizeof(told_bytes)));
  const Tag tag = digest.End();
  std::copy(tag.begin(), tag.end(), in.begin() + kNonceBytes);
  cipher::Secret whole;
  unsigned length = 0;
  HW_CHECK(HMAC(EVP_sha256(), ciphers_->nonce_key.data(), kDataKeyBytes, input.data(), input.size(),
                whole.data(), &length) != nullptr);
  std::array<uint8_t, kNonceBytes> nonce;
  std::copy_n(whole.begin(), kNonceBytes, nonce.begin());
  return nonce;
}

Envelope PayloadEncryptor::Encrypt(absl::Span<const ConstBytes> told, MutableBytes content) {
  Envelope envelope{key_id_, NextNonce(told, content), {}};
  EVP_CIPHER_CTX* const gcm = ciphers_->gcm.get();
  cipher::BeginMessage(gcm, &ciphers_->subkeys, envelope.nonce.data(), /*encrypts=*/true);
  for (const ConstBytes piece : told) cipher::Update(gcm, piece, nullptr);
  cipher::Update(gcm, content, content.data());
  int none = 0;
  cipher::Must(EVP_CipherFinal_ex(gcm, nullptr, &none));
  cipher::Must(EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_GET_TAG, kTagBytes, envelope.tag.data()));
  return envelope;
}

absl::Status Decrypt(const DataKey& key, const Envelope& envelope,
                     absl::Span<const ConstBytes> told, ConstBytes content, MutableBytes out) {
  HW_CHECK(out.size() == content.size());
  cipher::SubkeyMaker subkeys(cipher::SecretOf(key));
  const cipher::Context gcm = cipher::MakeContext(EVP_aes_256_gcm());
  cipher::BeginMessage(gcm.get(), &subkeys, envelope.nonce.data(), /*encrypts=*/false);
  for (const ConstBytes piece : told) cipher::Update(gcm.get(), piece, nullptr);
  cipher::Update(gcm.get(), content, out.data());
  Tag tag = envelope.tag;
  cipher::Must(EVP_CIPHER_CTX_ctrl(gcm.get(), EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag.data()));
  uint8_t nothing[cipher::kBlockBytes];
  int none = 0;
  if (EVP_CipherFinal_ex(gcm.get(), nothing, &none) == 1) return absl::OkStatus();
  return absl::DataLossError("the tag is not that of the content and of what is told beside it");
}

}  // namespace homeward
