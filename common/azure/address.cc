#include "common/azure/address.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"

namespace homeward::azure {

absl::StatusOr<WebAddress> ParseWebAddress(absl::string_view text) {
  WebAddress address;
  const size_t scheme = text.find("://");
  const absl::string_view name = text.substr(0, scheme == text.npos ? 0 : scheme);
  if (absl::EqualsIgnoreCase(name, "http")) {
    address.tls = false;
  } else if (!absl::EqualsIgnoreCase(name, "https")) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is no address: it must begin with https://"));
  }
  const absl::string_view rest = text.substr(scheme + 3);
  const size_t path = std::min(rest.find('/'), rest.find('?'));
  const absl::string_view host = rest.substr(0, path);
  if (absl::StrContains(host, "@")) {
    return absl::InvalidArgumentError(absl::StrCat("the address of ",
                                                   host.substr(host.find('@') + 1),
                                                   " has a user before it: give only a host"));
  }
  const size_t bracket = host.rfind(']');
  const size_t colon = host.rfind(':');
  const bool has_port = colon != host.npos && (bracket == host.npos || colon > bracket);
  HW_ASSIGN_OR_RETURN(
      address.host,
      ParseHostPort(absl::AsciiStrToLower(
          has_port ? std::string(host) : absl::StrCat(host, address.tls ? ":443" : ":80"))));
  if (path != rest.npos) address.path = std::string(rest.substr(path));
  if (address.path.empty() || address.path[0] != '/')
    address.path = absl::StrCat("/", address.path);
  return address;
}

std::string Encoded(absl::string_view text) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
        absl::StrContains("-._~", std::string(1, c))) {
      out.push_back(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out.push_back('%');
      out.push_back(kDigits[byte >> 4]);
      out.push_back(kDigits[byte & 15]);
    }
  }
  return out;
}

}  // namespace homeward::azure
