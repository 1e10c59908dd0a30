// The retention drive: the volume where recovery journals are.
#ifndef HOMEWARD_MASTER_TARGET_HOST_RETENTION_VOLUME_H_
#define HOMEWARD_MASTER_TARGET_HOST_RETENTION_VOLUME_H_

#include <string>

#include "absl/status/statusor.h"
#include "common/os/file_system.h"

namespace homeward {

// Whether recovery journals can be kept in `directory`. NOT_FOUND: it is missing.
// FAILED_PRECONDITION: FAT, of no size, too full, or in use by something else; the message says
// which.
absl::Status CheckRetentionVolume(FileSystem& files, const std::string& directory);

// Makes the directory where it is missing, checks it, and writes and syncs a file there. Returns
// what an operator should know of it.
absl::StatusOr<std::string> PrepareRetentionVolume(FileSystem& files, const std::string& directory);

}  // namespace homeward

#endif  // HOMEWARD_MASTER_TARGET_HOST_RETENTION_VOLUME_H_
