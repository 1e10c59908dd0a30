#include "mobility_agent/capture/linux/bpf_tracker.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "common/base/aligned_buffer.h"
#include "common/os/linux/batch_io.h"
#include "common/os/posix/unique_fd.h"
#include "common/status/status_macros.h"
#include "mobility_agent/capture/linux/disk_rest.h"
#include "tracker.skel.h"

namespace homeward {
namespace {

constexpr uint64_t kBlocksMax = 16 * kMiB;
constexpr size_t kBounceBytes = kMiB;
constexpr size_t kReadsAtOnce = 512;
constexpr uint64_t kLanes = 8;            // marks in an element of the map
constexpr uint64_t kGroupElements = 512;  // as GROUP_SHIFT in tracker.bpf.c

struct SkeletonDeleter {
  void operator()(tracker_bpf* skeleton) const { tracker_bpf__destroy(skeleton); }
};
struct RingDeleter {
  void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
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

// Where the tracking of `device` is kept. The number of the disk counts up whenever another medium
// or file comes under the same device number. Empty: the kernel has no place for it.
std::string PinsOf(const std::string& directory, dev_t device) {
  struct statfs place;
  const std::string parent = directory.substr(0, directory.rfind('/'));
  if (directory.empty() || ::statfs(parent.c_str(), &place) != 0 || place.f_type != BPF_FS_MAGIC) {
    return "";
  }
  std::string number;
  std::ifstream(absl::StrCat("/sys/dev/block/", major(device), ":", minor(device), "/diskseq")) >>
      number;
  if (number.empty()) return "";
  return absl::StrCat(directory, "/", major(device), "-", minor(device), "-", number);
}

class LoadedTracker : public BpfTracker {
 public:
  LoadedTracker(UniqueFd fd, uint64_t size_bytes, dev_t device, std::string pins,
                std::shared_ptr<PausedServices> services)
      : fd_(std::move(fd)),
        size_bytes_(size_bytes),
        device_(device),
        shift_(BlockShift(size_bytes)),
        pins_(std::move(pins)),
        disk_rest_(absl::StrCat(major(device), ":", minor(device)), std::move(services)) {}

  ~LoadedTracker() override {
    for (const Marks& marks : {lanes_, groups_}) {
      if (marks.at != nullptr) ::munmap(marks.at, marks.mapped_bytes);
    }
  }

  absl::Status Load() {
    skeleton_.reset(tracker_bpf__open());
    if (skeleton_ == nullptr) return Refused("open the BPF program");
    skeleton_->rodata->disk_major = major(device_);
    skeleton_->rodata->disk_first_minor = minor(device_);
    skeleton_->rodata->block_shift = shift_;
    const uint64_t blocks = (size_bytes_ + (uint64_t{1} << shift_) - 1) >> shift_;
    elements_ = (blocks + 7) / 8;
    bpf_map__set_max_entries(skeleton_->maps.dirty, static_cast<uint32_t>(elements_));
    bpf_map__set_max_entries(skeleton_->maps.groups, static_cast<uint32_t>(GroupElements()));
    const bool adopted = Adopt();
    if (tracker_bpf__load(skeleton_.get()) != 0) return Refused("load the BPF program");
    HW_ASSIGN_OR_RETURN(lanes_, Map(skeleton_->maps.dirty));
    HW_ASSIGN_OR_RETURN(groups_, Map(skeleton_->maps.groups));
    ring_.reset(ring_buffer__new(bpf_map__fd(skeleton_->maps.long_ranges),
                                 &LoadedTracker::OnLongRange, this, nullptr));
    if (ring_ == nullptr) return Refused("map the ring of long ranges");
    if (tracker_bpf__attach(skeleton_.get()) != 0) return Refused("attach the BPF program");
    // From here on the programs of this process mark; those of the last one may go.
    continues_ = adopted;
    Unpin();
    return absl::OkStatus();
  }

  uint64_t size_bytes() const override { return size_bytes_; }

