// A directory in which RocksDB's backup engine writes and reads, on the operating system's files.
#ifndef HOMEWARD_CONFIG_SERVER_BACKUP_SCRATCH_H_
#define HOMEWARD_CONFIG_SERVER_BACKUP_SCRATCH_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace homeward {

// Removes it, and all that is in it.
absl::Status EmptyScratch(const std::string& directory);
// Paths of all files in it, below it, sorted.
absl::StatusOr<std::vector<std::string>> FilesInScratch(const std::string& directory);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_BACKUP_SCRATCH_H_
