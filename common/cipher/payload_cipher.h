// Encrypts what a machine sends, and decrypts it: XAES-256-GCM (C2SP), with a nonce that is bound
// to what it is for. docs/decisions/0020-sealed-path.md says why none is used twice.
#ifndef HOMEWARD_COMMON_CIPHER_PAYLOAD_CIPHER_H_
#define HOMEWARD_COMMON_CIPHER_PAYLOAD_CIPHER_H_

#include <array>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/base/bytes.h"
#include "common/cipher/data_key.h"
#include "common/cipher/gmac.h"

namespace homeward {

inline constexpr size_t kNonceBytes = 24;

// What travels with encrypted content.
struct Envelope {
  uint64_t key_id = 0;
  std::array<uint8_t, kNonceBytes> nonce{};
  // Of the content, and of what is told in the clear beside it.
  Tag tag{};
};

// Fills all of it with bytes that nobody can guess.
using RandomBytes = std::function<void(MutableBytes)>;
// Of the operating system. Ends the process when there are none.
void SystemRandomBytes(MutableBytes out);

// Not thread-safe.
class PayloadEncryptor {
 public:
  // Requires: a key of kDataKeyBytes.
  explicit PayloadEncryptor(const DataKey& key, RandomBytes random = SystemRandomBytes);
  ~PayloadEncryptor();
  PayloadEncryptor(const PayloadEncryptor&) = delete;
  PayloadEncryptor& operator=(const PayloadEncryptor&) = delete;

  // Encrypts `content` where it lies. `told`, in pieces, can be read by anybody and changed by
  // nobody.
  Envelope Encrypt(absl::Span<const ConstBytes> told, MutableBytes content);

  uint64_t key_id() const { return key_id_; }

 private:
  struct Ciphers;
  std::array<uint8_t, kNonceBytes> NextNonce(absl::Span<const ConstBytes> told, ConstBytes content);
  const uint64_t key_id_;
  const RandomBytes random_;
  const std::unique_ptr<Ciphers> ciphers_;
};

// Decrypts `content` to `out`, which is as long and may be the same place. DATA_LOSS: not what was
// encrypted with this key, or beside something else; then `out` holds nothing of use.
absl::Status Decrypt(const DataKey& key, const Envelope& envelope,
                     absl::Span<const ConstBytes> told, ConstBytes content, MutableBytes out);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_CIPHER_PAYLOAD_CIPHER_H_
