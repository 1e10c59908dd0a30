// WakePipe: lets one thread end another's poll().
#ifndef HOMEWARD_COMMON_OS_POSIX_WAKE_PIPE_H_
#define HOMEWARD_COMMON_OS_POSIX_WAKE_PIPE_H_

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "common/os/posix/unique_fd.h"

namespace homeward {

// Thread-safe.
class WakePipe {
 public:
  WakePipe() {
    int ends[2];
    // Nobody reads it: what wakes for the thousandth time must not wait.
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return;
    read_ = UniqueFd(ends[0]);
    write_ = UniqueFd(ends[1]);
  }
  // False when there was no descriptor left; errno says why.
  bool valid() const { return read_.valid(); }
  // Ready to read for ever once Wake() was called.
  int fd() const { return read_.get(); }
  void Wake() {
    while (::write(write_.get(), "", 1) < 0 && errno == EINTR) {
    }
  }

 private:
  UniqueFd read_, write_;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_OS_POSIX_WAKE_PIPE_H_
