#include "config_server/jobs/plans.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/name.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "config_server/model/plans.h"

namespace homeward {
namespace {

using storage::v1::Job;
using storage::v1::Machine;
using storage::v1::RecoveryPlan;

constexpr size_t kPlanNameBytesMax = 64;

}  // namespace

std::vector<RecoveryPlan> Plans::All() const { return records_.store().All<RecoveryPlan>(); }

absl::StatusOr<RecoveryPlan> Plans::Find(const std::string& name) const {
  std::optional<RecoveryPlan> plan = records_.store().Get<RecoveryPlan>(name);
  if (plan.has_value()) return *std::move(plan);
  return ToStatus(
      MakeProblem(ProblemId::kPlanUnknown, absl::StrCat("there is no recovery plan \"",
                                                        absl::Utf8SafeCHexEscape(name), "\"")),
      absl::StatusCode::kNotFound);
}

std::vector<std::string> Plans::Containing(const View& view, const std::string& group) const {
  std::vector<std::string> names;
  for (const RecoveryPlan& plan : All()) {
    const std::vector<std::string> machines = MachinesOf(plan);
    const bool has = absl::c_any_of(view.machines, [&](const Machine& machine) {
      return machine.replication_group() == group &&
             absl::c_linear_search(machines, machine.machine_id());
    });
    if (has) names.push_back(plan.name());
  }
  return names;
}

absl::StatusOr<RecoveryPlan> Plans::Apply(RecoveryPlan plan) {
  const std::string wrong = WrongInPlainName(plan.name(), kPlanNameBytesMax);
  if (!wrong.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("\"", absl::Utf8SafeCHexEscape(plan.name()),
                                                   "\" cannot be a plan's name: it ", wrong));
  }
  HW_RETURN_IF_ERROR(CheckPlanShape(plan));
  *plan.mutable_changed() = ToProto(clock_.Now());
  Store::Transaction transaction;
  transaction.Put(plan.name(), plan);
  storage::v1::Event event;
  event.set_name("plan.applied");
  event.set_text(plan.name());
  records_.PutEvent(&transaction, std::move(event));
  records_.Commit(transaction);
  return plan;
}

absl::StatusOr<RecoveryPlan> Plans::Delete(const std::string& name) {
  HW_ASSIGN_OR_RETURN(const RecoveryPlan plan, Find(name));
  if (const std::optional<Job> run = RunOf(name)) {
    return Refused(MakeProblem(ProblemId::kPlanRunning,
                               absl::StrCat("job ", run->id(), " is a run of plan ", name)));
  }
  Store::Transaction transaction;
  transaction.Remove<RecoveryPlan>(name);
  storage::v1::Event event;
  event.set_name("plan.deleted");
  event.set_text(name);
  records_.PutEvent(&transaction, std::move(event));
  records_.Commit(transaction);
  return plan;
}

std::optional<Job> Plans::RunOf(const std::string& name) const {
  for (const std::string& id : records_.running_jobs()) {
    std::optional<Job> job = records_.store().Get<Job>(id);
    if (job.has_value() && job->has_plan_run() && job->plan_run().plan().name() == name) return job;
  }
  return std::nullopt;
}

Plans::Prepared Plans::Prepare(const View& view, const RecoveryPlan& plan, const Wish& wish) const {
  Prepared prepared;
  Job& job = prepared.job;
  storage::v1::PlanRun& run = *job.mutable_plan_run();
  job.set_operation(wish.operation);
  *run.mutable_plan() = plan;
  if (const std::optional<Job> other = RunOf(plan.name())) {
    prepared.refusals = {
        MakeProblem(ProblemId::kPlanRunning,
                    absl::StrCat("job ", other->id(), " is a run of plan ", plan.name()))};
    return prepared;
  }
  prepared.refusals = CheckPlanMachines(view, plan, wish.operation);
  const auto refuse = [&](const std::vector<types::v1::Problem>& more) {
    prepared.refusals.insert(prepared.refusals.end(), more.begin(), more.end());
  };
  if (wish.operation == storage::v1::PLAN_FAILBACK) {
    job.set_point(wish.point.empty() ? plan.point() : wish.point);
    PlanPoints chosen = ChoosePlanPoints(view, plan, job.point());
    refuse(chosen.refusals);
    run.mutable_points()->insert(chosen.points.begin(), chosen.points.end());
  } else if (wish.operation == storage::v1::PLAN_REPROTECT) {
    PlanPlacements placed = PlacePlan(view, plan, wish.placement);
    refuse(placed.refusals);
    for (auto& [id, placement] : placed.placements) {
      Job each;
      const absl::Status follows = policies_.Begin(*records_.FindMachine(id), "", {}, &each);
      if (const auto problem = ProblemOf(follows)) refuse({*problem});
      storage::v1::Assignment& wanted = (*run.mutable_wanted())[id];
      wanted = each.wanted();
      *wanted.mutable_placement() = std::move(placement);
    }
  }
  for (storage::v1::PlanStep& step : StepsOf(plan, wish.operation)) {
    storage::v1::Task& task = *job.add_tasks();
    task.set_name(StepName(plan, step, wish.operation));
    task.set_state(storage::v1::PENDING);
    *run.add_steps() = std::move(step);
  }
  return prepared;
}

}  // namespace homeward
