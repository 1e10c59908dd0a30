// Signatures of what is sent to others, with a key that they know the certificate of.
#ifndef HOMEWARD_COMMON_TLS_SIGNING_H_
#define HOMEWARD_COMMON_TLS_SIGNING_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace homeward {

// PS256 (RFC 7518, 3.5): RSASSA-PSS with SHA-256, MGF1 with SHA-256, a salt of 32 bytes.
// INVALID_ARGUMENT: `key` (PEM) is no private RSA key.
absl::StatusOr<std::string> SignPs256(const std::string& key, absl::string_view message);
// Whether that is a signature of `message`, by the key of `certificate` (PEM).
absl::StatusOr<bool> VerifyPs256(const std::string& certificate, absl::string_view message,
                                 absl::string_view signature);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_TLS_SIGNING_H_
