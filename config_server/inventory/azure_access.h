// AzureAccess: the way to one site in Azure: who Homeward is there, and what it asks with.
#ifndef HOMEWARD_CONFIG_SERVER_INVENTORY_AZURE_ACCESS_H_
#define HOMEWARD_CONFIG_SERVER_INVENTORY_AZURE_ACCESS_H_

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/azure/arm.h"
#include "common/clock/clock.h"
#include "common/net/https_client.h"
#include "config_server/model/cloud_state.h"
#include "homeward/storage/v1/storage.pb.h"

namespace homeward {

// How Azure is called. Tests have it call faster.
struct AzureCalls {
  HttpsProxy proxy;
  // How long one question is tried again. What is to be done is tried by whoever wants it done.
  absl::Duration retry_limit = absl::Seconds(15);
  absl::Duration request_limit = absl::Seconds(30);
  absl::Duration retry_first = absl::Seconds(1);
  // Between two looks at an operation, where Azure does not say.
  absl::Duration poll = absl::Seconds(5);
};

// Thread-safe.
class AzureAccess {
 public:
  // `clock` outlives it. INVALID_ARGUMENT: an address of the site, or the certificates.
  static absl::StatusOr<std::shared_ptr<AzureAccess>> Open(storage::v1::AzureSite site,
                                                           const std::string& client_secret,
                                                           const AzureCalls& calls,
                                                           const Clock& clock);

  const storage::v1::AzureSite& site() const { return site_; }
  // Of the site's subscription.
  azure::Arm& arm() { return *arm_; }
  // Of any that the application has a role in: what was made under an earlier record of the site
  // may be in another. Valid as long as this one.
  absl::StatusOr<azure::Arm*> ArmOf(const std::string& subscription);
  // A token that is being fetched is given up, and no further one is fetched.
  void Stop() { stop_ = true; }

 private:
  AzureAccess(storage::v1::AzureSite site, const Clock& clock)
      : site_(std::move(site)), clock_(clock) {}
  absl::StatusOr<std::unique_ptr<azure::Arm>> NewArm(const std::string& subscription);

  const storage::v1::AzureSite site_;
  const Clock& clock_;
  azure::ArmOptions options_;  // constant after Open()
  azure::RealPauses pauses_;
  std::atomic<bool> stop_ = false;
  std::unique_ptr<azure::Tokens> tokens_;
  std::unique_ptr<azure::Arm> arm_;
  absl::Mutex mutex_;
  std::map<std::string, std::unique_ptr<azure::Arm>> others_ ABSL_GUARDED_BY(mutex_);
};

// What tokens for the Resource Manager at that address are asked for: Azure's separate clouds take
// those for themselves only, any other that for the public one.
std::string AudienceOf(const std::string& endpoint);

// Asks for all that the site names, and returns the sizes that its region has. The status has a
// problem of the catalogue.
absl::StatusOr<CloudState::Sizes> ProbeAzureSite(AzureAccess& access);

// The sizes that VMs can have in the site's region. As of Arm.
absl::StatusOr<CloudState::Sizes> ReadSizes(AzureAccess& access, const azure::ArmCall& call);

// Of a status of Arm or Tokens: AZURE_LOGIN, AZURE_NOT_REACHED, AZURE_SITE_WRONG or
// AZURE_TASK_FAILED.
types::v1::Problem ExplainAzure(const absl::Status& status);
// Azure did not answer, or takes no requests at the moment.
bool IsOutOfReach(const absl::Status& status);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_INVENTORY_AZURE_ACCESS_H_
