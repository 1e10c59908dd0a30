// ModelVcenter: a vCenter whose calls fail and whose replies are lost, under a brain. For tests.
#ifndef HOMEWARD_TESTS_FAKES_MODEL_VCENTER_H_
#define HOMEWARD_TESTS_FAKES_MODEL_VCENTER_H_

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/problem/problem.h"
#include "config_server/model/vm_plan.h"
#include "config_server/model/vm_record.h"
#include "config_server/workflows/hypervisor.h"
#include "tests/fakes/vm_world.h"

namespace homeward {

// Does one step of a move at each call. What it has done stays when the server dies; what it was
// doing for the server does not. Its reply counts as lost: each call looks at the VMs anew.
class ModelVcenter : public Hypervisor {
 public:
  explicit ModelVcenter(uint64_t seed = 3, int vm_disks = 1) : world(vm_disks), random_(seed) {}

  std::map<std::string, VcenterState> States() const override { return world.States(); }

  StepResult Move(const std::string& machine_id, const VmMove& move) override {
    const auto it = ended_.find(machine_id);
    if (it != ended_.end() && it->second.first == move) return it->second.second;
    const std::map<std::string, VcenterState> states = States();
    // It works on one of a VM's tasks at a time.
    const std::set<std::string> works_on = {move.vm.instance_uuid, move.master_target.bios_uuid};
    for (const std::string& uuid : works_on) {
      if (busy_.count(uuid) > 0) return StepResult::Wait("the vCenter is at work");
    }
    if (world.link != VcenterState::Link::kConnected) {
      // Patience ends, except with a VM that may have been started with the machine's disks.
      const bool gives_up =
          !move.for_ever && (move.kind != VmMove::Kind::kTurnOn || move.only_power);
      if (!gives_up || !Chance(gives_up_one_in)) return StepResult::Wait("it is not reached");
      return End(
          machine_id, move,
          StepResult::Fail(MakeProblem(ProblemId::kVcenterDisconnected, "it is not reached")));
    }
    if (Chance(fault_one_in)) return StepResult::Wait("the vCenter does not answer");
    NoteDisks();
    const MoveVms vms =
        VmsOf(move, CandidatesFor(states, move.vm), CandidatesFor(states, move.master_target));
    const VmStep step = NextStep(move, vms);
    if (step.kind == VmStep::Kind::kReached) return End(machine_id, move, StepResult::Done());
    if (step.kind == VmStep::Kind::kRefused) {
      if (move.for_ever) return StepResult::Wait(step.problem.message());
      return End(machine_id, move, StepResult::Fail(step.problem));
    }
    if (fail_step == step.kind && !move.for_ever) {
      return End(machine_id, move,
                 StepResult::Fail(MakeProblem(ProblemId::kVmPowerOnFailed, "no memory")));
    }
    ++steps;
    if (before_step) before_step(move);
    const std::optional<FoundVm>& found =
        step.kind == VmStep::Kind::kChangeMasterTarget ? vms.master_target : vms.vm;
    const vsphere::Ref ref = found.has_value() ? found->ref : vsphere::Ref();
    if (!later) {
      Perform(move, step, ref);
    } else {
      // It comes about, whether or not anybody still waits for it.
      busy_.insert(works_on.begin(), works_on.end());
      later([this, move, step, ref, works_on] {
        Perform(move, step, ref);
        for (const std::string& uuid : works_on) busy_.erase(uuid);
      });
    }
    return StepResult::Wait("the vCenter");
  }
  void ServerDied() { ended_.clear(); }

  // By instance UUID; null when it has none.
  vsphere::Vm* Find(const std::string& instance_uuid) {
    for (auto& [ref, vm] : world.inventory.vms) {
      if (vm.instance_uuid == instance_uuid) return &vm;
    }
    return nullptr;
  }

  // What is wrong with the records when that step begins: a server that dies while the vCenter does
  // it must know afterwards what was under way. Empty: nothing.
  static std::string NoteFault(const storage::v1::Machine& machine, const VmMove& move) {
    const bool to_vm = move.kind == VmMove::Kind::kToVm;
    if (!to_vm && move.kind != VmMove::Kind::kToMasterTarget &&
        move.kind != VmMove::Kind::kCreateDisks)
      return "";
    const auto to = to_vm ? storage::v1::AT_VM : storage::v1::AT_MASTER_TARGET;
    for (const storage::v1::VmDisk* const disk : StreamedDisks(VmOf(machine))) {
      if (disk->moving_to() != to || disk->file().empty())
        return absl::StrCat("is moved, and no record says so: ", disk->ShortDebugString());
    }
    return "";
  }
  // What is wrong with where the machine's disks are: each is attached to the one place that its
  // record says, and nobody's whereabouts are unknown. Empty: nothing.
  std::string PlaceFault(const storage::v1::Machine& machine) {
    // What was made for a replica goes away with it.
    if (machine.assignment().placement().has_new_vm() &&
        machine.assignment().state().phase() == storage::v1::RELEASE)
      return "";
    const vsphere::Vm* const home = Find(VmOf(machine).instance_uuid());
    for (const storage::v1::VmDisk* const disk : StreamedDisks(VmOf(machine))) {
      if (disk->place() == storage::v1::NOT_MADE || disk->uuid().empty()) continue;
      const bool at_vm = home != nullptr && home->FindDisk(disk->uuid()) != nullptr;
      const bool at_target = world.target().FindDisk(disk->uuid()) != nullptr;
      const bool moves = disk->moving_to() != storage::v1::DISK_PLACE_UNSPECIFIED;
      // A VM that somebody deleted is still remembered.
      const bool as_noted = at_target == (disk->place() == storage::v1::AT_MASTER_TARGET) &&
                            (home == nullptr || at_vm == (disk->place() == storage::v1::AT_VM));
      if ((at_vm && at_target) || (moves ? disk->file().empty() : !as_noted)) {
        return absl::StrCat("is attached to ", at_vm ? "its VM, " : "",
                            at_target ? "the target, " : "",
                            "and its record: ", disk->ShortDebugString());
      }
    }
    return "";
  }

