#include "common/tls/posix/pipe.h"

#include <fcntl.h>

#include <cerrno>

#include "common/base/check.h"

namespace homeward {
namespace {

// As long as one may be that has no privileges, and 64 of them (pipe(7)).
constexpr int kPipeBytes = 1 << 20;

}  // namespace

std::unique_ptr<Pipe> Pipe::Make() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return nullptr;
  std::unique_ptr<Pipe> made(new Pipe(UniqueFd(ends[0]), UniqueFd(ends[1])));
  return ::fcntl(ends[1], F_SETPIPE_SZ, kPipeBytes) < kPipeBytes ? nullptr : std::move(made);
}

ssize_t Pipe::Receive(const UniqueFd& socket, size_t bytes) {
  const ssize_t n = ::splice(socket.get(), nullptr, to_.get(), nullptr, bytes, SPLICE_F_NONBLOCK);
  if (n > 0) size_ += static_cast<size_t>(n);
  return n;
}

void Pipe::TakeTo(MutableBytes out) {
  HW_CHECK(out.size() == size_);
  while (!out.empty()) {
    const ssize_t n = ::read(from_.get(), out.data(), out.size());
    HW_CHECK(n > 0 || (n < 0 && errno == EINTR));
    if (n > 0) out.remove_prefix(static_cast<size_t>(n));
  }
}

bool Pipe::Share(const Pipe& other) {
  const ssize_t n = ::tee(other.from_.get(), to_.get(), other.size_, SPLICE_F_NONBLOCK);
  size_ = n > 0 ? static_cast<size_t>(n) : 0;
  return size_ == other.size_;
}

ssize_t Pipe::Send(const UniqueFd& socket) {
  const ssize_t n = ::splice(from_.get(), nullptr, socket.get(), nullptr, size_, SPLICE_F_NONBLOCK);
  if (n > 0) size_ -= static_cast<size_t>(n);
  return n;
}

}  // namespace homeward
