#include "common/exec/strand.h"

#include "absl/synchronization/notification.h"

namespace homeward {

void RunOn(Strand& strand, const std::function<void()>& callback) {
  absl::Notification done;
  strand.Post([&] {
    callback();
    done.Notify();
  });
  done.WaitForNotification();
}

}  // namespace homeward
