#include "config_server/inventory/cloud_mover.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/exec/thread_name.h"
#include "common/log/log.h"
#include "common/problem/problem.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "config_server/model/cloud_plan.h"

namespace homeward {
namespace {

using StepKind = CloudStep::Kind;

// With what is made anew because it failed. A move that goes round in circles must end.
int StepsMax(const CloudMove& move) { return 10 + 4 * static_cast<int>(move.disks.size()); }

// Trying again soon does not help: it is refused, there is no capacity or no quota, or Azure does
// not take it as it is.
bool IsFinalInAzure(const absl::Status& status) {
  const std::optional<types::v1::Problem> refusal = ProblemOf(status);
  return (refusal.has_value() && !refusal->retryable()) || absl::IsUnauthenticated(status) ||
         absl::IsPermissionDenied(status) || absl::IsInvalidArgument(status) ||
         (absl::IsResourceExhausted(status) && !azure::IsThrottled(status));
}

// The name of the VM with that id; of one in another resource group its id.
std::string UserOf(const std::string& vm_id, const std::string& own_id, const CloudMove& move,
                   bool own_is_there) {
  if (vm_id.empty()) return "";
  if (!azure::SameResource(vm_id, own_id)) return vm_id;
  // Azure forgets some time later that a VM which is gone had it.
  return own_is_there ? move.vm : "";
}

// NOT_FOUND is nothing: with its resource group goes all that was in it. A subscription that is not
// found may only be out of sight.
template <typename Out>
absl::Status Find(absl::StatusOr<Out> read, std::optional<Out>* out) {
  if (absl::IsNotFound(read.status()) &&
      azure::AzureErrorOf(read.status()) != "SubscriptionNotFound")
    return absl::OkStatus();
  HW_RETURN_IF_ERROR(read.status());
  *out = *std::move(read);
  return absl::OkStatus();
}

absl::StatusOr<CloudSeen> Look(azure::Arm& arm, const CloudMove& move, const azure::ArmCall& call) {
  CloudSeen seen;
  const std::string& group = move.resource_group;
  const std::string own_id = arm.VmId(group, move.vm);
  std::optional<azure::Vm> vm;
  HW_RETURN_IF_ERROR(Find(arm.GetVm(group, move.vm, call), &vm));
  if (vm.has_value()) {
    std::optional<azure::VmInstance> view;
    HW_RETURN_IF_ERROR(Find(arm.InstanceView(group, move.vm, call), &view));
    if (!view.has_value()) return absl::AbortedError(absl::StrCat("VM ", move.vm, " went away"));
    seen.vm.emplace();
    seen.vm->tags = vm->tags;
    seen.vm->provisioning = vm->provisioning_state;
    // The view is the newer one.
    if (absl::StartsWithIgnoreCase(view->provisioning_state, "updating"))
      seen.vm->provisioning = "Updating";
    seen.vm->power = view->power == "unknown" ? "" : view->power;
  }
  if (!move.nic.empty()) {
    std::optional<azure::Interface> nic;
    HW_RETURN_IF_ERROR(Find(arm.GetInterface(group, move.nic, call), &nic));
    if (nic.has_value())
      seen.nic = {nic->tags, nic->provisioning_state,
                  UserOf(nic->vm, own_id, move, vm.has_value())};
  }
  for (const CloudMove::Disk& wanted : move.disks) {
    std::optional<azure::Disk> disk;
    HW_RETURN_IF_ERROR(Find(arm.GetDisk(group, wanted.name, call), &disk));
    std::optional<CloudSeen::Resource>& out = seen.disks.emplace_back();
    if (disk.has_value())
      out = {disk->tags, disk->provisioning_state,
             UserOf(disk->managed_by, own_id, move, vm.has_value())};
  }
  return seen;
}

const char* NameOf(types::v1::OsType os) { return os == types::v1::WINDOWS ? "Windows" : "Linux"; }

absl::Status CreateDisk(azure::Arm& arm, const CloudMove& move, size_t index,
                        const std::string& storage_account, const CloudTags& ours,
                        const azure::ArmCall& call) {
  azure::DiskSpec spec;
  spec.region = move.region;
  spec.source_uri = move.disks[index].source_url;
  spec.storage_account_id = storage_account;
  spec.tags = ours;
  if (index == 0) {
    spec.os_type = NameOf(move.os_type);
    spec.generation = move.uefi ? "V2" : "V1";
  }
  return arm.PutDisk(move.resource_group, move.disks[index].name, spec, call).status();
}

// All that are not there, at once: Azure takes its time for each.
absl::Status CreateDisks(azure::Arm& arm, const CloudMove& move, const CloudSeen& seen,
                         const std::string& storage_account, const CloudTags& ours,
                         const azure::ArmCall& call) {
  std::vector<absl::Status> created(move.disks.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < move.disks.size(); ++i) {
    if (seen.disks[i].has_value()) continue;
    threads.emplace_back(
        [&, i] { created[i] = CreateDisk(arm, move, i, storage_account, ours, call); });
    NameThread(&threads.back(), "azure-import");
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : created) HW_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

absl::Status CreateNic(azure::Arm& arm, const CloudMove& move, const CloudTags& ours,
                       const azure::ArmCall& call) {
  azure::InterfaceSpec spec;
  spec.region = move.region;
  spec.subnet = move.subnet;
  spec.tags = ours;
  return arm.PutInterface(move.resource_group, move.nic, spec, call).status();
}

absl::Status CreateVm(azure::Arm& arm, const CloudMove& move, const CloudTags& ours,
                      const azure::ArmCall& call) {
  const std::string& group = move.resource_group;
  azure::VmSpec spec;
  spec.region = move.region;
  spec.size = move.size;
  spec.os_type = NameOf(move.os_type);
  for (const CloudMove::Disk& disk : move.disks)
    spec.data_disks.push_back(arm.DiskId(group, disk.name));
  if (spec.data_disks.empty())
    return absl::InternalError(absl::StrCat("VM ", move.vm, " is to be made of no disk"));
  spec.os_disk = spec.data_disks.front();
  spec.data_disks.erase(spec.data_disks.begin());
  spec.interfaces = {arm.InterfaceId(group, move.nic)};
  spec.tags = ours;
  return arm.PutVm(group, move.vm, spec, call).status();
}

}  // namespace

class CloudMover::Run {
 public:
  Run(CloudMover* mover, std::string machine_id, CloudMove move)
      : mover_(*mover), machine_id_(std::move(machine_id)), move_(std::move(move)) {
    result_ = StepResult::Wait(absl::StrCat("Azure site ", move_.site));
    thread_ = std::thread([this] { Work(); });
    NameThread(&thread_, "azure-move");
  }
  ~Run() {
    RequestStop();
    thread_.join();
  }

