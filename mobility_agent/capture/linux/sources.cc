#include "mobility_agent/capture/sources.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "common/log/log.h"
#include "common/os/attached_disks.h"
#include "common/status/status_macros.h"
#include "mobility_agent/capture/linux/bpf_tracker.h"
#include "mobility_agent/capture/linux/machine_disks.h"
#include "mobility_agent/capture/linux/paused_services.h"
#include "mobility_agent/capture/nbd/nbd_tap.h"
#include "mobility_agent/capture/scan/scan_source.h"

namespace homeward {
namespace {

// What one agent tracked is not what another did: each has a place of its own, by its state
// directory. A copy of that is another's. Empty: it has no place.
std::string PinDirectory(const config::v1::AgentConfig& config) {
  struct stat state;
  if (::stat(config.state_directory().c_str(), &state) != 0) return "";
  return absl::StrCat("/sys/fs/bpf/homeward-", state.st_dev, "-", state.st_ino);
}

constexpr char kSysfs[] = "/sys";

absl::Status OpenDisk(FileSystem& files, const config::v1::AgentDisk& disk,
                      const std::string& pin_directory,
                      const std::shared_ptr<PausedServices>& services, CapturedDisk* opened) {
  CapturedDisk& captured = *opened;
  captured.uuid = disk.uuid().empty() ? DiskUuidOf(disk.path()) : disk.uuid();
  captured.logical_sector_bytes = LogicalSectorBytesOf(disk.path());
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
      HW_ASSIGN_OR_RETURN(captured.source, BpfTracker::Open(disk.path(), pin_directory, services));
      break;
    }
  }
  return absl::OkStatus();
}

// What is to be opened, and what is known to be of no use.
struct Wanted {
  config::v1::AgentDisk disk;
  std::string unusable;
  bool missed;  // if it cannot be opened
};

std::vector<Wanted> WantedDisks(FileSystem& files, const config::v1::AgentConfig& config) {
  std::vector<Wanted> wanted;
  for (const config::v1::AgentDisk& disk : config.disks()) wanted.push_back({disk, "", true});
  if (!wanted.empty()) return wanted;
  const absl::StatusOr<std::vector<FoundDisk>> found = FindDisks(files, kSysfs);
  if (!found.ok()) return wanted;
  for (const FoundDisk& disk : *found) {
    wanted.push_back({{}, disk.unusable, disk.unusable.empty() || disk.missed});
    wanted.back().disk.set_path(disk.path);
  }
  return wanted;
}

}  // namespace

absl::StatusOr<std::shared_ptr<PausedServices>> OpenPausedServices(
    const config::v1::AgentConfig& config) {
  return PausedServices::Open({config.pause_services().begin(), config.pause_services().end()});
}

void OpenDisks(FileSystem& files, const config::v1::AgentConfig& config,
               const std::shared_ptr<PausedServices>& services, std::vector<CapturedDisk>* disks) {
  const std::vector<Wanted> wanted = WantedDisks(files, config);
  std::erase_if(*disks, [&](const CapturedDisk& disk) {
    return disk.source == nullptr &&
           absl::c_none_of(wanted, [&](const Wanted& one) { return one.disk.path() == disk.name; });
  });
  for (const Wanted& one : wanted) {
    auto disk = absl::c_find_if(
        *disks, [&](const CapturedDisk& known) { return known.name == one.disk.path(); });
    if (disk == disks->end()) {
      disks->emplace_back().name = one.disk.path();
      disk = std::prev(disks->end());
    }
    if (disk->source != nullptr) continue;
    std::string why = one.unusable;
    if (why.empty())
      why =
          std::string(OpenDisk(files, one.disk, PinDirectory(config), services, &*disk).message());
    if (disk->source != nullptr) {
      LogInfo("disk.captured", {{"disk", disk->name},
                                {"capture", disk->capture},
                                {"bytes", disk->source->size_bytes()}});
    } else if (why != disk->unusable) {
      LogWarn("disk.unusable", {{"disk", disk->name}, {"why", why}});
    }
    disk->unusable = disk->source == nullptr ? why : "";
    disk->missed = one.missed;
  }
}

}  // namespace homeward
