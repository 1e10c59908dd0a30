// Runs a program of the machine: an operator's hook, a tool of its system.
#ifndef HOMEWARD_COMMON_OS_RUN_PROGRAM_H_
#define HOMEWARD_COMMON_OS_RUN_PROGRAM_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"

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

// How a program ended that was asked for with all there is to say of it. Blocks until it has.
struct ProgramRun {
  std::vector<std::string> arguments;
  // NAME=value, and nothing else is in it. Absent: this process's.
  absl::optional<std::vector<std::string>> environment;
  absl::Duration timeout;
  // At its timeout, or when the caller stops, all that it started is sent SIGTERM, and SIGKILL so
  // much later.
  absl::Duration grace = absl::Seconds(2);
  size_t output_bytes_max = 4096;
  const absl::Notification* stopping = nullptr;  // ends it early; null: nothing does
};
struct ProgramEnd {
  // OK: it ended with 0. FAILED_PRECONDITION: otherwise, and how. DEADLINE_EXCEEDED, CANCELLED
  // (`stopping`): it was ended. NOT_FOUND, PERMISSION_DENIED: it could not be started.
  absl::Status status;
  std::string output;  // both outputs together; of a longer one the end
  int exit_code = -1;  // -1: it did not end by itself
  bool timed_out = false;
};
// What it leaves running stays, when it ends by itself: its output should not be this one's.
ProgramEnd RunProgramToEnd(const ProgramRun& run);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_OS_RUN_PROGRAM_H_
