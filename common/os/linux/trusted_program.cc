#include "common/os/trusted_program.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"

namespace homeward {
namespace {

absl::Status CheckOwner(const std::string& path, const struct stat& seen) {
  if (seen.st_uid != 0 && seen.st_uid != ::geteuid()) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " belongs to user ", seen.st_uid,
                     ", who could change it, and is not run: chown root ", path));
  }
  if ((seen.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " can be written to by others, and is not run: chmod go-w ", path));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> IsTrustedProgram(const std::string& path) {
  struct stat seen;
  if (::stat(path.c_str(), &seen) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("look at ", path));
  if (!S_ISREG(seen.st_mode) || (seen.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)) == 0) return false;
  const absl::Status owner = CheckOwner(path, seen);
  if (!owner.ok()) return owner;
  return true;
}

absl::Status CheckTrustedDirectory(const std::string& directory) {
  struct stat seen;
  if (::stat(directory.c_str(), &seen) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("look at ", directory));
  return CheckOwner(directory, seen);
}

}  // namespace homeward
