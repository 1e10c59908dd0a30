// How a request to Azure storage is signed with an account's key ("Authorize with Shared Key" in
// Azure's REST reference).
#ifndef HOMEWARD_COMMON_AZURE_SHARED_KEY_H_
#define HOMEWARD_COMMON_AZURE_SHARED_KEY_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace homeward::azure {

struct RequestToSign {
  std::string method;  // "GET"
  // All that are sent, by their names in any case, without Content-Length.
  std::map<std::string, std::string> headers;
  uint64_t content_bytes = 0;
  std::string path;                          // as it is sent, encoded
  std::map<std::string, std::string> query;  // not encoded
};

// What is signed for `account`.
std::string StringToSign(const RequestToSign& request, const std::string& account);

// The value of the header Authorization. `key` is the account's, decoded.
std::string SharedKeyAuthorization(const RequestToSign& request, const std::string& account,
                                   absl::string_view key);

// An account's key as Azure shows it, in base64, with white space around it. INVALID_ARGUMENT: it
// is none.
absl::StatusOr<std::string> DecodeAccountKey(absl::string_view text);
// A shared access signature as Azure shows it, with or without its '?', made fit to be the end of a
// query. INVALID_ARGUMENT: it is none.
absl::StatusOr<std::string> CheckSharedAccessSignature(absl::string_view text);

}  // namespace homeward::azure

#endif  // HOMEWARD_COMMON_AZURE_SHARED_KEY_H_
