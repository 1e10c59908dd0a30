#include "common/tls/identity.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <array>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/status/status_macros.h"
#include "common/tls/openssl.h"

namespace homeward {
namespace {

using openssl::Bio;
using openssl::Certificate;
using openssl::Failed;
using openssl::Freer;
using openssl::Key;
using openssl::ReadFrom;
using Request = std::unique_ptr<X509_REQ, Freer<X509_REQ_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION_free>>;

std::string Content(const Bio& bio) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(length));
}

absl::StatusOr<Key> ParseKey(const std::string& pem) {
  Key key(PEM_read_bio_PrivateKey(ReadFrom(pem).get(), nullptr, nullptr, nullptr));
  if (key == nullptr) return Failed("read a private key");
  return key;
}

absl::StatusOr<std::string> CertificatePem(X509* certificate) {
  Bio bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(bio.get(), certificate) != 1) return Failed("write a certificate");
  return Content(bio);
}

bool AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

// What every certificate has: version 3, a random serial number, times, a subject.
absl::StatusOr<Certificate> StartCertificate(absl::Time not_before, absl::Time not_after,
                                             const std::string& name) {
  Certificate certificate(X509_new());
  unsigned char serial[16];
  if (RAND_bytes(serial, sizeof(serial)) != 1) return Failed("draw a serial number");
  serial[0] &= 0x7f;
  std::unique_ptr<BIGNUM, Freer<BN_free>> number(BN_bin2bn(serial, sizeof(serial), nullptr));
  X509_NAME* const subject = X509_get_subject_name(certificate.get());
  const time_t base = 0;
  const bool ok =
      X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate.get())) != nullptr &&
      X509_time_adj_ex(X509_getm_notBefore(certificate.get()), 0, absl::ToUnixSeconds(not_before),
                       const_cast<time_t*>(&base)) != nullptr &&
      X509_time_adj_ex(X509_getm_notAfter(certificate.get()), 0, absl::ToUnixSeconds(not_after),
                       const_cast<time_t*>(&base)) != nullptr &&
      X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1,
                                 0) == 1;
  if (!ok) return Failed("start a certificate");
  return certificate;
}

}  // namespace

absl::string_view RoleName(Role role) {
  switch (role) {
    case Role::kConfigServer:
      return "config-server";
    case Role::kProcessServer:
      return "process-server";
    case Role::kMasterTarget:
      return "master-target";
    case Role::kAgent:
      return "agent";
    case Role::kOperator:
      return "operator";
  }
  return "";
}

std::string RoleDnsName(Role role) { return absl::StrCat(RoleName(role), ".homeward.internal"); }

absl::StatusOr<std::string> MakePrivateKey() {
  Key key(EVP_EC_gen("P-256"));
  Bio bio(BIO_new(BIO_s_mem()));
  if (key == nullptr || PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0,
                                                      nullptr, nullptr) != 1) {
    return Failed("make a private key");
  }
  return Content(bio);
}

absl::StatusOr<std::string> MakeSigningRequest(const std::string& key_pem) {
  HW_ASSIGN_OR_RETURN(const Key key, ParseKey(key_pem));
  Request request(X509_REQ_new());
  Bio bio(BIO_new(BIO_s_mem()));
  if (X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
      X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0 ||
      PEM_write_bio_X509_REQ(bio.get(), request.get()) != 1) {
    return Failed("make a signing request");
  }
  return Content(bio);
}

