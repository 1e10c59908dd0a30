// GuestLocation: where this machine runs, as its firmware tells.
#ifndef HOMEWARD_MOBILITY_AGENT_GUEST_LOCATION_H_
#define HOMEWARD_MOBILITY_AGENT_GUEST_LOCATION_H_

#include <string>

#include "absl/strings/string_view.h"

namespace homeward {

// The numbers are in the guest record.
enum class GuestLocation : uint32_t { kOther = 0, kVmware = 1, kAzure = 2 };

struct SmbiosFacts {
  std::string sys_vendor;         // system information: manufacturer
  std::string chassis_asset_tag;  // system enclosure: asset tag
};

// Azure sets the asset tag of every VM's chassis to one number, in all its regions and clouds; the
// manufacturer alone would also be that of Hyper-V and of Microsoft's own hardware.
GuestLocation GuestLocationOf(const SmbiosFacts& facts);
// "azure", "vmware"; kOther for anything else.
GuestLocation GuestLocationNamed(absl::string_view name);
const char* GuestLocationName(GuestLocation location);

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_GUEST_LOCATION_H_
