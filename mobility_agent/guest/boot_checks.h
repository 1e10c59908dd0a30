// BootChecks: what would keep this machine from booting in Azure, seen while it is at home.
#ifndef HOMEWARD_MOBILITY_AGENT_GUEST_BOOT_CHECKS_H_
#define HOMEWARD_MOBILITY_AGENT_GUEST_BOOT_CHECKS_H_

#include <string>
#include <vector>

#include "homeward/types/v1/types.pb.h"
#include "mobility_agent/guest/commands.h"
#include "mobility_agent/guest/guest_files.h"

namespace homeward {

// "/dev/sda1": a name that depends on the order in which disks are found, or on what they are
// connected through. Not those by UUID, LABEL or PARTUUID, nor of LVM, md or dm-crypt.
bool IsUnsteadyName(absl::string_view device);

// What names a disk so: "/etc/fstab: /dev/sda1 at /".
std::vector<std::string> UnsteadyNames(const GuestFiles& files);

// For each kernel in /boot, which of hv_vmbus and hv_storvsc are neither built in nor in its
// initramfs, and whether hv_netvsc is nowhere: "6.1.0-18-amd64: hv_storvsc". An initramfs that
// cannot be looked into is not complained of.
std::vector<std::string> MissingHypervDrivers(const GuestFiles& files, Commands& commands);

// Both as warnings. Blocks: it looks into each initramfs.
std::vector<types::v1::HealthIssue> BootWarnings(const GuestFiles& files, Commands& commands);

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_GUEST_BOOT_CHECKS_H_
