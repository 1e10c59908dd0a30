// Which disks a machine has, from the kernel's own facts about them.
#ifndef HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_MACHINE_DISKS_H_
#define HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_MACHINE_DISKS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/os/file_system.h"

namespace homeward {

struct FoundDisk {
  std::string path;      // "/dev/sda"
  std::string unusable;  // why it cannot be protected; empty: it can
  bool missed = false;   // whoever protects the machine expects it to be
};

// The disks on which a machine keeps its data, sorted; `sys` is where sysfs is. Left out is what is
// no disk of the machine's own: a path to another disk, what is made of other disks (LVM, RAID,
// encryption, bcache, DRBD), and what the kernel made up (loop, memory). A disk of hardware that
// cannot be protected is there with its reason.
absl::StatusOr<std::vector<FoundDisk>> FindDisks(FileSystem& files, const std::string& sys);

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_MACHINE_DISKS_H_