  absl::StatusOr<Collected> Collect(absl::Span<Extent> changed) override {
    HW_RETURN_IF_ERROR(Present());
    out_ = changed;
    count_ = 0;
    if (carried_.length > 0) Report(std::exchange(carried_, Extent{}));
    // Ends early at a range that finds no room, which is carried to the next call.
    const int consumed = ring_buffer__consume(ring_.get());
    if (carried_.length > 0) return Collected{count_, true};
    if (consumed < 0) return absl::DataLossError("the ring of long ranges cannot be read");
    for (uint64_t element = 0; element < GroupElements(); ++element) {
      if (groups_.at[element].load(std::memory_order_relaxed) == 0) continue;
      const uint64_t groups = groups_.at[element].exchange(0, std::memory_order_acq_rel);
      for (uint64_t lane = 0; lane < kLanes; ++lane) {
        if (((groups >> (8 * lane)) & 0xff) == 0) continue;
        if (CollectGroup(element * kLanes + lane)) continue;
        // No room: this one and those behind it stay marked.
        groups_.at[element].fetch_or(groups >> (8 * lane) << (8 * lane), std::memory_order_acq_rel);
        return Collected{count_, true};
      }
    }
    if (skeleton_->bss->lost != 0) {
      skeleton_->bss->lost = 0;
      return absl::DataLossError("more was written than could be noted");
    }
    return Collected{count_, false};
  }

  absl::Status Present() override {
    uint64_t now_bytes = 0;
    if (::ioctl(fd_.get(), BLKGETSIZE64, &now_bytes) == 0 && now_bytes == size_bytes_)
      return absl::OkStatus();
    return NotPresent(size_bytes_, now_bytes);
  }

  absl::Status Read(uint64_t offset, MutableBytes out) override {
    // Directly from the disk: the page cache of the device is not that of its file systems.
    if (Aligned(offset, out)) return ReadWhole(offset, out);
    for (size_t done = 0; done < out.size();) {
      const uint64_t at = offset + done;
      const uint64_t begin = at / AlignedBuffer::kAlignment * AlignedBuffer::kAlignment;
      const uint64_t length = std::min(out.size() - done, bounce_.size() - (at - begin));
      // The last block of a disk may be a short one.
      const uint64_t end = std::min((at + length + AlignedBuffer::kAlignment - 1) /
                                        AlignedBuffer::kAlignment * AlignedBuffer::kAlignment,
                                    size_bytes_);
      if (end < at + length) return absl::OutOfRangeError("read past the end of the tracked disk");
      HW_RETURN_IF_ERROR(ReadWhole(begin, bounce_.Part(0, end - begin)));
      std::memcpy(out.data() + done, bounce_.data() + (at - begin), length);
      done += length;
    }
    return absl::OkStatus();
  }

  // Many reads under way at once: a machine that stands still waits for them.
  absl::Status ReadParts(absl::Span<const Part> parts) override {
    if (batch_io_ == nullptr) return WriteSource::ReadParts(parts);
    for (size_t done = 0; done < parts.size();) {
      operations_.clear();
      for (; done < parts.size() && operations_.size() < kReadsAtOnce; ++done) {
        const auto& [offset, out] = parts[done];
        if (Aligned(offset, out)) {
          operations_.push_back({fd_.get(), false, offset, out.data(), out.size()});
        } else {
          HW_RETURN_IF_ERROR(Read(offset, out));
        }
      }
      batch_io_->Begin(absl::MakeSpan(operations_));
      batch_io_->Finish();
      for (const BatchIo::Operation& operation : operations_) {
        if (operation.error != 0) {
          return absl::ErrnoToStatus(
              operation.error, absl::StrCat("read the tracked disk at byte ", operation.offset));
        }
      }
    }
    return absl::OkStatus();
  }

  bool KeepForNextOpen() override {
    if (pins_.empty()) return false;
    Unpin();
    std::error_code error;
    std::filesystem::create_directories(pins_, error);
    bool pinned = !error;
    for (const Pinned& map : PinnedMaps())
      pinned = pinned && bpf_obj_pin(bpf_map__fd(map.map), PinPath(map.name).c_str()) == 0;
    for (const auto& [link, name] : {std::make_pair(skeleton_->links.on_queue, "on_queue"),
                                     std::make_pair(skeleton_->links.on_complete, "on_complete")}) {
      pinned = pinned && bpf_obj_pin(bpf_link__fd(link), PinPath(name).c_str()) == 0;
    }
    if (!pinned) Unpin();
    return pinned;
  }
  bool continues() const override { return continues_; }

