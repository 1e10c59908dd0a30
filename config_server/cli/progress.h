// Progress: a running job on the operator's error output.
#ifndef HOMEWARD_CONFIG_SERVER_CLI_PROGRESS_H_
#define HOMEWARD_CONFIG_SERVER_CLI_PROGRESS_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "homeward/admin/v1/admin.pb.h"

namespace homeward {

// On a terminal one line that is written again and again; elsewhere a line for each task. One
// thread.
class Progress {
 public:
  void Show(const admin::v1::Job& job);
  // Ends the line on a terminal. Call it before anything else is printed.
  void End();

 private:
  std::string Describe(const admin::v1::Task& task);

  const RealClock clock_;
  // The task shown last, and what its rate is measured from.
  std::string task_;
  absl::Duration rate_since_;
  uint64_t rate_base_bytes_ = 0;
  bool on_line_ = false;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_CLI_PROGRESS_H_
