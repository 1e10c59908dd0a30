// ScanSource: the WriteSource of a disk that nothing writes to while the agent has it: an image of
// a machine that is off, a detached volume. It tracks nothing; it holds the disk, so that what the
// synchronisation found by checksums stays true.
#ifndef HOMEWARD_MOBILITY_AGENT_CAPTURE_SCAN_SCAN_SOURCE_H_
#define HOMEWARD_MOBILITY_AGENT_CAPTURE_SCAN_SCAN_SOURCE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "mobility_agent/capture/write_source.h"

namespace homeward {

class ScanSource : public WriteSource {
 public:
  // FAILED_PRECONDITION: the block device is mounted or in use, or another program holds the
  // image's lock: use another capture.
  static absl::StatusOr<std::unique_ptr<ScanSource>> Open(const std::string& path);
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_CAPTURE_SCAN_SCAN_SOURCE_H_
