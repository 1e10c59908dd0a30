// NbdTap: the WriteSource of a disk image that a hypervisor uses over NBD. The agent serves the
// image and sees every write with its data. A point needs no freeze: it is a place in the log of
// writes. Only when the log could not keep up do writes wait at the tap, for the moment in which it
// begins anew.
#ifndef HOMEWARD_MOBILITY_AGENT_CAPTURE_NBD_NBD_TAP_H_
#define HOMEWARD_MOBILITY_AGENT_CAPTURE_NBD_NBD_TAP_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/nbd/nbd_server.h"
#include "common/os/file_system.h"
#include "mobility_agent/capture/write_source.h"

namespace homeward {

// Thread-safe. Bounded: beyond 65,536 changed ranges they are coarsened, never dropped.
class NbdTap : public WriteSource, public NbdExport {
 public:
  // Serves `image` (raw, whole sectors, or a block device) on `socket_path`; tracks from the moment
  // it returns.
  static absl::StatusOr<std::unique_ptr<NbdTap>> Start(FileSystem& files, const std::string& image,
                                                       const std::string& socket_path);

  uint64_t size_bytes() const override { return size_bytes_; }

  // WriteSource
  absl::Status Present() override;
  absl::StatusOr<Collected> Collect(absl::Span<Extent> changed) override;
  absl::Status Read(uint64_t offset, MutableBytes out) override { return file_->Read(offset, out); }
  uint64_t NextData(uint64_t offset) override { return file_->NextData(offset).value_or(offset); }
  void BeginFreeze() override;
  absl::Status AwaitFrozen(absl::Duration timeout) override;
  void Thaw() override;
  const Rest& rest() const override { return rest_; }
  bool LogTo(WriteLog* log, uint32_t disk) override;
  // Ends all writes: clients get an error from then on, and come again when the agent is back.
  bool KeepForNextOpen() override;

  // NbdExport
  bool read_only() const override { return false; }
  absl::Status ReadAt(uint64_t offset, MutableBytes out) override {
    return file_->Read(offset, out);
  }
  absl::Status WriteAt(uint64_t offset, ConstBytes bytes) override;
  absl::Status ZeroAt(uint64_t offset, uint64_t length) override;
  absl::Status Flush() override { return file_->Sync(); }

 private:
  NbdTap(std::unique_ptr<File> file, uint64_t size_bytes)
      : file_(std::move(file)), size_bytes_(size_bytes) {}
  // Waits for a thaw, and for writes to the same place: their order in the log is that on the disk.
  // UNAVAILABLE after KeepForNextOpen().
  absl::Status BeginWrite(Extent extent);
  // Empty `data` stands for zeroes.
  void EndWrite(Extent extent, ConstBytes data, bool whole);

  const std::unique_ptr<File> file_;
  const uint64_t size_bytes_;
  absl::Mutex mutex_;
  bool frozen_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Extent> writing_ ABSL_GUARDED_BY(mutex_);  // one for each client at most
  WriteLog* log_ ABSL_GUARDED_BY(mutex_) = nullptr;
  uint32_t disk_ ABSL_GUARDED_BY(mutex_) = 0;
  ExtentSet changed_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<NbdServer> server_;  // last: its threads use all above
  const Rest rest_{.still = {"all writes to the image"}, .moving = {}};
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_CAPTURE_NBD_NBD_TAP_H_
