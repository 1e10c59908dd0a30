#include "config_server/model/plans.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/wire/time_proto.h"
#include "config_server/model/groups.h"
#include "config_server/model/location_rules.h"
#include "config_server/model/points.h"
#include "config_server/model/rules.h"

namespace homeward {
namespace {

using storage::v1::Machine;
using storage::v1::PlanAction;
using storage::v1::PlanStep;
using storage::v1::RecoveryPlan;

constexpr char kLatest[] = "latest", kLatestApp[] = "latest-app-consistent";
constexpr size_t kInstructionBytesMax = 1024, kArgumentsBytesMax = 4096;

const Machine* Find(const View& view, const std::string& machine_id) {
  for (const Machine& machine : view.machines) {
    if (machine.machine_id() == machine_id) return &machine;
  }
  return nullptr;
}

types::v1::Problem Gone(const std::string& machine_id) {
  return MakeProblem(ProblemId::kNotInDatabase, absl::StrCat("there is no machine ", machine_id));
}

// Nothing: it can be.
std::string WrongIn(const PlanAction& action) {
  if (action.kind_case() == PlanAction::kInstruction) {
    if (action.instruction().empty()) return "a manual action says what to do";
    if (action.instruction().size() > kInstructionBytesMax)
      return absl::StrCat("an instruction has ", kInstructionBytesMax, " bytes at the most");
    return "";
  }
  if (action.kind_case() != PlanAction::kScript) return "an action is a script or manual";
  const std::string& name = action.script().name();
  if (name.empty() || name[0] == '.' || absl::StrContains(name, '/')) {
    return absl::StrCat(
        "a script is a file's name in the configuration server's directory of scripts, not \"",
        absl::Utf8SafeCHexEscape(name), "\"");
  }
  size_t bytes = name.size();
  for (const std::string& argument : action.script().arguments()) bytes += argument.size() + 1;
  if (bytes > kArgumentsBytesMax)
    return absl::StrCat("a script and its arguments have ", kArgumentsBytesMax,
                        " bytes at the most");
  const absl::Duration timeout = FromProto(action.script().timeout());
  if (timeout <= absl::ZeroDuration() || timeout > kPlanScriptTimeoutMax) {
    return absl::StrCat("a script's timeout is more than 0 and at most ",
                        absl::FormatDuration(kPlanScriptTimeoutMax), ", not ",
                        absl::FormatDuration(timeout));
  }
  return "";
}

absl::Status Invalid(int group, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("group ", group + 1, " of the plan: ", why));
}

}  // namespace

absl::Status CheckPlanShape(const RecoveryPlan& plan) {
  if (plan.groups().empty()) return absl::InvalidArgumentError("a plan has a group");
  if (plan.point() != kLatest && plan.point() != kLatestApp) {
    return absl::InvalidArgumentError(absl::StrCat("the point of a plan is ", kLatest, " or ",
                                                   kLatestApp, ", not \"",
                                                   absl::Utf8SafeCHexEscape(plan.point()), "\""));
  }
  std::set<std::string> machines;
  int actions = 0;
  for (int i = 0; i < plan.groups_size(); ++i) {
    const storage::v1::PlanGroup& group = plan.groups(i);
    if (group.machines().empty()) return Invalid(i, "it has no machine");
    for (const std::string& machine : group.machines()) {
      if (!machines.insert(machine).second)
        return Invalid(i, absl::StrCat("machine ", machine, " is in the plan twice"));
    }
    for (const auto* const list : {&group.before(), &group.after()}) {
      for (const PlanAction& action : *list) {
        ++actions;
        if (const std::string wrong = WrongIn(action); !wrong.empty()) return Invalid(i, wrong);
      }
    }
  }
  if (machines.size() > kPlanMachinesMax || actions > kPlanActionsMax) {
    return absl::InvalidArgumentError(absl::StrCat("a plan has ", kPlanMachinesMax,
                                                   " machines and ", kPlanActionsMax,
                                                   " actions at the most"));
  }
  return absl::OkStatus();
}

