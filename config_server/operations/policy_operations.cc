// What of Operations is about replication policies.
#include "common/status/status_macros.h"
#include "config_server/operations/convert.h"
#include "config_server/operations/operations.h"
#include "config_server/operations/policy.h"

namespace homeward {
namespace {

admin::v1::NamedPolicy Convert(const Policies& policies, const storage::v1::NamedPolicy& policy) {
  admin::v1::NamedPolicy out;
  out.set_name(policy.name());
  *out.mutable_policy() = ConvertPolicy(policy.policy(), policies.rpo_threshold());
  if (policy.has_changed()) *out.mutable_changed() = policy.changed();
  for (const storage::v1::Machine* const machine : policies.MachinesOf(policy.name()))
    out.add_machines(NameOf(*machine));
  return out;
}

}  // namespace

absl::Status Operations::ListPolicies(const admin::v1::ListPoliciesRequest&,
                                      admin::v1::ListPoliciesResponse* response) const {
  const Policies& policies = brain_.policies();
  for (const storage::v1::NamedPolicy& policy : policies.All())
    *response->add_policies() = Convert(policies, policy);
  return absl::OkStatus();
}

absl::Status Operations::GetPolicy(const admin::v1::GetPolicyRequest& request,
                                   admin::v1::NamedPolicy* response) const {
  HW_ASSIGN_OR_RETURN(const storage::v1::NamedPolicy policy,
                      brain_.policies().Find(request.name()));
  *response = Convert(brain_.policies(), policy);
  return absl::OkStatus();
}

absl::Status Operations::CreatePolicy(const admin::v1::CreatePolicyRequest& request,
                                      admin::v1::NamedPolicy* response) {
  HW_ASSIGN_OR_RETURN(const storage::v1::NamedPolicy policy,
                      brain_.policies().Create(request.name(), PolicyOf(request.policy())));
  *response = Convert(brain_.policies(), policy);
  return absl::OkStatus();
}

absl::Status Operations::ChangePolicy(const admin::v1::ChangePolicyRequest& request,
                                      admin::v1::NamedPolicy* response) {
  HW_ASSIGN_OR_RETURN(const storage::v1::NamedPolicy policy,
                      brain_.policies().Change(request.name(), PolicyOf(request.policy())));
  *response = Convert(brain_.policies(), policy);
  return absl::OkStatus();
}

absl::Status Operations::DeletePolicy(const admin::v1::DeletePolicyRequest& request,
                                      admin::v1::NamedPolicy* response) {
  HW_ASSIGN_OR_RETURN(const storage::v1::NamedPolicy policy,
                      brain_.policies().Delete(request.name()));
  *response = Convert(brain_.policies(), policy);
  return absl::OkStatus();
}

absl::Status Operations::SetPolicy(const admin::v1::SetPolicyRequest& request,
                                   admin::v1::Machine* response) {
  HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request.machine()));
  HW_ASSIGN_OR_RETURN(
      const storage::v1::Machine changed,
      brain_.policies().Assign(machine, request.policy_name(), PolicyOf(request.own_policy())));
  *response = ConvertMachine(brain_.MakeView(), changed);
  return absl::OkStatus();
}

}  // namespace homeward
