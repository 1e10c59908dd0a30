// What volume a directory is on.
#ifndef HOMEWARD_COMMON_OS_VOLUME_H_
#define HOMEWARD_COMMON_OS_VOLUME_H_

#include <string>

#include "absl/status/statusor.h"

namespace homeward {

struct VolumeFacts {
  std::string file_system;  // "ext4", "xfs", "vfat", ...; empty where the system does not say
  bool is_system = false;   // the volume that the system itself is on
};
// NOT_FOUND: there is no such directory.
absl::StatusOr<VolumeFacts> ReadVolumeFacts(const std::string& directory);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_OS_VOLUME_H_