std::vector<std::string> MachinesOf(const RecoveryPlan& plan) {
  std::vector<std::string> machines;
  for (const storage::v1::PlanGroup& group : plan.groups())
    machines.insert(machines.end(), group.machines().begin(), group.machines().end());
  return machines;
}

std::vector<PlanStep> StepsOf(const RecoveryPlan& plan, storage::v1::Operation operation) {
  std::vector<PlanStep> steps;
  const bool acts = operation == storage::v1::PLAN_FAILBACK;
  for (int i = 0; i < plan.groups_size(); ++i) {
    PlanStep step;
    step.set_group(static_cast<uint32_t>(i));
    const auto add = [&](const auto& actions) {
      for (const PlanAction& action : actions) {
        PlanStep one = step;
        *one.mutable_action() = action;
        steps.push_back(std::move(one));
      }
    };
    if (acts) add(plan.groups(i).before());
    steps.push_back(step);
    if (acts) add(plan.groups(i).after());
  }
  return steps;
}

std::string StepName(const RecoveryPlan& plan, const PlanStep& step,
                     storage::v1::Operation operation) {
  const std::string group = absl::StrCat("group ", step.group() + 1, ": ");
  if (step.action().has_script())
    return absl::StrCat(group, "script ", step.action().script().name());
  if (step.has_action()) return absl::StrCat(group, "by hand: ", step.action().instruction());
  const int count = plan.groups(static_cast<int>(step.group())).machines_size();
  return absl::StrCat(group, OperationName(MachineOperationOf(operation)), " of ", count,
                      count == 1 ? " machine" : " machines");
}

storage::v1::Operation MachineOperationOf(storage::v1::Operation operation) {
  switch (operation) {
    case storage::v1::PLAN_FAILBACK:
      return storage::v1::FAILBACK;
    case storage::v1::PLAN_REPROTECT:
      return storage::v1::REPROTECT;
    case storage::v1::PLAN_COMMIT:
      return storage::v1::COMMIT;
    default:
      return storage::v1::OPERATION_UNSPECIFIED;
  }
}

PlanPoints ChoosePlanPoints(const View& view, const RecoveryPlan& plan, const std::string& wish) {
  PlanPoints chosen;
  std::map<std::string, ChosenPoint> common;  // by replication group
  for (const std::string& id : MachinesOf(plan)) {
    const Machine* const machine = Find(view, id);
    // CheckPlanMachines says so.
    if (machine == nullptr || CheckOperation(view, *machine, storage::v1::FAILBACK)) continue;
    const std::string& group = machine->replication_group();
    if (wish == kLatestApp && !group.empty()) {
      const auto [it, is_new] = common.try_emplace(group);
      if (is_new) it->second = ChoosePoint(CommonPointsOf(view, MembersOf(view, group)), wish);
      if (!it->second.refusal) {
        chosen.points[id] = it->second.point.id();
        continue;
      }
      chosen.refusals.push_back(MakeProblem(
          ProblemId::kNoRecoveryPoint,
          absl::StrCat(NameOf(*machine),
                       " has no application-consistent recovery point that all of group ", group,
                       " have")));
      continue;
    }
    const control::v1::ReplicaObserved& replica = *view.ReplicaOf(*machine);
    const ChosenPoint own = ChoosePoint({replica.points().begin(), replica.points().end()}, wish);
    if (own.refusal) {
      types::v1::Problem problem = *own.refusal;
      problem.set_message(absl::StrCat(NameOf(*machine), ": ", problem.message()));
      chosen.refusals.push_back(std::move(problem));
      continue;
    }
    // The word, not the id: what the machine still writes until its turn comes is not lost.
    chosen.points[id] = wish;
  }
  return chosen;
}

