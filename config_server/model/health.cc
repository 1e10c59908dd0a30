#include "config_server/model/health.h"

#include "absl/strings/str_cat.h"
#include "common/wire/time_proto.h"
#include "config_server/model/data_keys.h"
#include "config_server/model/location_rules.h"
#include "config_server/model/points.h"
#include "config_server/model/policy.h"
#include "config_server/model/rules.h"

namespace homeward {
namespace {

using storage::v1::Machine;

std::string WhoseThreshold(const Machine& machine) {
  if (machine.assignment().own_policy().has_rpo_threshold()) return "what is said for it alone";
  return absl::StrCat("policy ", PolicyNameOf(machine));
}

void JudgePoints(const View& view, const Machine& machine,
                 const control::v1::ReplicaObserved& replica,
                 std::vector<types::v1::HealthIssue>* issues) {
  const types::v1::RecoveryPoint& newest = *replica.points().rbegin();
  const types::v1::RecoveryPoint* const instant = NewestInstant(replica);
  if (&newest != instant) {
    issues->push_back(IssueOf(
        types::v1::WARNING,
        MakeProblem(ProblemId::kPointNotOneInstant,
                    absl::StrCat("the newest recovery point is not one instant: ", newest.how()))));
  }
  const types::v1::RecoveryPoint& oldest = replica.points(0);
  const absl::Duration age =
      view.clock.Now() - FromProto((instant == nullptr ? oldest : *instant).time());
  const absl::Duration threshold =
      RpoThresholdOf(machine.assignment().policy(), view.settings.rpo_threshold);
  if (age <= threshold) return;
  const std::string for_long = absl::FormatDuration(absl::Trunc(age, absl::Seconds(1)));
  issues->push_back(IssueOf(
      types::v1::WARNING,
      MakeProblem(ProblemId::kRpoThreshold,
                  instant == nullptr
                      ? absl::StrCat("for ", for_long, " no recovery point was of one instant")
                      : absl::StrCat("the newest recovery point ",
                                     instant == &newest ? "" : "that is of one instant ", "is ",
                                     for_long, " old; ", WhoseThreshold(machine), " allows ",
                                     absl::FormatDuration(threshold)))));
}

}  // namespace

std::vector<types::v1::HealthIssue> JudgeMachine(const View& view, const Machine& machine) {
  std::vector<types::v1::HealthIssue> issues;
  if (const control::v1::Heartbeat* heartbeat = view.fleet.heartbeat(machine.machine_id())) {
    issues.insert(issues.end(), heartbeat->issues().begin(), heartbeat->issues().end());
  }
  for (const RefusedCopy& refused : view.RefusedCopies(machine))
    issues.push_back(MakeIssue(types::v1::CRITICAL, refused.problem, refused.why));
  const bool replicating = machine.state() == storage::v1::PROTECTED ||
                           machine.state() == storage::v1::ENABLING ||
                           machine.state() == storage::v1::REPROTECTING;
  if (!RegisteredSinceBoot(machine) || (replicating && !view.AgentConnected(machine))) {
    if (Refusal refusal = CheckAgent(view, machine)) {
      const bool gone = !view.Alive(machine.machine_id());
      issues.push_back(IssueOf(gone ? types::v1::CRITICAL : types::v1::WARNING, *refusal));
    }
  }
  JudgeEncryption(view, machine, &issues);
  if (Refusal refusal = CheckRemembered(view, machine))
    issues.push_back(IssueOf(types::v1::CRITICAL, *std::move(refusal)));
  if (machine.state() == storage::v1::FAILED_BACK) {
    if (Refusal refusal = RulesOf(machine).CheckCommit(machine))
      issues.push_back(IssueOf(types::v1::CRITICAL, *std::move(refusal)));
  }
  // A failover that stands says why in its job alone, and nobody may look at it.
  if (!replicating && machine.state() != storage::v1::FAILING_BACK) return issues;
  const storage::v1::Placement& placement = machine.assignment().placement();
  if (!placement.process_server_id().empty() &&
      !view.fleet.connected(placement.process_server_id())) {
    const bool gone = !view.Alive(placement.process_server_id());
    issues.push_back(MakeIssue(gone ? types::v1::CRITICAL : types::v1::WARNING,
                               ProblemId::kProcessServerDown,
                               "its process server is not connected"));
  }
  if (!view.fleet.connected(placement.master_target_id())) {
    const bool gone = !view.Alive(placement.master_target_id());
    const storage::v1::Server* const receiver = view.ReceiverOf(machine);
    const bool relays = receiver != nullptr && receiver->role() == types::v1::PROCESS_SERVER;
    issues.push_back(MakeIssue(
        gone ? types::v1::CRITICAL : types::v1::WARNING,
        relays ? ProblemId::kProcessServerDown : ProblemId::kMasterTargetDown,
        relays ? "its process server is not connected" : "its master target is not connected"));
  }
  // What would keep it from coming home.
  if (machine.state() == storage::v1::PROTECTED) {
    if (Refusal refusal = RulesOf(machine).CheckFailback(view, machine))
      issues.push_back(IssueOf(types::v1::WARNING, *std::move(refusal)));
  }
  const control::v1::ReplicaObserved* const replica = view.ReplicaOf(machine);
  if (replica == nullptr) return issues;
  if (replica->has_problem()) issues.push_back(IssueOf(types::v1::CRITICAL, replica->problem()));
  if (replica->has_damage()) issues.push_back(IssueOf(types::v1::CRITICAL, replica->damage()));
  if (replica->has_repaired()) issues.push_back(IssueOf(types::v1::WARNING, replica->repaired()));
  if (machine.state() == storage::v1::PROTECTED && !replica->points().empty())
    JudgePoints(view, machine, *replica, &issues);
  return issues;
}

std::string WorstOf(const std::vector<types::v1::HealthIssue>& issues) {
  std::string worst = "Normal";
  for (const types::v1::HealthIssue& issue : issues) {
    if (issue.severity() == types::v1::CRITICAL) return "Critical";
    worst = "Warning";
  }
  return worst;
}

}  // namespace homeward
