#include "mobility_agent/capture/scan/scan_source.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/os/posix/unique_fd.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

class HeldDisk : public ScanSource {
 public:
  HeldDisk(UniqueFd fd, uint64_t size_bytes, timespec modified)
      : fd_(std::move(fd)), size_bytes_(size_bytes), modified_(modified) {}

  uint64_t size_bytes() const override { return size_bytes_; }

  absl::Status Present() override {
    const off_t end = ::lseek(fd_.get(), 0, SEEK_END);
    const uint64_t now_bytes = end < 0 ? 0 : static_cast<uint64_t>(end);
    return now_bytes == size_bytes_ ? absl::OkStatus() : NotPresent(size_bytes_, now_bytes);
  }

  absl::StatusOr<Collected> Collect(absl::Span<Extent>) override {
    HW_RETURN_IF_ERROR(Present());
    struct stat now = {};
    if (::fstat(fd_.get(), &now) != 0) return absl::ErrnoToStatus(errno, "look at a held disk");
    if (S_ISBLK(now.st_mode)) return Collected();
    if (now.st_mtim.tv_sec == modified_.tv_sec && now.st_mtim.tv_nsec == modified_.tv_nsec)
      return Collected();
    // Somebody does not know of locks. What they wrote is found by comparing.
    modified_ = now.st_mtim;
    return absl::DataLossError("the image was written to while it was held");
  }

  absl::Status Read(uint64_t offset, MutableBytes out) override {
    for (size_t done = 0; done < out.size();) {
      const ssize_t n = ::pread(fd_.get(), out.data() + done, out.size() - done,
                                static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return absl::ErrnoToStatus(errno, absl::StrCat("read a held disk at ", offset));
      if (n == 0) return absl::OutOfRangeError("read past the end of a held disk");
      done += static_cast<size_t>(n);
    }
    return absl::OkStatus();
  }

  uint64_t NextData(uint64_t offset) override {
    const off_t data = ::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_DATA);
    if (data >= 0) return static_cast<uint64_t>(data);
    return errno == ENXIO ? size_bytes_ : offset;
  }
  void BeginFreeze() override {}
  absl::Status AwaitFrozen(absl::Duration) override { return absl::OkStatus(); }
  void Thaw() override {}
  const Rest& rest() const override { return rest_; }

 private:
  const Rest rest_{.still = {"a disk that the agent alone has open"}, .moving = {}};
  const UniqueFd fd_;
  const uint64_t size_bytes_;
  timespec modified_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ScanSource>> ScanSource::Open(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("look at ", path));
  // O_EXCL on a block device claims it: the kernel refuses while it is mounted, and mounts after.
  const int exclusive = S_ISBLK(info.st_mode) ? O_EXCL : 0;
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | exclusive));
  if (!fd.valid() && errno == EBUSY) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " is in use: scanning cannot see what is written meanwhile; use capture: BPF"));
  }
  if (!fd.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  if (exclusive == 0 && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is locked by another program; end it, or use capture: NBD_TAP"));
  }
  const off_t end = ::lseek(fd.get(), 0, SEEK_END);
  if (end <= 0 || end % static_cast<off_t>(kSectorBytes) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has ", end, " bytes; a disk has a multiple of 512"));
  }
  return std::make_unique<HeldDisk>(std::move(fd), static_cast<uint64_t>(end), info.st_mtim);
}

}  // namespace homeward
