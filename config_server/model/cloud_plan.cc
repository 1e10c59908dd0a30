#include "config_server/model/cloud_plan.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/problem/problem.h"

namespace homeward {
namespace {

using StepKind = CloudStep::Kind;

CloudStep Do(StepKind kind, size_t disk = 0) {
  CloudStep step;
  step.kind = kind;
  step.disk = disk;
  return step;
}

CloudStep RefuseStep(ProblemId id, const std::string& message) {
  CloudStep step;
  step.kind = StepKind::kRefused;
  step.problem = MakeProblem(id, message);
  return step;
}

CloudStep Await(const std::string& what) {
  CloudStep step;
  step.kind = StepKind::kAwait;
  step.detail = what;
  return step;
}

bool IsOurs(const CloudSeen::Resource& resource, const CloudTags& ours) {
  for (const auto& [key, value] : ours) {
    const auto it = resource.tags.find(key);
    if (it == resource.tags.end() || it->second != value) return false;
  }
  return true;
}

// Whose it says to be.
std::string Claim(const CloudSeen::Resource& resource, const CloudTags& ours) {
  std::vector<std::string> differ;
  for (const auto& [key, value] : ours) {
    const auto it = resource.tags.find(key);
    if (it == resource.tags.end()) {
      differ.push_back(absl::StrCat("it has no tag ", key));
    } else if (it->second != value) {
      differ.push_back(absl::StrCat("its tag ", key, " is ", it->second, ", not ", value));
    }
  }
  return absl::StrJoin(differ, ", ");
}

CloudStep NotOurs(const std::string& what, const CloudMove& move,
                  const CloudSeen::Resource& resource, const CloudTags& ours) {
  return RefuseStep(ProblemId::kAzureNotOurs,
                    absl::StrCat(what, " in resource group ", move.resource_group,
                                 " is not ours: ", Claim(resource, ours)));
}

bool IsSettled(const CloudSeen::Resource& resource) {
  return resource.provisioning == "Succeeded" || resource.provisioning == "Failed" ||
         resource.provisioning == "Canceled";
}

bool HasFailed(const CloudSeen::Resource& resource) {
  return IsSettled(resource) && resource.provisioning != "Succeeded";
}

CloudStep CreateDisks(const CloudMove& move, const CloudTags& ours, const CloudSeen& seen) {
  for (size_t i = 0; i < move.disks.size(); ++i) {
    const std::optional<CloudSeen::Resource>& disk = seen.disks[i];
    const std::string what = absl::StrCat("disk ", move.disks[i].name);
    if (!disk.has_value()) return Do(StepKind::kCreateDisk, i);
    if (!IsOurs(*disk, ours)) return NotOurs(what, move, *disk, ours);
    if (!IsSettled(*disk)) return Await(absl::StrCat(what, " (", disk->provisioning, ")"));
    // A source cannot be changed: it is made anew.
    if (HasFailed(*disk)) return Do(StepKind::kDeleteDisk, i);
  }
  return {};
}

CloudStep Gone(const CloudMove& move) {
  return RefuseStep(
      ProblemId::kAzureVmGone,
      absl::StrCat("there is no VM ", move.vm, " in resource group ", move.resource_group));
}

CloudStep TurnOn(const CloudMove& move, const CloudSeen::Vm& vm) {
  if (vm.power == "running") return {};
  if (vm.power == "starting") return Await(absl::StrCat("VM ", move.vm, " to start"));
  if (vm.power == "stopping" || vm.power == "deallocating")
    return Await(absl::StrCat("VM ", move.vm, " (", vm.power, ")"));
  return Do(StepKind::kStart);
}

CloudStep CreateVm(const CloudMove& move, const CloudTags& ours, const CloudSeen& seen) {
  if (!seen.vm.has_value()) {
    for (size_t i = 0; i < move.disks.size(); ++i) {
      const std::optional<CloudSeen::Resource>& disk = seen.disks[i];
      const std::string what = absl::StrCat("disk ", move.disks[i].name);
      if (!disk.has_value()) {
        return RefuseStep(ProblemId::kAzureNotOurs,
                          absl::StrCat(what, " in resource group ", move.resource_group,
                                       ", which was imported for it, is not there any more"));
      }
      if (!IsOurs(*disk, ours)) return NotOurs(what, move, *disk, ours);
    }
    if (!seen.nic.has_value()) return Do(StepKind::kCreateNic);
    const std::string what = absl::StrCat("network card ", move.nic);
    if (!IsOurs(*seen.nic, ours)) return NotOurs(what, move, *seen.nic, ours);
    if (!IsSettled(*seen.nic)) return Await(absl::StrCat(what, " (", seen.nic->provisioning, ")"));
    return Do(HasFailed(*seen.nic) ? StepKind::kCreateNic : StepKind::kCreateVm);
  }
  const std::string what = absl::StrCat("VM ", move.vm);
  if (!IsOurs(*seen.vm, ours)) return NotOurs(what, move, *seen.vm, ours);
  if (!IsSettled(*seen.vm)) return Await(absl::StrCat(what, " (", seen.vm->provisioning, ")"));
  // With the size and the disks that it has, nothing but a new one helps.
  if (HasFailed(*seen.vm) && seen.vm->power != "running") return Do(StepKind::kDeleteVm);
  return TurnOn(move, *seen.vm);
}

CloudStep TurnOff(const CloudMove& move, const CloudSeen::Vm& vm) {
  if (vm.power == "deallocated") return {};
  if (vm.power == "stopped") return Do(StepKind::kDeallocate);
  if (vm.power == "stopping" || vm.power == "deallocating")
    return Await(absl::StrCat("VM ", move.vm, " (", vm.power, ")"));
  return Do(StepKind::kPowerOff);
}

CloudStep Delete(const CloudMove& move, const CloudTags& ours, const CloudSeen& seen) {
  std::vector<std::string> kept;
  const auto keep = [&](const std::string& what, const CloudSeen::Resource& resource) {
    kept.push_back(IsOurs(resource, ours)
                       ? absl::StrCat(what, " (VM ", resource.used_by, " uses it)")
                       : absl::StrCat(what, " (", Claim(resource, ours), ")"));
  };
  // What is used goes away after what uses it.
  const auto removable = [&](const CloudSeen::Resource& resource) {
    return IsOurs(resource, ours) && resource.used_by.empty();
  };
  if (seen.vm.has_value()) {
    if (IsOurs(*seen.vm, ours)) return Do(StepKind::kDeleteVm);
    keep(absl::StrCat("VM ", move.vm), *seen.vm);
  }
  if (seen.nic.has_value()) {
    if (removable(*seen.nic)) return Do(StepKind::kDeleteNic);
    keep(absl::StrCat("network card ", move.nic), *seen.nic);
  }
  for (size_t i = 0; i < move.disks.size(); ++i) {
    if (!seen.disks[i].has_value()) continue;
    if (removable(*seen.disks[i])) return Do(StepKind::kDeleteDisk, i);
    keep(absl::StrCat("disk ", move.disks[i].name), *seen.disks[i]);
  }
  CloudStep reached;
  reached.kept = std::move(kept);
  return reached;
}

}  // namespace

CloudTags TagsOf(const std::string& config_server_id, const std::string& machine_id,
                 uint64_t generation) {
  return {{kTagConfigServer, config_server_id},
          {kTagMachine, machine_id},
          {kTagGeneration, absl::StrCat(generation)}};
}

CloudStep NextStep(const CloudMove& move, const CloudTags& ours, const CloudSeen& seen) {
  switch (move.kind) {
    case CloudMove::Kind::kCreateDisks:
      return CreateDisks(move, ours, seen);
    case CloudMove::Kind::kCreateVm:
      return CreateVm(move, ours, seen);
    case CloudMove::Kind::kDelete:
      return Delete(move, ours, seen);
    default:
      break;
  }
  if (!seen.vm.has_value()) return Gone(move);
  // Somebody else's may have its name by now.
  const std::string what = absl::StrCat("VM ", move.vm);
  if (!IsOurs(*seen.vm, ours)) return NotOurs(what, move, *seen.vm, ours);
  // What it is at the moment says nothing of what it will be when Azure has ended.
  if (!IsSettled(*seen.vm)) return Await(absl::StrCat(what, " (", seen.vm->provisioning, ")"));
  return move.kind == CloudMove::Kind::kTurnOff ? TurnOff(move, *seen.vm) : TurnOn(move, *seen.vm);
}

std::string Describe(const CloudMove& move, const CloudStep& step) {
  switch (step.kind) {
    case StepKind::kCreateDisk:
      return absl::StrCat("import disk ", move.disks[step.disk].name);
    case StepKind::kCreateNic:
      return absl::StrCat("create network card ", move.nic);
    case StepKind::kCreateVm:
      return absl::StrCat("create VM ", move.vm);
    case StepKind::kPowerOff:
      return absl::StrCat("shut down VM ", move.vm);
    case StepKind::kDeallocate:
      return absl::StrCat("deallocate VM ", move.vm);
    case StepKind::kStart:
      return absl::StrCat("start VM ", move.vm);
    case StepKind::kDeleteVm:
      return absl::StrCat("delete VM ", move.vm);
    case StepKind::kDeleteNic:
      return absl::StrCat("delete network card ", move.nic);
    case StepKind::kDeleteDisk:
      return absl::StrCat("delete disk ", move.disks[step.disk].name);
    default:
      return step.detail;
  }
}

}  // namespace homeward