  // Begins no further step, and waits for no operation of Azure. A request that is under way is
  // answered first, so that another move sees what it did.
  void RequestEnd() {
    stop_ = true;
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  // Waits for nothing.
  void RequestStop() {
    RequestEnd();
    cut_ = true;
  }
  bool ended() const {
    absl::MutexLock lock(&mutex_);
    return ended_;
  }
  // It asks something of Azure, or waits for what it asked; not for its next try.
  bool busy() const { return !resting_ && !ended(); }
  const CloudMove& move() const { return move_; }
  StepResult result() const {
    absl::MutexLock lock(&mutex_);
    return result_;
  }

 private:
  void Work() {
    const Clock& clock = mover_.clock_;
    const Patience& patience = mover_.patience_;
    absl::Duration retry = patience.retry_first;
    int faults = 0;
    while (true) {
      const absl::Status tried = Try();
      if (tried.ok()) return End(Reached());
      const bool reached = !IsOutOfReach(tried);
      if (reached && !absl::IsAborted(tried)) ++faults;
      if (reached) unreached_since_.reset();
      if (!reached && !unreached_since_.has_value()) unreached_since_ = clock.Monotonic();
      const bool lost = unreached_since_.has_value() &&
                        clock.Monotonic() - *unreached_since_ > patience.unreachable;
      const types::v1::Problem problem = ExplainAzure(tried);
      if (!Pause(absl::ZeroDuration())) return End(StepResult::Wait("it was ended"));
      LogWarn("azure.move_failed", {{"machine", machine_id_}, {"error", tried}});
      if (!move_.for_ever && (IsFinalInAzure(tried) || lost || faults >= patience.faults))
        return End(StepResult::Fail(problem));
      Say(problem.message());
      resting_ = true;
      const bool go_on = Pause(retry);
      resting_ = false;
      if (!go_on) return End(StepResult::Wait("it was ended"));
      retry = std::min(retry * 2, patience.retry_max);
    }
  }
  StepResult Reached() {
    StepResult done = StepResult::Done();
    done.kept = kept_;
    return done;
  }
  void End(StepResult result) {
    // Before anybody sees that it has ended.
    mover_.followers_.LookSoon(move_.site);
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
  azure::ArmCall Call() const {
    azure::ArmCall call;
    call.limit = mover_.patience_.operation;
    call.stop = &stop_;
    call.cut = &cut_;
    return call;
  }

  // From what is there to the goal, or to what keeps it from that.
  absl::Status Try() {
    // Holds it while it is used: the site may be forgotten meanwhile.
    const std::shared_ptr<AzureAccess> access = mover_.followers_.AccessOf(move_.site);
    if (access == nullptr) {
      return ToStatus(MakeProblem(ProblemId::kAzureSiteUnknown,
                                  absl::StrCat("there is no Azure site named ", move_.site)),
                      absl::StatusCode::kFailedPrecondition);
    }
    HW_ASSIGN_OR_RETURN(azure::Arm* const arm, access->ArmOf(move_.subscription));
    const CloudTags ours =
        TagsOf(mover_.followers_.config_server_id(), machine_id_, move_.generation);
    for (int steps = 0; steps < StepsMax(move_);) {
      if (!Pause(absl::ZeroDuration())) return absl::CancelledError("another move is wanted");
      HW_ASSIGN_OR_RETURN(const CloudSeen seen, Look(*arm, move_, Call()));
      const CloudStep step = NextStep(move_, ours, seen);
      if (step.kind == StepKind::kReached) {
        kept_ = step.kept;
        return absl::OkStatus();
      }
      if (step.kind == StepKind::kRefused)
        return ToStatus(step.problem, absl::StatusCode::kFailedPrecondition);
      const std::string what = Describe(move_, step);
      Say(what);
      if (step.kind == StepKind::kAwait) {
        unreached_since_.reset();
        if (!Pause(mover_.patience_.look)) return absl::CancelledError("another move is wanted");
        continue;
      }
      ++steps;
      LogInfo("azure.step", {{"machine", machine_id_}, {"step", what}});
      HW_RETURN_IF_ERROR(
          Annotate(Perform(*arm, step, seen, access->site().storage_account(), ours), what));
      // Not when it can be looked at: what is to be changed may be throttled all the same.
      unreached_since_.reset();
    }
    return absl::InternalError(absl::StrCat(
        "VM ", move_.vm, " does not stay as it is changed: somebody else changes it too"));
  }

  absl::Status Perform(azure::Arm& arm, const CloudStep& step, const CloudSeen& seen,
                       const std::string& storage_account, const CloudTags& ours) {
    const std::string& group = move_.resource_group;
    const azure::ArmCall call = Call();
    switch (step.kind) {
      case StepKind::kCreateDisk:
        return CreateDisks(arm, move_, seen, storage_account, ours, call);
      case StepKind::kCreateNic:
        return CreateNic(arm, move_, ours, call);
      case StepKind::kCreateVm:
        return CreateVm(arm, move_, ours, call);
      case StepKind::kPowerOff: {
        // Azure gives the guest its time. One that failed at that is not asked again.
        const absl::Status off = arm.PowerOff(group, move_.vm, guest_does_not_stop_, call);
        guest_does_not_stop_ |= absl::IsFailedPrecondition(off);
        return off;
      }
      case StepKind::kDeallocate:
        return arm.Deallocate(group, move_.vm, call);
      case StepKind::kStart:
        return arm.Start(group, move_.vm, call);
      case StepKind::kDeleteVm:
        return arm.DeleteVm(group, move_.vm, call);
      case StepKind::kDeleteNic:
        return arm.DeleteInterface(group, move_.nic, call);
      case StepKind::kDeleteDisk:
        return arm.DeleteDisk(group, move_.disks[step.disk].name, call);
      case StepKind::kReached:
      case StepKind::kRefused:
      case StepKind::kAwait:
        break;
    }
    return absl::InternalError("nothing is done for such a step");
  }

  CloudMover& mover_;
  const std::string machine_id_;
  const CloudMove move_;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> cut_ = false;
  // Touched by the thread only.
  std::optional<absl::Duration> unreached_since_;
  bool guest_does_not_stop_ = false;
  std::vector<std::string> kept_;
  mutable absl::Mutex mutex_;
  StepResult result_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> resting_ = false;
  std::thread thread_;
};

CloudMover::CloudMover(const Clock& clock, SiteFollowers* followers, Patience patience)
    : clock_(clock), followers_(*followers), patience_(patience) {}

CloudMover::~CloudMover() {
  std::map<std::string, std::unique_ptr<Run>> runs;
  {
    absl::MutexLock lock(&mutex_);
    runs.swap(runs_);
  }
  for (auto& [machine, run] : runs) run->RequestStop();
}

StepResult CloudMover::Do(const std::string& machine_id, const CloudMove& move) {
  absl::MutexLock lock(&mutex_);
  const auto it = runs_.find(machine_id);
  if (it != runs_.end() && it->second->move() == move) return it->second->result();
  if (it != runs_.end() && !it->second->ended()) {
    it->second->RequestEnd();
    return StepResult::Wait("the step before to end");
  }
  const auto busy =
      std::count_if(runs_.begin(), runs_.end(), [](const auto& run) { return run.second->busy(); });
  if (busy >= kMovesMax)
    return StepResult::Wait(absl::StrCat(busy, " other machines are worked on in Azure"));
  std::unique_ptr<Run>& run = runs_[machine_id];
  run = std::make_unique<Run>(this, machine_id, move);
  return run->result();
}

}  // namespace homeward
