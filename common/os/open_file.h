// What RealFileSystem() opens files with: how they are read and written is the operating system's.
#ifndef HOMEWARD_COMMON_OS_OPEN_FILE_H_
#define HOMEWARD_COMMON_OS_OPEN_FILE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/os/file_system.h"

namespace homeward {

// As FileSystem::Open.
absl::StatusOr<std::unique_ptr<File>> OpenFile(const std::string& path, OpenMode mode);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_OS_OPEN_FILE_H_
