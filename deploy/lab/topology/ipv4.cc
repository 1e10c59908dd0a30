#include "deploy/lab/topology/ipv4.h"

#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace homeward::lab {

std::optional<uint32_t> ParseIpv4(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, '.');
  if (parts.size() != 4) return std::nullopt;
  uint32_t address = 0;
  for (absl::string_view part : parts) {
    uint32_t number = 0;
    if (!absl::SimpleAtoi(part, &number) || number > 255 || absl::StrCat(number) != part)
      return std::nullopt;
    address = address << 8 | number;
  }
  return address;
}

std::string FormatIpv4(uint32_t address) {
  return absl::StrCat(address >> 24, ".", address >> 16 & 255, ".", address >> 8 & 255, ".",
                      address & 255);
}

std::optional<Ipv4Network> ParseIpv4Network(absl::string_view text) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits('/', 1));
  const std::optional<uint32_t> first = ParseIpv4(parts.first);
  Ipv4Network network;
  if (!first || !absl::SimpleAtoi(parts.second, &network.bits) || network.bits < 0 ||
      network.bits > 32)
    return std::nullopt;
  const uint64_t size = 1ull << (32 - network.bits);
  if (*first % size != 0) return std::nullopt;
  network.first = *first;
  return network;
}

}  // namespace homeward::lab
