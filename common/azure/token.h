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

// One of three: a secret, a certificate with its key, or neither, which is the managed identity of
// the VM that this runs on.
struct Credential {
  std::string tenant_id;
  std::string client_id;  // of a managed identity: which one; empty: the only one
  std::string client_secret;
  std::string certificate;      // PEM; the application has it registered
  std::string certificate_key;  // PEM, RSA
  // Who gives the tokens.
  std::string authority = "https://login.microsoftonline.com";
  std::string metadata = "http://169.254.169.254";
  // CAs (PEM) that the authority's certificate may be signed by, beside those that this host
  // trusts.
  std::string trusted;
  HttpsProxy proxy;  // to the authority; IMDS is never asked through one
  // How long it is tried again where it is not reached, or is too busy.
  absl::Duration retry_limit = absl::Minutes(1);
};

// Keeps each token until 5 minutes before its end (or until half of its time has passed, where that
// is later; or as long as `refresh_in` says), and then fetches the next, one thread at a time.
// Where that fails and the present one has not ended, gives the present one.
class Tokens : public TokenSource {
 public:
  // `token` was not taken by whom it was for: it is not given again.
  virtual void Forget(absl::string_view resource, const std::string& token) = 0;
};

// `clock` and `pauses` must outlive it, and `stop`, which ends a fetch and may be null.
// INVALID_ARGUMENT: a credential that is none, or an address.
absl::StatusOr<std::unique_ptr<Tokens>> MakeTokens(Credential credential, const Clock& clock,
                                                   Pauses& pauses,
                                                   const std::atomic<bool>* stop = nullptr);

}  // namespace homeward::azure

#endif  // HOMEWARD_COMMON_AZURE_TOKEN_H_
