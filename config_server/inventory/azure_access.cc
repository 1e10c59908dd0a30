#include "config_server/inventory/azure_access.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/problem/problem.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

using storage::v1::AzureSite;

constexpr absl::string_view kSeparateClouds[] = {"https://management.usgovcloudapi.net",
                                                 "https://management.chinacloudapi.cn"};

absl::Status Refuse(ProblemId id, const std::string& why) {
  return ToStatus(MakeProblem(id, why), absl::StatusCode::kFailedPrecondition);
}

// What the site names is missing, or nobody could ask.
absl::Status Explained(const absl::Status& status) {
  if (status.ok()) return status;
  const bool wrong = absl::IsNotFound(status) || absl::IsInvalidArgument(status);
  return wrong ? Refuse(ProblemId::kAzureSiteWrong, std::string(status.message()))
               : ToStatus(ExplainAzure(status), absl::StatusCode::kFailedPrecondition);
}

// "West Europe" is "westeurope".
bool SameRegion(const std::string& a, const std::string& b) {
  return absl::EqualsIgnoreCase(absl::StrReplaceAll(a, {{" ", ""}}),
                                absl::StrReplaceAll(b, {{" ", ""}}));
}

absl::Status CheckSubnet(AzureAccess& access, const std::string& id) {
  HW_RETURN_IF_ERROR(Explained(access.arm().GetSubnet(id).status()));
  const absl::StatusOr<azure::ResourceId> parsed = azure::ParseResourceId(id);
  if (!parsed.ok()) return Explained(parsed.status());
  azure::ResourceId network = *parsed;
  network.types.resize(1);
  network.names.resize(1);
  const absl::StatusOr<azure::Network> found =
      access.arm().GetNetwork(azure::FormatResourceId(network));
  if (!found.ok()) return Explained(found.status());
  const std::string& region = access.site().region();
  if (SameRegion(found->region, region)) return absl::OkStatus();
  return Refuse(ProblemId::kAzureSiteWrong,
                absl::StrCat("subnet ", id, " is of a network in ", found->region,
                             ", and a network card in ", region, " cannot be attached to it"));
}

absl::Status CheckSize(const AzureSite& site, const CloudState::Sizes& sizes) {
  if (site.default_size().empty() || sizes.count(site.default_size()) > 0) return absl::OkStatus();
  return Refuse(ProblemId::kAzureSizeUnknown,
                absl::StrCat(site.region(), " has no VM size ", site.default_size(),
                             " for subscription ", site.subscription()));
}

