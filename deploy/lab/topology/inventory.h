// The hosts that a topology is deployed to.
#ifndef HOMEWARD_DEPLOY_LAB_TOPOLOGY_INVENTORY_H_
#define HOMEWARD_DEPLOY_LAB_TOPOLOGY_INVENTORY_H_

#include <string>

#include "absl/status/statusor.h"
#include "homeward/lab/v1/inventory.pb.h"
#include "homeward/lab/v1/topology.pb.h"

namespace homeward::lab {

// Pure, any thread.

// The inventory, checked against the (complete) topology that it is for, and complete: each host
// has what is said for all. INVALID_ARGUMENT has every problem, one a line, as "NAME:LINE: key:
// text".
absl::StatusOr<v1::Inventory> ReadInventory(const std::string& name, const std::string& text,
                                            const v1::Topology& topology);

// Hosts get the addresses that they have in the inventory.
void UseAddresses(const v1::Inventory& inventory, v1::Topology* topology);

}  // namespace homeward::lab

#endif  // HOMEWARD_DEPLOY_LAB_TOPOLOGY_INVENTORY_H_
