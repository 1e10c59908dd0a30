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
  std::string name;     // its path
  std::string capture;  // "bpf", "nbd-tap", "scan"
  std::unique_ptr<WriteSource> source;
  std::string uuid = {};  // 32 hex digits; empty where it is not known
};

// In the order of the configuration; without one, all disks of this machine. An error names the
// disk.
absl::StatusOr<std::vector<CapturedDisk>> OpenDisks(FileSystem& files,
                                                    const config::v1::AgentConfig& config);

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_CAPTURE_SOURCES_H_
