#include "common/tls/posix/tcp_socket.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/status/status_macros.h"
#include "common/tls/posix/pipe.h"
#include "common/tls/posix/tcp.h"

namespace homeward {
namespace {

// Of 1 MiB in packets of 1,448 bytes 3 are full.
constexpr size_t kPipesMax = 4;

// This kernel, or whoever confines this process, has no splice(2) for such a socket.
bool CannotSplice() { return errno == EINVAL || errno == ENOSYS || errno == EPERM; }

// Once it is filled, one thread may take from it while another shares it.
class HeldPipes : public HeldBytes {
 public:
  size_t size() const override { return size_; }
  void TakeTo(MutableBytes out) override {
    absl::MutexLock lock(&mutex_);
    for (const auto& pipe : pipes_) {
      pipe->TakeTo(out.first(pipe->size()));
      out.remove_prefix(pipe->size());
    }
    pipes_.clear();  // Others need them.
  }
  size_t pipe_count() const { return pipe_count_; }
  // As Pipe's, of one of them.
  bool ShareWith(Pipe* to, size_t index) const {
    absl::MutexLock lock(&mutex_);
    return index < pipes_.size() && to->Share(*pipes_[index]);
  }

  // False: there can be none.
  bool AddPipe() {
    if (pipe_count_ >= kPipesMax) return false;
    std::unique_ptr<Pipe> pipe = Pipe::Make();
    if (pipe == nullptr) return false;
    absl::MutexLock lock(&mutex_);
    pipes_.push_back(std::move(pipe));
    ++pipe_count_;
    return true;
  }
  // As Pipe's. Requires: AddPipe().
  ssize_t Receive(const UniqueFd& socket, size_t bytes) {
    absl::MutexLock lock(&mutex_);
    const ssize_t n = pipes_.back()->Receive(socket, bytes);
    if (n > 0) size_ += static_cast<size_t>(n);
    return n;
  }

 private:
  mutable absl::Mutex mutex_;
  std::vector<std::unique_ptr<Pipe>> pipes_ ABSL_GUARDED_BY(mutex_);  // none: it was taken
  size_t pipe_count_ = 0, size_ = 0;                                  // while it is filled
};

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
  absl::StatusOr<std::unique_ptr<HeldBytes>> Hold(size_t bytes) override {
    auto held = std::make_unique<HeldPipes>();
    if (!held->AddPipe()) return nullptr;
    const absl::Duration end = read_timeout_.End();
    bool readable = false;
    while (held->size() < bytes) {
      const ssize_t n = held->Receive(fd_, bytes - held->size());
      if (n == 0) return absl::UnavailableError("the connection was closed");
      if (n < 0 && held->size() == 0 && CannotSplice()) return nullptr;
      if (n < 0 && errno != EINTR && errno != EAGAIN)
        return absl::UnavailableError(absl::StrCat("splice: ", ::strerror(errno)));
      if (n > 0 || errno == EINTR) {
        readable = false;
      } else if (readable) {
        if (!held->AddPipe()) break;
        readable = false;
      } else {
        wake_size_.Set(fd_, bytes - held->size());
        if (!tcp::Await(fd_, POLLIN, end))
          return absl::UnavailableError("nothing was received in time");
        readable = true;
      }
    }
    return held;
  }
  absl::StatusOr<bool> WriteHeld(const HeldBytes& bytes) override {
    const auto* const held = dynamic_cast<const HeldPipes*>(&bytes);
    if (held == nullptr) return false;
    for (size_t i = 0; i < held->pipe_count(); ++i) {
      if (shared_ == nullptr) shared_ = Pipe::Make();
      if (shared_ == nullptr || !held->ShareWith(shared_.get(), i)) {
        shared_ = nullptr;
        if (i == 0) return false;
        return absl::UnavailableError("what was held was taken while it was written");
      }
      const size_t all = shared_->size();
      while (shared_->size() > 0) {
        if (shared_->Send(fd_) > 0 || errno == EINTR) continue;
        if (errno == EAGAIN) {
          tcp::Await(fd_, POLLOUT, absl::InfiniteDuration());
          continue;
        }
        if (i > 0 || shared_->size() < all || !CannotSplice())
          return absl::UnavailableError(absl::StrCat("splice: ", ::strerror(errno)));
        shared_ = nullptr;
        return false;
      }
    }
    return true;
  }
  void Shutdown() override { ::shutdown(fd_.get(), SHUT_RDWR); }
  void SetReadTimeout(absl::Duration timeout) override { read_timeout_.Set(timeout); }

 private:
  const UniqueFd fd_;
  tcp::WakeSize wake_size_;  // the reader's
  tcp::ReadTimeout read_timeout_;
  std::unique_ptr<Pipe> shared_;  // the writer's, empty between two writes
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
