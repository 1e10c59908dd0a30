// Ipv4Network: addresses of a lab's sites, as text and as numbers.
#ifndef HOMEWARD_DEPLOY_LAB_TOPOLOGY_IPV4_H_
#define HOMEWARD_DEPLOY_LAB_TOPOLOGY_IPV4_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace homeward::lab {

// "10.1.0.7"; nothing when it is no address.
std::optional<uint32_t> ParseIpv4(absl::string_view text);
std::string FormatIpv4(uint32_t address);

struct Ipv4Network {
  uint32_t first = 0;  // the network's own address
  int bits = 0;        // of the prefix

  uint32_t last() const { return first | (bits == 0 ? ~0u : (1ull << (32 - bits)) - 1); }
  bool Has(uint32_t address) const { return address >= first && address <= last(); }
  bool Overlaps(const Ipv4Network& other) const {
    return first <= other.last() && other.first <= last();
  }
};

// "10.1.0.0/24". Nothing when it is no network, or when the address has bits behind the prefix.
std::optional<Ipv4Network> ParseIpv4Network(absl::string_view text);

}  // namespace homeward::lab

#endif  // HOMEWARD_DEPLOY_LAB_TOPOLOGY_IPV4_H_
