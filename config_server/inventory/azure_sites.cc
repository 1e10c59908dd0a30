#include "config_server/inventory/azure_sites.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/azure/address.h"
#include "common/azure/blob_container.h"
#include "common/base/name.h"
#include "common/log/log.h"
#include "common/problem/problem.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"

namespace homeward {
namespace {

using storage::v1::AzureSecret;
using storage::v1::AzureSite;

constexpr size_t kSiteNameBytesMax = 64;

bool IsSamePlace(const AzureSite& a, const AzureSite& b) {
  return absl::EqualsIgnoreCase(a.subscription(), b.subscription()) &&
         absl::EqualsIgnoreCase(a.resource_group(), b.resource_group()) &&
         absl::EqualsIgnoreCase(a.region(), b.region()) &&
         absl::EqualsIgnoreCase(a.storage_account(), b.storage_account());
}

absl::Status CheckGiven(const AzureSite& site, const std::string& client_secret) {
  const std::pair<const char*, const std::string&> needed[] = {
      {"the subscription (--subscription)", site.subscription()},
      {"the tenant (--tenant)", site.tenant()},
      {"the application (--client-id)", site.client_id()},
      {"the application's secret (--client-secret-file)", client_secret},
      {"the resource group (--resource-group)", site.resource_group()},
      {"the region (--region)", site.region()},
      {"the subnet (--subnet)", site.subnet()},
      {"the storage account (--storage-account)", site.storage_account()},
  };
  for (const auto& [what, value] : needed) {
    if (value.empty()) return absl::InvalidArgumentError(absl::StrCat(what, " is missing"));
  }
  if (site.containers().empty())
    return absl::InvalidArgumentError("no container (--container) is named");
  return absl::OkStatus();
}

absl::Status CheckSubnetId(const AzureSite& site, const std::string& id) {
  HW_ASSIGN_OR_RETURN(const azure::ResourceId parsed, azure::ParseResourceId(id));
  if (absl::EqualsIgnoreCase(parsed.subscription, site.subscription())) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("subnet ", id, " is of another subscription than ", site.subscription(),
                   ": a network card is made in that of its network"));
}

absl::Status CheckUrl(const std::string& url, absl::string_view what) {
  const absl::StatusOr<azure::WebAddress> address = azure::ParseWebAddress(url);
  if (!address.ok()) return Annotate(address.status(), what);
  if (!address->tls)
    return absl::InvalidArgumentError(absl::StrCat(what, " ", url, " must be https://"));
  if (absl::StrContains(url, '?') || absl::StrContains(url, '#')) {
    return absl::InvalidArgumentError(absl::StrCat(
        what, " must be without a query (after ? or #), as a shared access signature"));
  }
  return absl::OkStatus();
}

// As process servers take it: what they do not is a container that nobody could write.
absl::Status CheckContainer(const std::string& url) {
  HW_RETURN_IF_ERROR(CheckUrl(url, "container"));
  return Annotate(azure::ParseContainerUrl(url).status(), "container (--container)");
}

absl::Status CheckForms(const AzureSite& site) {
  HW_RETURN_IF_ERROR(CheckSubnetId(site, site.subnet()));
  if (!site.test_subnet().empty()) {
    HW_RETURN_IF_ERROR(CheckSubnetId(site, site.test_subnet()));
    if (azure::SameResource(site.subnet(), site.test_subnet())) {
      return ToStatus(
          MakeProblem(ProblemId::kTestSubnetUnsuitable,
                      absl::StrCat(site.test_subnet(),
                                   " is the subnet of failovers, and cannot be that of tests too")),
          absl::StatusCode::kInvalidArgument);
    }
  }
  HW_RETURN_IF_ERROR(azure::ParseResourceId(site.storage_account()).status());
  for (const std::string& container : site.containers())
    HW_RETURN_IF_ERROR(CheckContainer(container));
  if (!site.endpoint().empty()) HW_RETURN_IF_ERROR(CheckUrl(site.endpoint(), "the endpoint"));
  if (!site.authority().empty()) HW_RETURN_IF_ERROR(CheckUrl(site.authority(), "the authority"));
  return absl::OkStatus();
}

}  // namespace

AzureSites::AzureSites(Store* store, const Clock& clock, SiteFollowers* followers, AzureCalls calls)
    : store_(*store), clock_(clock), followers_(*followers), calls_(std::move(calls)) {
  for (const AzureSite& site : All()) {
    const auto secret = store_.Get<AzureSecret>(site.name());
    absl::StatusOr<std::shared_ptr<AzureAccess>> access =
        secret.has_value() ? AccessTo(site, secret->client_secret())
                           : absl::NotFoundError("its secret is not in the store");
    if (access.ok()) {
      followers_.Follow(*std::move(access));
    } else {
      LogError("azure.unusable", {{"site", site.name()}, {"error", access.status()}});
    }
  }
}

absl::Status AzureSites::MayAdd(const AzureSite& site, const std::string& client_secret) const {
  const std::string wrong = WrongInPlainName(site.name(), kSiteNameBytesMax);
  if (!wrong.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("\"", absl::Utf8SafeCHexEscape(site.name()),
                                                   "\" cannot be a site's name: it ", wrong));
  }
  const auto other = store_.Get<AzureSite>(site.name());
  // The same place may be described anew, as when its secret ends: machines go on needing it.
  if (other.has_value() && !IsSamePlace(*other, site)) {
    return ToStatus(MakeProblem(ProblemId::kAzureSiteExists,
                                absl::StrCat(other->name(), " is resource group ",
                                             other->resource_group(), " in ", other->region())),
                    absl::StatusCode::kAlreadyExists);
  }
  HW_RETURN_IF_ERROR(CheckGiven(site, client_secret));
  return CheckForms(site);
}

absl::StatusOr<AzureSite> AzureSites::Add(AzureSite site, const std::string& client_secret,
                                          const CloudState::Sizes& sizes) {
  HW_RETURN_IF_ERROR(MayAdd(site, client_secret));
  *site.mutable_added() = ToProto(clock_.Now());
  HW_ASSIGN_OR_RETURN(std::shared_ptr<AzureAccess> access, AccessTo(site, client_secret));
  AzureSecret secret;
  secret.set_client_secret(client_secret);
  Store::Transaction transaction;
  transaction.Put(site.name(), site);
  transaction.Put(site.name(), secret);
  HW_RETURN_IF_ERROR(store_.Commit(transaction));
  followers_.Forget(site.name());
  followers_.Follow(std::move(access), sizes);
  LogInfo("azure.added", {{"site", site.name()}, {"subscription", site.subscription()}});
  return site;
}

absl::StatusOr<AzureSite> AzureSites::Find(const std::string& name) const {
  std::optional<AzureSite> site = store_.Get<AzureSite>(name);
  if (!site.has_value()) {
    return ToStatus(MakeProblem(ProblemId::kAzureSiteUnknown,
                                absl::StrCat("there is no Azure site named ", name)),
                    absl::StatusCode::kNotFound);
  }
  return *std::move(site);
}

absl::StatusOr<AzureSite> AzureSites::Remove(const std::string& name) {
  HW_ASSIGN_OR_RETURN(AzureSite site, Find(name));
  Store::Transaction transaction;
  transaction.Remove<AzureSite>(name);
  transaction.Remove<AzureSecret>(name);
  HW_RETURN_IF_ERROR(store_.Commit(transaction));
  followers_.Forget(name);
  LogInfo("azure.removed", {{"site", name}});
  return site;
}

}  // namespace homeward
