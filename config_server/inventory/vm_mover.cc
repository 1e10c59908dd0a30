#include "config_server/inventory/vm_mover.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/log/log.h"
#include "common/problem/problem.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/vsphere/fault.h"
#include "common/vsphere/follower.h"
#include "common/vsphere/operations.h"
#include "config_server/model/vm_search.h"

namespace homeward {
namespace {

constexpr absl::Duration kStepRetryFirst = absl::Milliseconds(500);
constexpr absl::Duration kStepRetryMax = absl::Seconds(15);
constexpr absl::Duration kGuestLook = absl::Seconds(1);
// A move has five steps at the most; one that goes round in circles must end.
constexpr int kStepsMax = 20;
constexpr absl::Duration kForgottenLook = absl::Milliseconds(50);
constexpr int kForgottenLooks = 100;

const char* NameOf(VmStep::Kind kind) {
  switch (kind) {
    case VmStep::Kind::kShutDownGuest:
      return "shut down the guest";
    case VmStep::Kind::kPowerOff:
      return "power off";
    case VmStep::Kind::kPowerOn:
      return "power on";
    case VmStep::Kind::kRemoveSnapshots:
      return "remove its snapshots";
    case VmStep::Kind::kCreateVm:
      return "create it";
    case VmStep::Kind::kDestroyVm:
      return "remove it";
    default:
      return "change its disks";
  }
}

std::vector<vsphere::Ref> Known(const MoveVms& vms) {
  std::vector<vsphere::Ref> known;
  for (const std::optional<FoundVm>& one : {vms.vm, vms.master_target}) {
    if (one.has_value()) known.push_back(one->ref);
  }
  return known;
}

// The candidates as the vCenter has them now. Those of other vCenters as they were seen last.
struct Fresh {
  vsphere::Inventory read;
  std::vector<FoundVm> vms, targets;
};
absl::Status ReadFresh(vsphere::Session& session, const std::string& vcenter,
                       const std::vector<FoundVm>& vms, const std::vector<FoundVm>& targets,
                       const vsphere::CallLimit& limit, Fresh* fresh) {
  std::set<vsphere::Ref> refs;
  for (const std::vector<FoundVm>* const some : {&vms, &targets}) {
    for (const FoundVm& one : *some) {
      if (one.vcenter == vcenter) refs.insert(one.ref);
    }
  }
  if (!refs.empty()) {
    HW_RETURN_IF_ERROR(
        vsphere::ReadObjects(session, {refs.begin(), refs.end()}, limit, &fresh->read).status());
  }
  const auto as_read = [&](const std::vector<FoundVm>& some, std::vector<FoundVm>* out) {
    for (FoundVm one : some) {
      if (one.vcenter == vcenter) {
        const auto it = fresh->read.vms.find(one.ref);
        if (it == fresh->read.vms.end()) continue;
        one.vm = &it->second;
      }
      out->push_back(one);
    }
  };
  as_read(vms, &fresh->vms);
  as_read(targets, &fresh->targets);
  return absl::OkStatus();
}

bool IsReached(const absl::Status& status) {
  return !absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status);
}

// Trying again soon does not help.
bool IsFinal(const absl::Status& status) {
  const std::optional<types::v1::Problem> refusal = ProblemOf(status);
  return (refusal.has_value() && !refusal->retryable()) || absl::IsUnauthenticated(status) ||
         absl::IsPermissionDenied(status) || absl::IsResourceExhausted(status);
}

types::v1::Problem Explain(const VmMove& move, const absl::Status& status) {
  if (const std::optional<types::v1::Problem> problem = ProblemOf(status)) return *problem;
  const std::string why(status.message());
  if (vsphere::FaultTypeOf(status) == "NoPermission")
    return MakeProblem(ProblemId::kVcenterReadOnlyAccount, why);
  if (absl::IsUnauthenticated(status)) return MakeProblem(ProblemId::kVcenterLogin, why);
  if (absl::IsPermissionDenied(status)) return MakeProblem(ProblemId::kVcenterCertificate, why);
  if (!IsReached(status)) return MakeProblem(ProblemId::kVcenterDisconnected, why);
  return MakeProblem(move.kind == VmMove::Kind::kTurnOn ? ProblemId::kVmPowerOnFailed
                                                        : ProblemId::kVsphereTaskFailed,
                     why);
}

}  // namespace

