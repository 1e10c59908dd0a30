// Addresses that operators and Azure write: "https://management.azure.com/subscriptions/...".
#ifndef HOMEWARD_COMMON_AZURE_ADDRESS_H_
#define HOMEWARD_COMMON_AZURE_ADDRESS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/net/address.h"

namespace homeward::azure {

struct WebAddress {
  bool tls = true;   // https
  HostPort host;     // in lower case; with the port that the scheme means, where none is written
  std::string path;  // with its query; "/" where there is none
};
// INVALID_ARGUMENT says what is wrong.
absl::StatusOr<WebAddress> ParseWebAddress(absl::string_view text);

// As a part of a path, or a value of a query or a form: all but letters, digits and "-._~" encoded.
std::string Encoded(absl::string_view text);

}  // namespace homeward::azure

#endif  // HOMEWARD_COMMON_AZURE_ADDRESS_H_
