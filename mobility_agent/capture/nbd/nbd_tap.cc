#include "mobility_agent/capture/nbd/nbd_tap.h"

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

absl::Status NbdTap::Collect(ExtentSet* changed) {
  HW_ASSIGN_OR_RETURN(const uint64_t now_bytes, file_->Size());
  if (now_bytes != size_bytes_) {
    return absl::FailedPreconditionError(
        absl::StrCat("the image had ", size_bytes_, " bytes when its protection began and has ",
                     now_bytes, " now: remove the protection and protect the machine again"));
  }
  absl::MutexLock lock(&mutex_);
  changed->Add(changed_);
  changed_.Clear();
  return absl::OkStatus();
}

absl::Status NbdTap::Freeze(absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  frozen_ = true;
  const auto still = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return writers_ == 0; };
  if (mutex_.AwaitWithTimeout(absl::Condition(&still), timeout)) return absl::OkStatus();
  frozen_ = false;
  return absl::DeadlineExceededError("writes to the image did not end in time");
}

void NbdTap::Thaw() {
  absl::MutexLock lock(&mutex_);
  frozen_ = false;
}

bool NbdTap::EndWrites() {
  {
    absl::MutexLock lock(&mutex_);
    ended_ = true;
    const auto still = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return writers_ == 0; };
    mutex_.Await(absl::Condition(&still));
  }
  // The replica has what was read from here: a crash of this host must not take it back.
  return file_->Sync().ok();
}

absl::Status NbdTap::BeginWrite() {
  absl::MutexLock lock(&mutex_);
  const auto open = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !frozen_ || ended_; };
  mutex_.Await(absl::Condition(&open));
  if (ended_) return absl::UnavailableError("the agent stops");
  ++writers_;
  return absl::OkStatus();
}

void NbdTap::EndWrite(Extent extent) {
  // Marked when it has ended, and also when it failed: part of it may have been written.
  absl::MutexLock lock(&mutex_);
  changed_.Add(extent);
  changed_.Coarsen(kRangesMax, size_bytes_);
  --writers_;
}

absl::Status NbdTap::WriteAt(uint64_t offset, ConstBytes bytes) {
  HW_RETURN_IF_ERROR(BeginWrite());
  const absl::Status written = file_->Write(offset, bytes);
  EndWrite({offset, bytes.size()});
  return written;
}

absl::Status NbdTap::ZeroAt(uint64_t offset, uint64_t length) {
  HW_RETURN_IF_ERROR(BeginWrite());
  const absl::Status written = file_->WriteZeroes(offset, length);
  EndWrite({offset, length});
  return written;
}

}  // namespace homeward