PlanPlacements PlacePlan(const View& view, const RecoveryPlan& plan, const PlacementWish& wish) {
  PlanPlacements placed;
  const std::vector<std::string> machine_ids = MachinesOf(plan);
  std::map<std::string, std::pair<std::string, std::string>> targets;  // of groups, and whose
  for (const std::string& id : machine_ids) {
    const Machine* const machine = Find(view, id);
    if (machine == nullptr) continue;
    PlacementWish own = wish;
    if (!wish.directory.empty())
      own.directory = absl::StrCat(NameOf(*machine), "-", wish.directory);
    const std::string& group = machine->replication_group();
    const auto before = targets.find(group);
    if (before != targets.end() && own.master_target.empty())
      own.master_target = before->second.first;
    Placed one = Place(view, *machine, own);
    if (one.refusal) {
      placed.refusals.push_back(*std::move(one.refusal));
      continue;
    }
    const std::string& target = one.placement.master_target_id();
    if (before != targets.end() && before->second.first != target) {
      placed.refusals.push_back(
          MakeProblem(ProblemId::kGroupMasterTarget,
                      absl::StrCat(NameOf(*machine), " and ", before->second.second, " of group ",
                                   group, " would go to different master targets")));
      continue;
    }
    if (!group.empty()) targets.try_emplace(group, target, NameOf(*machine));
    placed.placements[id] = std::move(one.placement);
  }
  std::set<std::string> groups;
  for (const std::string& id : machine_ids) {
    const Machine* const machine = Find(view, id);
    if (machine == nullptr || machine->replication_group().empty()) continue;
    if (!groups.insert(machine->replication_group()).second) continue;
    const std::vector<const Machine*> members = MembersOf(view, machine->replication_group());
    const Refusal refusal = CheckMembers(view, members);
    // Where they are replicated to now is over with this.
    if (refusal && IsProblem(*refusal, ProblemId::kGroupMixedOs))
      placed.refusals.push_back(*refusal);
    for (const Machine* const member : members) {
      if (std::count(machine_ids.begin(), machine_ids.end(), member->machine_id()) > 0) continue;
      placed.refusals.push_back(
          MakeProblem(ProblemId::kPlanLacksMember,
                      absl::StrCat(NameOf(*member), " of group ", machine->replication_group(),
                                   " is not in plan ", plan.name())));
    }
  }
  return placed;
}

std::vector<types::v1::Problem> CheckPlanMachines(const View& view, const RecoveryPlan& plan,
                                                  storage::v1::Operation operation) {
  std::vector<types::v1::Problem> refusals;
  const storage::v1::Operation each = MachineOperationOf(operation);
  for (const std::string& id : MachinesOf(plan)) {
    const Machine* const machine = Find(view, id);
    if (machine == nullptr) {
      refusals.push_back(Gone(id));
      continue;
    }
    if (Refusal refusal = CheckOperation(view, *machine, each)) {
      refusals.push_back(*std::move(refusal));
    } else if (each == storage::v1::FAILBACK && machine->state() != storage::v1::PROTECTED) {
      refusals.push_back(
          MakeProblem(ProblemId::kNotProtected,
                      absl::StrCat(NameOf(*machine),
                                   " is failed back already: another point of it is chosen for it "
                                   "alone")));
    }
  }
  return refusals;
}

types::v1::Problem Joined(const std::vector<types::v1::Problem>& refusals) {
  if (refusals.size() == 1) return refusals.front();
  types::v1::Problem joined = refusals.front();
  const bool alike = std::all_of(refusals.begin(), refusals.end(), [&](const auto& problem) {
    return problem.id() == refusals.front().id();
  });
  const std::string all = absl::StrJoin(refusals, "; ", [&](std::string* out, const auto& problem) {
    absl::StrAppend(out, alike ? "" : absl::StrCat(problem.id(), ": "), problem.message());
  });
  if (!alike) return MakeProblem(ProblemId::kPlanRefused, all);
  joined.set_message(all);
  return joined;
}

}  // namespace homeward
