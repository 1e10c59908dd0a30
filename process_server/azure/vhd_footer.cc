#include "process_server/azure/vhd_footer.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "common/base/bytes.h"

namespace homeward {
namespace {

struct Geometry {
  uint64_t cylinders, heads, sectors;
};

// The specification's appendix, "CHS Calculation".
Geometry GeometryOf(uint64_t bytes) {
  const uint64_t total = std::min<uint64_t>(bytes / kSectorBytes, 65535 * 16 * 255);
  if (total >= 65535 * 16 * 63) return {total / 255 / 16, 16, 255};
  uint64_t sectors = 17, heads = std::max<uint64_t>((total / sectors + 1023) / 1024, 4);
  if (total / sectors >= heads * 1024 || heads > 16) {
    sectors = 31;
    heads = 16;
  }
  if (total / sectors >= heads * 1024) {
    sectors = 63;
    heads = 16;
  }
  return {total / sectors / heads, heads, sectors};
}

// All numbers of a VHD are big-endian.
void Append(uint64_t value, int bytes, std::string* out) {
  for (int i = bytes - 1; i >= 0; --i) out->push_back(static_cast<char>(value >> (8 * i)));
}

}  // namespace

uint64_t VhdDiskBytes(uint64_t disk_bytes) { return (disk_bytes + kMiB - 1) / kMiB * kMiB; }

std::string VhdFooter(uint64_t bytes, absl::string_view uuid) {
  constexpr size_t kChecksumAt = 64;
  std::string footer = "conectix";
  Append(2, 4, &footer);           // features: the bit that is always set
  Append(0x10000, 4, &footer);     // version 1.0 of the format
  Append(UINT64_MAX, 8, &footer);  // no dynamic header follows
  Append(0, 4, &footer);           // made at no time, so that the same disk gives the same bytes
  // Readers take the size of "win " from the next fields, and of others from the geometry, which
  // cannot say every size.
  footer += "win ";
  Append(0xA0000, 4, &footer);
  footer += "Wi2k";
  Append(bytes, 8, &footer);  // original size
  Append(bytes, 8, &footer);  // current size
  const Geometry geometry = GeometryOf(bytes);
  Append(geometry.cylinders, 2, &footer);
  Append(geometry.heads, 1, &footer);
  Append(geometry.sectors, 1, &footer);
  Append(2, 4, &footer);  // fixed
  Append(0, 4, &footer);  // checksum, below
  std::string id = absl::HexStringToBytes(uuid);
  id.resize(16);
  footer += id;
  footer.resize(kVhdFooterBytes);
  uint32_t sum = 0;
  for (const char byte : footer) sum += static_cast<uint8_t>(byte);
  std::string checksum;
  Append(~sum, 4, &checksum);
  footer.replace(kChecksumAt, checksum.size(), checksum);
  return footer;
}

}  // namespace homeward
