// FileError: what a call about a file says when it fails.
#ifndef HOMEWARD_COMMON_OS_POSIX_FILE_ERROR_H_
#define HOMEWARD_COMMON_OS_POSIX_FILE_ERROR_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace homeward {

// `error` is an errno. RESOURCE_EXHAUSTED when there is no space left.
absl::Status FileError(int error, absl::string_view doing, const std::string& path);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_OS_POSIX_FILE_ERROR_H_
