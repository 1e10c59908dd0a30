#include "config_server/model/rules.h"

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/wire/time_proto.h"
#include "config_server/model/data_keys.h"
#include "config_server/model/location_rules.h"
#include "config_server/model/source.h"
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

// There is something to go to.
Refusal CheckReplica(const View& view, const Machine& machine) {
  const control::v1::ReplicaObserved* const replica = view.ReplicaOf(machine);
  if (!view.fleet.connected(machine.assignment().placement().master_target_id()) ||
      replica == nullptr) {
    const storage::v1::Server* const receiver = view.ReceiverOf(machine);
    const bool relays = receiver != nullptr && receiver->role() == types::v1::PROCESS_SERVER;
    return MakeProblem(
        relays ? ProblemId::kProcessServerDown : ProblemId::kMasterTargetDown,
        absl::StrCat(view.ReceiverWord(machine), " of ", NameOf(machine), " is not connected"));
  }
  if (replica->points().empty()) {
    return MakeProblem(ProblemId::kNoRecoveryPoint,
                       absl::StrCat(NameOf(machine), " has no recovery point"));
  }
  return std::nullopt;
}

Refusal CheckFailback(const View& view, const Machine& machine) {
  if (Refusal refusal = CheckReplica(view, machine)) return refusal;
  if (Refusal refusal = RulesOf(machine).CheckFailback(view, machine)) return refusal;
  if (machine.state() == storage::v1::FAILED_BACK && !RulesOf(machine).remakes_machine() &&
      machine.has_registered_at() && RegisteredSinceBoot(machine)) {
    return MakeProblem(ProblemId::kMachineRunning,
                       absl::StrCat(NameOf(machine), " runs from the recovered disks"));
  }
  const control::v1::ReplicaObserved* const replica = view.ReplicaOf(machine);
  if (replica->has_problem() && !replica->problem().retryable() &&
      machine.state() == storage::v1::PROTECTED) {
    return MakeProblem(ProblemId::kHealthNotOk, replica->problem().message());
  }
  return std::nullopt;
}

// An agent that is awaited no longer, in a VM that Azure says is running.
Refusal ExplainSilence(const View& view, const Machine& machine,
                       const types::v1::Problem& problem) {
  const bool awaited = problem.has_retry_at();
  if (awaited || !SeenRunningInAzure(view, machine)) return problem;
  return MakeProblem(
      ProblemId::kAzureVmUnreachable,
      absl::StrCat("the VM ", machine.azure_vm().name(), " runs, and ", problem.message()));
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

Refusal CheckRemembered(const View& view, const Machine& machine) {
  const uint64_t newest = view.NewestGeneration(machine);
  if (newest == machine.generation()) return std::nullopt;
  return MakeProblem(ProblemId::kForgottenGeneration,
                     absl::StrCat("the replica of ", NameOf(machine), " is of generation ", newest,
                                  ", and this configuration server knows ", machine.generation()));
}

Refusal CheckOperation(const View& view, const Machine& machine, storage::v1::Operation operation) {
  if (!machine.job_id().empty()) {
    return MakeProblem(ProblemId::kJobRunning,
                       absl::StrCat("job ", machine.job_id(), " works on ", NameOf(machine)));
  }
  // What never will be is said before what is not so now.
  const bool replicates = operation == storage::v1::PROTECT || operation == storage::v1::REPROTECT;
  if (replicates || operation == storage::v1::FAILBACK) {
    if (Refusal refusal = CheckStaysInAzure(machine)) return refusal;
  }
  if (!absl::c_linear_search(AllowedOperations(machine), operation)) {
    const ProblemId id =
        operation == storage::v1::FAILBACK ? ProblemId::kNotProtected
        : operation == storage::v1::REPROTECT && machine.state() == storage::v1::FAILED_BACK
            ? ProblemId::kNotCommitted
            : ProblemId::kWrongState;
    return MakeProblem(id,
                       absl::StrCat(NameOf(machine), " is in state ", StateName(machine.state()),
                                    ", which does not allow ", OperationName(operation, machine)));
  }
  const bool mends = operation == storage::v1::RESYNC || operation == storage::v1::REMOVE;
  if (!mends) {
    if (Refusal refusal = CheckRemembered(view, machine)) return refusal;
  }
  switch (operation) {
    case storage::v1::PROTECT:
    case storage::v1::RESYNC:
    case storage::v1::CREATE_POINT:
      return CheckAgent(view, machine);
    case storage::v1::REKEY:
      if (Refusal refusal = CheckEncrypts(view, machine)) return refusal;
      return CheckAgent(view, machine);
    case storage::v1::REPROTECT:
      if (Refusal refusal = CheckAzureHome(view, machine)) return refusal;
      if (Refusal refusal = CheckAgent(view, machine))
        return ExplainSilence(view, machine, *refusal);
      return CheckSystem(machine);
    case storage::v1::FAILBACK:
      return CheckFailback(view, machine);
    case storage::v1::COMMIT:
      return RulesOf(machine).CheckCommit(machine);
    case storage::v1::REPAIR:
      return CheckRepair(view, machine);
    case storage::v1::TEST_FAILOVER:
      return CheckReplica(view, machine);
    case storage::v1::REMOVE:
      if (!machine.has_test()) return std::nullopt;
      return MakeProblem(
          ProblemId::kTestFailoverLeft,
          absl::StrCat("a copy of ", NameOf(machine), ", ", machine.test().azure_vm().name(),
                       ", was started to test it, and is still there"));
    default:
      return std::nullopt;
  }
}

}  // namespace homeward
