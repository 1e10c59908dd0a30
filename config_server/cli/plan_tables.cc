#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config_server/cli/format.h"
#include "config_server/cli/plan_file.h"
#include "config_server/cli/tables.h"

namespace homeward {

// A plan is shown as the file that it can be made of.
std::string FormatPlan(const admin::v1::RecoveryPlan& plan) { return WritePlanFile(plan); }

std::string FormatPlans(const admin::v1::ListPlansResponse& response) {
  std::vector<std::vector<std::string>> rows = {{"NAME", "GROUPS", "POINT", "CHANGED", "MACHINES"}};
  for (const admin::v1::RecoveryPlan& plan : response.plans()) {
    std::vector<std::string> machines;
    for (const admin::v1::PlanGroup& group : plan.groups())
      machines.insert(machines.end(), group.machines().begin(), group.machines().end());
    rows.push_back({plan.name(), absl::StrCat(plan.groups_size()), plan.point(),
                    FormatTime(plan.changed()), absl::StrJoin(machines, ", ")});
  }
  return FormatTable(rows);
}

std::string FormatPlanCheck(const admin::v1::CheckPlanResponse& response) {
  if (response.refusals().empty()) return "Nothing keeps it from being run now.\n";
  std::string out;
  for (const types::v1::Problem& problem : response.refusals())
    absl::StrAppend(&out, FormatProblem(problem));
  return out;
}

}  // namespace homeward