absl::Status CheckStorage(AzureAccess& access) {
  const AzureSite& site = access.site();
  const absl::StatusOr<azure::StorageAccount> account =
      access.arm().GetStorageAccount(site.storage_account());
  if (!account.ok()) return Explained(account.status());
  if (!SameRegion(account->region, site.region())) {
    return Refuse(ProblemId::kAzureSiteWrong,
                  absl::StrCat("storage account ", account->name, " is in ", account->region,
                               ", and disks in ", site.region(), " cannot be made of its blobs"));
  }
  for (const std::string& container : site.containers()) {
    if (!account->blobs.empty() && absl::StartsWithIgnoreCase(container, account->blobs)) continue;
    return Refuse(ProblemId::kAzureSiteWrong,
                  absl::StrCat("container ", container, " is not one of storage account ",
                               account->name, ", whose containers begin with ", account->blobs));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<AzureAccess>> AzureAccess::Open(AzureSite site,
                                                               const std::string& client_secret,
                                                               const AzureCalls& calls,
                                                               const Clock& clock) {
  azure::Credential credential;
  credential.tenant_id = site.tenant();
  credential.client_id = site.client_id();
  credential.client_secret = client_secret;
  if (!site.authority().empty()) credential.authority = site.authority();
  credential.trusted = site.trusted();
  credential.proxy = calls.proxy;
  credential.retry_limit = calls.retry_limit;
  std::shared_ptr<AzureAccess> access(new AzureAccess(std::move(site), clock));
  azure::ArmOptions& options = access->options_;
  if (!access->site_.endpoint().empty()) options.endpoint = access->site_.endpoint();
  options.audience = AudienceOf(options.endpoint);
  options.trusted = access->site_.trusted();
  options.proxy = calls.proxy;
  options.request_limit = calls.request_limit;
  options.retry_limit = calls.retry_limit;
  options.retry_first = calls.retry_first;
  options.poll = calls.poll;
  HW_ASSIGN_OR_RETURN(access->tokens_, azure::MakeTokens(std::move(credential), clock,
                                                         access->pauses_, &access->stop_));
  HW_ASSIGN_OR_RETURN(access->arm_, access->NewArm(access->site_.subscription()));
  return access;
}

absl::StatusOr<std::unique_ptr<azure::Arm>> AzureAccess::NewArm(const std::string& subscription) {
  azure::ArmOptions options = options_;
  options.subscription = subscription;
  return azure::Arm::Open(std::move(options), *tokens_, clock_, pauses_);
}

absl::StatusOr<azure::Arm*> AzureAccess::ArmOf(const std::string& subscription) {
  if (absl::EqualsIgnoreCase(subscription, site_.subscription())) return arm_.get();
  absl::MutexLock lock(&mutex_);
  std::unique_ptr<azure::Arm>& arm = others_[absl::AsciiStrToLower(subscription)];
  if (arm == nullptr) {
    HW_ASSIGN_OR_RETURN(arm, NewArm(subscription));
  }
  return arm.get();
}

std::string AudienceOf(const std::string& endpoint) {
  for (const absl::string_view cloud : kSeparateClouds) {
    if (absl::EqualsIgnoreCase(absl::StripSuffix(endpoint, "/"), cloud))
      return absl::StrCat(cloud, "/");
  }
  return azure::ArmOptions().audience;
}

absl::StatusOr<CloudState::Sizes> ReadSizes(AzureAccess& access, const azure::ArmCall& call) {
  HW_ASSIGN_OR_RETURN(const std::vector<azure::VmSize> read,
                      access.arm().VmSizes(access.site().region(), call));
  CloudState::Sizes sizes;
  for (const azure::VmSize& size : read)
    sizes[size.name] = static_cast<uint32_t>(std::max(size.data_disks_max, 0));
  return sizes;
}

absl::StatusOr<CloudState::Sizes> ProbeAzureSite(AzureAccess& access) {
  const AzureSite& site = access.site();
  HW_RETURN_IF_ERROR(Explained(access.arm().GetGroup(site.resource_group()).status()));
  HW_RETURN_IF_ERROR(CheckSubnet(access, site.subnet()));
  if (!site.test_subnet().empty()) HW_RETURN_IF_ERROR(CheckSubnet(access, site.test_subnet()));
  absl::StatusOr<CloudState::Sizes> sizes = ReadSizes(access, {});
  if (!sizes.ok()) return Explained(sizes.status());
  HW_RETURN_IF_ERROR(CheckSize(site, *sizes));
  HW_RETURN_IF_ERROR(CheckStorage(access));
  return sizes;
}

bool IsOutOfReach(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
         azure::IsThrottled(status);
}

types::v1::Problem ExplainAzure(const absl::Status& status) {
  if (const std::optional<types::v1::Problem> problem = ProblemOf(status)) return *problem;
  const std::string why(status.message());
  const std::string code = azure::AzureErrorOf(status);
  // Without a code of Azure's, it is its certificate that is not trusted.
  if (IsOutOfReach(status) || (absl::IsPermissionDenied(status) && code.empty()))
    return MakeProblem(ProblemId::kAzureNotReached, why);
  if (code == "ResourceGroupNotFound") return MakeProblem(ProblemId::kAzureSiteWrong, why);
  const bool forbidden = code == "RequestDisallowedByPolicy" || code == "ScopeLocked";
  const bool login = absl::IsUnauthenticated(status) || absl::IsPermissionDenied(status);
  return MakeProblem(login && !forbidden ? ProblemId::kAzureLogin : ProblemId::kAzureTaskFailed,
                     why);
}

}  // namespace homeward
