#include "mobility_agent/guest/location.h"

namespace homeward {
namespace {

constexpr char kAzureAssetTag[] = "7783-7084-3265-9085-8269-3286-77";
constexpr char kVmwareVendor[] = "VMware, Inc.";

}  // namespace

GuestLocation GuestLocationOf(const SmbiosFacts& facts) {
  if (facts.chassis_asset_tag == kAzureAssetTag) return GuestLocation::kAzure;
  if (facts.sys_vendor == kVmwareVendor) return GuestLocation::kVmware;
  return GuestLocation::kOther;
}

GuestLocation GuestLocationNamed(absl::string_view name) {
  if (name == "azure") return GuestLocation::kAzure;
  if (name == "vmware") return GuestLocation::kVmware;
  return GuestLocation::kOther;
}

const char* GuestLocationName(GuestLocation location) {
  switch (location) {
    case GuestLocation::kAzure:
      return "azure";
    case GuestLocation::kVmware:
      return "vmware";
    case GuestLocation::kOther:
      return "other";
  }
  return "other";
}

}  // namespace homeward
