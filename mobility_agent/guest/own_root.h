// Whether what the agent sees as its root file system is that of the machine it protects.
#ifndef HOMEWARD_MOBILITY_AGENT_GUEST_OWN_ROOT_H_
#define HOMEWARD_MOBILITY_AGENT_GUEST_OWN_ROOT_H_

#include <string>
#include <vector>

namespace homeward {

// The whole disks below a block device, by the names that the kernel has for them ("sda"), as
// /sys/class/block of `sysfs` tells: of a partition its disk, of what is stacked (LVM, LUKS, md)
// all it is made of.
std::vector<std::string> DisksBelow(const std::string& sysfs, const std::string& device);

// Empty when all is so: this process is root; its root directory is that of the machine's first
// process, so it is in no chroot or container of its own; and the root file system lies on nothing
// but disks of `captured` (their paths), so it comes and goes with what is replicated. Else why
// not.
std::string WhyNotOwnRoot(const std::vector<std::string>& captured);

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_GUEST_OWN_ROOT_H_