  void BeginWriteBack() override { disk_rest_.BeginWriteBack(); }
  bool WrittenBack() override { return disk_rest_.WrittenBack(); }
  void BeginFreeze() override { disk_rest_.BeginFreeze(); }
  absl::Status AwaitFrozen(absl::Duration timeout) override {
    absl::Status frozen = disk_rest_.AwaitFrozen(timeout);
    // Whoever writes from here on is of interest.
    if (frozen.ok()) skeleton_->bss->writer_process = 0;
    return frozen;
  }
  void Thaw() override {
    late_writer_ = SeenWriter();
    disk_rest_.Thaw();
  }
  const Rest& rest() const override { return disk_rest_.rest(); }
  std::vector<std::string> Troubles() const override { return disk_rest_.Troubles(); }
  std::string LastWriter() const override {
    const Writer writer = late_writer_.process != 0 ? late_writer_ : SeenWriter();
    if (writer.process == 0) return "";
    std::string command;
    for (const char c : writer.command) {
      if (c == 0) break;
      command += absl::ascii_isprint(static_cast<unsigned char>(c)) ? c : '?';
    }
    return absl::StrCat(command, " (pid ", writer.process, ")");
  }

 private:
  static int OnLongRange(void* self, void* data, size_t) {
    const LongRange& range = *static_cast<const LongRange*>(data);
    LoadedTracker& tracker = *static_cast<LoadedTracker*>(self);
    const Extent extent{range.offset, range.length};
    if (tracker.count_ < tracker.out_.size()) {
      tracker.Report(extent);
      return 0;
    }
    tracker.carried_ = extent;
    return -ENOSPC;
  }
  // False: there was not room for all of it.
  bool CollectGroup(uint64_t group) {
    const uint64_t block_bytes = uint64_t{1} << shift_;
    const uint64_t end = std::min((group + 1) * kGroupElements, elements_);
    for (uint64_t element = group * kGroupElements; element < end; ++element) {
      if (lanes_.at[element].load(std::memory_order_relaxed) == 0) continue;
      if (count_ + kLanes > out_.size()) return false;
      const uint64_t marks = lanes_.at[element].exchange(0, std::memory_order_acq_rel);
      for (uint64_t lane = 0; lane < kLanes; ++lane) {
        if (((marks >> (8 * lane)) & 0xff) != 0)
          Report({(element * kLanes + lane) * block_bytes, block_bytes});
      }
    }
    return true;
  }
  // Requires: room for one more.
  void Report(Extent extent) {
    if (extent.offset >= size_bytes_) return;
    extent.length = std::min(extent.length, size_bytes_ - extent.offset);
    if (count_ > 0 && out_[count_ - 1].end() == extent.offset) {
      out_[count_ - 1].length += extent.length;
    } else {
      out_[count_++] = extent;
    }
  }
  // Requires: all of it suits direct I/O.
  static bool Aligned(uint64_t offset, MutableBytes out) {
    const auto aligned = [](uint64_t value) { return value % AlignedBuffer::kAlignment == 0; };
    return aligned(offset) && aligned(out.size()) &&
           aligned(reinterpret_cast<uintptr_t>(out.data()));
  }
  absl::Status ReadWhole(uint64_t offset, MutableBytes out) const {
    for (size_t done = 0; done < out.size();) {
      const ssize_t n = ::pread(fd_.get(), out.data() + done, out.size() - done,
                                static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        return absl::ErrnoToStatus(errno,
                                   absl::StrCat("read the tracked disk at byte ", offset + done));
      }
      if (n == 0) return absl::OutOfRangeError("read past the end of the tracked disk");
      done += static_cast<size_t>(n);
    }
    return absl::OkStatus();
  }
  struct Writer {
    uint32_t process = 0;
    std::array<char, 16> command = {};
  };
  Writer SeenWriter() const {
    Writer writer{skeleton_->bss->writer_process, {}};
    static_assert(sizeof(skeleton_->bss->writer_command) == sizeof(writer.command));
    std::memcpy(writer.command.data(), skeleton_->bss->writer_command, sizeof(writer.command));
    return writer;
  }
  // A map of the kernel's that is shared with this process.
  struct Marks {
    std::atomic<uint64_t>* at = nullptr;
    size_t mapped_bytes = 0;
  };
  static absl::StatusOr<Marks> Map(bpf_map* map) {
    const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    const size_t bytes = bpf_map__max_entries(map) * sizeof(uint64_t);
    const size_t mapped_bytes = (bytes + page - 1) / page * page;
    void* const mapped =
        ::mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
    if (mapped == MAP_FAILED) return Refused("map the dirty map");
    return Marks{static_cast<std::atomic<uint64_t>*>(mapped), mapped_bytes};
  }
  uint64_t GroupElements() const {
    const uint64_t groups = (elements_ + kGroupElements - 1) / kGroupElements;
    return (groups + kLanes - 1) / kLanes;
  }
  struct Pinned {
    const char* name;
    bpf_map* map;
  };
  std::vector<Pinned> PinnedMaps() const {
    return {{"dirty", skeleton_->maps.dirty},
            {"groups", skeleton_->maps.groups},
            {"long_ranges", skeleton_->maps.long_ranges},
            {"lost", skeleton_->maps.bss}};
  }
  std::string PinPath(absl::string_view name) const { return absl::StrCat(pins_, "/", name); }
  void Unpin() const {
    std::error_code ignored;
    if (!pins_.empty()) std::filesystem::remove_all(pins_, ignored);
  }
  // Takes over the maps of a tracker that was kept. All of them, and its programs still run.
  bool Adopt() {
    if (pins_.empty()) return false;
    std::vector<UniqueFd> maps;
    for (const Pinned& map : PinnedMaps()) {
      maps.emplace_back(bpf_obj_get(PinPath(map.name).c_str()));
      if (!maps.back().valid()) return false;
    }
    for (const char* link : {"on_queue", "on_complete"}) {
      if (!UniqueFd(bpf_obj_get(PinPath(link).c_str())).valid()) return false;
    }
    const std::vector<Pinned> ours = PinnedMaps();
    for (size_t i = 0; i < ours.size(); ++i) {
      // Those of another version of the agent are of another form.
      bpf_map_info info = {};
      uint32_t info_bytes = sizeof(info);
      if (bpf_obj_get_info_by_fd(maps[i].get(), &info, &info_bytes) != 0 ||
          info.max_entries != bpf_map__max_entries(ours[i].map) ||
          info.value_size != bpf_map__value_size(ours[i].map)) {
        return false;
      }
    }
    for (size_t i = 0; i < ours.size(); ++i)
      HW_CHECK(bpf_map__reuse_fd(ours[i].map, maps[i].get()) == 0);
    return true;
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
  const std::string pins_;  // a directory in bpffs; empty: there is none
  bool continues_ = false;
  const AlignedBuffer bounce_{kBounceBytes};
  const std::unique_ptr<BatchIo> batch_io_ = BatchIo::Create();  // null: one read at a time
  // Never beyond its capacity, touched at once: no memory is found while something stands still.
  std::vector<BatchIo::Operation> operations_ = std::vector<BatchIo::Operation>(kReadsAtOnce);
  std::unique_ptr<tracker_bpf, SkeletonDeleter> skeleton_;
  std::unique_ptr<ring_buffer, RingDeleter> ring_;
  uint64_t elements_ = 0;
  Marks lanes_, groups_;
  absl::Span<Extent> out_;  // of the Collect() that runs
  size_t count_ = 0;
  Extent carried_;
  DiskRest disk_rest_;
  Writer late_writer_;  // while the disk last stood still
};

}  // namespace

absl::StatusOr<std::unique_ptr<BpfTracker>> BpfTracker::Open(
    const std::string& device, const std::string& pin_directory,
    std::shared_ptr<PausedServices> services) {
  UniqueFd fd(::open(device.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("open ", device));
  struct stat info;
  if (::fstat(fd.get(), &info) != 0 || !S_ISBLK(info.st_mode))
    return absl::InvalidArgumentError(absl::StrCat(device, " is not a block device"));
  const std::string sys =
      absl::StrCat("/sys/dev/block/", major(info.st_rdev), ":", minor(info.st_rdev));
  if (::access(absl::StrCat(sys, "/partition").c_str(), F_OK) == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(device, " is a partition: name the whole disk, all of it is tracked"));
  }
  // Without a queue of requests no end of a write is reported, and one that was collected before it
  // had reached the disk would be lost.
  if (::access(absl::StrCat(sys, "/mq").c_str(), F_OK) != 0) {
    return absl::UnimplementedError(absl::StrCat(
        device,
        " has a driver without request queues (as persistent memory, or NVMe with more than one "
        "path): the kernel does not say when its writes end, so they cannot be tracked"));
  }
  uint64_t size_bytes = 0;
  if (::ioctl(fd.get(), BLKGETSIZE64, &size_bytes) != 0 || size_bytes == 0)
    return absl::InvalidArgumentError(absl::StrCat(device, " has no size"));
  auto tracker =
      std::make_unique<LoadedTracker>(std::move(fd), size_bytes, info.st_rdev,
                                      PinsOf(pin_directory, info.st_rdev), std::move(services));
  HW_RETURN_IF_ERROR(Annotate(tracker->Load(), device));
  return tracker;
}

}  // namespace homeward
