// ScriptRunner: what runs the scripts of recovery plans, beside the strand.
#ifndef HOMEWARD_CONFIG_SERVER_JOBS_SCRIPT_RUNNER_H_
#define HOMEWARD_CONFIG_SERVER_JOBS_SCRIPT_RUNNER_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace homeward {

struct ScriptRun {
  std::string name;  // of its file in the directory of scripts
  std::vector<std::string> arguments;
  std::vector<std::string> environment;  // NAME=value
  absl::Duration timeout;
  size_t output_bytes_max = 0;
};
struct ScriptEnd {
  absl::Status status;  // why it failed, or could not be started
  std::string output;   // its end
};

// Called from one strand; no call waits. `key` names one attempt of one script.
class ScriptRunner {
 public:
  virtual ~ScriptRunner() = default;
  virtual void Begin(const std::string& key, const ScriptRun& run) = 0;
  // It was begun, and how it ended was not forgotten. No server that starts again knows any.
  virtual bool Knows(const std::string& key) const = 0;
  // Nothing: it runs.
  virtual std::optional<ScriptEnd> EndOf(const std::string& key) const = 0;
  // Ends it, where it runs, with all that it started, and forgets it.
  virtual void Forget(const std::string& key) = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_JOBS_SCRIPT_RUNNER_H_
