// AzureSites: the records of the sites in Azure that this configuration server knows, and their
// followers.
#ifndef HOMEWARD_CONFIG_SERVER_INVENTORY_AZURE_SITES_H_
#define HOMEWARD_CONFIG_SERVER_INVENTORY_AZURE_SITES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config_server/inventory/azure_access.h"
#include "config_server/inventory/site_followers.h"
#include "config_server/store/store.h"

namespace homeward {

// Must run on the strand of the store. Statuses have problems of the catalogue.
class AzureSites {
 public:
  // Begins to follow all that are in the store. Both pointers outlive it.
  AzureSites(Store* store, const Clock& clock, SiteFollowers* followers, AzureCalls calls);

  // Before asking Azure: whether this one could be added. ALREADY_EXISTS; INVALID_ARGUMENT says
  // what is missing or malformed.
  absl::Status MayAdd(const storage::v1::AzureSite& site, const std::string& client_secret) const;
  // To ask Azure with: ProbeAzureSite(). INVALID_ARGUMENT. Thread-safe.
  absl::StatusOr<std::shared_ptr<AzureAccess>> AccessTo(const storage::v1::AzureSite& site,
                                                        const std::string& client_secret) const {
    return AzureAccess::Open(site, client_secret, calls_, clock_);
  }
  // Azure was asked, and has these sizes. As MayAdd().
  absl::StatusOr<storage::v1::AzureSite> Add(storage::v1::AzureSite site,
                                             const std::string& client_secret,
                                             const CloudState::Sizes& sizes);
  // NOT_FOUND.
  absl::StatusOr<storage::v1::AzureSite> Find(const std::string& name) const;
  // Nothing may need it any more. NOT_FOUND.
  absl::StatusOr<storage::v1::AzureSite> Remove(const std::string& name);
  std::vector<storage::v1::AzureSite> All() const { return store_.All<storage::v1::AzureSite>(); }
  SiteFollowers& followers() { return followers_; }
  const SiteFollowers& followers() const { return followers_; }

 private:
  Store& store_;
  const Clock& clock_;
  SiteFollowers& followers_;
  const AzureCalls calls_;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_INVENTORY_AZURE_SITES_H_
