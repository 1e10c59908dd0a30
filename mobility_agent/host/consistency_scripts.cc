#include "mobility_agent/host/consistency_scripts.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/log/log.h"
#include "common/os/trusted_program.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

// No script has this name: hidden files are none.
constexpr char kHook[] = ".hook";
constexpr char kPath[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr size_t kOutputBytesMax = 4096;

absl::string_view LastLine(absl::string_view output) {
  output = absl::StripAsciiWhitespace(output);
  const size_t end = output.rfind('\n');
  return end == absl::string_view::npos ? output : output.substr(end + 1);
}

// Left by an editor or by dpkg beside the file that counts, and as executable as that.
bool IsLeftover(absl::string_view name) {
  return absl::StartsWith(name, ".") || absl::EndsWith(name, "~") ||
         absl::StrContains(name, ".dpkg-");
}

}  // namespace

ConsistencyScripts::ConsistencyScripts(FileSystem& files, const Clock& clock, Options options,
                                       std::unique_ptr<Strand> strand)
    : files_(files), clock_(clock), options_(std::move(options)), strand_(std::move(strand)) {
  const absl::StatusOr<std::vector<std::string>> owed = files_.List(options_.owed_directory);
  if (absl::IsNotFound(owed.status()) || (owed.ok() && owed->empty())) return;
  LogWarn("consistency.thaw_owed",
          {{"why", "the agent ended between freeze and thaw"}, {"list", owed.status()}});
  {
    absl::MutexLock lock(&mutex_);
    state_ = State::kFrozen;
    frozen_ = absl::CancelledError("the agent ended between freeze and thaw");
  }
  Thaw("");
}

ConsistencyScripts::~ConsistencyScripts() {
  stopping_.Notify();
  strand_->Run([this] {
    const absl::Status thawed = ThawAll("", options_.stop_timeout);
    if (!thawed.ok()) LogError("consistency.not_thawed", {{"error", thawed}});
  });
  strand_->Stop();
}

absl::StatusOr<std::vector<std::string>> ConsistencyScripts::Names() const {
  std::vector<std::string> names;
  if (!options_.pre_freeze.empty()) names.push_back(kHook);
  const absl::StatusOr<std::vector<std::string>> found = files_.List(options_.directory);
  if (absl::IsNotFound(found.status())) return names;
  HW_RETURN_IF_ERROR(found.status());
  if (found->empty()) return names;
  HW_RETURN_IF_ERROR(CheckTrustedDirectory(options_.directory));
  for (const std::string& name : *found) {
    if (IsLeftover(name)) continue;
    HW_ASSIGN_OR_RETURN(const bool runs, IsTrustedProgram(JoinPath(options_.directory, name)));
    if (runs) names.push_back(name);
  }
  return names;
}

bool ConsistencyScripts::Any() const {
  const absl::StatusOr<std::vector<std::string>> names = Names();
  return !names.ok() || !names->empty();
}

void ConsistencyScripts::Freeze(std::string point_id) {
  {
    absl::MutexLock lock(&mutex_);
    state_ = State::kFreezing;
  }
  strand_->Post([this, point_id] {
    absl::Status frozen = FreezeAll(point_id);
    absl::MutexLock lock(&mutex_);
    frozen_ = std::move(frozen);
    if (state_ == State::kFreezing) state_ = State::kFrozen;
  });
}

void ConsistencyScripts::Thaw(std::string point_id) {
  {
    absl::MutexLock lock(&mutex_);
    if (state_ == State::kThawed || state_ == State::kThawing) return;
    state_ = State::kThawing;
  }
  strand_->Post([this, point_id] {
    absl::Status thawed = ThawAll(point_id, absl::InfiniteDuration());
    absl::MutexLock lock(&mutex_);
    thawed_ = std::move(thawed);
    state_ = State::kThawed;
  });
}

ConsistencyScripts::State ConsistencyScripts::state() const {
  absl::MutexLock lock(&mutex_);
  return state_;
}

absl::Status ConsistencyScripts::frozen() const {
  absl::MutexLock lock(&mutex_);
  return frozen_;
}

absl::Status ConsistencyScripts::thawed() const {
  absl::MutexLock lock(&mutex_);
  return thawed_;
}