  VmWorld world;
  unsigned fault_one_in = 0, gives_up_one_in = 0;
  std::optional<VmStep::Kind> fail_step;
  std::map<std::string, std::string> merged_into;  // files of snapshots' deltas
  int steps = 0;
  // What is called when something happens; each may be empty. `later`: when a step comes about.
  std::function<void(std::function<void()>)> later;
  std::function<void(const VmMove&)> before_step;
  std::function<void(const vsphere::Vm&)> power_changed;
  // Attached with its size where it was just made, with 0 where it existed; detached without.
  std::function<void(const vsphere::Vm&, const std::string& uuid, uint64_t made_bytes)> attached;
  std::function<void(const vsphere::Vm&, const std::string& uuid)> detached;

 private:
  StepResult End(const std::string& machine_id, const VmMove& move, StepResult result) {
    ended_[machine_id] = {move, result};
    return result;
  }
  bool Chance(unsigned one_in) { return one_in > 0 && random_() % one_in == 0; }
  // A disk has the UUID that it was made with, wherever it is.
  void NoteDisks() {
    for (const auto& [ref, vm] : world.inventory.vms) {
      for (const vsphere::Disk& disk : vm.disks) uuids_[disk.file] = disk.uuid;
    }
  }
  void Perform(const VmMove& move, const VmStep& step, const vsphere::Ref& ref) {
    const auto it = world.inventory.vms.find(ref);
    vsphere::Vm* const vm = it == world.inventory.vms.end() ? nullptr : &it->second;
    if (vm == nullptr && step.kind != VmStep::Kind::kCreateVm) return;
    switch (step.kind) {
      case VmStep::Kind::kShutDownGuest:
      case VmStep::Kind::kPowerOff:
      case VmStep::Kind::kPowerOn:
        vm->power_state = step.kind == VmStep::Kind::kPowerOn ? "poweredOn" : "poweredOff";
        return power_changed ? power_changed(*vm) : void();
      case VmStep::Kind::kRemoveSnapshots:
        vm->snapshots = 0;
        for (vsphere::Disk& disk : vm->disks) disk.file = merged_into[disk.file];
        return;
      case VmStep::Kind::kCreateVm:
        return Create(move.create);
      case VmStep::Kind::kDestroyVm:
        std::erase_if(world.inventory.vms, [&](const auto& one) { return &one.second == vm; });
        return;
      default:
        return Change(step.change, vm);
    }
  }
  void Create(const vsphere::VmToCreate& wanted) {
    vsphere::Vm& vm = world.inventory.vms[{"VirtualMachine", absl::StrCat("vm-", next_key_++)}];
    vm.name = wanted.name;
    vm.parent = world.datacenter;
    vm.host = world.target_host;
    vm.instance_uuid = wanted.instance_uuid;
    vm.bios_uuid = wanted.bios_uuid.empty()
                       ? absl::StrFormat("4207f072-edd8-4b16-8a4d-%012d", next_key_)
                       : wanted.bios_uuid;
    vm.change_version = "1";
    vm.power_state = "poweredOff";
    vm.vmx_path = absl::StrCat("[", wanted.datastore, "] ", wanted.name, "/", wanted.name, ".vmx");
    vm.cpus = wanted.cpus;
    for (vsphere::Controller controller : wanted.controllers) {
      controller.key = 1000 + controller.bus;
      vm.controllers.push_back(controller);
    }
  }
  void Change(const vsphere::VmChange& change, vsphere::Vm* vm) {
    if (change.change_version != vm->change_version) return;  // somebody else was faster
    vm->change_version = absl::StrCat(++changes_);
    for (const int32_t key : change.detach_disks) {
      const auto disk = std::find_if(vm->disks.begin(), vm->disks.end(),
                                     [&](const auto& one) { return one.key == key; });
      const std::string uuid = disk->uuid;
      vm->disks.erase(disk);
      if (detached) detached(*vm, uuid);
    }
    for (const vsphere::DiskToAdd& add : change.add_disks) {
      std::string& uuid = uuids_[add.file];
      if (uuid.empty()) uuid = absl::StrFormat("6000c29%025d", next_key_++);
      vm->disks.push_back(
          VmWorld::MakeDisk(next_key_++, add.controller_key, add.unit, uuid, add.file));
      if (attached) attached(*vm, uuid, add.create_bytes);
    }
  }

  std::mt19937_64 random_;
  int32_t next_key_ = 3000;
  uint64_t changes_ = 1;
  std::map<std::string, std::string> uuids_;  // by file
  std::set<std::string> busy_;                // UUIDs
  std::map<std::string, std::pair<VmMove, StepResult>> ended_;
};

// A base before that of a fixture that is given it.
struct WithVcenter {
  ModelVcenter model;
};

}  // namespace homeward

#endif  // HOMEWARD_TESTS_FAKES_MODEL_VCENTER_H_
