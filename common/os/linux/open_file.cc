#include "common/os/open_file.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/base/aligned_buffer.h"
#include "common/os/linux/batch_io.h"
#include "common/os/posix/file_error.h"
#include "common/os/posix/unique_fd.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

class LinuxFile : public File {
 public:
  // `direct` may be none.
  LinuxFile(UniqueFd fd, UniqueFd direct, std::string path, bool is_block_device)
      : fd_(std::move(fd)),
        direct_(std::move(direct)),
        path_(std::move(path)),
        is_block_device_(is_block_device) {}

  absl::Status Read(uint64_t offset, MutableBytes out) override {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t n = ::pread(fd_.get(), out.data() + done, out.size() - done, offset + done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return FileError(errno, "read", path_);
      if (n == 0) return absl::OutOfRangeError(absl::StrCat("read past the end of ", path_));
      done += n;
    }
    return absl::OkStatus();
  }

  absl::Status Write(uint64_t offset, ConstBytes bytes) override {
    if (direct_.valid() && bytes.size() >= kDirectBytesMin) {
      const size_t head =
          std::min<size_t>((kAlignment - offset % kAlignment) % kAlignment, bytes.size());
      const size_t body = (bytes.size() - head) / kAlignment * kAlignment;
      HW_RETURN_IF_ERROR(WriteThrough(fd_, offset, bytes.first(head)));
      HW_RETURN_IF_ERROR(WriteDirect(offset + head, bytes.subspan(head, body)));
      offset += head + body;
      bytes.remove_prefix(head + body);
    }
    return WriteThrough(fd_, offset, bytes);
  }

  absl::Status ReadMany(absl::Span<const ReadInto> reads) override {
    const absl::Status begun = BeginReadMany(reads);
    const absl::Status ended = AwaitReads();
    return begun.ok() ? ended : begun;
  }

  absl::Status BeginReadMany(absl::Span<const ReadInto> reads) override {
    if (!HasRing()) return File::ReadMany(reads);
    for (const ReadInto& read : reads) {
      under_way_.push_back({.fd = FdFor(read.offset, read.out.data(), read.out.size()),
                            .write = false,
                            .offset = read.offset,
                            .data = read.out.data(),
                            .bytes = read.out.size()});
    }
    ring_->Begin(absl::MakeSpan(under_way_));
    return absl::OkStatus();
  }

  absl::Status AwaitReads() override { return Finish("read"); }

  absl::Status WriteMany(absl::Span<const WriteFrom> writes) override {
    if (!HasRing()) return File::WriteMany(writes);
    for (const WriteFrom& write : writes) {
      const int fd = FdFor(write.offset, write.bytes.data(), write.bytes.size());
      // What cannot go past the page cache as it is goes the way of single ones.
      if (direct_.valid() && fd != direct_.get()) {
        const absl::Status written = Write(write.offset, write.bytes);
        if (!written.ok()) under_way_.clear();
        HW_RETURN_IF_ERROR(written);
        continue;
      }
      under_way_.push_back({.fd = fd,
                            .write = true,
                            .offset = write.offset,
                            .data = const_cast<uint8_t*>(write.bytes.data()),
                            .bytes = write.bytes.size()});
    }
    ring_->Begin(absl::MakeSpan(under_way_));
    return Finish("write");
  }

  absl::Status WriteZeroes(uint64_t offset, uint64_t length) override {
    const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if (::fallocate(fd_.get(), punch, offset, length) == 0) return absl::OkStatus();
    if (errno != EOPNOTSUPP && errno != ENODEV) return FileError(errno, "punch a hole in", path_);
    const std::string zeroes(std::min<uint64_t>(length, kMiB), '\0');
    for (uint64_t done = 0; done < length;) {
      const uint64_t part = std::min<uint64_t>(zeroes.size(), length - done);
      HW_RETURN_IF_ERROR(Write(offset + done, AsBytes(zeroes).subspan(0, part)));
      done += part;
    }
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    if (::fdatasync(fd_.get()) != 0) return FileError(errno, "sync", path_);
    return absl::OkStatus();
  }

  void BeginSync() override { ::sync_file_range(fd_.get(), 0, 0, SYNC_FILE_RANGE_WRITE); }

  absl::StatusOr<uint64_t> Size() override {
    if (is_block_device_) {
      uint64_t size = 0;
      if (::ioctl(fd_.get(), BLKGETSIZE64, &size) != 0) return FileError(errno, "size of", path_);
      return size;
    }
    struct stat info;
    if (::fstat(fd_.get(), &info) != 0) return FileError(errno, "size of", path_);
    return static_cast<uint64_t>(info.st_size);
  }

