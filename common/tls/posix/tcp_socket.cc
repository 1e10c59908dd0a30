#include "common/tls/posix/tcp_socket.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"
#include "common/tls/posix/tcp.h"

namespace homeward {
namespace {

class TcpSocket : public Socket {
 public:
  explicit TcpSocket(UniqueFd fd) : fd_(std::move(fd)) {}

  absl::Status Read(MutableBytes out) override {
    const absl::Duration end = read_timeout_.End();
    while (!out.empty()) {
      const ssize_t n = ::recv(fd_.get(), out.data(), out.size(), 0);
      if (n > 0) {
        out.remove_prefix(static_cast<size_t>(n));
        continue;
      }
      if (n == 0) return absl::UnavailableError("the connection was closed");
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return absl::UnavailableError(absl::StrCat("recv: ", ::strerror(errno)));
      wake_size_.Set(fd_, out.size());
      if (!tcp::Await(fd_, POLLIN, end))
        return absl::UnavailableError("nothing was received in time");
    }
    return absl::OkStatus();
  }
  absl::Status Write(ConstBytes bytes) override {
    return tcp::Send(fd_, bytes, absl::InfiniteDuration());
  }
  void Shutdown() override { ::shutdown(fd_.get(), SHUT_RDWR); }
  void SetReadTimeout(absl::Duration timeout) override { read_timeout_.Set(timeout); }

 private:
  const UniqueFd fd_;
  tcp::WakeSize wake_size_;  // the reader's
  tcp::ReadTimeout read_timeout_;
};

}  // namespace

std::unique_ptr<Socket> MakeTcpSocket(UniqueFd fd) {
  return std::make_unique<TcpSocket>(std::move(fd));
}

absl::StatusOr<std::unique_ptr<Socket>> ConnectWithoutTls(const std::string& address,
                                                          absl::Duration timeout) {
  HW_ASSIGN_OR_RETURN(UniqueFd fd, tcp::Connect(address, timeout));
  return MakeTcpSocket(std::move(fd));
}

}  // namespace homeward
