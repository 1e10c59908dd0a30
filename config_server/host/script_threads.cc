#include "config_server/host/script_threads.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/exec/thread_name.h"
#include "common/os/file_system.h"
#include "common/os/run_program.h"
#include "common/os/trusted_program.h"

namespace homeward {

ScriptEnd RunScript(const std::string& directory, const ScriptRun& run,
                    const absl::Notification* stopping) {
  ScriptEnd end;
  end.status = CheckTrustedDirectory(directory);
  if (!end.status.ok()) return end;
  const std::string path = JoinPath(directory, run.name);
  const absl::StatusOr<bool> trusted = IsTrustedProgram(path);
  if (!trusted.ok()) {
    end.status = trusted.status();
    return end;
  }
  if (!*trusted) {
    end.status = absl::FailedPreconditionError(
        absl::StrCat(path, " is no file that may be executed (chmod +x)"));
    return end;
  }
  ProgramRun program;
  program.arguments = {path};
  program.arguments.insert(program.arguments.end(), run.arguments.begin(), run.arguments.end());
  program.environment = run.environment;
  program.timeout = run.timeout;
  program.output_bytes_max = run.output_bytes_max;
  program.stopping = stopping;
  ProgramEnd ended = RunProgramToEnd(program);
  end.status = std::move(ended.status);
  end.output = std::move(ended.output);
  return end;
}

ScriptThreads::~ScriptThreads() {
  for (auto& [key, run] : runs_) forgotten_.push_back(std::move(run));
  for (const auto& run : forgotten_) {
    if (!run->stopping.HasBeenNotified()) run->stopping.Notify();
  }
  for (const auto& run : forgotten_) run->thread.join();
}

void ScriptThreads::Begin(const std::string& key, const ScriptRun& run) {
  Reap();
  auto running = std::make_unique<Running>();
  Running* const one = running.get();
  one->thread = std::thread([this, one, run] {
    ScriptEnd end = RunScript(directory_, run, &one->stopping);
    absl::MutexLock lock(&one->mutex);
    one->end = std::move(end);
  });
  NameThread(&one->thread, "plan-script");
  runs_[key] = std::move(running);
}

bool ScriptThreads::Knows(const std::string& key) const { return runs_.contains(key); }

std::optional<ScriptEnd> ScriptThreads::EndOf(const std::string& key) const {
  const auto it = runs_.find(key);
  if (it == runs_.end()) return std::nullopt;
  absl::MutexLock lock(&it->second->mutex);
  return it->second->end;
}

void ScriptThreads::Forget(const std::string& key) {
  const auto it = runs_.find(key);
  if (it == runs_.end()) return;
  it->second->stopping.Notify();
  forgotten_.push_back(std::move(it->second));
  runs_.erase(it);
  Reap();
}

void ScriptThreads::Reap() {
  const auto ended = std::partition(forgotten_.begin(), forgotten_.end(), [](const auto& run) {
    absl::MutexLock lock(&run->mutex);
    return !run->end.has_value();
  });
  for (auto it = ended; it != forgotten_.end(); ++it) (*it)->thread.join();
  forgotten_.erase(ended, forgotten_.end());
}

}  // namespace homeward
