#include "common/tls/signing.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "common/tls/openssl.h"

namespace homeward {
namespace {

using openssl::Bio;
using openssl::Certificate;
using openssl::Failed;
using openssl::Freer;
using openssl::Key;
using openssl::ReadFrom;
using Context = std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>>;

constexpr int kSaltBytes = 32;

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

bool SetPss(EVP_PKEY_CTX* context) {
  return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(context, kSaltBytes) == 1;
}

}  // namespace

absl::StatusOr<std::string> SignPs256(const std::string& key_pem, absl::string_view message) {
  const Key key(PEM_read_bio_PrivateKey(ReadFrom(key_pem).get(), nullptr, nullptr, nullptr));
  if (key == nullptr) return Failed("read a private key");
  if (EVP_PKEY_is_a(key.get(), "RSA") != 1)
    return absl::InvalidArgumentError("the private key is not an RSA key, which PS256 needs");
  const Context context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* pss = nullptr;  // of `context`
  size_t size = 0;
  if (EVP_DigestSignInit(context.get(), &pss, EVP_sha256(), nullptr, key.get()) != 1 ||
      !SetPss(pss) ||
      EVP_DigestSign(context.get(), nullptr, &size, Bytes(message), message.size()) != 1) {
    return Failed("begin a signature");
  }
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                     Bytes(message), message.size()) != 1) {
    return Failed("sign");
  }
  signature.resize(size);
  return signature;
}

absl::StatusOr<bool> VerifyPs256(const std::string& certificate_pem, absl::string_view message,
                                 absl::string_view signature) {
  const Certificate certificate(
      PEM_read_bio_X509(ReadFrom(certificate_pem).get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr) return Failed("read a certificate");
  const Context context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* pss = nullptr;  // of `context`
  if (EVP_DigestVerifyInit(context.get(), &pss, EVP_sha256(), nullptr,
                           X509_get0_pubkey(certificate.get())) != 1 ||
      !SetPss(pss)) {
    return Failed("begin to verify a signature");
  }
  const bool right = EVP_DigestVerify(context.get(), Bytes(signature), signature.size(),
                                      Bytes(message), message.size()) == 1;
  ERR_clear_error();
  return right;
}

}  // namespace homeward
