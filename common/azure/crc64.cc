#include "common/azure/crc64.h"

#include <array>
#include <cstring>

namespace homeward::azure {
namespace {

constexpr uint64_t kPolynomial = 0x9a6c9329ac4bc9b5;  // its bits from the other end
constexpr size_t kStep = 16;                          // bytes at once

using Table = std::array<uint64_t, 256>;

// Of a byte that so many others follow.
constexpr std::array<Table, kStep> MakeTables() {
  std::array<Table, kStep> tables{};
  for (uint64_t byte = 0; byte < 256; ++byte) {
    uint64_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (size_t behind = 1; behind < kStep; ++behind) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint64_t before = tables[behind - 1][byte];
      tables[behind][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr std::array<Table, kStep> kTables = MakeTables();

// Eight bytes, the first of which `Behind` others of the step follow.
template <size_t Behind>
uint64_t Fold(uint64_t bytes) {
  return kTables[Behind][bytes & 0xff] ^ kTables[Behind - 1][(bytes >> 8) & 0xff] ^
         kTables[Behind - 2][(bytes >> 16) & 0xff] ^ kTables[Behind - 3][(bytes >> 24) & 0xff] ^
         kTables[Behind - 4][(bytes >> 32) & 0xff] ^ kTables[Behind - 5][(bytes >> 40) & 0xff] ^
         kTables[Behind - 6][(bytes >> 48) & 0xff] ^ kTables[Behind - 7][bytes >> 56];
}

}  // namespace

uint64_t Crc64(absl::string_view content) {
  uint64_t crc = ~uint64_t{0};
  while (content.size() >= kStep) {
    uint64_t low = 0, high = 0;
    std::memcpy(&low, content.data(), sizeof(low));
    std::memcpy(&high, content.data() + sizeof(low), sizeof(high));
    crc = Fold<15>(crc ^ low) ^ Fold<7>(high);
    content.remove_prefix(kStep);
  }
  for (const char c : content)
    crc = (crc >> 8) ^ kTables[0][(crc ^ static_cast<uint8_t>(c)) & 0xff];
  return ~crc;
}

}  // namespace homeward::azure
