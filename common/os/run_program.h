// Runs a program of the machine: an operator's hook, a tool of its system.
#ifndef HOMEWARD_COMMON_OS_RUN_PROGRAM_H_
#define HOMEWARD_COMMON_OS_RUN_PROGRAM_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace homeward {

// Runs `arguments[0]` with the rest as its arguments and waits. FAILED_PRECONDITION: it did not end
// with 0, and how it ended. DEADLINE_EXCEEDED: it took longer than `timeout` and was killed with
// all it started. NOT_FOUND: there is no such program.
absl::Status RunProgram(const std::vector<std::string>& arguments, absl::Duration timeout);

struct ProgramResult {
  int exit_code = 0;
  std::string output;  // both outputs together; of a longer one the end
};
struct ProgramOptions {
  absl::Duration timeout;
  size_t output_bytes_max = 0;
  const absl::Notification* stopping = nullptr;  // ends it early; null: nothing does
};
// The same with what it printed, and nothing to read. Ends when the program does, also when what it
// left running holds its output. Any exit code is a result. UNAVAILABLE: a signal ended it.
// DEADLINE_EXCEEDED, CANCELLED (`stopping`): it was killed with all it started. NOT_FOUND.
absl::StatusOr<ProgramResult> RunProgramForOutput(const std::vector<std::string>& arguments,
                                                  const ProgramOptions& options);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_OS_RUN_PROGRAM_H_
