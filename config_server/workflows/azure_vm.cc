#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/problem/problem.h"
#include "common/wire/time_proto.h"
#include "config_server/model/azure_record.h"
#include "config_server/workflows/location.h"

namespace homeward {
namespace {

using storage::v1::Machine;

storage::v1::AzureVm* MutableVm(Machine* machine) {
  return machine->mutable_assignment()->mutable_placement()->mutable_azure_vm();
}

void RecordDisks(const storage::v1::AzureVm& vm, Machine* machine) {
  machine->clear_home_disks();
  for (const std::string& id : AzureDiskIds(vm)) machine->add_home_disks(id);
}

// One that is open lists all its points; what it does not list does not come again.
bool HasDropped(const control::v1::ReplicaObserved& replica, const std::string& point_id) {
  return replica.phase() == control::v1::FOLLOW &&
         absl::c_none_of(replica.points(),
                         [&](const auto& point) { return point.id() == point_id; });
}

}  // namespace

StepResult AzureVm::Move(const Machine& machine, const storage::v1::AzureVm& vm,
                         CloudMove::Kind kind, bool for_ever) {
  if (cloud_ == nullptr) {
    return StepResult::Fail(
        MakeProblem(ProblemId::kAzureSiteUnknown, "this server has no Azure sites"));
  }
  CloudMove move = CloudMoveOf(machine, vm, kind);
  move.for_ever = for_ever;
  return cloud_->Do(machine.machine_id(), move);
}

// What it gets is made when it is needed.
StepResult AzureVm::PowerOffTarget(const View&, Machine*) { return StepResult::Done(); }

StepResult AzureVm::AttachDisks(const View& view, Machine* machine) {
  return AwaitPhase(view, machine, storage::v1::FOLLOW,
                    "the process server to create the page blobs");
}

StepResult AzureVm::HandOverDisks(const View& view, Machine* machine) {
  storage::v1::AzureVm& vm = *MutableVm(machine);
  // The names are stored before anything has them.
  if (vm.generation() != machine->generation()) {
    if (!vm.name().empty()) {  // what was made for another point
      // It is not the machine's any more: from here on undoing this ends its removal.
      if (machine->home_disks_size() > 0) {
        machine->clear_home_disks();
        return StepResult::Wait("the configuration server to record what is removed");
      }
      StepResult gone = Move(*machine, vm, CloudMove::Kind::kDelete, /*for_ever=*/true);
      if (!gone.done()) return gone;
      // A VM that is not removed may run: there would be two.
      if (!gone.kept.empty()) {
        RecordDisks(vm, machine);
        return StepResult::Fail(
            MakeProblem(ProblemId::kAzureNotOurs,
                        absl::StrCat("what was made for the point before is not removed: ",
                                     absl::StrJoin(gone.kept, "; "))));
      }
      TakeDisksBack(view, machine);
      return StepResult::Wait("the configuration server to record what is gone");
    }
    const control::v1::ReplicaObserved* const replica = view.ReplicaOf(*machine);
    if (replica == nullptr) return StepResult::Wait("the process server to connect");
    const int disks = machine->assignment().placement().disks_size();
    // One that was started again names the blobs themselves until it is at the point.
    const bool at_point = replica->phase() == control::v1::RECOVER &&
                          replica->generation() == machine->generation() &&
                          replica->point_id() == machine->assignment().state().point_id();
    if (!at_point || replica->disk_paths_size() != disks)
      return StepResult::Wait("the process server to name the snapshots");
    NameAzureVm(*machine, {replica->disk_paths().begin(), replica->disk_paths().end()}, &vm);
    return StepResult::Wait("the configuration server to record what is made");
  }
  StepResult made = Move(*machine, vm, CloudMove::Kind::kCreateDisks);
  if (!made.done()) return made;
  RecordDisks(vm, machine);
  return made;
}

StepResult AzureVm::PowerOn(const View& view, Machine* machine) {
  StepResult on = Move(*machine, *MutableVm(machine), CloudMove::Kind::kCreateVm);
  if (!on.done()) return on;
  *MutableVm(machine)->mutable_made() = ToProto(view.clock.Now());
  NoteStarted(view, machine);
  return on;
}

StepResult AzureVm::TakeDisksBack(const View&, Machine* machine) {
  storage::v1::AzureVm& vm = *MutableVm(machine);
  machine->clear_home_disks();
  if (vm.name().empty()) return StepResult::Done();
  StepResult gone = Move(*machine, vm, CloudMove::Kind::kDelete, /*for_ever=*/true);
  if (!gone.done()) return gone;
  vm.clear_name();
  vm.clear_nic();
  vm.clear_disks();
  vm.clear_generation();
  vm.clear_made();
  return gone;
}

StepResult AzureVm::TakeNewDisksBack(const View& view, Machine* machine) {
  const bool as_before =
      MutableVm(machine)->generation() != machine->generation() && machine->home_disks_size() > 0;
  return as_before ? StepResult::Done() : TakeDisksBack(view, machine);
}

StepResult AzureVm::RepairDisks(const View&, Machine*, uint32_t*) { return StepResult::Done(); }

StepResult AzureVm::StartTest(const View& view, Machine* machine) {
  storage::v1::TestFailover& test = *machine->mutable_test();
  storage::v1::AzureVm& vm = *test.mutable_azure_vm();
  if (vm.name().empty()) {
    const control::v1::ReplicaObserved* const replica = view.ReplicaOf(*machine);
    const int disks = machine->assignment().placement().disks_size();
    if (replica != nullptr && HasDropped(*replica, test.point_id())) {
      return StepResult::Fail(
          MakeProblem(ProblemId::kPointNotFound,
                      absl::StrCat("recovery point ", test.point_id(),
                                   " was dropped before the process server was told to keep it")));
    }
    if (replica == nullptr || replica->shown_point_id() != test.point_id() ||
        replica->shown_paths_size() != disks) {
      return StepResult::Wait("the process server to name the point's snapshots")
          .AtMost(kShownWithin,
                  MakeProblem(ProblemId::kPointNotFound,
                              absl::StrCat("the process server does not say where recovery point ",
                                           test.point_id(),
                                           " is: it may be an older version, or "
                                           "the point is gone")));
    }
    NameTestVm(*machine, {replica->shown_paths().begin(), replica->shown_paths().end()}, &vm);
    return StepResult::Wait("the configuration server to record what is made");
  }
  if (test.holds_point()) {
    StepResult made = Move(*machine, vm, CloudMove::Kind::kCreateDisks);
    if (!made.done()) return made;
    test.set_holds_point(false);
    return StepResult::Wait("the configuration server to record the disks");
  }
  StepResult on = Move(*machine, vm, CloudMove::Kind::kCreateVm);
  if (on.done()) *vm.mutable_made() = ToProto(view.clock.Now());
  return on;
}

StepResult AzureVm::EndTest(const View&, Machine* machine) {
  if (!machine->has_test()) return StepResult::Done();
  StepResult gone = StepResult::Done();
  if (!machine->test().azure_vm().name().empty())
    gone = Move(*machine, machine->test().azure_vm(), CloudMove::Kind::kDelete, /*for_ever=*/true);
  if (gone.done()) machine->clear_test();
  return gone;
}

StepResult AzureVm::Discard(const View& view, Machine* machine, bool keep_disks) {
  StepResult ended =
      AwaitEnd(view, machine, keep_disks ? storage::v1::RELEASE : storage::v1::DELETE);
  const storage::v1::Placement& placement = machine->assignment().placement();
  // Unlike a master target's disks they are there, and cost, without who wrote them.
  if (ended.done() && !view.Alive(placement.master_target_id())) {
    ended.kept.push_back(absl::StrCat(keep_disks ? "snapshots" : "page blobs and snapshots",
                                      " under ", placement.target().page_blobs().container_url(),
                                      "/", machine->machine_id(),
                                      ": the process server that keeps them does not answer"));
  }
  return ended;
}

}  // namespace homeward
