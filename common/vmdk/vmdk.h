// VMDK descriptors for flat disks. Format: docs/formats/vmdk.md. Pure functions on text, plus one
// that makes the two files.
#ifndef HOMEWARD_COMMON_VMDK_VMDK_H_
#define HOMEWARD_COMMON_VMDK_VMDK_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/os/file_system.h"

namespace homeward {

struct VmdkDescriptor {
  uint64_t size_bytes = 0;  // a multiple of 512
  uint32_t content_id = 0;  // CID
  std::string uuid;         // 32 hexadecimal digits, lower case
  std::string flat_name;    // file name of the extent, in the descriptor's directory
};

std::string FormatVmdkDescriptor(const VmdkDescriptor& descriptor);
// Whether the disks of a machine whose directory has this name can be told of in a descriptor:
// what would be written there is read back. INVALID_ARGUMENT says what is wrong with the name.
absl::Status CheckVmdkName(const std::string& name);
// INVALID_ARGUMENT names the line that is missing or wrong.
absl::StatusOr<VmdkDescriptor> ParseVmdkDescriptor(absl::string_view text);

// Creates or opens `<directory>/<name>.vmdk` and its flat extent; durable on return.
// FAILED_PRECONDITION when it is there with another size or UUID: it is some other disk and is left
// alone; or when a new one's descriptor could not be read again. Returns the flat extent. `created`
// says whether it is new and reads as zeroes.
struct VmdkOptions {
  std::string directory;
  std::string name;
  uint64_t size_bytes = 0;
  std::string uuid;
  uint32_t content_id = 0;  // for a new disk
};
absl::StatusOr<std::unique_ptr<File>> OpenOrCreateVmdk(FileSystem& files,
                                                       const VmdkOptions& options, bool* created);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_VMDK_VMDK_H_
