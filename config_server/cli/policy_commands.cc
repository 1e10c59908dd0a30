// The group `policies`.
#include "config_server/cli/arguments.h"
#include "config_server/cli/commands.h"
#include "config_server/cli/tables.h"

namespace homeward {
namespace {

using admin::v1::ChangePolicyRequest;
using admin::v1::CreatePolicyRequest;
using admin::v1::DeletePolicyRequest;
using admin::v1::GetPolicyRequest;
using Stub = AdminClient::Stub;

template <typename Request>
void AddName(const Command<Request>& command) {
  AddText(command, "name", &Request::mutable_name, "name of the policy")->required();
}

}  // namespace

void AddPolicyCommands(CommandLine* line) {
  CLI::App* const policies =
      line->Group("policies", "how often recovery points are made, and how long they are kept");
  line->Show(policies, {"list", "list all replication policies", "policies list"},
             &Stub::ListPolicies, FormatPolicies);
  AddName(line->Show(
      policies, {"show", "show a policy and the machines that follow it", "policies show failback"},
      &Stub::GetPolicy, FormatPolicy));
  const auto create =
      line->Show(policies,
                 {"create", "create a replication policy",
                  "policies create gold --point-interval 30s --retention 72h --rpo-threshold 5m"},
                 &Stub::CreatePolicy, FormatPolicy);
  AddName(create);
  AddPolicy(create.app, create.request->mutable_policy(), "as in the policy failback");
  const auto change = line->Show(
      policies,
      {"change", "change a replication policy, and so what its machines do, without a restart",
       "policies change gold --point-interval 10s"},
      &Stub::ChangePolicy, FormatPolicy);
  AddName(change);
  AddPolicy(change.app, change.request->mutable_policy(), "as it is");
  AddName(line->Show(policies,
                     {"delete", "delete a policy that no machine follows", "policies delete gold"},
                     &Stub::DeletePolicy, FormatPolicy));
}

}  // namespace homeward
