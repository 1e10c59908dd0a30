// The checksum that Azure Storage compares content with: x-ms-content-crc64.
#ifndef HOMEWARD_COMMON_AZURE_CRC64_H_
#define HOMEWARD_COMMON_AZURE_CRC64_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace homeward::azure {

// CRC-64/NVME: reflected, polynomial 0xad93d23594c93659. A header has its eight bytes, the lowest
// first, in base64. Several times as fast as MD5.
uint64_t Crc64(absl::string_view content);

}  // namespace homeward::azure

#endif  // HOMEWARD_COMMON_AZURE_CRC64_H_
