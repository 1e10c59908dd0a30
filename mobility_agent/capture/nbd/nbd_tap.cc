#include "mobility_agent/capture/nbd/nbd_tap.h"

#include <algorithm>
#include <utility>

#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr size_t kRangesMax = 65536;

}  // namespace

absl::StatusOr<std::unique_ptr<NbdTap>> NbdTap::Start(FileSystem& files, const std::string& image,
                                                      const std::string& socket_path) {
  HW_ASSIGN_OR_RETURN(std::unique_ptr<File> file, files.Open(image, OpenMode::kReadWrite));
  HW_ASSIGN_OR_RETURN(const uint64_t size_bytes, file->Size());
  if (size_bytes == 0 || size_bytes % kSectorBytes != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        image, " has ", size_bytes, " bytes; a disk has a multiple of ", kSectorBytes));
  }
  std::unique_ptr<NbdTap> tap(new NbdTap(std::move(file), size_bytes));
  HW_ASSIGN_OR_RETURN(tap->server_, NbdServer::Start(socket_path, tap.get()));
  return tap;
}

absl::Status NbdTap::Present() {
  HW_ASSIGN_OR_RETURN(const uint64_t now_bytes, file_->Size());
  return now_bytes == size_bytes_ ? absl::OkStatus() : NotPresent(size_bytes_, now_bytes);
}

absl::StatusOr<WriteSource::Collected> NbdTap::Collect(absl::Span<Extent> changed) {
  HW_RETURN_IF_ERROR(Present());
  absl::MutexLock lock(&mutex_);
  const size_t count = changed_.TakeInto(changed);
  return Collected{count, !changed_.empty()};
}

void NbdTap::BeginFreeze() {
  absl::MutexLock lock(&mutex_);
  frozen_ = true;
}

absl::Status NbdTap::AwaitFrozen(absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  const auto still = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return writing_.empty(); };
  if (mutex_.AwaitWithTimeout(absl::Condition(&still), timeout)) return absl::OkStatus();
  return absl::DeadlineExceededError("writes to the image did not end in time");
}

void NbdTap::Thaw() {
  absl::MutexLock lock(&mutex_);
  frozen_ = false;
}

bool NbdTap::LogTo(WriteLog* log, uint32_t disk) {
  absl::MutexLock lock(&mutex_);
  log_ = log;
  disk_ = disk;
  return true;
}

bool NbdTap::KeepForNextOpen() {
  {
    absl::MutexLock lock(&mutex_);
    ended_ = true;
    const auto still = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return writing_.empty(); };
    mutex_.Await(absl::Condition(&still));
  }
  // The replica has what was read from here: a crash of this host must not take it back.
  return file_->Sync().ok();
}

absl::Status NbdTap::BeginWrite(Extent extent) {
  absl::MutexLock lock(&mutex_);
  const auto mine = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (ended_) return true;
    if (frozen_) return false;
    return std::none_of(writing_.begin(), writing_.end(), [&](const Extent& other) {
      return other.offset < extent.end() && extent.offset < other.end();
    });
  };
  mutex_.Await(absl::Condition(&mine));
  if (ended_) return absl::UnavailableError("the agent stops");
  writing_.push_back(extent);
  return absl::OkStatus();
}

void NbdTap::EndWrite(Extent extent, ConstBytes data, bool whole) {
  absl::MutexLock lock(&mutex_);
  // When it failed part of it may have been written: what is there now is read later, and no place
  // in the log is an instant of this disk from here on.
  if (!whole && log_ != nullptr) log_->Close();
  if (!whole || log_ == nullptr || !log_->Append(disk_, extent, data)) {
    changed_.Add(extent);
    changed_.Coarsen(kRangesMax, size_bytes_);
  }
  writing_.erase(std::find(writing_.begin(), writing_.end(), extent));
}

absl::Status NbdTap::WriteAt(uint64_t offset, ConstBytes bytes) {
  HW_RETURN_IF_ERROR(BeginWrite({offset, bytes.size()}));
  const absl::Status written = file_->Write(offset, bytes);
  EndWrite({offset, bytes.size()}, bytes, written.ok());
  return written;
}

absl::Status NbdTap::ZeroAt(uint64_t offset, uint64_t length) {
  HW_RETURN_IF_ERROR(BeginWrite({offset, length}));
  const absl::Status written = file_->WriteZeroes(offset, length);
  EndWrite({offset, length}, {}, written.ok());
  return written;
}

}  // namespace homeward
