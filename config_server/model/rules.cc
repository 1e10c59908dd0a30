#include "config_server/model/rules.h"

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/wire/time_proto.h"
#include "config_server/model/location_rules.h"
#include "config_server/model/vm_rules.h"

namespace homeward {
namespace {

using storage::v1::Machine;

constexpr int kRetiredBootsMax = 32;
constexpr char kPhysicalOnlyForward[] = "Windows Server 2008 R2";

// What the agent registered from Azure.
Refusal CheckSystem(const Machine& machine) {
  const storage::v1::Registration& registration = machine.registration();
  if (machine.has_vm() || registration.os_type() != types::v1::WINDOWS ||
      !absl::StrContains(registration.os_name(), kPhysicalOnlyForward)) {
    return std::nullopt;
  }
  return MakeProblem(
      ProblemId::kOsNotSupportedForFailback,
      absl::StrCat(NameOf(machine), " is a physical machine with ", registration.os_name()));
}

Refusal CheckFailback(const View& view, const Machine& machine) {
  const control::v1::ReplicaObserved* const replica = view.ReplicaOf(machine);
  if (!view.fleet.connected(machine.assignment().placement().master_target_id()) ||
      replica == nullptr) {
    return MakeProblem(ProblemId::kMasterTargetDown,
                       absl::StrCat("the master target of ", NameOf(machine), " is not connected"));
  }
  if (replica->points().empty()) {
    return MakeProblem(ProblemId::kNoRecoveryPoint,
                       absl::StrCat(NameOf(machine), " has no recovery point"));
  }
  if (Refusal refusal = RulesOf(machine).CheckFailback(view, machine)) return refusal;
  if (machine.state() == storage::v1::FAILED_BACK && machine.has_registered_at() &&
      RegisteredSinceBoot(machine)) {
    return MakeProblem(ProblemId::kMachineRunning,
                       absl::StrCat(NameOf(machine), " runs from the recovered disks"));
  }
  if (replica->has_problem() && !replica->problem().retryable() &&
      machine.state() == storage::v1::PROTECTED) {
    return MakeProblem(ProblemId::kHealthNotOk, replica->problem().message());
  }
  return std::nullopt;
}

Refusal CheckRepair(const View& view, const Machine& machine) {
  const VmFindings found = LookForChanges(view, machine);
  if (found.refusal || !found.findings.empty()) return found.refusal;
  return MakeProblem(ProblemId::kNothingToRepair,
                     absl::StrCat("all disks of ", NameOf(machine), " are where they belong"));
}

}  // namespace

void Retire(const std::string& boot_id, Machine* machine) {
  if (boot_id.empty()) return;
  auto& retired = *machine->mutable_retired_boot_ids();
  *retired.Add() = boot_id;
  if (retired.size() > kRetiredBootsMax) retired.erase(retired.begin());
}

Refusal CheckAgent(const View& view, const Machine& machine) {
  const absl::Time now = view.clock.Now();
  if (!RegisteredSinceBoot(machine)) {
    const absl::Time booted = FromProto(machine.handed_back_at());
    const absl::Time limit = booted + view.settings.registration_window;
    const absl::Duration waited = absl::Trunc(now - booted, absl::Seconds(1));
    types::v1::Problem problem = MakeProblem(
        ProblemId::kAgentNotRegistered,
        absl::StrCat(
            NameOf(machine), " was started ",
            waited == absl::ZeroDuration() ? "a moment" : absl::FormatDuration(waited),
            " ago and its agent has not registered since. ",
            now < limit
                ? absl::StrCat("It may take until ",
                               absl::FormatTime("%H:%M:%S UTC", limit, absl::UTCTimeZone()), ".")
                : absl::StrCat("That is longer than the ",
                               absl::FormatDuration(view.settings.registration_window),
                               " it may take: look at the machine.")));
    if (now < limit) *problem.mutable_retry_at() = ToProto(limit);
    return problem;
  }
  if (!view.fleet.connected(machine.machine_id())) {
    const absl::Time heard = view.fleet.last_heard(machine.machine_id());
    return MakeProblem(ProblemId::kAgentNotConnected,
                       absl::StrCat("the agent of ", NameOf(machine), " has no session; ",
                                    heard == absl::InfinitePast()
                                        ? std::string("it was not heard since this server started")
                                        : absl::StrCat("it was last heard at ",
                                                       absl::FormatTime("%H:%M:%S UTC", heard,
                                                                        absl::UTCTimeZone()))));
  }
  return std::nullopt;
}

Refusal CheckOperation(const View& view, const Machine& machine, storage::v1::Operation operation) {
  if (!machine.job_id().empty()) {
    return MakeProblem(ProblemId::kJobRunning,
                       absl::StrCat("job ", machine.job_id(), " works on ", NameOf(machine)));
  }
  if (!absl::c_linear_search(AllowedOperations(machine), operation)) {
    const ProblemId id =
        operation == storage::v1::FAILBACK ? ProblemId::kNotProtected
        : operation == storage::v1::REPROTECT && machine.state() == storage::v1::FAILED_BACK
            ? ProblemId::kNotCommitted
            : ProblemId::kWrongState;
    return MakeProblem(id,
                       absl::StrCat(NameOf(machine), " is in state ", StateName(machine.state()),
                                    ", which does not allow ", OperationName(operation)));
  }
  switch (operation) {
    case storage::v1::PROTECT:
    case storage::v1::RESYNC:
    case storage::v1::CREATE_POINT:
      return CheckAgent(view, machine);
    case storage::v1::REPROTECT:
      if (Refusal refusal = CheckAgent(view, machine)) return refusal;
      return CheckSystem(machine);
    case storage::v1::FAILBACK:
      return CheckFailback(view, machine);
    case storage::v1::REPAIR:
      return CheckRepair(view, machine);
    default:
      return std::nullopt;
  }
}

}  // namespace homeward