absl::StatusOr<CertificateAuthority> CertificateAuthority::Create(absl::Time now) {
  HW_ASSIGN_OR_RETURN(std::string key_pem, MakePrivateKey());
  HW_ASSIGN_OR_RETURN(const Key key, ParseKey(key_pem));
  HW_ASSIGN_OR_RETURN(
      const Certificate certificate,
      StartCertificate(now - absl::Hours(1), now + absl::Hours(24 * 3652), "Homeward CA"));
  X509* const raw = certificate.get();
  if (X509_set_issuer_name(raw, X509_get_subject_name(raw)) != 1 ||
      X509_set_pubkey(raw, key.get()) != 1 ||
      !AddExtension(raw, raw, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
      !AddExtension(raw, raw, NID_key_usage, "critical,keyCertSign,cRLSign") ||
      !AddExtension(raw, raw, NID_subject_key_identifier, "hash") ||
      X509_sign(raw, key.get(), EVP_sha256()) == 0) {
    return Failed("make a CA");
  }
  HW_ASSIGN_OR_RETURN(std::string pem, CertificatePem(raw));
  return CertificateAuthority(std::move(pem), std::move(key_pem));
}

absl::StatusOr<CertificateAuthority> CertificateAuthority::Load(const std::string& certificate_pem,
                                                                const std::string& key_pem) {
  HW_ASSIGN_OR_RETURN(const Key key, ParseKey(key_pem));
  Certificate certificate(
      PEM_read_bio_X509(ReadFrom(certificate_pem).get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr) return Failed("read the CA certificate");
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return Failed("the CA certificate and its key do not belong together");
  }
  return CertificateAuthority(certificate_pem, key_pem);
}

absl::StatusOr<std::string> CertificateAuthority::Sign(const std::string& signing_request,
                                                       const Grant& grant) const {
  Request request(
      PEM_read_bio_X509_REQ(ReadFrom(signing_request).get(), nullptr, nullptr, nullptr));
  if (request == nullptr) return Failed("read a signing request");
  EVP_PKEY* const subject_key = X509_REQ_get0_pubkey(request.get());
  if (subject_key == nullptr || X509_REQ_verify(request.get(), subject_key) != 1) {
    return Failed("the signing request is not signed by its own key");
  }
  HW_ASSIGN_OR_RETURN(const Key key, ParseKey(key_));
  Certificate issuer(PEM_read_bio_X509(ReadFrom(certificate_).get(), nullptr, nullptr, nullptr));
  if (issuer == nullptr) return Failed("read the CA certificate");
  // An hour of grace for clocks that are behind.
  HW_ASSIGN_OR_RETURN(const Certificate certificate,
                      StartCertificate(grant.not_before - absl::Hours(1),
                                       grant.not_before + grant.validity, grant.host_id));
  X509* const raw = certificate.get();
  if (X509_set_issuer_name(raw, X509_get_subject_name(issuer.get())) != 1 ||
      X509_set_pubkey(raw, subject_key) != 1 ||
      !AddExtension(raw, issuer.get(), NID_basic_constraints, "critical,CA:FALSE") ||
      !AddExtension(raw, issuer.get(), NID_key_usage, "critical,digitalSignature") ||
      !AddExtension(raw, issuer.get(), NID_ext_key_usage, "serverAuth,clientAuth") ||
      !AddExtension(raw, issuer.get(), NID_subject_alt_name,
                    absl::StrCat("DNS:", RoleDnsName(grant.role))) ||
      X509_sign(raw, key.get(), EVP_sha256()) == 0) {
    return Failed("sign a certificate");
  }
  return CertificatePem(raw);
}

absl::StatusOr<Validity> CertificateValidity(const std::string& certificate) {
  const Certificate parsed(
      PEM_read_bio_X509(ReadFrom(certificate).get(), nullptr, nullptr, nullptr));
  if (parsed == nullptr) return Failed("read a certificate");
  tm begin = {}, end = {};
  if (ASN1_TIME_to_tm(X509_get0_notBefore(parsed.get()), &begin) != 1 ||
      ASN1_TIME_to_tm(X509_get0_notAfter(parsed.get()), &end) != 1) {
    return Failed("read the times of a certificate");
  }
  return Validity{absl::FromTM(begin, absl::UTCTimeZone()), absl::FromTM(end, absl::UTCTimeZone())};
}

absl::StatusOr<std::string> CertificateThumbprint(const std::string& certificate) {
  const Certificate parsed(
      PEM_read_bio_X509(ReadFrom(certificate).get(), nullptr, nullptr, nullptr));
  if (parsed == nullptr) return Failed("read a certificate");
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int bytes = 0;
  if (X509_digest(parsed.get(), EVP_sha256(), digest.data(), &bytes) != 1)
    return Failed("digest a certificate");
  std::string out;
  for (unsigned int i = 0; i < bytes; ++i)
    absl::StrAppend(&out, i == 0 ? "" : ":", absl::Hex(digest[i], absl::kZeroPad2));
  return absl::AsciiStrToUpper(out);
}

absl::optional<IdentityFault> FindFault(const TlsIdentity& identity, absl::string_view host_id) {
  const auto parse = [](const std::string& pem) {
    return Certificate(PEM_read_bio_X509(ReadFrom(pem).get(), nullptr, nullptr, nullptr));
  };
  const auto fault = [](IdentityPart part, std::string why) {
    ERR_clear_error();
    return IdentityFault{part, std::move(why)};
  };
  const Certificate ca = parse(identity.ca);
  if (ca == nullptr || X509_verify(ca.get(), X509_get0_pubkey(ca.get())) != 1)
    return fault(IdentityPart::kCa, "is not the certificate that was written there");
  const Certificate certificate = parse(identity.certificate);
  if (certificate == nullptr || X509_verify(certificate.get(), X509_get0_pubkey(ca.get())) != 1)
    return fault(IdentityPart::kCertificate, "is not a certificate of this CA");
  const absl::StatusOr<Key> key = ParseKey(identity.key);
  if (!key.ok() || X509_check_private_key(certificate.get(), key->get()) != 1)
    return fault(IdentityPart::kKey, "is not the key of the certificate");
  char name[256] = "";
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate.get()), NID_commonName, name,
                            sizeof(name));
  if (host_id != name)
    return fault(IdentityPart::kHostId,
                 absl::StrCat("is not ", name, ", as the certificate has it"));
  return absl::nullopt;
}

std::string Digest(absl::string_view message) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  HW_CHECK(EVP_Digest(message.data(), message.size(), digest, &length, EVP_sha256(), nullptr) == 1);
  return std::string(reinterpret_cast<const char*>(digest), length);
}

std::string KeyedDigest(absl::string_view key, absl::string_view message) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(message.data()), message.size(), digest, &length);
  return std::string(reinterpret_cast<const char*>(digest), length);
}

bool SameSecret(absl::string_view a, absl::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string MakePassphrase() {
  static constexpr char kLetters[] = "abcdefghijkmnpqrstuvwxyz23456789";  // 32 of them
  unsigned char random[32];
  HW_CHECK(RAND_bytes(random, sizeof(random)) == 1);
  std::string out;
  for (size_t i = 0; i < sizeof(random); ++i) {
    if (i > 0 && i % 8 == 0) out.push_back('-');
    out.push_back(kLetters[random[i] % 32]);
  }
  return out;
}

}  // namespace homeward