  absl::StatusOr<uint64_t> NextData(uint64_t offset) override {
    if (is_block_device_) return offset;
    const off_t data = ::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_DATA);
    if (data >= 0) return static_cast<uint64_t>(data);
    if (errno == ENXIO) return Size();
    return offset;  // A file system that does not know.
  }

  absl::StatusOr<absl::Time> Modified() override {
    struct stat info;
    if (::fstat(fd_.get(), &info) != 0) return FileError(errno, "inspect", path_);
    return is_block_device_ ? absl::UnixEpoch() : absl::TimeFromTimespec(info.st_mtim);
  }

  absl::Status Truncate(uint64_t size_bytes) override {
    if (::ftruncate(fd_.get(), size_bytes) != 0) return FileError(errno, "resize", path_);
    return absl::OkStatus();
  }

 private:
  static constexpr uint64_t kAlignment = AlignedBuffer::kAlignment;
  static constexpr size_t kDirectBytesMin = 64 * kKiB;
  static constexpr size_t kBounceBytes = kMiB;

  int FdFor(uint64_t offset, const uint8_t* data, size_t bytes) const {
    const bool aligned = offset % kAlignment == 0 && bytes % kAlignment == 0 &&
                         reinterpret_cast<uintptr_t>(data) % kAlignment == 0;
    return direct_.valid() && aligned && bytes >= kDirectBytesMin ? direct_.get() : fd_.get();
  }
  bool HasRing() {
    if (!ring_tried_) ring_ = BatchIo::Create();
    ring_tried_ = true;
    return ring_ != nullptr;
  }
  absl::Status Finish(absl::string_view doing) {
    if (under_way_.empty()) return absl::OkStatus();
    ring_->Finish();
    for (const BatchIo::Operation& operation : std::exchange(under_way_, {})) {
      if (operation.error == ENODATA)
        return absl::OutOfRangeError(absl::StrCat("read past the end of ", path_));
      if (operation.error != 0) return FileError(operation.error, doing, path_);
    }
    return absl::OkStatus();
  }

  absl::Status WriteThrough(const UniqueFd& fd, uint64_t offset, ConstBytes bytes) {
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t n = ::pwrite(fd.get(), bytes.data() + done, bytes.size() - done,
                                 static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return FileError(errno, "write", path_);
      done += static_cast<size_t>(n);
    }
    return absl::OkStatus();
  }

  // Whole aligned blocks. The kernel keeps the page cache, through which all else goes, coherent.
  absl::Status WriteDirect(uint64_t offset, ConstBytes bytes) {
    if (reinterpret_cast<uintptr_t>(bytes.data()) % kAlignment == 0)
      return WriteThrough(direct_, offset, bytes);
    if (bounce_.size() == 0) bounce_ = AlignedBuffer(kBounceBytes);
    while (!bytes.empty()) {
      const ConstBytes part = bytes.first(std::min(bytes.size(), bounce_.size()));
      std::memcpy(bounce_.data(), part.data(), part.size());
      HW_RETURN_IF_ERROR(WriteThrough(direct_, offset, bounce_.Part(0, part.size())));
      offset += part.size();
      bytes.remove_prefix(part.size());
    }
    return absl::OkStatus();
  }

  const UniqueFd fd_;
  const UniqueFd direct_;
  AlignedBuffer bounce_;  // of who writes
  std::unique_ptr<BatchIo> ring_;
  bool ring_tried_ = false;
  std::vector<BatchIo::Operation> under_way_;
  const std::string path_;
  const bool is_block_device_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<File>> OpenFile(const std::string& path, OpenMode mode) {
  const bool bulk = mode == OpenMode::kReadWriteBulk;
  int flags = O_CLOEXEC | (mode == OpenMode::kReadOnly ? O_RDONLY : O_RDWR);
  if (mode == OpenMode::kCreate) flags |= O_CREAT;
  struct stat info;
  // Claims a block device: not while it is mounted or part of another, nor the other way round.
  if ((bulk || mode == OpenMode::kReadWrite) && ::stat(path.c_str(), &info) == 0 &&
      S_ISBLK(info.st_mode))
    flags |= O_EXCL;
  UniqueFd fd(::open(path.c_str(), flags, 0600));
  if (!fd.valid() && errno == EBUSY && (flags & O_EXCL) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is in use: mounted, part of another device, or held by a program"));
  }
  if (!fd.valid()) return FileError(errno, "open", path);
  if (::fstat(fd.get(), &info) != 0) return FileError(errno, "inspect", path);
  // Not every file system can; then all goes through the page cache.
  UniqueFd direct(bulk ? ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_DIRECT) : -1);
  return std::make_unique<LinuxFile>(std::move(fd), std::move(direct), path, S_ISBLK(info.st_mode));
}

}  // namespace homeward
