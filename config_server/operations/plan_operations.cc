// What of Operations is about recovery plans.
#include "absl/strings/str_cat.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "config_server/model/plans.h"
#include "config_server/operations/convert.h"
#include "config_server/operations/operations.h"

namespace homeward {
namespace {

void ToStored(const admin::v1::PlanAction& action, storage::v1::PlanAction* out) {
  if (action.has_script()) {
    storage::v1::PlanScript& script = *out->mutable_script();
    script.set_name(action.script().name());
    *script.mutable_arguments() = action.script().arguments();
    *script.mutable_timeout() = action.script().has_timeout() ? action.script().timeout()
                                                              : ToProto(kPlanScriptTimeoutDefault);
  } else if (action.kind_case() == admin::v1::PlanAction::kInstruction) {
    out->set_instruction(action.instruction());
  }
}

absl::StatusOr<storage::v1::RecoveryPlan> ToStored(const Brain& brain,
                                                   const admin::v1::RecoveryPlan& plan) {
  storage::v1::RecoveryPlan out;
  out.set_name(plan.name());
  out.set_stops_at_failure(plan.stops_at_failure());
  out.set_point(plan.point().empty() ? "latest" : plan.point());
  for (const admin::v1::PlanGroup& group : plan.groups()) {
    storage::v1::PlanGroup& stored = *out.add_groups();
    for (const std::string& id_or_name : group.machines()) {
      HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain.FindMachine(id_or_name));
      stored.add_machines(machine.machine_id());
    }
    for (const admin::v1::PlanAction& action : group.before())
      ToStored(action, stored.add_before());
    for (const admin::v1::PlanAction& action : group.after()) ToStored(action, stored.add_after());
  }
  return out;
}

admin::v1::RecoveryPlan Convert(const View& view, const storage::v1::RecoveryPlan& plan) {
  admin::v1::RecoveryPlan out;
  out.set_name(plan.name());
  out.set_stops_at_failure(plan.stops_at_failure());
  out.set_point(plan.point());
  *out.mutable_changed() = plan.changed();
  for (const storage::v1::PlanGroup& group : plan.groups()) {
    admin::v1::PlanGroup& shown = *out.add_groups();
    for (const std::string& id : group.machines()) shown.add_machines(view.MachineName(id));
    for (const storage::v1::PlanAction& action : group.before())
      *shown.add_before() = ConvertPlanAction(action);
    for (const storage::v1::PlanAction& action : group.after())
      *shown.add_after() = ConvertPlanAction(action);
  }
  return out;
}

absl::StatusOr<storage::v1::Operation> OperationOf(admin::v1::PlanOperation operation) {
  switch (operation) {
    case admin::v1::FAILBACK:
      return storage::v1::PLAN_FAILBACK;
    case admin::v1::REPROTECT:
      return storage::v1::PLAN_REPROTECT;
    case admin::v1::COMMIT:
      return storage::v1::PLAN_COMMIT;
    default:
      return absl::InvalidArgumentError("a plan is run as failback, reprotect or commit");
  }
}

absl::Status CheckPoint(const std::string& point) {
  if (point.empty() || point == "latest" || point == "latest-app-consistent")
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      "the point of a plan's run is latest or latest-app-consistent; a machine is failed back to "
      "another one by itself");
}

}  // namespace

absl::Status Operations::ListPlans(const admin::v1::ListPlansRequest&,
                                   admin::v1::ListPlansResponse* response) const {
  const View view = brain_.MakeView();
  for (const storage::v1::RecoveryPlan& plan : brain_.plans().All())
    *response->add_plans() = Convert(view, plan);
  return absl::OkStatus();
}

absl::Status Operations::GetPlan(const admin::v1::GetPlanRequest& request,
                                 admin::v1::RecoveryPlan* response) const {
  HW_ASSIGN_OR_RETURN(const storage::v1::RecoveryPlan plan, brain_.plans().Find(request.name()));
  *response = Convert(brain_.MakeView(), plan);
  return absl::OkStatus();
}

absl::Status Operations::CheckPlan(const admin::v1::CheckPlanRequest& request,
                                   admin::v1::CheckPlanResponse* response) const {
  storage::v1::RecoveryPlan plan;
  if (request.has_plan()) {
    HW_ASSIGN_OR_RETURN(plan, ToStored(brain_, request.plan()));
    HW_RETURN_IF_ERROR(CheckPlanShape(plan));
  } else {
    HW_ASSIGN_OR_RETURN(plan, brain_.plans().Find(request.name()));
  }
  HW_RETURN_IF_ERROR(CheckPoint(request.point()));
  Plans::Wish wish;
  HW_ASSIGN_OR_RETURN(wish.operation, OperationOf(request.operation()));
  wish.point = request.point();
  for (types::v1::Problem& problem : brain_.plans().Prepare(brain_.MakeView(), plan, wish).refusals)
    *response->add_refusals() = std::move(problem);
  return absl::OkStatus();
}

absl::Status Operations::ApplyPlan(const admin::v1::ApplyPlanRequest& request,
                                   admin::v1::RecoveryPlan* response) {
  HW_ASSIGN_OR_RETURN(storage::v1::RecoveryPlan plan, ToStored(brain_, request.plan()));
  HW_ASSIGN_OR_RETURN(plan, brain_.plans().Apply(std::move(plan)));
  *response = Convert(brain_.MakeView(), plan);
  return absl::OkStatus();
}

absl::Status Operations::DeletePlan(const admin::v1::DeletePlanRequest& request,
                                    admin::v1::RecoveryPlan* response) {
  HW_ASSIGN_OR_RETURN(const storage::v1::RecoveryPlan plan, brain_.plans().Delete(request.name()));
  *response = Convert(brain_.MakeView(), plan);
  return absl::OkStatus();
}

absl::Status Operations::RunPlan(const admin::v1::RunPlanRequest& request,
                                 admin::v1::Job* response) {
  HW_RETURN_IF_ERROR(CheckPoint(request.point()));
  Plans::Wish wish;
  HW_ASSIGN_OR_RETURN(wish.operation, OperationOf(request.operation()));
  wish.point = request.point();
  wish.placement.process_server = request.process_server();
  wish.placement.master_target = request.master_target();
  wish.placement.datastore = request.datastore();
  wish.placement.directory = request.directory();
  HW_ASSIGN_OR_RETURN(const storage::v1::Job job, brain_.RunPlan(request.name(), wish));
  *response = ConvertJob(brain_, job);
  return absl::OkStatus();
}

absl::Status Operations::AnswerPlan(const admin::v1::AnswerPlanRequest& request,
                                    admin::v1::Job* response) {
  storage::v1::PlanAnswer answer = storage::v1::PLAN_ANSWER_UNSPECIFIED;
  if (request.answer() == admin::v1::CONTINUE) answer = storage::v1::PLAN_CONTINUE;
  if (request.answer() == admin::v1::RETRY) answer = storage::v1::PLAN_RETRY;
  if (request.answer() == admin::v1::STOP) answer = storage::v1::PLAN_STOP;
  HW_ASSIGN_OR_RETURN(const storage::v1::Job job, brain_.AnswerPlan(request.name(), answer));
  *response = ConvertJob(brain_, job);
  return absl::OkStatus();
}

}  // namespace homeward
