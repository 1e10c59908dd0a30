// ScriptThreads: runs the scripts of recovery plans, each in a thread of its own.
#ifndef HOMEWARD_CONFIG_SERVER_HOST_SCRIPT_THREADS_H_
#define HOMEWARD_CONFIG_SERVER_HOST_SCRIPT_THREADS_H_

#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "config_server/jobs/script_runner.h"

namespace homeward {

// Called from one strand. What its threads say is under the mutex of each run. Destroying it ends
// all that run, and waits for that: a few seconds at the most.
class ScriptThreads : public ScriptRunner {
 public:
  // Programs in `directory` are run, and no others.
  explicit ScriptThreads(std::string directory) : directory_(std::move(directory)) {}
  ~ScriptThreads() override;

  void Begin(const std::string& key, const ScriptRun& run) override;
  bool Knows(const std::string& key) const override;
  std::optional<ScriptEnd> EndOf(const std::string& key) const override;
  void Forget(const std::string& key) override;

 private:
  struct Running {
    absl::Notification stopping;
    absl::Mutex mutex;
    std::optional<ScriptEnd> end ABSL_GUARDED_BY(mutex);
    std::thread thread;
  };
  void Reap();

  const std::string directory_;
  std::map<std::string, std::unique_ptr<Running>> runs_;
  // Told to end; joined once they have.
  std::vector<std::unique_ptr<Running>> forgotten_;
};

// Runs it and waits. Threads: any. FAILED_PRECONDITION: it cannot be run, or how it ended.
ScriptEnd RunScript(const std::string& directory, const ScriptRun& run,
                    const absl::Notification* stopping);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_HOST_SCRIPT_THREADS_H_
