// Vcenters: the records of the vCenters that this configuration server knows, and their followers.
#ifndef HOMEWARD_CONFIG_SERVER_INVENTORY_VCENTERS_H_
#define HOMEWARD_CONFIG_SERVER_INVENTORY_VCENTERS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config_server/inventory/inventories.h"
#include "config_server/store/store.h"

namespace homeward {

// Must run on the strand of the store. Statuses have problems of the catalogue.
class Vcenters {
 public:
  // Begins to follow all that are in the store, through `proxy`. Both pointers outlive it.
  Vcenters(Store* store, const Clock& clock, Inventories* inventories, HttpsProxy proxy);

  // Of host:port, or of a host alone, which means port 443. INVALID_ARGUMENT. Thread-safe.
  absl::StatusOr<vsphere::Endpoint> EndpointOf(const storage::v1::Vcenter& vcenter,
                                               const std::string& password) const;

  // Before connecting: whether this one could be added. ALREADY_EXISTS, INVALID_ARGUMENT.
  absl::Status MayAdd(const storage::v1::Vcenter& vcenter) const;
  // `vcenter` was connected to: its instance UUID is known. As MayAdd().
  absl::StatusOr<storage::v1::Vcenter> Add(storage::v1::Vcenter vcenter,
                                           const std::string& password);
  // NOT_FOUND.
  absl::StatusOr<storage::v1::Vcenter> Find(const std::string& name) const;
  absl::StatusOr<storage::v1::Vcenter> Remove(const std::string& name);
  std::vector<storage::v1::Vcenter> All() const { return store_.All<storage::v1::Vcenter>(); }
  Inventories& inventories() { return inventories_; }

 private:
  Store& store_;
  const Clock& clock_;
  Inventories& inventories_;
  const HttpsProxy proxy_;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_INVENTORY_VCENTERS_H_
