#include "common/os/posix/file_error.h"

#include <cerrno>

#include "absl/strings/str_cat.h"

namespace homeward {

absl::Status FileError(int error, absl::string_view doing, const std::string& path) {
  if (error == ENOSPC || error == EDQUOT) {
    return absl::ResourceExhaustedError(absl::StrCat(doing, " ", path, ": no space left"));
  }
  return absl::ErrnoToStatus(error, absl::StrCat(doing, " ", path));
}

}  // namespace homeward
