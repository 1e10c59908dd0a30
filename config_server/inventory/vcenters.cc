#include "config_server/inventory/vcenters.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/name.h"
#include "common/log/log.h"
#include "common/problem/problem.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"

namespace homeward {
namespace {

constexpr size_t kNameBytesMax = 64;

absl::Status Exists(const std::string& message) {
  return ToStatus(MakeProblem(ProblemId::kVcenterExists, message),
                  absl::StatusCode::kAlreadyExists);
}

}  // namespace

absl::StatusOr<vsphere::Endpoint> Vcenters::EndpointOf(const storage::v1::Vcenter& vcenter,
                                                       const std::string& password) const {
  vsphere::Endpoint endpoint;
  absl::StatusOr<HostPort> address = ParseHostPort(vcenter.address());
  if (!address.ok()) address = ParseHostPort(absl::StrCat(vcenter.address(), ":443"));
  HW_ASSIGN_OR_RETURN(endpoint.address, address);
  endpoint.thumbprint = vcenter.thumbprint();
  endpoint.trusted = vcenter.trusted();
  endpoint.user = vcenter.user();
  endpoint.password = password;
  endpoint.proxy = proxy_;
  return endpoint;
}

Vcenters::Vcenters(Store* store, const Clock& clock, Inventories* inventories, HttpsProxy proxy)
    : store_(*store), clock_(clock), inventories_(*inventories), proxy_(std::move(proxy)) {
  for (const storage::v1::Vcenter& vcenter : All()) {
    const auto secret = store_.Get<storage::v1::VcenterSecret>(vcenter.name());
    absl::StatusOr<vsphere::Endpoint> endpoint =
        EndpointOf(vcenter, secret.has_value() ? secret->password() : "");
    if (endpoint.ok()) {
      inventories_.Follow(vcenter.name(), *std::move(endpoint));
    } else {
      LogError("vcenter.unusable", {{"vcenter", vcenter.name()}, {"error", endpoint.status()}});
    }
  }
}

absl::Status Vcenters::MayAdd(const storage::v1::Vcenter& vcenter) const {
  const std::string wrong = WrongInPlainName(vcenter.name(), kNameBytesMax);
  if (!wrong.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("\"", absl::Utf8SafeCHexEscape(vcenter.name()),
                                                   "\" cannot be a vCenter's name: it ", wrong));
  }
  if (vcenter.user().empty()) return absl::InvalidArgumentError("the account has no name");
  HW_RETURN_IF_ERROR(EndpointOf(vcenter, "").status());
  for (const storage::v1::Vcenter& other : All()) {
    if (other.name() == vcenter.name())
      return Exists(absl::StrCat(other.name(), " is at ", other.address(), " already"));
    if (!vcenter.instance_uuid().empty() && other.instance_uuid() == vcenter.instance_uuid()) {
      return Exists(
          absl::StrCat("the vCenter at ", vcenter.address(), " is known as ", other.name()));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<storage::v1::Vcenter> Vcenters::Add(storage::v1::Vcenter vcenter,
                                                   const std::string& password) {
  HW_RETURN_IF_ERROR(MayAdd(vcenter));
  HW_ASSIGN_OR_RETURN(vsphere::Endpoint endpoint, EndpointOf(vcenter, password));
  *vcenter.mutable_added() = ToProto(clock_.Now());
  storage::v1::VcenterSecret secret;
  secret.set_password(password);
  Store::Transaction transaction;
  transaction.Put(vcenter.name(), vcenter);
  transaction.Put(vcenter.name(), secret);
  HW_RETURN_IF_ERROR(store_.Commit(transaction));
  inventories_.Follow(vcenter.name(), std::move(endpoint));
  LogInfo("vcenter.added", {{"vcenter", vcenter.name()}, {"address", vcenter.address()}});
  return vcenter;
}

absl::StatusOr<storage::v1::Vcenter> Vcenters::Find(const std::string& name) const {
  std::optional<storage::v1::Vcenter> vcenter = store_.Get<storage::v1::Vcenter>(name);
  if (!vcenter.has_value()) {
    return ToStatus(
        MakeProblem(ProblemId::kVcenterUnknown, absl::StrCat("there is no vCenter named ", name)),
        absl::StatusCode::kNotFound);
  }
  return *std::move(vcenter);
}

absl::StatusOr<storage::v1::Vcenter> Vcenters::Remove(const std::string& name) {
  HW_ASSIGN_OR_RETURN(storage::v1::Vcenter vcenter, Find(name));
  Store::Transaction transaction;
  transaction.Remove<storage::v1::Vcenter>(name);
  transaction.Remove<storage::v1::VcenterSecret>(name);
  HW_RETURN_IF_ERROR(store_.Commit(transaction));
  inventories_.Forget(name);
  LogInfo("vcenter.removed", {{"vcenter", name}});
  return vcenter;
}

}  // namespace homeward
