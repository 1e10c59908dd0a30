#include "common/os/run_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "common/os/posix/unique_fd.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

// How soon a program is ended when its caller stops.
constexpr absl::Duration kLook = absl::Milliseconds(200);

// As C has them. They are `texts`' own.
std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// Starts it. Its output goes to `output` where that is a descriptor. Its environment is
// `environment`; null: this process's.
absl::StatusOr<pid_t> Start(const std::vector<std::string>& arguments, int output,
                            const std::vector<std::string>* environment = nullptr) {
  std::vector<char*> argv = Pointers(arguments), variables;
  if (environment != nullptr) variables = Pointers(*environment);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A group of its own, to be ended as one; and none of the signals that a daemon blocks.
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (output >= 0) {
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
  }
  pid_t pid = 0;
  const int error = ::posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(),
                                   environment == nullptr ? environ : variables.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return absl::ErrnoToStatus(error, absl::StrCat("start ", arguments[0]));
  return pid;
}

absl::Duration Monotonic() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

// Takes what `output` has now.
void Drain(int output, size_t bytes_max, std::string* text) {
  char piece[4096];
  for (;;) {
    const ssize_t got = ::read(output, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    text->append(piece, static_cast<size_t>(got));
    if (text->size() > bytes_max) text->erase(0, text->size() - bytes_max);
  }
}

enum class End { kByItself, kTimeout, kStopped };

// Waits for the process, or for a reason to end its group.
End AwaitReason(pid_t pid, const ProgramOptions& options, int output, std::string* text) {
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const absl::Duration limit = Monotonic() + options.timeout;
  End end = End::kByItself;
  for (;;) {
    const absl::Duration left = limit - Monotonic();
    if (left <= absl::ZeroDuration()) end = End::kTimeout;
    if (options.stopping != nullptr && options.stopping->HasBeenNotified()) end = End::kStopped;
    if (end != End::kByItself) break;
    pollfd waits[2] = {{process.get(), POLLIN, 0}, {output, POLLIN, 0}};
    const absl::Duration wait = options.stopping == nullptr ? left : std::min(left, kLook);
    const int ready = ::poll(waits, 2, static_cast<int>(absl::ToInt64Milliseconds(wait)) + 1);
    if (ready < 0 && errno != EINTR) {
      end = End::kTimeout;
      break;
    }
    if (output >= 0) Drain(output, options.output_bytes_max, text);
    if (ready > 0 && waits[0].revents != 0) break;
    // All that had its output have closed it: it is not looked at any more.
    if (ready > 0 && (waits[1].revents & POLLHUP) != 0) output = -1;
  }
  return end;
}

// The same, and kills the group for it.
End Await(pid_t pid, const ProgramOptions& options, int output, std::string* text) {
  const End end = AwaitReason(pid, options, output, text);
  if (end != End::kByItself) ::kill(-pid, SIGKILL);
  return end;
}

int Reap(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

absl::Status EndedBy(const std::string& program, int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      WIFEXITED(status) ? absl::StrCat(program, " ended with ", WEXITSTATUS(status))
                        : absl::StrCat(program, " was ended by signal ", WTERMSIG(status)));
}

absl::StatusOr<int> Run(const std::vector<std::string>& arguments, const ProgramOptions& options,
                        int output_read, int output_write, std::string* text) {
  HW_ASSIGN_OR_RETURN(const pid_t pid, Start(arguments, output_write));
  const End end = Await(pid, options, output_read, text);
  const int status = Reap(pid);
  if (end == End::kTimeout) {
    return absl::DeadlineExceededError(absl::StrCat(arguments[0], " took longer than ",
                                                    absl::FormatDuration(options.timeout),
                                                    " and was ended"));
  }
  if (end == End::kStopped)
    return absl::CancelledError(absl::StrCat(arguments[0], " was ended: the agent stops"));
  return status;
}

}  // namespace

absl::Status RunProgram(const std::vector<std::string>& arguments, absl::Duration timeout) {
  std::string none;
  HW_ASSIGN_OR_RETURN(const int status,
                      Run(arguments, {.timeout = timeout, .output_bytes_max = 0}, -1, -1, &none));
  return EndedBy(arguments[0], status);
}

absl::StatusOr<ProgramResult> RunProgramForOutput(const std::vector<std::string>& arguments,
                                                  const ProgramOptions& options) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "make a pipe");
  const UniqueFd read(ends[0]), write(ends[1]);
  if (::fcntl(read.get(), F_SETFL, O_NONBLOCK) != 0)
    return absl::ErrnoToStatus(errno, "set up a pipe");
  ProgramResult result;
  HW_ASSIGN_OR_RETURN(const int status,
                      Run(arguments, options, read.get(), write.get(), &result.output));
  if (!WIFEXITED(status)) {
    return absl::UnavailableError(
        absl::StrCat(arguments[0], " was ended by signal ", WTERMSIG(status)));
  }
  result.exit_code = WEXITSTATUS(status);
  return result;
}

ProgramEnd RunProgramToEnd(const ProgramRun& run) {
  ProgramEnd ended;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    ended.status = absl::ErrnoToStatus(errno, "make a pipe");
    return ended;
  }
  const UniqueFd read(ends[0]);
  UniqueFd write(ends[1]);
  if (::fcntl(read.get(), F_SETFL, O_NONBLOCK) != 0) {
    ended.status = absl::ErrnoToStatus(errno, "set up a pipe");
    return ended;
  }
  const absl::StatusOr<pid_t> pid =
      Start(run.arguments, write.get(), run.environment.has_value() ? &*run.environment : nullptr);
  if (!pid.ok()) {
    ended.status = pid.status();
    return ended;
  }
  write.reset();
  const ProgramOptions patience{run.timeout, run.output_bytes_max, run.stopping};
  const End end = AwaitReason(*pid, patience, read.get(), &ended.output);
  if (end != End::kByItself) {
    ::kill(-*pid, SIGTERM);
    // It is a zombie until it is reaped, so its group is its own until then.
    AwaitReason(*pid, {.timeout = run.grace, .output_bytes_max = run.output_bytes_max}, read.get(),
                &ended.output);
    ::kill(-*pid, SIGKILL);
  }
  const int status = Reap(*pid);
  Drain(read.get(), run.output_bytes_max, &ended.output);
  ended.timed_out = end == End::kTimeout;
  if (end == End::kByItself) {
    if (WIFEXITED(status)) ended.exit_code = WEXITSTATUS(status);
    ended.status = EndedBy(run.arguments[0], status);
  } else if (end == End::kTimeout) {
    ended.status = absl::DeadlineExceededError(absl::StrCat(run.arguments[0], " took longer than ",
                                                            absl::FormatDuration(run.timeout),
                                                            " and was ended"));
  } else {
    ended.status =
        absl::CancelledError(absl::StrCat(run.arguments[0], " was ended: its caller stops"));
  }
  return ended;
}

}  // namespace homeward
