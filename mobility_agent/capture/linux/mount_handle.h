// A descriptor of a mounted file system, also where its mount cannot be reached by its path.
#ifndef HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_MOUNT_HANDLE_H_
#define HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_MOUNT_HANDLE_H_

#include "absl/status/statusor.h"
#include "common/os/posix/unique_fd.h"
#include "mobility_agent/capture/linux/disk_users.h"

namespace homeward {

// Opens something of `file_system` for reading, at the first of its places that leads to it; where
// other mounts cover all of them, in a mount namespace of its own from which it takes those away.
// Nothing is mounted, nothing changes for others. Blocks for as long as a path leads through a
// mount that does not answer: call it on a thread that may be lost. NOT_FOUND: nothing leads there.
absl::StatusOr<UniqueFd> OpenFileSystem(const MountedFileSystem& file_system);

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_MOUNT_HANDLE_H_
