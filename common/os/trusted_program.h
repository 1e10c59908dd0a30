// Whether a program that was found in a folder may be run.
#ifndef HOMEWARD_COMMON_OS_TRUSTED_PROGRAM_H_
#define HOMEWARD_COMMON_OS_TRUSTED_PROGRAM_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace homeward {

// Whether the file at `path` is there to be run: false for one that nobody may execute, and for
// what is no file. FAILED_PRECONDITION: somebody else could have written it, who that is, and what
// to do. A link is looked at where it leads.
absl::StatusOr<bool> IsTrustedProgram(const std::string& path);
// OK when nobody else than root and this process's user can put a file into `directory`. NOT_FOUND:
// it does not exist. FAILED_PRECONDITION as above.
absl::Status CheckTrustedDirectory(const std::string& directory);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_OS_TRUSTED_PROGRAM_H_
