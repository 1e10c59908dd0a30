#include "mobility_agent/capture/sources.h"

#include <sys/mman.h>

#include <cerrno>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/os/attached_disks.h"
#include "common/status/status_macros.h"
#include "mobility_agent/capture/linux/bpf_tracker.h"
#include "mobility_agent/capture/nbd/nbd_tap.h"
#include "mobility_agent/capture/scan/scan_source.h"

namespace homeward {
namespace {

constexpr char kPinDirectory[] = "/sys/fs/bpf/homeward";

// Whole disks that a machine keeps its data on: not those that hold other disks' data (loop, md,
// dm), not those that forget (ram, zram), not those that one takes out (sr, fd).
absl::StatusOr<std::vector<std::string>> FindDisks(FileSystem& files) {
  HW_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List("/sys/block"));
  std::vector<std::string> disks;
  for (const std::string& name : names) {
    bool other = false;
    for (const char* prefix : {"loop", "ram", "zram", "sr", "fd", "dm-", "md", "nbd"})
      other = other || absl::StartsWith(name, prefix);
    const absl::StatusOr<std::string> size =
        ReadWholeFile(files, absl::StrCat("/sys/block/", name, "/size"));
    if (!other && size.ok() && *size != "0\n") disks.push_back(absl::StrCat("/dev/", name));
  }
  if (disks.empty())
    return absl::NotFoundError("no disk was found on this machine: name them under disks");
  return disks;
}

absl::StatusOr<CapturedDisk> OpenDisk(FileSystem& files, const config::v1::AgentDisk& disk) {
  CapturedDisk captured;
  captured.name = disk.path();
  captured.uuid = disk.uuid().empty() ? DiskUuidOf(disk.path()) : disk.uuid();
  config::v1::Capture capture = disk.capture();
  if (capture == config::v1::CAPTURE_UNSPECIFIED)
    capture = disk.nbd_socket().empty() ? config::v1::BPF : config::v1::NBD_TAP;
  switch (capture) {
    case config::v1::NBD_TAP: {
      captured.capture = "nbd-tap";
      HW_ASSIGN_OR_RETURN(captured.source, NbdTap::Start(files, disk.path(), disk.nbd_socket()));
      break;
    }
    case config::v1::SCAN: {
      captured.capture = "scan";
      HW_ASSIGN_OR_RETURN(captured.source, ScanSource::Open(disk.path()));
      break;
    }
    default: {
      captured.capture = "bpf";
      // While file systems stand still no page of this process may have to be fetched or found
      // room for. Pages are locked as they are first used.
      if (::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0)
        return absl::ErrnoToStatus(errno, "lock the agent's memory (CAP_IPC_LOCK)");
      HW_ASSIGN_OR_RETURN(captured.source, BpfTracker::Open(disk.path(), kPinDirectory));
      break;
    }
  }
  return captured;
}

}  // namespace

absl::StatusOr<std::vector<CapturedDisk>> OpenDisks(FileSystem& files,
                                                    const config::v1::AgentConfig& config) {
  std::vector<config::v1::AgentDisk> wanted(config.disks().begin(), config.disks().end());
  if (wanted.empty()) {
    HW_ASSIGN_OR_RETURN(const std::vector<std::string> found, FindDisks(files));
    for (const std::string& path : found) wanted.emplace_back().set_path(path);
  }
  std::vector<CapturedDisk> disks;
  for (const config::v1::AgentDisk& disk : wanted) {
    absl::StatusOr<CapturedDisk> opened = OpenDisk(files, disk);
    if (!opened.ok()) return Annotate(opened.status(), absl::StrCat("disk ", disk.path()));
    disks.push_back(*std::move(opened));
  }
  return disks;
}

}  // namespace homeward
