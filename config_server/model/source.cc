#include "config_server/model/source.h"

#include "absl/strings/str_cat.h"
#include "config_server/model/azure_record.h"
#include "config_server/model/location_rules.h"
#include "config_server/model/vm_record.h"

namespace homeward {
namespace {

using storage::v1::Machine;

const AzureVmState* StateOf(const View& view, const Machine& machine) {
  const auto cloud = view.clouds.find(machine.azure_vm().site());
  // What was seen a while ago is not known now.
  if (cloud == view.clouds.end() || cloud->second.link != CloudState::Link::kConnected)
    return nullptr;
  const auto vm = cloud->second.vms.find(machine.machine_id());
  return vm == cloud->second.vms.end() ? nullptr : &vm->second;
}

}  // namespace

storage::v1::Source SourceOf(const Machine& machine) {
  if (machine.has_azure_vm()) return storage::v1::SOURCE_AZURE_VM;
  if (RulesOf(machine).starts_machines() && RunsInItsVm(machine))
    return storage::v1::SOURCE_VCENTER_VM;
  return storage::v1::SOURCE_BY_HOOK;
}

Refusal CheckStaysInAzure(const Machine& machine) {
  if (!machine.has_azure_vm()) return std::nullopt;
  const std::string& name = machine.registration().name();
  if (machine.migrated()) {
    return MakeProblem(ProblemId::kMigrationCompleted,
                       absl::StrCat("the migration of ", name, " to ", machine.azure_vm().name(),
                                    " was completed: it stays in Azure"));
  }
  if (machine.state() == storage::v1::UNPROTECTED) {
    return MakeProblem(ProblemId::kProtectionDisabled,
                       absl::StrCat("the protection of ", name, " was removed while it ran in ",
                                    machine.azure_vm().name()));
  }
  return std::nullopt;
}

bool SeenRunningInAzure(const View& view, const Machine& machine) {
  const AzureVmState* const seen = machine.has_azure_vm() ? StateOf(view, machine) : nullptr;
  return seen != nullptr && seen->exists && seen->power == "running";
}

Refusal CheckAzureHome(const View& view, const Machine& machine) {
  if (!machine.has_azure_vm()) return std::nullopt;
  const storage::v1::AzureVm& home = machine.azure_vm();
  const AzureVmState* const seen = StateOf(view, machine);
  if (seen == nullptr) return std::nullopt;
  const std::string vm =
      absl::StrCat("the VM ", home.name(), " of ", machine.registration().name());
  if (!seen->exists && !seen->moved_to.empty()) {
    return MakeProblem(ProblemId::kAzureVmMoved,
                       absl::StrCat(vm, " was moved from resource group ", home.resource_group(),
                                    " and is ", seen->moved_to, " now"));
  }
  if (!seen->exists) {
    return MakeProblem(ProblemId::kAzureVmGone,
                       absl::StrCat(vm, " is not in resource group ", home.resource_group(),
                                    " any more: ", AzureVmId(home)));
  }
  if (seen->power.empty() || seen->power == "running" || seen->power == "starting")
    return std::nullopt;
  return MakeProblem(ProblemId::kSourceVmNotRunning, absl::StrCat(vm, " is ", seen->power));
}

}  // namespace homeward
