// Plans: what a recovery plan may be, the steps that a run of it has, and what keeps it from being
// run. Pure.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_PLANS_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_PLANS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "config_server/model/placement.h"
#include "config_server/model/refusal.h"
#include "config_server/model/view.h"

namespace homeward {

inline constexpr absl::Duration kPlanScriptTimeoutDefault = absl::Minutes(5);
inline constexpr absl::Duration kPlanScriptTimeoutMax = absl::Hours(24);
// Of a script, what is kept of its output.
inline constexpr size_t kPlanOutputBytesMax = 4096;
// Of a plan: its record is written with each step.
inline constexpr int kPlanMachinesMax = 1000, kPlanActionsMax = 64;

// Whether this can be a plan: INVALID_ARGUMENT says which group and which part of it cannot be.
absl::Status CheckPlanShape(const storage::v1::RecoveryPlan& plan);
// By their ids, in the plan's order.
std::vector<std::string> MachinesOf(const storage::v1::RecoveryPlan& plan);
// What a run does, in its order. Actions are a failback's alone.
std::vector<storage::v1::PlanStep> StepsOf(const storage::v1::RecoveryPlan& plan,
                                           storage::v1::Operation operation);
// For people: "group 1: script stop-web".
std::string StepName(const storage::v1::RecoveryPlan& plan, const storage::v1::PlanStep& step,
                     storage::v1::Operation operation);
// What is done with each machine.
storage::v1::Operation MachineOperationOf(storage::v1::Operation operation);

// The point of each machine, by id. "latest": each its own. "latest-app-consistent": of members of
// a replication group its latest common one, of others their own latest. Refused for each machine
// that has none; one that cannot be failed back at all is left to CheckPlanMachines.
struct PlanPoints {
  std::map<std::string, std::string> points;
  std::vector<types::v1::Problem> refusals;
};
PlanPoints ChoosePlanPoints(const View& view, const storage::v1::RecoveryPlan& plan,
                            const std::string& wish);
// Where each machine goes, by id. The members of a replication group all are in the plan and go to
// one master target.
struct PlanPlacements {
  std::map<std::string, storage::v1::Placement> placements;
  std::vector<types::v1::Problem> refusals;
};
PlanPlacements PlacePlan(const View& view, const storage::v1::RecoveryPlan& plan,
                         const PlacementWish& wish);
// What keeps machines from what is done with them, beside points and placements.
std::vector<types::v1::Problem> CheckPlanMachines(const View& view,
                                                  const storage::v1::RecoveryPlan& plan,
                                                  storage::v1::Operation operation);
// One problem that says them all. Requires: there is one.
types::v1::Problem Joined(const std::vector<types::v1::Problem>& refusals);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_PLANS_H_
