#include "common/net/address.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace homeward {

absl::StatusOr<HostPort> ParseHostPort(absl::string_view text) {
  const size_t colon = text.rfind(':');
  HostPort out;
  if (colon == text.npos || colon == 0) {
    return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is not host:port"));
  }
  absl::string_view host = text.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != host.npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\": write an IPv6 address in brackets, [::1]:9443"));
  }
  if (!absl::SimpleAtoi(text.substr(colon + 1), &out.port) || out.port < 0 || out.port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\": the port must be a number up to 65535"));
  }
  out.host = std::string(host);
  return out;
}

std::string FormatHostPort(const HostPort& address) {
  const bool is_ipv6 = address.host.find(':') != std::string::npos;
  return is_ipv6 ? absl::StrCat("[", address.host, "]:", address.port)
                 : absl::StrCat(address.host, ":", address.port);
}

}  // namespace homeward
