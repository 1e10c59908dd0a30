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
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/problem/problem.h"
#include "config_server/model/cloud_plan.h"
#include "config_server/workflows/cloud.h"

namespace homeward {

inline constexpr char kSite[] = "west";
inline constexpr char kContainer[] = "https://account.blob.core.windows.net/homeward";
inline constexpr char kConfigServerTag[] = "config-server";

// Does one step of a move at each call. What it has done stays when the server dies; what it was
// doing for the server does not. Its reply counts as lost: each call looks anew. What was begun is
// seen at once, and ends at a later look, or when `later` says.
class ModelCloud : public Cloud {
 public:
  struct Vm : CloudSeen::Vm {
    std::string nic;
    std::vector<std::string> disks;
  };
  struct Nic : CloudSeen::Resource {
    std::string subnet;
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
    state.error = error;
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
      if (move.for_ever || link == CloudState::Link::kStale)
        return StepResult::Wait("Azure is not reached");
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
      if (!later) Settle();
      return StepResult::Wait(step.detail);
    }
    const bool fails = fail_step == step.kind && !move.for_ever;
    if (!fails || fail_after_effect) {
      ++steps;
      if (before_step) before_step(move, step);
      Perform(move, step, ours);
    }
    if (!fails) return StepResult::Wait(Describe(move, step));
    return End(machine_id, move,
               StepResult::Fail(MakeProblem(ProblemId::kAzureTaskFailed, "no capacity left")));
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
  absl::Status error;  // as in CloudState
  CloudState::Sizes sizes = {{"Standard_D2s_v5", 4}, {"Standard_B1s", 0}};
  std::string moved_to;
  std::map<std::string, Vm> vms;
  std::map<std::string, Nic> nics;
  std::map<std::string, Disk> disks;
  unsigned fault_one_in = 0, creation_fails_one_in = 0;
  std::optional<CloudStep::Kind> fail_step;
  bool fail_after_effect = false;
  int steps = 0;
  // What is called when something happens; each may be empty. `later`: when what was begun ends.
  std::function<void(std::function<void()>)> later;
  std::function<void(const CloudMove&, const CloudStep&)> before_step;
  // Of a disk that is imported. False: it cannot be.
  std::function<bool(const std::string& name, const Disk&)> import;
  // It is "running", "stopped" or "deallocated" now, or is gone, which is empty.
  std::function<void(const std::string& name, const Vm&)> power_changed;
  std::function<void(const std::string& disk)> disk_gone;

 private:
  StepResult End(const std::string& machine_id, const CloudMove& move, StepResult result) {
    ended_[machine_id] = {move, result};
    return result;
  }
  bool Chance(unsigned one_in) { return one_in > 0 && random_() % one_in == 0; }
  // What was begun ends, at some time.
  void Later(const std::function<void()>& ends) {
    if (later) {
      later(ends);
    } else {
      under_way_.push_back(ends);
    }
  }
  // What looks the same while it goes away, and is not waited for.
  void LaterOrNow(const std::function<void()>& ends) { later ? later(ends) : ends(); }
  void Settle() {
    for (const auto& ends : std::exchange(under_way_, {})) ends();
  }
  void Perform(const CloudMove& move, const CloudStep& step, const CloudTags& ours) {
    using Kind = CloudStep::Kind;
    switch (step.kind) {
      case Kind::kCreateDisk: {
        const std::string& name = move.disks[step.disk].name;
        disks[name] = {{ours, "Creating", ""}, move.disks[step.disk].source_url};
        return Later([this, name] { Import(name); });
      }
      case Kind::kCreateNic:
        nics[move.nic] = {{ours, "Succeeded", ""}, move.subnet};
        return;
      case Kind::kCreateVm:
        return CreateVm(move, ours);
      case Kind::kPowerOff:
        return ChangePower(move.vm, "stopping", "stopped");
      case Kind::kDeallocate:
        return ChangePower(move.vm, "deallocating", "deallocated");
      case Kind::kStart:
        return ChangePower(move.vm, "starting", "running");
      case Kind::kDeleteVm:
        vms[move.vm].provisioning = "Deleting";
        return LaterOrNow([this, name = move.vm] { RemoveVm(name); });
      case Kind::kDeleteNic:
        nics.erase(move.nic);
        return;
      case Kind::kDeleteDisk: {
        const std::string& name = move.disks[step.disk].name;
        disks[name].provisioning = "Deleting";
        return LaterOrNow([this, name] {
          if (disks.erase(name) > 0 && disk_gone) disk_gone(name);
        });
      }
      default:
        return;
    }
  }
  void Import(const std::string& name) {
    const auto disk = disks.find(name);
    if (disk == disks.end() || disk->second.provisioning != "Creating") return;
    const bool imported = !import || import(name, disk->second);
    disk->second.provisioning = imported ? "Succeeded" : "Failed";
  }
  void CreateVm(const CloudMove& move, const CloudTags& ours) {
    Vm& vm = vms[move.vm];
    vm.tags = ours;
    vm.provisioning = "Creating";
    vm.power = "starting";
    vm.nic = move.nic;
    nics[move.nic].used_by = move.vm;
    vm.disks.clear();
    for (const CloudMove::Disk& disk : move.disks) {
      vm.disks.push_back(disk.name);
      disks[disk.name].used_by = move.vm;
    }
    Later([this, name = move.vm] {
      const auto made = vms.find(name);
      if (made == vms.end() || made->second.provisioning != "Creating") return;
      const bool fails = Chance(creation_fails_one_in);
      made->second.provisioning = fails ? "Failed" : "Succeeded";
      SetPower(name, fails ? "stopped" : "running");
    });
  }
  void ChangePower(const std::string& name, const char* meanwhile, const char* then) {
    vms[name].power = meanwhile;
    Later([this, name, meanwhile, then] {
      const auto vm = vms.find(name);
      if (vm != vms.end() && vm->second.power == meanwhile) SetPower(name, then);
    });
  }
  void SetPower(const std::string& name, const char* power) {
    Vm& vm = vms[name];
    vm.power = power;
    if (power_changed) power_changed(name, vm);
  }
  void RemoveVm(const std::string& name) {
    const auto vm = vms.find(name);
    if (vm == vms.end() || vm->second.provisioning != "Deleting") return;
    Vm gone = vm->second;
    gone.power.clear();
    vms.erase(vm);
    if (power_changed) power_changed(name, gone);
    if (const auto nic = nics.find(gone.nic); nic != nics.end()) nic->second.used_by.clear();
    for (const std::string& disk : gone.disks) {
      if (const auto it = disks.find(disk); it != disks.end()) it->second.used_by.clear();
    }
  }

  std::mt19937_64 random_;
  std::vector<std::function<void()>> under_way_;
  std::map<std::string, storage::v1::AzureVm> watched_;
  std::map<std::string, std::pair<CloudMove, StepResult>> ended_;
};

}  // namespace homeward

#endif  // HOMEWARD_TESTS_FAKES_MODEL_CLOUD_H_
