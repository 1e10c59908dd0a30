#include "common/tls/posix/tcp.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock/clock.h"
#include "common/net/address.h"
#include "common/status/status_macros.h"
#include "common/tls/posix/tcp_options.h"

namespace homeward::tcp {
namespace {

constexpr size_t kWakeBytes = 192 * kKiB;
constexpr size_t kWakeBytesMin = 48 * kKiB;  // below it, any byte

}  // namespace

absl::Status Resolve(const std::string& address, bool passive, AddressList* out) {
  HW_ASSIGN_OR_RETURN(const HostPort parts, ParseHostPort(address));
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = passive ? AI_PASSIVE : 0;
  const int failed =
      ::getaddrinfo(parts.host.c_str(), absl::StrCat(parts.port).c_str(), &hints, &out->first);
  if (failed == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(address, ": ", ::gai_strerror(failed)));
}

// Sockets wait in real time; where time is simulated there are none.
absl::Duration EndOf(absl::Duration timeout) { return RealClock().Monotonic() + timeout; }

bool Await(const UniqueFd& fd, short events, absl::Duration end) {
  while (true) {
    int wait = -1;
    if (end != absl::InfiniteDuration()) {
      const absl::Duration left = end - RealClock().Monotonic();
      if (left <= absl::ZeroDuration()) return false;
      wait = static_cast<int>(std::min<int64_t>(absl::ToInt64Milliseconds(left) + 1, 1 << 30));
    }
    pollfd one = {fd.get(), events, 0};
    const int ready = ::poll(&one, 1, wait);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return true;  // What comes next says why.
  }
}

absl::StatusOr<UniqueFd> Connect(const std::string& address, absl::Duration timeout) {
  AddressList list;
  HW_RETURN_IF_ERROR(Resolve(address, /*passive=*/false, &list));
  const absl::Duration end = EndOf(timeout);
  int error = ECONNREFUSED;
  for (const addrinfo* at = list.first; at != nullptr; at = at->ai_next) {
    UniqueFd fd(::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid()) continue;
    error = ::connect(fd.get(), at->ai_addr, at->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
      socklen_t length = sizeof(error);
      if (!Await(fd, POLLOUT, end)) {
        error = ETIMEDOUT;
      } else {
        ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
      }
    }
    if (error != 0) continue;
    SetTcpOptions(fd);
    return fd;
  }
  return absl::UnavailableError(absl::StrCat(address, ": ", ::strerror(error)));
}

absl::Status Send(const UniqueFd& fd, ConstBytes bytes, absl::Duration end) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {
      if (!Await(fd, POLLOUT, end)) return absl::UnavailableError("nothing is taken");
    } else if (errno != EINTR) {
      return absl::UnavailableError(absl::StrCat("send: ", ::strerror(errno)));
    }
  }
  return absl::OkStatus();
}

void WakeSize::Set(const UniqueFd& fd, size_t bytes) {
  const int wanted =
      bytes < kWakeBytesMin ? 1 : static_cast<int>(std::min<size_t>(bytes, kWakeBytes));
  if (std::exchange(set_, wanted) == wanted) return;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVLOWAT, &wanted, sizeof(wanted));
}

}  // namespace homeward::tcp
