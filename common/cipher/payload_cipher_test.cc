#include "common/cipher/payload_cipher.h"

#include <set>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

const DataKey kCipherKey{7, std::string(kDataKeyBytes, '\x05')};

std::string Text(ConstBytes bytes) { return std::string(AsText(bytes)); }

struct Message {
  Envelope envelope;
  std::string content;
};

Message Encrypted(PayloadEncryptor* encryptor, std::string told, std::string content) {
  Message message{{}, std::move(content)};
  message.envelope = encryptor->Encrypt({AsBytes(told)}, Writable(&message.content));
  return message;
}

absl::Status Opened(const DataKey& key, const Message& message, absl::string_view told,
                    std::string* out) {
  out->assign(message.content.size(), '\0');
  return Decrypt(key, message.envelope, {AsBytes(told)}, AsBytes(message.content), Writable(out));
}

// The two vectors of the specification (C2SP, XAES-256-GCM.md): without and with the carry in the
// doubling.
TEST(PayloadCipher, IsXaes256Gcm) {
  struct Vector {
    char key;
    std::string told, content;
  };
  for (const Vector& vector :
       {Vector{1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
        Vector{3, "c2sp.org/XAES-256-GCM",
               "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"}}) {
    const std::string bytes = absl::HexStringToBytes(vector.content);
    const std::string nonce = "ABCDEFGHIJKLMNOPQRSTUVWX";
    Message message{{}, bytes.substr(0, bytes.size() - kTagBytes)};
    std::copy(nonce.begin(), nonce.end(), message.envelope.nonce.begin());
    std::copy(bytes.end() - kTagBytes, bytes.end(), message.envelope.tag.begin());
    std::string plain;
    const DataKey key{1, std::string(kDataKeyBytes, vector.key)};
    EXPECT_TRUE(Opened(key, message, vector.told, &plain).ok());
    EXPECT_EQ(plain, "XAES-256-GCM");
  }
}

TEST(PayloadCipher, GivesBackWhatItWasGiven) {
  PayloadEncryptor encryptor(kCipherKey);
  for (const size_t bytes : {0, 1, 15, 16, 17, 4096, 1 << 20}) {
    const std::string content(bytes, 'c');
    const Message message = Encrypted(&encryptor, "told", content);
    EXPECT_EQ(message.envelope.key_id, 7u);
    EXPECT_EQ(message.content == content, bytes == 0) << bytes;
    std::string plain;
    ASSERT_TRUE(Opened(kCipherKey, message, "told", &plain).ok()) << bytes;
    EXPECT_TRUE(plain == content) << bytes;
  }
}

TEST(PayloadCipher, NothingCanBeChanged) {
  PayloadEncryptor encryptor(kCipherKey);
  const Message message = Encrypted(&encryptor, "told", "some content");
  std::string plain;
  for (size_t i = 0; i < message.content.size(); ++i) {
    Message changed = message;
    changed.content[i] ^= 1;
    EXPECT_TRUE(absl::IsDataLoss(Opened(kCipherKey, changed, "told", &plain))) << i;
  }
  for (size_t i = 0; i < kNonceBytes; ++i) {
    Message changed = message;
    changed.envelope.nonce[i] ^= 1;
    EXPECT_TRUE(absl::IsDataLoss(Opened(kCipherKey, changed, "told", &plain))) << i;
  }
  for (size_t i = 0; i < kTagBytes; ++i) {
    Message changed = message;
    changed.envelope.tag[i] ^= 1;
    EXPECT_TRUE(absl::IsDataLoss(Opened(kCipherKey, changed, "told", &plain))) << i;
  }
  EXPECT_TRUE(absl::IsDataLoss(Opened(kCipherKey, message, "tolb", &plain)));
  EXPECT_TRUE(absl::IsDataLoss(Opened(kCipherKey, message, "", &plain)));
  const DataKey other{7, std::string(kDataKeyBytes, '\x06')};
  EXPECT_TRUE(absl::IsDataLoss(Opened(other, message, "told", &plain)));
}

// As in a machine that was reverted to a snapshot, or cloned: its random bytes come once more.
TEST(PayloadCipher, ANonceIsNotUsedTwiceWhenRandomBytesAre) {
  const RandomBytes again = [](MutableBytes out) { std::fill(out.begin(), out.end(), 9); };
  std::set<std::array<uint8_t, kNonceBytes>> nonces;
  size_t messages = 0;
  const auto encrypt = [&](const std::string& told, const std::string& content) {
    PayloadEncryptor encryptor(kCipherKey, again);
    nonces.insert(Encrypted(&encryptor, told, content).envelope.nonce);
    ++messages;
  };
  encrypt("position 1", "content");
  encrypt("position 1", "conten7");
  encrypt("position 2", "content");
  encrypt("position 1c", "ontent");
  encrypt("position 1", std::string(5000, 'c'));
  encrypt("position 1", std::string(5001, 'c'));
  EXPECT_EQ(nonces.size(), messages);
  // The same once more is the same once more, and says nothing new.
  encrypt("position 1", "content");
  EXPECT_EQ(nonces.size(), messages - 1);
}

TEST(PayloadCipher, RandomBytesMakeEachNonceAnother) {
  PayloadEncryptor encryptor(kCipherKey);
  const Message one = Encrypted(&encryptor, "told", "content");
  const Message other = Encrypted(&encryptor, "told", "content");
  EXPECT_NE(one.envelope.nonce, other.envelope.nonce);
  EXPECT_NE(one.content, other.content);
  EXPECT_EQ(Text(AsBytes(one.content)).size(), 7u);
}

}  // namespace
}  // namespace homeward
