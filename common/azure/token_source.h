// TokenSource: who Homeward is, to Azure.
#ifndef HOMEWARD_COMMON_AZURE_TOKEN_SOURCE_H_
#define HOMEWARD_COMMON_AZURE_TOKEN_SOURCE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace homeward::azure {

// Thread-safe.
class TokenSource {
 public:
  virtual ~TokenSource() = default;
  // A bearer token that is valid for some minutes yet, for calls to `resource`: its address, as
  // "https://storage.azure.com/". Kept until it ends; blocks while a new one is fetched.
  //   UNAVAILABLE         whoever gives tokens is not reached
  //   PERMISSION_DENIED   it gives none to this credential
  virtual absl::StatusOr<std::string> Token(absl::string_view resource) = 0;
};

}  // namespace homeward::azure

#endif  // HOMEWARD_COMMON_AZURE_TOKEN_SOURCE_H_
