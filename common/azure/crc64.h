// The checksum that Azure Storage compares content with: x-ms-content-crc64.
#ifndef HOMEWARD_COMMON_AZURE_CRC64_H_
#define HOMEWARD_COMMON_AZURE_CRC64_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace homeward::azure {

// CRC-64/NVME: reflected, polynomial 0xad93d23594c93659. A header has its eight bytes, the lowest
// first, in base64. Of content in pieces: `before` is that of the pieces before this one.
uint64_t Crc64(absl::string_view content, uint64_t before = 0);

// The same on a processor that cannot multiply polynomials (PCLMULQDQ).
uint64_t Crc64ByTables(absl::string_view content, uint64_t before = 0);

}  // namespace homeward::azure

#endif  // HOMEWARD_COMMON_AZURE_CRC64_H_
