#include "mobility_agent/capture/linux/frozen_mounts.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/optional.h"
#include "common/os/posix/unique_fd.h"
#include "common/status/status_macros.h"
#include "mobility_agent/capture/linux/thaw_guard.h"

namespace homeward {
namespace {

// The whole disk a device number belongs to.
dev_t WholeDisk(dev_t device) {
  const std::string sys = absl::StrCat("/sys/dev/block/", major(device), ":", minor(device));
  if (::access(absl::StrCat(sys, "/partition").c_str(), F_OK) != 0) return device;
  std::ifstream file(absl::StrCat(sys, "/../dev"));
  std::string text;
  std::getline(file, text);
  const std::pair<std::string, std::string> numbers = absl::StrSplit(text, ':');
  unsigned int major_number = 0, minor_number = 0;
  if (!absl::SimpleAtoi(numbers.first, &major_number) ||
      !absl::SimpleAtoi(numbers.second, &minor_number)) {
    return device;
  }
  return makedev(major_number, minor_number);
}

// mountinfo writes blanks in paths as octal escapes.
std::string Unescape(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                               (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// One directory for each file system mounted from `disk`.
std::vector<UniqueFd> OpenMounts(dev_t disk) {
  std::vector<UniqueFd> mounts;
  std::set<dev_t> seen;
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, ' ');
    if (fields.size() < 5) continue;
    UniqueFd fd(
        ::open(Unescape(fields[4]).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK));
    struct stat info;
    if (!fd.valid() || ::fstat(fd.get(), &info) != 0) continue;
    if (WholeDisk(info.st_dev) == disk && seen.insert(info.st_dev).second)
      mounts.push_back(std::move(fd));
  }
  return mounts;
}

}  // namespace

struct MountWriteBack::Shared {
  std::atomic<bool> done{false};
};

MountWriteBack::MountWriteBack(uint32_t major_number, uint32_t first_minor)
    : shared_(std::make_shared<Shared>()) {
  std::thread([shared = shared_, disk = makedev(major_number, first_minor)] {
    for (const UniqueFd& mount : OpenMounts(disk)) ::syncfs(mount.get());
    shared->done = true;
  }).detach();
}

bool MountWriteBack::done() const { return shared_->done; }

struct FrozenMounts::Shared {
  std::vector<UniqueFd> mounts;  // constant once the thread runs
  absl::optional<ThawGuard> guard;
  absl::Mutex mutex;
  bool done ABSL_GUARDED_BY(mutex) = false;
  bool abandoned ABSL_GUARDED_BY(mutex) = false;
  absl::Status error ABSL_GUARDED_BY(mutex);
  std::vector<bool> frozen;  // the thread's until `done`, then the owner's

  void Thaw() {
    for (size_t i = frozen.size(); i-- > 0;) {
      if (frozen[i]) ::ioctl(mounts[i].get(), FITHAW, 0);
      frozen[i] = false;
    }
    if (guard.has_value()) guard->Release();
  }
};

FrozenMounts::FrozenMounts(uint32_t major_number, uint32_t first_minor)
    : shared_(std::make_shared<Shared>()) {
  shared_->mounts = OpenMounts(makedev(major_number, first_minor));
  shared_->frozen.resize(shared_->mounts.size());
  if (!shared_->mounts.empty()) {
    absl::StatusOr<ThawGuard> guard = ThawGuard::Watch(shared_->mounts);
    if (!guard.ok()) {
      absl::MutexLock lock(&shared_->mutex);
      shared_->error = Annotate(guard.status(), "guard what would be frozen");
      shared_->done = true;
      return;
    }
    shared_->guard = *std::move(guard);
  }
  std::thread([shared = shared_] {
    // The first use of a mutex by a thread allocates: not when something stands still.
    { absl::MutexLock lock(&shared->mutex); }
    int error = 0;
    for (size_t i = 0; i < shared->mounts.size() && error == 0; ++i) {
      if (::ioctl(shared->mounts[i].get(), FIFREEZE, 0) == 0) {
        shared->frozen[i] = true;
      } else if (errno == EOPNOTSUPP) {
        ::syncfs(shared->mounts[i].get());
      } else {
        error = errno;
      }
    }
    absl::MutexLock lock(&shared->mutex);
    if (shared->abandoned || error != 0) shared->Thaw();
    if (error != 0) shared->error = absl::ErrnoToStatus(error, "freeze a file system");
    shared->done = true;
  }).detach();
}

absl::Status FrozenMounts::Await(absl::Duration timeout) {
  absl::MutexLock lock(&shared_->mutex);
  if (!shared_->mutex.AwaitWithTimeout(absl::Condition(&shared_->done), timeout)) {
    return absl::DeadlineExceededError(absl::StrCat("the file systems did not stand still within ",
                                                    absl::FormatDuration(timeout)));
  }
  return shared_->error;
}

void FrozenMounts::Thaw() {
  absl::MutexLock lock(&shared_->mutex);
  shared_->abandoned = true;
  if (shared_->done) shared_->Thaw();
}

bool FrozenMounts::over() const {
  absl::MutexLock lock(&shared_->mutex);
  return shared_->done;
}

}  // namespace homeward
