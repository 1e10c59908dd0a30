// Opens the machine's disks with the capture that its configuration names.
#ifndef HOMEWARD_MOBILITY_AGENT_CAPTURE_SOURCES_H_
#define HOMEWARD_MOBILITY_AGENT_CAPTURE_SOURCES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/os/file_system.h"
#include "homeward/config/v1/config.pb.h"
#include "mobility_agent/capture/write_source.h"

namespace homeward {

struct CapturedDisk {
  std::string name;                     // its path
  std::string capture;                  // "bpf", "nbd-tap", "scan"
  std::unique_ptr<WriteSource> source;  // null: it cannot be used now
  std::string uuid = {};                // 32 hex digits; empty where it is not known
  uint32_t logical_sector_bytes = 0;    // 0: not known
  std::string unusable = {};            // why there is no source
  bool missed = false;                  // whoever protects the machine expects it to be usable
};

// What the configuration wants to stand still together with the disks.
class PausedServices;
// INVALID_ARGUMENT names a service that cannot be paused: it holds the agent itself, for one.
absl::StatusOr<std::shared_ptr<PausedServices>> OpenPausedServices(
    const config::v1::AgentConfig& config);

// Opens those that are not open, in the order of the configuration; without one, all disks of this
// machine, those that appeared since behind the others. What cannot be opened is there with its
// reason, and tried when this is called again.
void OpenDisks(FileSystem& files, const config::v1::AgentConfig& config,
               const std::shared_ptr<PausedServices>& services, std::vector<CapturedDisk>* disks);

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_CAPTURE_SOURCES_H_
