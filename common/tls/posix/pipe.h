// Pipe: what a socket received, kept by the kernel. It is sent on without having been copied.
#ifndef HOMEWARD_COMMON_TLS_POSIX_PIPE_H_
#define HOMEWARD_COMMON_TLS_POSIX_PIPE_H_

#include <sys/types.h>

#include <memory>
#include <utility>

#include "common/base/bytes.h"
#include "common/os/posix/unique_fd.h"

namespace homeward {

// Sockets do not block.
class Pipe {
 public:
  // Null where this process may not have one more of its size.
  static std::unique_ptr<Pipe> Make();

  size_t size() const { return size_; }
  // As read(). EAGAIN: nothing is there, or there is no room: for 256 pieces of what was received,
  // which may be packets.
  ssize_t Receive(const UniqueFd& socket, size_t bytes);
  // Copies all of it, and has none of it any more; what size() says stays.
  void TakeTo(MutableBytes out);
  // Has what `other` has, in the same memory. False: it has been taken from there, and this serves
  // for nothing more. Requires: it is empty.
  bool Share(const Pipe& other);
  // As write().
  ssize_t Send(const UniqueFd& socket);

 private:
  Pipe(UniqueFd from, UniqueFd to) : from_(std::move(from)), to_(std::move(to)) {}
  const UniqueFd from_, to_;
  size_t size_ = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_TLS_POSIX_PIPE_H_
