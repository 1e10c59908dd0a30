// Daemon: what every daemon's main does: read the configuration, check it, start, serve health and
// metrics, obey signals, stop in time.
#ifndef HOMEWARD_COMMON_DAEMON_DAEMON_H_
#define HOMEWARD_COMMON_DAEMON_DAEMON_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "common/clock/clock.h"
#include "common/config/config.h"
#include "common/log/log.h"
#include "common/metrics/metrics.h"
#include "common/os/file_system.h"
#include "homeward/config/v1/config.pb.h"
#include "homeward/types/v1/types.pb.h"

namespace homeward {

inline constexpr char kVersion[] = "0.1.0";

// What a daemon is given instead of reaching for it.
struct Environment {
  FileSystem& files;
  const Clock& clock;
  // The operator wants it to stop; what waits at start-up gives up.
  const absl::Notification& stopping;
};

// A running daemon. Destroying it stops it, within 10 s.
class Daemon {
 public:
  virtual ~Daemon() = default;
  // SIGHUP: takes over what can change while it runs; the rest is logged as needing a restart.
  virtual void Reload(const google::protobuf::Message& config) = 0;
  // Thread-safe.
  virtual std::vector<types::v1::HealthIssue> Health() = 0;
  virtual void Measure(Metrics* metrics) = 0;
};

// What a program can do with its configuration instead of running: `--<flag>`.
struct DaemonCommand {
  std::string flag;
  std::string purpose;
  // What it returns is printed. `argument` is empty where the flag takes none.
  std::function<absl::StatusOr<std::string>(const google::protobuf::Message& config,
                                            const std::string& argument)>
      run;
  std::string argument = "";  // what the flag takes, "FILE"; empty: nothing
};

struct DaemonProgram {
  std::string name;  // "homeward-agent"
  std::string purpose;
  ConfigCheck check;
  std::function<std::unique_ptr<google::protobuf::Message>()> new_config;
  std::function<absl::StatusOr<std::unique_ptr<Daemon>>(const google::protobuf::Message& config,
                                                        const Environment& environment)>
      start;
  std::vector<DaemonCommand> commands = {};
};

// The whole of main(). Flags: --config FILE, --check_config, --version, --help. Returns 0 after an
// orderly stop, 2 for a wrong command line or configuration, 1 otherwise.
int DaemonMain(int argc, char** argv, const DaemonProgram& program);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_DAEMON_DAEMON_H_
