#include "mobility_agent/capture/linux/thaw_guard.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <ctime>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr size_t kDescriptorsMax = ThawGuard::kItemsMax + 1;
constexpr size_t kWatchesMax = 64;  // at once: disks of one machine that stand still together
constexpr int kGuardSocket = 3;
constexpr int kReleaseMs = 1000;
constexpr int kAgainMs = 1000;  // between thaws of what is held for too long

// In the guard nothing may allocate or lock: it is a fork of a process with threads.
struct Watched {
  int agent_lives = -1;
  int64_t thaw_at_ms = 0;  // even while the agent lives
  pid_t thawing = 0;       // who thaws it, maybe still
  size_t count = 0;
  std::array<ThawGuard::Item, ThawGuard::kItemsMax> items;
};

union Control {
  cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int) * kDescriptorsMax)];
};

int64_t NowMs() {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1000} + now.tv_nsec / 1000000;
}

// Another watch, or false when the agent has gone.
bool Receive(Watched* watched) {
  static Control control;
  std::array<char, kDescriptorsMax> kinds;
  iovec data = {kinds.data(), kinds.size()};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  ssize_t received = 0;
  do {
    received = ::recvmsg(kGuardSocket, &message, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received <= 0) return false;
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header == nullptr) return true;
  std::array<int, kDescriptorsMax> descriptors;
  const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  std::memcpy(descriptors.data(), CMSG_DATA(header), count * sizeof(int));
  watched->agent_lives = descriptors[0];
  watched->thaw_at_ms = NowMs() + kinds[0] * int64_t{1000};
  watched->thawing = 0;
  watched->count = count - 1;
  for (size_t i = 0; i < watched->count; ++i)
    watched->items[i] = {static_cast<ThawGuard::Kind>(kinds[i + 1]), descriptors[i + 1]};
  return true;
}

// In a process of its own: a thaw waits for a freeze of the same file system that has not ended,
// and that may wait for the thaw of another.
void ThawAll(Watched* watched) {
  const pid_t child = ::_Fork();
  watched->thawing = std::max(child, 0);
  if (child > 0) return;
  for (size_t i = watched->count; i-- > 0;) ThawGuard::Thaw(watched->items[i]);
  if (child == 0) ::_exit(0);
}

void End(Watched* watched) {
  char released = 0;
  if (::read(watched->agent_lives, &released, 1) != 1) ThawAll(watched);
  for (size_t i = watched->count; i-- > 0;) ::close(watched->items[i].descriptor);
  ::close(watched->agent_lives);
  watched->agent_lives = -1;
}

[[noreturn]] void Guard(int socket) {
  ::prctl(PR_SET_NAME, "homeward-thaw");
  // A stop of the agent's whole group must not take its guard first.
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2})
    ::signal(signal, SIG_IGN);
  ::signal(SIGCHLD, SIG_IGN);  // nobody asks how they ended
  // It keeps nothing of the agent's open.
  ::dup2(socket, kGuardSocket);
  ::close_range(kGuardSocket + 1, ~0U, 0);
  static std::array<Watched, kWatchesMax> watches;
  std::array<pollfd, kWatchesMax + 1> polled;
  for (bool agent = true; true;) {
    bool watching = false;
    bool room = false;
    int64_t wake_at_ms = INT64_MAX;
    for (size_t i = 0; i < kWatchesMax; ++i) {
      polled[i] = {watches[i].agent_lives, POLLIN, 0};
      watching = watching || watches[i].agent_lives >= 0;
      room = room || watches[i].agent_lives < 0;
      if (watches[i].agent_lives >= 0) wake_at_ms = std::min(wake_at_ms, watches[i].thaw_at_ms);
    }
    if (!agent && !watching) ::_exit(0);
    polled[kWatchesMax] = {agent && room ? kGuardSocket : -1, POLLIN, 0};
    const int64_t wait_ms = std::max<int64_t>(0, wake_at_ms - NowMs());
    const int ready =
        ::poll(polled.data(), polled.size(),
               watching ? static_cast<int>(std::min<int64_t>(wait_ms, INT32_MAX)) : -1);
    if (ready < 0) continue;
    // Whoever does not let go is not waited for, and what it froze meanwhile is thawed again.
    for (Watched& watched : watches) {
      if (watched.agent_lives < 0 || NowMs() < watched.thaw_at_ms) continue;
      const bool waits = watched.thawing > 0 && ::kill(watched.thawing, 0) == 0;
      if (!waits) ThawAll(&watched);
      watched.thaw_at_ms = NowMs() + kAgainMs;
    }
    for (size_t i = 0; i < kWatchesMax; ++i) {
      if (polled[i].revents != 0) End(&watches[i]);
    }
    if (polled[kWatchesMax].revents == 0) continue;
    for (Watched& watched : watches) {
      if (watched.agent_lives >= 0) continue;
      agent = Receive(&watched);
      break;
    }
  }
}