class VmMover::Run {
 public:
  Run(VmMover* mover, std::string machine_id, VmMove move)
      : mover_(*mover), machine_id_(std::move(machine_id)), move_(std::move(move)) {
    result_ = StepResult::Wait(absl::StrCat("vCenter ", move_.vcenter));
    thread_ = std::thread([this] { Work(); });
  }
  ~Run() {
    RequestStop();
    thread_.join();
  }

  // Begins no further step; one that the vCenter is at work on is waited for, so that another move
  // does not look at VMs that are about to change.
  void RequestEnd() {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  // Waits for nothing.
  void RequestStop() {
    RequestEnd();
    cancelled_ = true;
  }
  bool ended() const {
    absl::MutexLock lock(&mutex_);
    return ended_;
  }
  const VmMove& move() const { return move_; }
  StepResult result() const {
    absl::MutexLock lock(&mutex_);
    return result_;
  }

 private:
  void Work() {
    const Clock& clock = mover_.clock_;
    absl::Duration retry = kStepRetryFirst, last_reached = clock.Monotonic();
    int faults = 0;
    while (true) {
      const absl::Status tried = Try();
      if (tried.ok()) {
        if (removed_.has_value()) AwaitForgotten(*removed_);
        return End(StepResult::Done());
      }
      if (IsReached(tried)) last_reached = clock.Monotonic();
      faults = IsReached(tried) && !absl::IsAborted(tried) ? faults + 1 : 0;
      // A VM of which nobody knows whether it was started is not given up: it may run. One that
      // was the machine before may.
      const bool lost = clock.Monotonic() - last_reached > mover_.patience_.unreachable &&
                        (move_.kind != VmMove::Kind::kTurnOn || move_.only_power);
      const types::v1::Problem problem = Explain(move_, tried);
      LogWarn("vm.move_failed", {{"machine", machine_id_}, {"error", tried}});
      if (!move_.for_ever && (IsFinal(tried) || lost || faults >= mover_.patience_.faults))
        return End(StepResult::Fail(problem));
      Say(problem.message());
      if (!Pause(retry)) return End(StepResult::Wait("it was ended"));
      retry = std::min(retry * 2, kStepRetryMax);
    }
  }
  void End(StepResult result) {
    absl::MutexLock lock(&mutex_);
    result_ = std::move(result);
    ended_ = true;
  }
  void Say(const std::string& detail) {
    absl::MutexLock lock(&mutex_);
    result_ = StepResult::Wait(detail);
  }
  // False when it is to end.
  bool Pause(absl::Duration time) {
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&stopping_), time);
    return !stopping_;
  }

  // From the VMs as they are to the goal, or to what keeps them from it.
  absl::Status Try() {
    const std::map<std::string, VcenterState> states = mover_.States();
    const auto state = states.find(move_.vcenter);
    if (state == states.end())
      return absl::UnavailableError(absl::StrCat("vCenter ", move_.vcenter, " is not known"));
    // What is not in an inventory that was not read yet may be there all the same.
    if (state->second.link != VcenterState::Link::kConnected) {
      return absl::UnavailableError(absl::StrCat(
          "vCenter ", move_.vcenter, " is not reached: ", state->second.error.message()));
    }
    const std::vector<FoundVm> vms = CandidatesFor(states, move_.vm);
    const std::vector<FoundVm> targets = CandidatesFor(states, move_.master_target);
    HW_ASSIGN_OR_RETURN(const vsphere::Endpoint endpoint,
                        mover_.inventories_.EndpointOf(move_.vcenter));
    vsphere::CallLimit limit;
    limit.cancelled = &cancelled_;
    HW_ASSIGN_OR_RETURN(const std::unique_ptr<vsphere::Session> session,
                        vsphere::Session::Open(endpoint, limit));
    // A VM that is powered on or off is nobody else's matter, and takes long.
    const bool both = move_.kind != VmMove::Kind::kTurnOff && move_.kind != VmMove::Kind::kTurnOn;
    const std::string target_uuid = vsphere::PlainHex(move_.master_target.bios_uuid);
    if (both) mover_.Lock(target_uuid);
    const absl::Cleanup unlock = [&] {
      if (both) mover_.Unlock(target_uuid);
    };
    // What an earlier process began may come about yet, and what it changes is to be seen.
    HW_ASSIGN_OR_RETURN(const bool at_work,
                        vsphere::IsAtWork(*session, Known(VmsOf(move_, vms, targets)), limit));
    if (at_work) return absl::AbortedError("the vCenter is at work on the VM");
    for (int steps = 0; steps < kStepsMax; ++steps) {
      if (!Pause(absl::ZeroDuration())) return absl::CancelledError("another move is wanted");
      Fresh fresh;
      HW_RETURN_IF_ERROR(ReadFresh(*session, move_.vcenter, vms, targets, limit, &fresh));
      const MoveVms now = VmsOf(move_, fresh.vms, fresh.targets);
      const VmStep step = NextStep(move_, now);
      if (step.kind == VmStep::Kind::kReached)
        return move_.folder.empty() ? absl::OkStatus() : RemoveFolder(*session, states, limit);
      if (step.kind == VmStep::Kind::kRefused)
        return ToStatus(step.problem, absl::StatusCode::kFailedPrecondition);
      const bool of_target = step.kind == VmStep::Kind::kChangeMasterTarget;
      const std::optional<FoundVm>& which = of_target ? now.master_target : now.vm;
      const std::string what = absl::StrCat(which.has_value() ? which->vm->name : move_.create.name,
                                            ": ", NameOf(step.kind));
      Say(what);
      LogInfo("vm.step", {{"machine", machine_id_}, {"step", what}});
      HW_RETURN_IF_ERROR(Annotate(step.kind == VmStep::Kind::kCreateVm
                                      ? Create(*session, *now.master_target, limit)
                                      : Perform(*session, which->ref, step, limit),
                                  what));
      if (step.kind == VmStep::Kind::kDestroyVm) removed_ = which->ref;
      // What it is called there is seen in the followed inventory, some time later.
      if (step.kind == VmStep::Kind::kCreateVm) return absl::OkStatus();
    }
    return absl::InternalError(
        "the VM does not stay as it is changed: somebody else changes it too");
  }

  // Until the followed inventory has no such VM any more, or for some seconds: the next request is
  // answered from that, and would find its name taken.
  void AwaitForgotten(const vsphere::Ref& vm) {
    for (int looks = 0; looks < kForgottenLooks; ++looks) {
      const std::map<std::string, VcenterState> states = mover_.States();
      const auto state = states.find(move_.vcenter);
      if (state == states.end() || state->second.inventory->vms.count(vm) == 0 ||
          !Pause(kForgottenLook)) {
        return;
      }
    }
  }

  absl::Status Perform(vsphere::Session& session, const vsphere::Ref& vm, const VmStep& step,
                       const vsphere::CallLimit& limit) {
    absl::StatusOr<vsphere::Ref> task;
    switch (step.kind) {
      case VmStep::Kind::kShutDownGuest: {
        const absl::Status asked = vsphere::ShutDownGuest(session, vm, limit);
        if (asked.ok() && AwaitOff(session, vm, limit)) return absl::OkStatus();
        LogWarn("vm.guest_does_not_stop", {{"machine", machine_id_}, {"error", asked}});
        task = vsphere::BeginPowerOff(session, vm, limit);
        break;
      }
      case VmStep::Kind::kPowerOff:
        task = vsphere::BeginPowerOff(session, vm, limit);
        break;
      case VmStep::Kind::kPowerOn:
        task = vsphere::BeginPowerOn(session, vm, limit);
        break;
      case VmStep::Kind::kRemoveSnapshots:
        task = vsphere::BeginRemoveAllSnapshots(session, vm, limit);
        break;
      case VmStep::Kind::kDestroyVm:
        task = vsphere::BeginDestroy(session, vm, limit);
        break;
      default:
        task = vsphere::BeginReconfigure(session, vm, step.change, limit);
    }
    return Await(session, task);
  }

  absl::Status Await(vsphere::Session& session, const absl::StatusOr<vsphere::Ref>& task) {
    HW_RETURN_IF_ERROR(task.status());
    return vsphere::AwaitTask(session, *task, mover_.patience_.task, nullptr, &cancelled_).status();
  }

  // On the master target's host, in its datacenter's folder of VMs.
  absl::Status Create(vsphere::Session& session, const FoundVm& target,
                      const vsphere::CallLimit& limit) {
    const vsphere::Inventory& inventory = *target.state->inventory;
    const vsphere::Vm& beside = *target.vm;
    const auto host = inventory.hosts.find(beside.host);
    const auto datacenter = inventory.DatacenterOf(beside);
    const auto compute = host == inventory.hosts.end()
                             ? inventory.folders.end()
                             : inventory.folders.find(host->second.parent);
    const auto top =
        datacenter.has_value() ? inventory.folders.find(*datacenter) : inventory.folders.end();
    if (compute == inventory.folders.end() || top == inventory.folders.end()) {
      return ToStatus(MakeProblem(ProblemId::kHostNotDiscovered,
                                  absl::StrCat("the inventory of ", move_.vcenter,
                                               " has no datacenter or no "
                                               "compute resource above the host of ",
                                               beside.name)),
                      absl::StatusCode::kFailedPrecondition);
    }
    const vsphere::VmPlace place = {top->second.vm_folder, compute->second.resource_pool,
                                    beside.host};
    return Await(session, vsphere::BeginCreateVm(session, place, move_.create, limit));
  }

  // Of a VM that is gone: in the datacenter of the datastore that it was made on.
  absl::Status RemoveFolder(vsphere::Session& session,
                            const std::map<std::string, VcenterState>& states,
                            const vsphere::CallLimit& limit) {
    const vsphere::Inventory& inventory = *states.at(move_.vcenter).inventory;
    std::set<vsphere::Ref> datacenters;
    const auto path = vsphere::SplitDatastorePath(move_.folder);
    for (const auto& [ref, datastore] : inventory.datastores) {
      const auto its = inventory.DatacenterOf(datastore.parent);
      if (path.has_value() && datastore.name == path->first && its.has_value())
        datacenters.insert(*its);
    }
    const VmSearch target = FindOne(states, move_.master_target);
    if (target.found.has_value() && datacenters.size() > 1) {
      const auto its = target.found->state->inventory->DatacenterOf(*target.found->vm);
      if (its.has_value()) datacenters = {*its};
    }
    // Only files are left, and nobody knows where: the operator is told, and the undoing ends.
    if (datacenters.size() != 1) {
      LogWarn("vm.folder_is_left", {{"machine", machine_id_}, {"folder", move_.folder}});
      return absl::OkStatus();
    }
    const absl::Status removed = Await(
        session, vsphere::BeginDeleteFile(session, move_.folder, *datacenters.begin(), limit));
    return absl::IsNotFound(removed) ? absl::OkStatus() : removed;
  }

  // False when the guest takes too long, or cannot be looked at.
  bool AwaitOff(vsphere::Session& session, const vsphere::Ref& vm,
                const vsphere::CallLimit& limit) {
    const absl::Duration end = mover_.clock_.Monotonic() + mover_.patience_.guest;
    while (mover_.clock_.Monotonic() < end) {
      vsphere::Inventory now;
      if (!vsphere::ReadObjects(session, {vm}, limit, &now).ok()) return false;
      if (now.vms.count(vm) == 0 || now.vms[vm].off()) return true;
      if (!Pause(kGuestLook)) return true;
    }
    return false;
  }

  VmMover& mover_;
  const std::string machine_id_;
  const VmMove move_;
  std::optional<vsphere::Ref> removed_;  // the thread's: a VM that was there when this began
  std::atomic<bool> cancelled_ = false;
  mutable absl::Mutex mutex_;
  StepResult result_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

