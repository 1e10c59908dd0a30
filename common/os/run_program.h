// Runs a program of the operator's: a hook.
#ifndef HOMEWARD_COMMON_OS_RUN_PROGRAM_H_
#define HOMEWARD_COMMON_OS_RUN_PROGRAM_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace homeward {

// Runs `arguments[0]` with the rest as its arguments and waits. FAILED_PRECONDITION: it did not end
// with 0, and how it ended. DEADLINE_EXCEEDED: it took longer than `timeout` and was killed with
// all it started. NOT_FOUND: there is no such program.
absl::Status RunProgram(const std::vector<std::string>& arguments, absl::Duration timeout);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_OS_RUN_PROGRAM_H_
