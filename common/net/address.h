// host:port, as operators write it.
#ifndef HOMEWARD_COMMON_NET_ADDRESS_H_
#define HOMEWARD_COMMON_NET_ADDRESS_H_

#include <string>

#include "absl/status/statusor.h"

namespace homeward {

struct HostPort {
  std::string host;
  int port = 0;
};
// "10.0.0.4:9443", "cs.example.org:443", "[::1]:9443". INVALID_ARGUMENT says what is wrong.
absl::StatusOr<HostPort> ParseHostPort(absl::string_view text);
// Which ParseHostPort() takes.
std::string FormatHostPort(const HostPort& address);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_NET_ADDRESS_H_
