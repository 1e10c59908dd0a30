// Tokens of Microsoft Entra ID, as its v2.0 token endpoint and Azure's instance metadata service
// (IMDS) give them.
#ifndef HOMEWARD_COMMON_AZURE_TOKEN_H_
#define HOMEWARD_COMMON_AZURE_TOKEN_H_

#include <atomic>
#include <memory>
#include <string>

#include "common/azure/pauses.h"
#include "common/azure/token_source.h"
#include "common/clock/clock.h"
#include "common/net/https_client.h"

namespace homeward::azure {

// One of the three: a secret, a certificate with its key, or neither: the managed identity of the
// VM that this runs on.
struct Credential {
  std::string tenant_id;
  std::string client_id;  // of a managed identity: which one; empty: the only one
  std::string client_secret;
  std::string certificate;  // PEM; registered with the application
  std::string certificate_key;
  // Who gives the tokens.
  std::string authority = "https://login.microsoftonline.com";
  std::string metadata = "http://169.254.169.254";
  std::string trusted;  // CAs (PEM) of the authority; empty: those that this host trusts
  HttpsProxy proxy;     // to the authority; IMDS is never asked through one
  // How long it is tried again where it is not reached, or is too busy.
  absl::Duration retry_limit = absl::Minutes(1);
};

// A token is kept until 5 minutes before its end, or until the time that `refresh_in` names, and
// one thread fetches the next. Where that fails and the present one has not ended, the present one
// is given. `clock` and `pauses` must outlive it, `stop` too, which may be null. INVALID_ARGUMENT:
// a credential that is none, or an address.
absl::StatusOr<std::unique_ptr<TokenSource>> MakeTokenSource(
    Credential credential, const Clock& clock, Pauses& pauses,
    const std::atomic<bool>* stop = nullptr);

}  // namespace homeward::azure

#endif  // HOMEWARD_COMMON_AZURE_TOKEN_H_