absl::Status ConsistencyScripts::FreezeAll(const std::string& point_id) {
  HW_ASSIGN_OR_RETURN(const std::vector<std::string> names, Names());
  if (names.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("there is no script in ", options_.directory,
                                                      ", and no hook pre_freeze is configured"));
  }
  const absl::Duration until = clock_.Monotonic() + options_.total_timeout;
  for (const std::string& name : names) {
    ProgramRun run = RunOf(name, "freeze", point_id);
    run.stopping = &stopping_;
    run.timeout = std::min(run.timeout, until - clock_.Monotonic());
    if (run.timeout <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError(
          absl::StrCat("the scripts before ", run.arguments[0], " took longer than ",
                       absl::FormatDuration(options_.total_timeout), " together"));
    }
    HW_RETURN_IF_ERROR(Owe(name));
    HW_RETURN_IF_ERROR(RunOne(name, "freeze", run));
  }
  return absl::OkStatus();
}

absl::Status ConsistencyScripts::ThawAll(const std::string& point_id, absl::Duration limit) {
  const absl::StatusOr<std::vector<std::string>> found = files_.List(options_.owed_directory);
  if (absl::IsNotFound(found.status())) return absl::OkStatus();
  HW_RETURN_IF_ERROR(found.status());
  std::vector<std::string> owed(found->rbegin(), found->rend());
  // It was the first.
  std::stable_partition(owed.begin(), owed.end(),
                        [](const std::string& name) { return name != kHook; });
  const bool limited = limit < absl::InfiniteDuration();
  const absl::Duration until = clock_.Monotonic() + limit;
  absl::Status first;
  for (const std::string& name : owed) {
    ProgramRun run = RunOf(name, "thaw", point_id);
    absl::Status ran;
    if (!run.arguments.empty() && name != kHook) ran = IsTrustedProgram(run.arguments[0]).status();
    if (ran.ok() && !run.arguments.empty()) {
      if (limited) run.timeout = std::min(run.timeout, until - clock_.Monotonic());
      if (run.timeout <= absl::ZeroDuration()) {
        ran = absl::DeadlineExceededError(absl::StrCat("no time was left to thaw ", name));
      } else {
        ran = RunOne(name, "thaw", run);
      }
    }
    first.Update(ran);
    // Cut short because the agent stops: the next start does it.
    if (limited && absl::IsDeadlineExceeded(ran)) continue;
    first.Update(Forget(name));
  }
  return first;
}

ProgramRun ConsistencyScripts::RunOf(const std::string& name, const std::string& step,
                                     const std::string& point_id) const {
  ProgramRun run;
  run.output_bytes_max = kOutputBytesMax;
  if (name == kHook) {
    run.arguments = step == "freeze" ? options_.pre_freeze : options_.post_thaw;
    run.timeout = options_.hook_timeout;
    return run;  // with the agent's own environment, as all hooks
  }
  run.arguments = {JoinPath(options_.directory, name), step};
  run.environment = std::vector<std::string>{kPath, absl::StrCat("HOMEWARD_POINT_ID=", point_id),
                                             absl::StrCat("HOMEWARD_MACHINE=", options_.machine),
                                             absl::StrCat("HOMEWARD_STEP=", step)};
  run.timeout = options_.script_timeout;
  return run;
}

absl::Status ConsistencyScripts::RunOne(const std::string& name, const std::string& step,
                                        const ProgramRun& run) {
  const absl::Duration began = clock_.Monotonic();
  const ProgramEnd ended = RunProgramToEnd(run);
  const absl::Duration took = clock_.Monotonic() - began;
  if (ended.status.ok()) {
    LogInfo("consistency.script", {{"script", run.arguments[0]},
                                   {"step", step},
                                   {"took", absl::FormatDuration(took)},
                                   {"output", ended.output}});
    return absl::OkStatus();
  }
  LogError("consistency.script", {{"script", run.arguments[0]},
                                  {"step", step},
                                  {"took", absl::FormatDuration(took)},
                                  {"error", ended.status},
                                  {"output", ended.output}});
  const absl::string_view line = LastLine(ended.output);
  return absl::Status(
      ended.status.code(),
      absl::StrCat(name == kHook ? "hook" : "script", " at ", step, ": ", ended.status.message(),
                   line.empty() ? "; it printed nothing" : "; it printed at last: ", line));
}

absl::Status ConsistencyScripts::Owe(const std::string& name) {
  HW_RETURN_IF_ERROR(files_.MakeDirectories(options_.owed_directory));
  HW_RETURN_IF_ERROR(
      files_.Open(JoinPath(options_.owed_directory, name), OpenMode::kCreate).status());
  return files_.SyncDirectory(options_.owed_directory);
}

absl::Status ConsistencyScripts::Forget(const std::string& name) {
  HW_RETURN_IF_ERROR(files_.Remove(JoinPath(options_.owed_directory, name)));
  return files_.SyncDirectory(options_.owed_directory);
}

}  // namespace homeward
