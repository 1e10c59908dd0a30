// The footer that makes a page blob a fixed VHD: Azure makes managed disks of nothing else. Source:
// Microsoft, Virtual Hard Disk Image Format Specification, version 1.0 (October 2006).
#ifndef HOMEWARD_PROCESS_SERVER_AZURE_VHD_FOOTER_H_
#define HOMEWARD_PROCESS_SERVER_AZURE_VHD_FOOTER_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace homeward {

inline constexpr uint64_t kVhdFooterBytes = 512;

// What a disk of `disk_bytes` has in a VHD for Azure: whole MiB.
uint64_t VhdDiskBytes(uint64_t disk_bytes);

// The last 512 bytes of the file. `bytes` is VhdDiskBytes() of the disk. `uuid` has 32 hex digits.
// The same arguments give the same bytes.
std::string VhdFooter(uint64_t bytes, absl::string_view uuid);

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_AZURE_VHD_FOOTER_H_