absl::Status Failed(absl::string_view what) { return absl::ErrnoToStatus(errno, what); }

// The agent's end of the way to its guard. One that ended is replaced.
class GuardProcess {
 public:
  absl::Status Send(const std::vector<ThawGuard::Item>& items, int agent_lives, int held_seconds) {
    absl::MutexLock lock(&mutex_);
    if (socket_.valid() && Pass(items, agent_lives, held_seconds)) return absl::OkStatus();
    HW_RETURN_IF_ERROR(Start());
    return Pass(items, agent_lives, held_seconds) ? absl::OkStatus()
                                                  : Failed("reach the process that thaws");
  }

 private:
  absl::Status Start() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    int sockets[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0)
      return Failed("socketpair");
    socket_ = UniqueFd(sockets[0]);
    const UniqueFd guards(sockets[1]);
    // Twice, so that nobody has to wait for it: it becomes a child of the system's first process.
    const pid_t between = ::_Fork();
    if (between < 0) return Failed("fork");
    if (between == 0) {
      const pid_t guard = ::_Fork();
      if (guard == 0) Guard(guards.get());
      ::_exit(guard < 0 ? 1 : 0);
    }
    int status = 0;
    while (::waitpid(between, &status, 0) < 0 && errno == EINTR) continue;
    return status == 0 ? absl::OkStatus() : absl::ResourceExhaustedError("no process can be made");
  }

  bool Pass(const std::vector<ThawGuard::Item>& items, int agent_lives, int held_seconds)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::array<int, kDescriptorsMax> descriptors = {agent_lives};
    std::array<char, kDescriptorsMax> kinds = {static_cast<char>(held_seconds)};
    for (size_t i = 0; i < items.size(); ++i) {
      descriptors[i + 1] = items[i].descriptor;
      kinds[i + 1] = static_cast<char>(items[i].kind);
    }
    const size_t bytes = (items.size() + 1) * sizeof(int);
    Control control = {};
    iovec data = {kinds.data(), items.size() + 1};
    msghdr message = {};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(header), descriptors.data(), bytes);
    return ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL) ==
           static_cast<ssize_t>(items.size() + 1);
  }

  absl::Mutex mutex_;
  UniqueFd socket_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

void ThawGuard::Thaw(const Item& item) {
  [[maybe_unused]] ssize_t written = 0;
  switch (item.kind) {
    case Kind::kFileSystem:
      ::ioctl(item.descriptor, FITHAW, 0);  // One that is not frozen says so.
      return;
    case Kind::kControlGroup:
      written = ::pwrite(item.descriptor, "0", 1, 0);
      return;
    case Kind::kFreezerGroup:
      written = ::pwrite(item.descriptor, "THAWED", 6, 0);
      return;
  }
}

absl::StatusOr<ThawGuard> ThawGuard::Watch(const std::vector<Item>& items, int held_seconds_max) {
  if (items.size() > kItemsMax) {
    return absl::ResourceExhaustedError(absl::StrCat(
        items.size(), " file systems or services cannot be frozen together; at most ", kItemsMax));
  }
  static auto& guard = *new GuardProcess;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return Failed("pipe");
  const UniqueFd guards(ends[0]);
  ThawGuard watch{UniqueFd(ends[1])};
  HW_RETURN_IF_ERROR(guard.Send(items, guards.get(), held_seconds_max));
  return watch;
}

void ThawGuard::Release() {
  if (!agent_lives_.valid()) return;
  const char released = 1;
  // The pipe is empty: this neither blocks nor fails.
  [[maybe_unused]] const ssize_t written = ::write(agent_lives_.get(), &released, 1);
  pollfd other_end = {agent_lives_.get(), 0, 0};  // closed last: POLLERR
  while (::poll(&other_end, 1, kReleaseMs) < 0 && errno == EINTR) continue;
  agent_lives_.reset();
}

}  // namespace homeward
