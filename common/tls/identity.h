// Certificates: who a component is. The configuration server's CA signs a key that never leaves its
// host; the certificate carries role and host id, and every connection checks both sides.
#ifndef HOMEWARD_COMMON_TLS_IDENTITY_H_
#define HOMEWARD_COMMON_TLS_IDENTITY_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"

namespace homeward {

// The components that have certificates. The name of a role, as in RoleDnsName().
enum class Role { kConfigServer, kProcessServer, kMasterTarget, kAgent, kOperator };
absl::string_view RoleName(Role role);
// The DNS name in every certificate of the role: "process-server.homeward.internal". A client asks
// for it, so that a certificate of another role is refused in the handshake.
std::string RoleDnsName(Role role);

// A connection that has not become one by then is given up: no handshake takes longer. What a
// server or a client shows must be valid for so long, so certificates are renewed well before it.
constexpr int kHandshakeSecondsMax = 20;
// Of a certificate. A third of it is renewed in, a third passes while that is tried again.
constexpr absl::Duration kValidityMin = absl::Seconds(3 * kHandshakeSecondsMax);

// PEM throughout.
struct TlsIdentity {
  std::string ca;
  std::string certificate;
  std::string key;
};

// A new P-256 key.
absl::StatusOr<std::string> MakePrivateKey();
// Asks for a certificate for `key`; what it is for is decided by who signs.
absl::StatusOr<std::string> MakeSigningRequest(const std::string& key);

// Signs what others ask for. Thread-safe; immutable.
class CertificateAuthority {
 public:
  // A new CA, valid for ten years from `now`.
  static absl::StatusOr<CertificateAuthority> Create(absl::Time now);
  // INVALID_ARGUMENT when the two do not belong together.
  static absl::StatusOr<CertificateAuthority> Load(const std::string& certificate,
                                                   const std::string& key);

  struct Grant {
    Role role = Role::kAgent;
    std::string host_id;
    absl::Time not_before;
    absl::Duration validity = absl::Hours(24 * 30);
  };
  // INVALID_ARGUMENT when the request is not one, or is not signed by its own key.
  absl::StatusOr<std::string> Sign(const std::string& signing_request, const Grant& grant) const;

  const std::string& certificate() const { return certificate_; }
  const std::string& key() const { return key_; }

 private:
  CertificateAuthority(std::string certificate, std::string key)
      : certificate_(std::move(certificate)), key_(std::move(key)) {}
  std::string certificate_;
  std::string key_;
};

// What of an identity cannot be: it is not what was written, or not of the others.
enum class IdentityPart { kCa, kCertificate, kKey, kHostId };
struct IdentityFault {
  IdentityPart part = IdentityPart::kCa;
  std::string why;
};
// The first such part. None: CA, certificate, key and host id belong together. A certificate that
// has ended is no fault.
absl::optional<IdentityFault> FindFault(const TlsIdentity& identity, absl::string_view host_id);

// When the certificate (PEM) begins and ceases to be valid.
struct Validity {
  absl::Time begin;
  absl::Time end;
};
absl::StatusOr<Validity> CertificateValidity(const std::string& certificate);
// SHA-256 of the certificate (PEM), as operators compare it: "72:A6:E5:...".
absl::StatusOr<std::string> CertificateThumbprint(const std::string& certificate);

// SHA-256 of `message`: 32 bytes.
std::string Digest(absl::string_view message);
// HMAC-SHA256 of `message`, keyed with `key`: 32 bytes.
std::string KeyedDigest(absl::string_view key, absl::string_view message);
// Compares in a time that does not depend on where they differ.
bool SameSecret(absl::string_view a, absl::string_view b);
// 160 random bits as groups of letters and digits that are hard to confuse: for people to copy.
std::string MakePassphrase();

}  // namespace homeward

#endif  // HOMEWARD_COMMON_TLS_IDENTITY_H_
