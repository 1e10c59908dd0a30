// ModelCloud: Azure whose calls fail before and after their effect, under a brain. For tests.
#ifndef HOMEWARD_TESTS_FAKES_MODEL_CLOUD_H_
#define HOMEWARD_TESTS_FAKES_MODEL_CLOUD_H_

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/problem/problem.h"
#include "config_server/model/cloud_plan.h"
#include "config_server/workflows/cloud.h"

namespace homeward {

inline constexpr char kSite[] = "west";
inline constexpr char kContainer[] = "https://account.blob.core.windows.net/homeward";
inline constexpr char kConfigServerTag[] = "config-server";

// Does one step of a move at each call. What it has done stays when the server dies; what it was
// doing for the server does not. Its reply counts as lost: each call looks anew.
class ModelCloud : public Cloud {
 public:
  struct Vm : CloudSeen::Vm {
    std::string nic;
    std::vector<std::string> disks;
  };
  struct Disk : CloudSeen::Resource {
    std::string source_url;
  };

  explicit ModelCloud(uint64_t seed = 5) : random_(seed) {
    site.set_name(kSite);
    site.set_subscription("sub-1");
    site.set_resource_group("rg-1");
    site.set_region("westeurope");
    site.set_subnet("subnet-1");
    site.set_test_subnet("subnet-isolated");
    site.set_default_size("Standard_D2s_v5");
    site.add_containers(kContainer);
  }

  std::map<std::string, CloudState> States() const override {
    CloudState state;
    state.site = site;
    state.link = link;
    state.sizes = std::make_shared<CloudState::Sizes>(sizes);
    for (const auto& [machine_id, vm] : watched_) {
      const auto seen = vms.find(vm.name());
      AzureVmState& out = state.vms[machine_id];
      out.exists = seen != vms.end();
      if (out.exists) out.power = seen->second.power;
      out.moved_to = moved_to;
    }
    if (!has_site) return {};
    return {{site.name(), state}};
  }
  void Watch(const std::string& machine_id,
             const std::optional<storage::v1::AzureVm>& vm) override {
    watched_.erase(machine_id);
    if (vm.has_value()) watched_[machine_id] = *vm;
  }

  StepResult Do(const std::string& machine_id, const CloudMove& move) override {
    const auto it = ended_.find(machine_id);
    if (it != ended_.end() && it->second.first == move) return it->second.second;
    if (link != CloudState::Link::kConnected) {
      if (move.for_ever) return StepResult::Wait("Azure is not reached");
      return End(machine_id, move,
                 StepResult::Fail(MakeProblem(ProblemId::kAzureNotReached, "it is not reached")));
    }
    if (Chance(fault_one_in)) return StepResult::Wait("Azure does not answer");
    const CloudTags ours = TagsOf(kConfigServerTag, machine_id, move.generation);
    const CloudStep step = NextStep(move, ours, Look(move));
    if (step.kind == CloudStep::Kind::kReached) {
      StepResult done = StepResult::Done();
      done.kept = step.kept;
      return End(machine_id, move, done);
    }
    if (step.kind == CloudStep::Kind::kRefused) {
      if (move.for_ever) return StepResult::Wait(step.problem.message());
      return End(machine_id, move, StepResult::Fail(step.problem));
    }
    if (step.kind == CloudStep::Kind::kAwait) {
      Settle();
      return StepResult::Wait(step.detail);
    }
    if (fail_step == step.kind && !move.for_ever) {
      if (fail_after_effect) Perform(move, step, ours);
      return End(machine_id, move,
                 StepResult::Fail(MakeProblem(ProblemId::kAzureTaskFailed, "no capacity left")));
    }
    ++steps;
    if (before_step) before_step(move);
    Perform(move, step, ours);
    return StepResult::Wait(Describe(move, step));
  }
  void ServerDied() {
    ended_.clear();
    watched_.clear();
  }

