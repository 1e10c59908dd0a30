// How the homeward command ends, for scripts. docs/operations/README.md lists the codes.
#ifndef HOMEWARD_CONFIG_SERVER_CLI_EXIT_CODE_H_
#define HOMEWARD_CONFIG_SERVER_CLI_EXIT_CODE_H_

#include "absl/status/status.h"

namespace homeward {

enum ExitCode {
  kOk = 0,
  kFailed = 1,
  kUsage = 2,
  kRefused = 3,
  kNotFound = 4,
  kTryAgain = 5,
  kNotAllowed = 6,
  kJobFailed = 7,
};

ExitCode ExitCodeOf(const absl::Status& status);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_CLI_EXIT_CODE_H_
