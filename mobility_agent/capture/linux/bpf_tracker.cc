#include "mobility_agent/capture/linux/bpf_tracker.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "common/os/posix/unique_fd.h"
#include "common/status/status_macros.h"
#include "mobility_agent/capture/linux/frozen_mounts.h"
#include "tracker.skel.h"

namespace homeward {
namespace {

constexpr uint64_t kBlocksMax = 16 * kMiB;
constexpr size_t kBounceBytes = kMiB;
constexpr size_t kAlignment = 4096;

struct SkeletonDeleter {
  void operator()(tracker_bpf* skeleton) const { tracker_bpf__destroy(skeleton); }
};
struct RingDeleter {
  void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
};
struct FreeDeleter {
  void operator()(uint8_t* memory) const { std::free(memory); }
};

uint32_t BlockShift(uint64_t size_bytes) {
  uint32_t shift = 12;
  while ((size_bytes >> shift) > kBlocksMax) ++shift;
  return shift;
}

// As the program in tracker.bpf.c writes it.
struct LongRange {
  uint64_t offset;
  uint64_t length;
};

class LoadedTracker : public BpfTracker {
 public:
  LoadedTracker(UniqueFd fd, uint64_t size_bytes, dev_t device)
      : fd_(std::move(fd)),
        size_bytes_(size_bytes),
        device_(device),
        shift_(BlockShift(size_bytes)) {}

  ~LoadedTracker() override {
    if (lanes_ != nullptr) ::munmap(lanes_, lanes_bytes_);
  }

  absl::Status Load() {
    bounce_.reset(static_cast<uint8_t*>(std::aligned_alloc(kAlignment, kBounceBytes)));
    skeleton_.reset(tracker_bpf__open());
    if (skeleton_ == nullptr) return Refused("open the BPF program");
    skeleton_->rodata->disk_major = major(device_);
    skeleton_->rodata->disk_first_minor = minor(device_);
    skeleton_->rodata->block_shift = shift_;
    const uint64_t blocks = (size_bytes_ + (uint64_t{1} << shift_) - 1) >> shift_;
    elements_ = (blocks + 7) / 8;
    bpf_map__set_max_entries(skeleton_->maps.dirty, static_cast<uint32_t>(elements_));
    if (tracker_bpf__load(skeleton_.get()) != 0) return Refused("load the BPF program");
    const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    lanes_bytes_ = (elements_ * sizeof(uint64_t) + page - 1) / page * page;
    void* const mapped = ::mmap(nullptr, lanes_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED,
                                bpf_map__fd(skeleton_->maps.dirty), 0);
    if (mapped == MAP_FAILED) return Refused("map the dirty map");
    lanes_ = static_cast<std::atomic<uint64_t>*>(mapped);
    ring_.reset(ring_buffer__new(bpf_map__fd(skeleton_->maps.long_ranges),
                                 &LoadedTracker::OnLongRange, this, nullptr));
    if (ring_ == nullptr) return Refused("map the ring of long ranges");
    if (tracker_bpf__attach(skeleton_.get()) != 0) return Refused("attach the BPF program");
    return absl::OkStatus();
  }

  uint64_t size_bytes() const override { return size_bytes_; }

  absl::Status Collect(ExtentSet* changed) override {
    long_ranges_ = changed;
    const int consumed = ring_buffer__consume(ring_.get());
    long_ranges_ = nullptr;
    if (consumed < 0) return absl::DataLossError("the ring of long ranges cannot be read");
    const uint64_t block_bytes = uint64_t{1} << shift_;
    for (uint64_t element = 0; element < elements_; ++element) {
      if (lanes_[element].load(std::memory_order_relaxed) == 0) continue;
      const uint64_t marks = lanes_[element].exchange(0, std::memory_order_acq_rel);
      for (uint64_t lane = 0; lane < 8; ++lane) {
        if (((marks >> (8 * lane)) & 0xff) == 0) continue;
        AddBlock(changed, (element * 8 + lane) * block_bytes, block_bytes);
      }
    }
    uint64_t now_bytes = 0;
    if (::ioctl(fd_.get(), BLKGETSIZE64, &now_bytes) != 0 || now_bytes != size_bytes_) {
      return absl::FailedPreconditionError(
          absl::StrCat("the disk had ", size_bytes_, " bytes when its protection began and has ",
                       now_bytes, " now: remove the protection and protect the machine again"));
    }
    if (skeleton_->bss->lost != 0) {
      skeleton_->bss->lost = 0;
      return absl::DataLossError("more was written than could be noted");
    }
    return absl::OkStatus();
  }