  CloudSeen Look(const CloudMove& move) const {
    CloudSeen seen;
    if (const auto vm = vms.find(move.vm); vm != vms.end()) seen.vm = vm->second;
    if (const auto nic = nics.find(move.nic); nic != nics.end()) seen.nic = nic->second;
    for (const CloudMove::Disk& wanted : move.disks) {
      const auto disk = disks.find(wanted.name);
      seen.disks.push_back(disk == disks.end() ? std::nullopt
                                               : std::optional<CloudSeen::Resource>(disk->second));
    }
    return seen;
  }
  bool empty() const { return vms.empty() && nics.empty() && disks.empty(); }

  storage::v1::AzureSite site;
  bool has_site = true;
  CloudState::Link link = CloudState::Link::kConnected;
  CloudState::Sizes sizes = {{"Standard_D2s_v5", 4}, {"Standard_B1s", 0}};
  std::string moved_to;
  std::map<std::string, Vm> vms;
  std::map<std::string, CloudSeen::Resource> nics;
  std::map<std::string, Disk> disks;
  unsigned fault_one_in = 0;
  std::optional<CloudStep::Kind> fail_step;
  bool fail_after_effect = false;
  int steps = 0;
  std::function<void(const CloudMove&)> before_step;  // may be empty

 private:
  StepResult End(const std::string& machine_id, const CloudMove& move, StepResult result) {
    ended_[machine_id] = {move, result};
    return result;
  }
  bool Chance(unsigned one_in) { return one_in > 0 && random_() % one_in == 0; }
  void Settle() {
    for (auto& [name, vm] : vms) {
      vm.provisioning = "Succeeded";
      if (vm.power == "starting") vm.power = "running";
      if (vm.power == "stopping") vm.power = "stopped";
      if (vm.power == "deallocating") vm.power = "deallocated";
    }
    for (auto& [name, disk] : disks) disk.provisioning = "Succeeded";
  }
  void Perform(const CloudMove& move, const CloudStep& step, const CloudTags& ours) {
    using Kind = CloudStep::Kind;
    switch (step.kind) {
      case Kind::kCreateDisk: {
        Disk& disk = disks[move.disks[step.disk].name];
        disk.tags = ours;
        disk.provisioning = "Creating";
        disk.source_url = move.disks[step.disk].source_url;
        return;
      }
      case Kind::kCreateNic:
        nics[move.nic].tags = ours;
        nics[move.nic].provisioning = "Succeeded";
        return;
      case Kind::kCreateVm: {
        Vm& vm = vms[move.vm];
        vm.tags = ours;
        vm.provisioning = "Creating";
        vm.power = "starting";
        vm.nic = move.nic;
        nics[move.nic].used_by = move.vm;
        for (const CloudMove::Disk& disk : move.disks) {
          vm.disks.push_back(disk.name);
          disks[disk.name].used_by = move.vm;
        }
        return;
      }
      case Kind::kPowerOff:
        vms[move.vm].power = "stopping";
        return;
      case Kind::kDeallocate:
        vms[move.vm].power = "deallocating";
        return;
      case Kind::kStart:
        vms[move.vm].power = "starting";
        return;
      case Kind::kDeleteVm: {
        const Vm gone = vms[move.vm];
        vms.erase(move.vm);
        nics[gone.nic].used_by.clear();
        for (const std::string& disk : gone.disks) disks[disk].used_by.clear();
        return;
      }
      case Kind::kDeleteNic:
        nics.erase(move.nic);
        return;
      case Kind::kDeleteDisk:
        disks.erase(move.disks[step.disk].name);
        return;
      default:
        return;
    }
  }

  std::mt19937_64 random_;
  std::map<std::string, storage::v1::AzureVm> watched_;
  std::map<std::string, std::pair<CloudMove, StepResult>> ended_;
};

}  // namespace homeward

#endif  // HOMEWARD_TESTS_FAKES_MODEL_CLOUD_H_
