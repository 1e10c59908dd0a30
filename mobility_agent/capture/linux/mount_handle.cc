#include "mobility_agent/capture/linux/mount_handle.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <sstream>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"

namespace homeward {
namespace {

constexpr int kCoversMax = 64;

struct Reached {
  UniqueFd path;  // O_PATH: nothing of the file system was asked for it
  uint64_t mount_id = 0;
  bool readable = false;  // a directory or a plain file: what opens it has no other effect
};

Reached Reach(const std::string& path) {
  Reached reached{UniqueFd(::open(path.c_str(), O_PATH | O_CLOEXEC))};
  struct statx info;
  if (reached.path.valid() && ::statx(reached.path.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
                                      STATX_MNT_ID | STATX_TYPE, &info) == 0) {
    reached.mount_id = info.stx_mnt_id;
    reached.readable = S_ISDIR(info.stx_mode) || S_ISREG(info.stx_mode);
  }
  return reached;
}

// `proc`: /proc of this process, wherever its root is by now.
UniqueFd ForReading(const UniqueFd& proc, const Reached& reached) {
  if (!reached.readable) return UniqueFd();
  return UniqueFd(::openat(proc.get(), absl::StrCat("thread-self/fd/", reached.path.get()).c_str(),
                           O_RDONLY | O_CLOEXEC | O_NONBLOCK));
}

std::string Slurp(const UniqueFd& proc, const char* name) {
  std::string text;
  const UniqueFd file(::openat(proc.get(), name, O_RDONLY | O_CLOEXEC));
  std::array<char, 65536> part;
  for (ssize_t n = 0; (n = ::read(file.get(), part.data(), part.size())) > 0;)
    text.append(part.data(), static_cast<size_t>(n));
  return text;
}

// Must run on a thread that ends afterwards: it does not leave the namespace that it makes, and
// that goes with it. What is open of a mount there stays good.
UniqueFd Uncover(const std::string& device, const MountPlace& place) {
  const UniqueFd proc(::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (place.process != "self") {
    const UniqueFd space(
        ::open(absl::StrCat("/proc/", place.process, "/ns/mnt").c_str(), O_RDONLY | O_CLOEXEC));
    if (!space.valid() || ::unshare(CLONE_FS) != 0 || ::setns(space.get(), CLONE_NEWNS) != 0)
      return UniqueFd();
  }
  if (::unshare(CLONE_NEWNS) != 0) return UniqueFd();
  // Before anything else: else what is taken away here would be taken away there. Not private: what
  // somebody unmounts there must not live on here until this thread ends.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) return UniqueFd();
  for (int covers = 0; covers < kCoversMax; ++covers) {
    const Reached reached = Reach(place.path);
    std::istringstream mounts(Slurp(proc, "thread-self/mountinfo"));
    const std::vector<MountLine> lines = ParseMountLines(mounts);
    const auto line = std::find_if(lines.begin(), lines.end(), [&](const MountLine& candidate) {
      return candidate.id == reached.mount_id;
    });
    if (line == lines.end()) return UniqueFd();
    if (line->device == device) return ForReading(proc, reached);
    if (line->path == "/" || ::umount2(line->path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0)
      return UniqueFd();
  }
  return UniqueFd();
}

}  // namespace

absl::StatusOr<UniqueFd> OpenFileSystem(const MountedFileSystem& file_system) {
  const UniqueFd proc(::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (const MountPlace& place : file_system.places) {
    const Reached reached = Reach(absl::StrCat("/proc/", place.process, "/root", place.path));
    for (const MountPlace& any : file_system.places) {
      if (reached.mount_id == 0 || any.mount_id != reached.mount_id) continue;
      UniqueFd opened = ForReading(proc, reached);
      if (opened.valid()) return opened;
    }
  }
  for (const MountPlace& place : file_system.places) {
    UniqueFd opened;
    std::thread([&] { opened = Uncover(file_system.device, place); }).join();
    if (opened.valid()) return opened;
  }
  return absl::NotFoundError("no path leads to it");
}

}  // namespace homeward
