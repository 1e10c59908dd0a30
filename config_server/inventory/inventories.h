// Inventories: what vCenters, and ESX hosts without one, have; followed as long as they are known.
#ifndef HOMEWARD_CONFIG_SERVER_INVENTORY_INVENTORIES_H_
#define HOMEWARD_CONFIG_SERVER_INVENTORY_INVENTORIES_H_

#include <list>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/clock/clock.h"
#include "common/vsphere/session.h"
#include "config_server/model/vcenter_state.h"

namespace homeward {

// One thread for each. Thread-safe. Memory: an inventory each, and its next one while it changes.
class Inventories {
 public:
  static constexpr absl::Duration kStaleFor = VcenterState::kStaleFor;

  explicit Inventories(const Clock& clock);
  ~Inventories();

  // Follows from now on, under `name`, which must not be followed yet.
  void Follow(const std::string& name, vsphere::Endpoint endpoint);
  // Returns at once; what is under way with that server ends soon (10 s where it says nothing).
  void Forget(const std::string& name);
  // Connects anew and reads everything again.
  void Refresh(const std::string& name);

  // How it is connected to. NOT_FOUND.
  absl::StatusOr<vsphere::Endpoint> EndpointOf(const std::string& name) const;
  // By name.
  std::map<std::string, VcenterState> States() const;

 private:
  class Watch;
  const Clock& clock_;
  mutable absl::Mutex mutex_;
  std::map<std::string, std::unique_ptr<Watch>> watches_ ABSL_GUARDED_BY(mutex_);
  std::list<std::unique_ptr<Watch>> ending_ ABSL_GUARDED_BY(mutex_);  // forgotten
};

// Connects, looks whether the account may do what Homeward needs, and returns the instance UUID.
// The status has a problem of the catalogue.
absl::StatusOr<std::string> ProbeVcenter(const vsphere::Endpoint& endpoint);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_INVENTORY_INVENTORIES_H_
