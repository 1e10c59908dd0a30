#include "deploy/lab/link/linux/control_socket.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

absl::StatusOr<sockaddr_un> SocketAddress(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return absl::InvalidArgumentError(absl::StrCat("the control socket's path is too long: ", path,
                                                   "; give one of less than ",
                                                   sizeof address.sun_path, " bytes"));
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

absl::StatusOr<UniqueFd> Connect(const std::string& path) {
  HW_ASSIGN_OR_RETURN(const sockaddr_un address, SocketAddress(path));
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, "open a socket");
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("connect to ", path));
  return fd;
}

absl::Status Watch(int events, int fd) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (::epoll_ctl(events, EPOLL_CTL_ADD, fd, &event) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, "watch a socket");
}

}  // namespace

absl::StatusOr<ControlSocket> ControlSocket::Open(const std::string& path, Answer answer) {
  HW_ASSIGN_OR_RETURN(const sockaddr_un address, SocketAddress(path));
  if (Connect(path).ok())
    return absl::AlreadyExistsError(absl::StrCat(
        "control socket ", path, ": another link serves there; end it, or give another path"));
  struct stat there = {};
  if (::lstat(path.c_str(), &there) == 0 && S_ISSOCK(there.st_mode)) (void)::unlink(path.c_str());
  ControlSocket socket;
  socket.answer_ = std::move(answer);
  socket.events_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  socket.listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.events_.valid() || !socket.listener_.valid())
    return absl::ErrnoToStatus(errno, "open a socket");
  const int listener = socket.listener_.get();
  const mode_t before = ::umask(S_IRWXG | S_IRWXO);
  const int bound = ::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int error = errno;
  ::umask(before);
  if (bound != 0) return absl::ErrnoToStatus(error, absl::StrCat("make control socket ", path));
  socket.path_ = path;
  if (::listen(listener, kClientsMax) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("listen at control socket ", path));
  HW_RETURN_IF_ERROR(Watch(socket.events_.get(), listener));
  return socket;
}

ControlSocket::~ControlSocket() {
  if (listener_.valid() && !path_.empty()) (void)::unlink(path_.c_str());
}

void ControlSocket::Serve() {
  epoll_event events[kClientsMax + 1];
  const int count = ::epoll_wait(events_.get(), events, kClientsMax + 1, 0);
  for (int i = 0; i < count; ++i) {
    const int fd = events[i].data.fd;
    if (fd == listener_.get()) {
      Accept();
    } else if (const auto it = clients_.find(fd); it != clients_.end() && !Hear(&it->second)) {
      clients_.erase(it);
    }
  }
}

void ControlSocket::Accept() {
  UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid() || clients_.size() >= kClientsMax || !Watch(events_.get(), fd.get()).ok()) return;
  const int number = fd.get();
  clients_[number].fd = std::move(fd);
}

bool ControlSocket::Hear(Client* client) {
  char piece[kOrderBytesMax];
  const ssize_t got = ::recv(client->fd.get(), piece, sizeof piece, 0);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) return false;
  client->heard.append(piece, static_cast<size_t>(got));
  for (;;) {
    const size_t end = client->heard.find('\n');
    if (end == std::string::npos) return client->heard.size() <= kOrderBytesMax;
    const std::string answer =
        absl::StrCat(answer_(absl::string_view(client->heard).substr(0, end)), "\n");
    client->heard.erase(0, end + 1);
    // One who does not read what was answered is not waited for.
    const ssize_t sent = ::send(client->fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
    if (sent != static_cast<ssize_t>(answer.size())) return false;
  }
}

absl::StatusOr<std::string> GiveOrder(const std::string& path, absl::string_view order) {
  absl::StatusOr<UniqueFd> fd = Connect(path);
  if (!fd.ok()) return Annotate(fd.status(), "no link serves there; start it first");
  const std::string line = absl::StrCat(order, "\n");
  if (::send(fd->get(), line.data(), line.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(line.size()))
    return absl::UnavailableError(absl::StrCat("send an order to ", path, ": the link hung up"));
  std::string answer;
  char piece[4096];
  while (answer.find('\n') == std::string::npos) {
    const ssize_t got = ::recv(fd->get(), piece, sizeof piece, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      return absl::UnavailableError(
          absl::StrCat("wait for an answer from ", path, ": the link hung up"));
    answer.append(piece, static_cast<size_t>(got));
  }
  return answer.substr(0, answer.find('\n'));
}

}  // namespace homeward
