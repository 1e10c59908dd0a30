// TCP connections, as those with TLS and those without use them.
#ifndef HOMEWARD_COMMON_TLS_POSIX_TCP_H_
#define HOMEWARD_COMMON_TLS_POSIX_TCP_H_

#include <netdb.h>

#include <atomic>
#include <cstdint>
#include <limits>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/bytes.h"
#include "common/os/posix/unique_fd.h"

namespace homeward::tcp {

struct AddressList {
  addrinfo* first = nullptr;
  ~AddressList() {
    if (first != nullptr) ::freeaddrinfo(first);
  }
};
// `address` is host:port; `passive`: to listen on.
absl::Status Resolve(const std::string& address, bool passive, AddressList* out);

// On the monotonic clock.
absl::Duration EndOf(absl::Duration timeout);
// Until `end`, of EndOf(). False when the time is over.
bool Await(const UniqueFd& fd, short events, absl::Duration end);

// Non-blocking, with SetTcpOptions(). UNAVAILABLE: nobody answers there in time.
absl::StatusOr<UniqueFd> Connect(const std::string& address, absl::Duration timeout);
// All of it, to a non-blocking socket.
absl::Status Send(const UniqueFd& fd, ConstBytes bytes, absl::Duration end);

// Lets the kernel wake who reads a socket for a piece that is worth it. One thread's.
class WakeSize {
 public:
  // As many bytes at least are still to come for this read.
  void Set(const UniqueFd& fd, size_t bytes);

 private:
  int set_ = 1;
};

// How long a read may wait. Thread-safe.
class ReadTimeout {
 public:
  void Set(absl::Duration timeout) { nanoseconds_ = absl::ToInt64Nanoseconds(timeout); }
  // Of a read that begins now.
  absl::Duration End() const {
    const int64_t nanoseconds = nanoseconds_;
    return nanoseconds == kInfinite ? absl::InfiniteDuration()
                                    : EndOf(absl::Nanoseconds(nanoseconds));
  }

 private:
  static constexpr int64_t kInfinite = std::numeric_limits<int64_t>::max();
  std::atomic<int64_t> nanoseconds_{kInfinite};
};

}  // namespace homeward::tcp

#endif  // HOMEWARD_COMMON_TLS_POSIX_TCP_H_
