// VcenterState: what rules see of a vCenter.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_VCENTER_STATE_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_VCENTER_STATE_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/vsphere/objects.h"

namespace homeward {

struct VcenterState {
  static constexpr absl::Duration kStaleFor = absl::Minutes(5);

  enum class Link {
    kConnected,
    kStale,        // not reached at the moment; the inventory is of a while ago
    kDisconnected  // not reached for kStaleFor, or never
  };
  Link link = Link::kDisconnected;
  absl::Time since;  // of `link`
  absl::Time as_of;  // when the inventory was last known to be right
  absl::Status error;
  std::shared_ptr<const vsphere::Inventory> inventory;  // never null; immutable
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_VCENTER_STATE_H_
