// DiskRest: what a Linux machine does with all that lives on one disk for a crash-consistent
// instant: write back, pause services, freeze file systems.
#ifndef HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_DISK_REST_H_
#define HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_DISK_REST_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "mobility_agent/capture/linux/paused_services.h"
#include "mobility_agent/capture/write_source.h"

namespace homeward {

// One strand. It never waits for the kernel but in AwaitFrozen() and, for half a second, in Thaw():
// all else is done on threads of which one for each mount may be left behind. What a mount does not
// let happen is one of Troubles() and of what may move; the others are brought to rest all the
// same.
class DiskRest {
 public:
  // `disk`: "8:0". `services` may be null.
  DiskRest(std::string disk, std::shared_ptr<PausedServices> services);
  ~DiskRest();

  // As in WriteSource.
  void BeginWriteBack();
  bool WrittenBack() const;
  void BeginFreeze();
  absl::Status AwaitFrozen(absl::Duration timeout);
  void Thaw();
  const WriteSource::Rest& rest() const { return rest_; }
  // Thread-safe.
  std::vector<std::string> Troubles() const;

 private:
  class Calls;
  struct WriteBack;
  class Attempt;
  const std::string disk_;
  const std::shared_ptr<PausedServices> services_;
  const std::shared_ptr<Calls> calls_;  // with the threads of attempts
  std::shared_ptr<WriteBack> write_back_;
  std::shared_ptr<Attempt> attempt_;
  bool stuck_ = false;  // the attempt is an earlier one, which has not come to its end
  WriteSource::Rest rest_;
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_DISK_REST_H_
