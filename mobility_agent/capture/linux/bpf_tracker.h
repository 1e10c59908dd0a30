// BpfTracker: the WriteSource of a Linux block device. No kernel module: BPF programs on the block
// layer mark what is written, through the disk and its partitions alike. Needs root (CAP_BPF,
// CAP_PERFMON) and a kernel with BTF.
#ifndef HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_BPF_TRACKER_H_
#define HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_BPF_TRACKER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "mobility_agent/capture/linux/paused_services.h"
#include "mobility_agent/capture/write_source.h"

namespace homeward {

class BpfTracker : public WriteSource {
 public:
  // Tracks from the moment it returns. `device` is a whole disk (/dev/sda): INVALID_ARGUMENT for a
  // partition; PERMISSION_DENIED without the rights; UNIMPLEMENTED when this kernel cannot. Memory
  // in the kernel: one byte for each 4 KiB up to disks of 64 GiB, 16 MiB for larger ones, whose
  // blocks are coarser.
  // `pin_directory` is a directory directly under a mounted bpffs, made when needed: there the
  // kernel keeps tracking between KeepForNextOpen() and the next Open(). A crash leaves nothing
  // there, nor does a reboot; then the disk is compared. `services` are paused for each
  // stand-still; null: none.
  static absl::StatusOr<std::unique_ptr<BpfTracker>> Open(
      const std::string& device, const std::string& pin_directory,
      std::shared_ptr<PausedServices> services = nullptr);
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_BPF_TRACKER_H_
