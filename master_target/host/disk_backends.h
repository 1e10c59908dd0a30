// The backends of a master target: a keeper writes the disks.
#ifndef HOMEWARD_MASTER_TARGET_HOST_DISK_BACKENDS_H_
#define HOMEWARD_MASTER_TARGET_HOST_DISK_BACKENDS_H_

#include "common/replica/replica_backend.h"

namespace homeward {

// Directories of VMDKs, block devices, and attached disks.
BackendTable DiskBackends();

}  // namespace homeward

#endif  // HOMEWARD_MASTER_TARGET_HOST_DISK_BACKENDS_H_