  absl::Status Read(uint64_t offset, MutableBytes out) override {
    // Directly from the disk: the page cache of the device is not that of its file systems.
    for (size_t done = 0; done < out.size();) {
      const uint64_t at = offset + done;
      const uint64_t aligned = at / kAlignment * kAlignment;
      const size_t wanted =
          std::min<uint64_t>(kBounceBytes, (out.size() - done + (at - aligned) + kAlignment - 1) /
                                               kAlignment * kAlignment);
      const ssize_t n = ::pread(fd_.get(), bounce_.get(), wanted, static_cast<off_t>(aligned));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0)
        return absl::ErrnoToStatus(errno, absl::StrCat("read the tracked disk at byte ", at));
      if (static_cast<uint64_t>(n) <= at - aligned)
        return absl::OutOfRangeError("read past the end of the tracked disk");
      const size_t usable =
          std::min<size_t>(static_cast<size_t>(n) - (at - aligned), out.size() - done);
      std::memcpy(out.data() + done, bounce_.get() + (at - aligned), usable);
      done += usable;
    }
    return absl::OkStatus();
  }

  absl::Status Freeze(absl::Duration timeout) override {
    HW_ASSIGN_OR_RETURN(frozen_, FrozenMounts::Freeze(major(device_), minor(device_), timeout));
    return absl::OkStatus();
  }
  void Thaw() override { frozen_.reset(); }

 private:
  static int OnLongRange(void* self, void* data, size_t) {
    const LongRange& range = *static_cast<const LongRange*>(data);
    static_cast<LoadedTracker*>(self)->AddBlock(static_cast<LoadedTracker*>(self)->long_ranges_,
                                                range.offset, range.length);
    return 0;
  }
  void AddBlock(ExtentSet* changed, uint64_t offset, uint64_t length) const {
    if (offset < size_bytes_) changed->Add({offset, std::min(length, size_bytes_ - offset)});
  }
  static absl::Status Refused(absl::string_view doing) {
    const int error = errno;
    if (error == EPERM || error == EACCES) {
      return absl::PermissionDeniedError(absl::StrCat(doing, ": run the agent as root"));
    }
    return absl::UnimplementedError(absl::StrCat(
        doing, ": ", std::strerror(error), "; BPF tracking needs a kernel from 5.11 on with BTF"));
  }

  const UniqueFd fd_;
  const uint64_t size_bytes_;
  const dev_t device_;
  const uint32_t shift_;
  std::unique_ptr<uint8_t, FreeDeleter> bounce_;
  std::unique_ptr<tracker_bpf, SkeletonDeleter> skeleton_;
  std::unique_ptr<ring_buffer, RingDeleter> ring_;
  std::atomic<uint64_t>* lanes_ = nullptr;
  uint64_t elements_ = 0;
  size_t lanes_bytes_ = 0;
  ExtentSet* long_ranges_ = nullptr;
  std::unique_ptr<FrozenMounts> frozen_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<BpfTracker>> BpfTracker::Open(const std::string& device) {
  UniqueFd fd(::open(device.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("open ", device));
  struct stat info;
  uint64_t size_bytes = 0;
  if (::fstat(fd.get(), &info) != 0 || !S_ISBLK(info.st_mode) ||
      ::ioctl(fd.get(), BLKGETSIZE64, &size_bytes) != 0 || size_bytes == 0) {
    return absl::InvalidArgumentError(absl::StrCat(device, " is not a block device with a size"));
  }
  const std::string sys =
      absl::StrCat("/sys/dev/block/", major(info.st_rdev), ":", minor(info.st_rdev));
  if (::access(absl::StrCat(sys, "/partition").c_str(), F_OK) == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(device, " is a partition: name the whole disk, all of it is tracked"));
  }
  auto tracker = std::make_unique<LoadedTracker>(std::move(fd), size_bytes, info.st_rdev);
  HW_RETURN_IF_ERROR(Annotate(tracker->Load(), device));
  return tracker;
}

}  // namespace homeward