VmMover::VmMover(const Clock& clock, Inventories* inventories, Patience patience)
    : clock_(clock), inventories_(*inventories), patience_(patience) {}

VmMover::~VmMover() {
  std::map<std::string, std::unique_ptr<Run>> runs;
  {
    absl::MutexLock lock(&mutex_);
    runs.swap(runs_);
  }
  for (auto& [machine, run] : runs) run->RequestStop();
}

StepResult VmMover::Move(const std::string& machine_id, const VmMove& move) {
  absl::MutexLock lock(&mutex_);
  const auto it = runs_.find(machine_id);
  if (it != runs_.end() && it->second->move() == move) return it->second->result();
  if (it != runs_.end() && !it->second->ended()) {
    it->second->RequestEnd();
    return StepResult::Wait("the step before to end");
  }
  const auto busy = std::count_if(runs_.begin(), runs_.end(),
                                  [](const auto& run) { return !run.second->ended(); });
  if (busy >= kMovesMax)
    return StepResult::Wait(absl::StrCat(busy, " other machines' VMs are worked on"));
  std::unique_ptr<Run>& run = runs_[machine_id];
  run = std::make_unique<Run>(this, machine_id, move);
  return run->result();
}

void VmMover::Lock(const std::string& vm) {
  absl::MutexLock lock(&mutex_);
  const auto is_free = [&]()
                           ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return locked_.count(vm) == 0; };
  mutex_.Await(absl::Condition(&is_free));
  locked_.insert(vm);
}

void VmMover::Unlock(const std::string& vm) {
  absl::MutexLock lock(&mutex_);
  locked_.erase(vm);
}

}  // namespace homeward
