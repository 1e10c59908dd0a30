#include "common/nbd/nbd_server.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <list>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/nbd/posix/nbd_session.h"
#include "common/os/posix/unique_fd.h"
#include "common/os/posix/wake_pipe.h"

namespace homeward {
namespace {

class UnixNbdServer : public NbdServer {
 public:
  UnixNbdServer(UniqueFd listener, WakePipe stop, std::string path, NbdExport* disk)
      : listener_(std::move(listener)),
        stop_(std::move(stop)),
        path_(std::move(path)),
        disk_(*disk),
        thread_([this] { Accept(); }) {}

  ~UnixNbdServer() override {
    stop_.Wake();
    thread_.join();
    {
      absl::MutexLock lock(&mutex_);
      for (Connection& connection : connections_) ::shutdown(connection.fd.get(), SHUT_RDWR);
    }
    for (Connection& connection : connections_) connection.thread.join();
    ::unlink(path_.c_str());
  }

 private:
  struct Connection {
    UniqueFd fd;
    std::thread thread;
    bool ended = false;
  };

  void Accept() {
    pollfd waiting[2] = {{listener_.get(), POLLIN, 0}, {stop_.fd(), POLLIN, 0}};
    while (true) {
      if (::poll(waiting, 2, -1) < 0 && errno != EINTR) return;
      if (waiting[1].revents != 0) return;
      if (waiting[0].revents == 0) continue;
      UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      Reap();
      absl::MutexLock lock(&mutex_);
      if (!fd.valid() || connections_.size() >= kConnectionsMax) continue;
      Connection& connection = connections_.emplace_back();
      connection.fd = std::move(fd);
      connection.thread = std::thread([this, &connection] {
        NbdSession(connection.fd.get(), &disk_).Run();
        ::shutdown(connection.fd.get(), SHUT_RDWR);
        absl::MutexLock ended(&mutex_);
        connection.ended = true;
      });
    }
  }
  void Reap() {
    absl::MutexLock lock(&mutex_);
    for (auto it = connections_.begin(); it != connections_.end();) {
      if (!it->ended) {
        ++it;
        continue;
      }
      it->thread.join();
      it = connections_.erase(it);
    }
  }

  const UniqueFd listener_;
  WakePipe stop_;
  const std::string path_;
  NbdExport& disk_;
  absl::Mutex mutex_;
  std::list<Connection> connections_;  // Changed under mutex_ by the accepting thread; read by
                                       // nobody else but at the end.
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<NbdServer>> NbdServer::Start(const std::string& socket_path,
                                                            NbdExport* disk) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("socket path ", socket_path, " is longer than ",
                                                   sizeof(address.sun_path) - 1, " bytes"));
  }
  socket_path.copy(address.sun_path, socket_path.size());
  const auto* const raw = reinterpret_cast<const sockaddr*>(&address);
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  WakePipe stop;
  if (!listener.valid() || !stop.valid()) return absl::ErrnoToStatus(errno, "make a socket");
  struct stat info;
  if (::lstat(socket_path.c_str(), &info) == 0) {
    UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!S_ISSOCK(info.st_mode) || ::connect(probe.get(), raw, sizeof(address)) == 0) {
      return absl::AlreadyExistsError(
          absl::StrCat(socket_path, " is in use: stop its server or choose another path"));
    }
    ::unlink(socket_path.c_str());
  }
  if (::bind(listener.get(), raw, sizeof(address)) != 0 ||
      ::chmod(socket_path.c_str(), 0600) != 0 || ::listen(listener.get(), kConnectionsMax) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("listen on ", socket_path));
  }
  return std::make_unique<UnixNbdServer>(std::move(listener), std::move(stop), socket_path, disk);
}

}  // namespace homeward
