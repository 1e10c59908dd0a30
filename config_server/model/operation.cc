#include "config_server/model/operation.h"

#include "config_server/model/location_rules.h"

namespace homeward {
namespace {

using enum storage::v1::Operation;
using enum storage::v1::ProtectionState;
using storage::v1::Job;
using storage::v1::Machine;
using storage::v1::Operation;
using storage::v1::ProtectionState;

struct OperationEntry {
  Operation operation;
  const char* name;
};
constexpr OperationEntry kOperations[] = {
    {PROTECT, "protect"},
    {REPROTECT, "reprotect"},
    {RESYNC, "resync"},
    {FAILBACK, "failback"},
    {CREATE_POINT, "create-point"},
    {COMMIT, "commit"},
    {REPAIR, "repair"},
    {REMOVE, "remove"},
    {TEST_FAILOVER, "test-failover"},
    {TEST_CLEANUP, "test-failover-cleanup"},
    {COMPLETE_MIGRATION, "complete-migration"},
    {SWITCH_PROCESS_SERVER, "switch-process-server"},
    {REKEY, "rekey"},
    {PLAN_FAILBACK, "plan-failback"},
    {PLAN_REPROTECT, "plan-reprotect"},
    {PLAN_COMMIT, "plan-commit"},
};

struct StateEntry {
  ProtectionState state;
  const char* name;
  std::vector<Operation> operations;
};

const StateEntry& EntryOf(ProtectionState state) {
  static const auto& states = *new std::vector<StateEntry>{
      {UNPROTECTED, "Unprotected", {PROTECT, REMOVE}},
      {ENABLING, "EnablingProtection", {REMOVE}},
      {PROTECTED, "Protected", {RESYNC, CREATE_POINT, REKEY, FAILBACK, REMOVE}},
      {FAILING_BACK, "UnplannedFailoverInProgress", {}},
      {FAILED_BACK, "UnplannedFailoverCommitPending", {FAILBACK, COMMIT}},
      {COMMITTED, "FailoverCommitted", {REPROTECT, REMOVE}},
      {REPROTECTING, "Reprotecting", {REMOVE}},
      {REMOVING, "DisablingProtection", {REMOVE}},
  };
  for (const StateEntry& entry : states) {
    if (entry.state == state) return entry;
  }
  return states.front();
}

}  // namespace

std::string OperationName(Operation operation) {
  for (const OperationEntry& entry : kOperations) {
    if (entry.operation == operation) return entry.name;
  }
  return "";
}

std::string OperationName(Operation operation, const Machine& machine) {
  return operation == FAILBACK ? RulesOf(machine).failback_word() : OperationName(operation);
}

std::string OperationName(const Job& job) {
  return job.operation() == FAILBACK ? RulesOf(job.location()).failback_word()
                                     : OperationName(job.operation());
}

Operation OperationCalled(absl::string_view name) {
  if (name == "failover") return FAILBACK;
  for (const OperationEntry& entry : kOperations) {
    if (entry.name == name) return entry.operation;
  }
  return OPERATION_UNSPECIFIED;
}

std::string StateName(ProtectionState state) { return EntryOf(state).name; }

bool HasProcessServer(const Machine& machine) {
  return machine.state() == PROTECTED ||
         (machine.state() == FAILED_BACK && !RulesOf(machine).has_relay());
}

std::vector<Operation> AllowedOperations(const Machine& machine) {
  if (!machine.job_id().empty()) return {};
  std::vector<Operation> operations = EntryOf(machine.state()).operations;
  if (machine.migrated()) operations = {REMOVE};
  if (machine.has_test()) {
    operations.push_back(TEST_CLEANUP);
  } else if (machine.state() == PROTECTED && RulesOf(machine).can_test()) {
    operations.push_back(TEST_FAILOVER);
  }
  if (machine.migrated()) return operations;
  if (HasProcessServer(machine)) operations.push_back(SWITCH_PROCESS_SERVER);
  if (machine.state() == COMMITTED && machine.has_azure_vm())
    operations.push_back(COMPLETE_MIGRATION);
  if (machine.has_vm() || machine.assignment().placement().has_new_vm())
    operations.push_back(REPAIR);
  return operations;
}

}  // namespace homeward
