// SiteFollowers: what Azure says of the sites that are known; followed as long as they are.
#ifndef HOMEWARD_CONFIG_SERVER_INVENTORY_SITE_FOLLOWERS_H_
#define HOMEWARD_CONFIG_SERVER_INVENTORY_SITE_FOLLOWERS_H_

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/clock/clock.h"
#include "config_server/inventory/azure_access.h"
#include "config_server/model/cloud_state.h"

namespace homeward {

// One thread for each. Thread-safe.
class SiteFollowers {
 public:
  struct Rhythm {
    absl::Duration look = absl::Seconds(10);    // between two looks at a site
    absl::Duration each_vm = absl::Seconds(1);  // more of it for each VM: Azure counts requests
    absl::Duration sizes = absl::Hours(1);
    absl::Duration retry_first = absl::Seconds(1);  // where Azure was not reached
    absl::Duration retry_max = absl::Seconds(30);
  };

  // `config_server_id`: whose tags VMs are known by. `clock` outlives it.
  SiteFollowers(const Clock& clock, std::string config_server_id, Rhythm rhythm);
  ~SiteFollowers();
  // Ends every look, also of moves that ask through AccessOf(), soon; before the end.
  void Stop();

  // Follows from now on, under the name of its site, which must not be followed yet. `seen`: the
  // sizes, where it was asked for them a moment ago; so it is connected.
  void Follow(std::shared_ptr<AzureAccess> access,
              const std::optional<CloudState::Sizes>& seen = std::nullopt);
  // Returns at once; what is under way with Azure ends soon.
  void Forget(const std::string& site);
  // As in Cloud.
  void Watch(const std::string& machine_id, const std::optional<storage::v1::AzureVm>& vm);
  // Looks soon: something was changed there.
  void LookSoon(const std::string& site);

  // Null: there is none of that name.
  std::shared_ptr<AzureAccess> AccessOf(const std::string& site) const;
  // By name.
  std::map<std::string, CloudState> States() const;
  const std::string& config_server_id() const { return config_server_id_; }

 private:
  class Follower;
  const Clock& clock_;
  const std::string config_server_id_;
  const Rhythm rhythm_;
  mutable absl::Mutex mutex_;
  std::map<std::string, storage::v1::AzureVm> watched_ ABSL_GUARDED_BY(mutex_);  // by machine id
  std::map<std::string, std::unique_ptr<Follower>> followers_ ABSL_GUARDED_BY(mutex_);
  std::list<std::unique_ptr<Follower>> ending_ ABSL_GUARDED_BY(mutex_);  // forgotten
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_INVENTORY_SITE_FOLLOWERS_H_
