#include "config_server/inventory/site_followers.h"

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/exec/thread_name.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"
#include "config_server/model/azure_record.h"
#include "config_server/model/cloud_plan.h"

namespace homeward {
namespace {

using storage::v1::AzureVm;

constexpr char kVmType[] = "Microsoft.Compute/virtualMachines";
// VMs of a look that Azure does not show; then the site is not reached.
constexpr int kOutOfReachMax = 3;

bool IsSame(const AzureVm& a, const AzureVm& b) {
  return a.SerializeAsString() == b.SerializeAsString();
}

}  // namespace

class SiteFollowers::Follower {
 public:
  Follower(const SiteFollowers& all, std::shared_ptr<AzureAccess> access,
           const std::optional<CloudState::Sizes>& seen)
      : clock_(all.clock_),
        config_server_id_(all.config_server_id_),
        rhythm_(all.rhythm_),
        access_(std::move(access)) {
    state_.site = access_->site();
    state_.since = clock_.Now();
    if (!seen.has_value()) return;
    state_.sizes = std::make_shared<CloudState::Sizes>(*seen);
    state_.link = CloudState::Link::kConnected;
    reached_ = state_.since;
  }
  ~Follower() {
    RequestStop();
    if (thread_.joinable()) thread_.join();
  }
  void Start() {
    thread_ = std::thread([this] { Run(); });
    NameThread(&thread_, "azure-look");
  }

  void RequestStop() {
    cancelled_ = true;
    access_->Stop();
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  // The thread has nothing left to do.
  bool ended() const {
    absl::MutexLock lock(&mutex_);
    return ended_;
  }

  const std::shared_ptr<AzureAccess>& access() const { return access_; }
  void Watch(const std::string& machine_id, const AzureVm& vm) {
    absl::MutexLock lock(&mutex_);
    watched_[machine_id] = vm;
    state_.vms.erase(machine_id);  // What is known is of another.
    soon_ = true;
  }
  void Unwatch(const std::string& machine_id) {
    absl::MutexLock lock(&mutex_);
    watched_.erase(machine_id);
    state_.vms.erase(machine_id);
  }
  void LookSoon() {
    absl::MutexLock lock(&mutex_);
    soon_ = true;
  }
  CloudState state() const {
    absl::MutexLock lock(&mutex_);
    CloudState state = state_;
    // Stale does not last: told when it is asked for, as nothing happens at that moment.
    if (state.link == CloudState::Link::kStale && clock_.Now() - reached_ > CloudState::kStaleFor) {
      state.link = CloudState::Link::kDisconnected;
      state.since = reached_ + CloudState::kStaleFor;
    }
    return state;
  }

 private:
  void Run() {
    absl::Duration retry = rhythm_.retry_first;
    while (true) {
      const absl::Status looked = Look();
      absl::Duration pause = retry;
      if (looked.ok()) {
        NoteReached();
        retry = rhythm_.retry_first;
        absl::MutexLock lock(&mutex_);
        pause = std::max(rhythm_.look, rhythm_.each_vm * static_cast<double>(watched_.size()));
      } else {
        retry = std::min(retry * 2, rhythm_.retry_max);
        NoteLost(looked);
      }
      absl::MutexLock lock(&mutex_);
      const auto wanted = [this]()
                              ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || soon_; };
      mutex_.AwaitWithTimeout(absl::Condition(&wanted), pause);
      soon_ = false;
      if (!stopping_) continue;
      ended_ = true;
      return;
    }
  }
  azure::ArmCall Call() const {
    azure::ArmCall call;
    call.stop = &cancelled_;
    return call;
  }

  absl::Status Look() {
    HW_RETURN_IF_ERROR(LookAtGroup());
    if (clock_.Monotonic() >= sizes_due_) HW_RETURN_IF_ERROR(NoteSizes());
    std::map<std::string, AzureVm> watched;
    {
      absl::MutexLock lock(&mutex_);
      watched = watched_;
    }
    int out_of_reach = 0;
    for (const auto& [machine_id, vm] : watched) {
      const absl::StatusOr<AzureVmState> seen = LookAt(machine_id, vm);
      if (cancelled_) return seen.status();
      // The group was just looked at: one VM that is not is no sign of the site.
      if (IsOutOfReach(seen.status()) && ++out_of_reach == kOutOfReachMax) return seen.status();
      Note(machine_id, vm, seen);
    }
    return absl::OkStatus();
  }

  // One that is not there is an answer: VMs that were in it are gone, and nothing can be made in
  // it.
  absl::Status LookAtGroup() {
    const std::string& group = access_->site().resource_group();
    const absl::Status seen = access_->arm().GetGroup(group, Call()).status();
    wrong_ = absl::OkStatus();
    if (azure::AzureErrorOf(seen) != "ResourceGroupNotFound") return seen;
    wrong_ = absl::NotFoundError(
        absl::StrCat("its resource group ", group, " is not there: ", seen.message()));
    return absl::OkStatus();
  }

  void Note(const std::string& machine_id, const AzureVm& vm,
            const absl::StatusOr<AzureVmState>& seen) {
    absl::MutexLock lock(&mutex_);
    const auto now = watched_.find(machine_id);
    if (now == watched_.end() || !IsSame(now->second, vm)) return;
    if (seen.ok()) {
      state_.vms[machine_id] = *seen;
    } else if (state_.vms.erase(machine_id) > 0) {
      // The others are known all the same.
      LogWarn("azure.vm_unknown", {{"machine", machine_id}, {"error", seen.status()}});
    }
  }

  absl::Status NoteSizes() {
    HW_ASSIGN_OR_RETURN(CloudState::Sizes sizes, ReadSizes(*access_, Call()));
    sizes_due_ = clock_.Monotonic() + rhythm_.sizes;
    absl::MutexLock lock(&mutex_);
    state_.sizes = std::make_shared<CloudState::Sizes>(std::move(sizes));
    return absl::OkStatus();
  }

  absl::StatusOr<AzureVmState> LookAt(const std::string& machine_id, const AzureVm& vm) {
    HW_ASSIGN_OR_RETURN(azure::Arm* const arm, access_->ArmOf(vm.subscription()));
    AzureVmState seen;
    seen.as_of = clock_.Now();
    const absl::StatusOr<azure::VmInstance> view =
        arm->InstanceView(vm.resource_group(), vm.name(), Call());
    if (view.ok()) {
      seen.exists = true;
      if (view->power != "unknown") seen.power = view->power;
      return seen;
    }
    // A subscription that is not found may only be out of sight.
    if (!absl::IsNotFound(view.status()) ||
        azure::AzureErrorOf(view.status()) == "SubscriptionNotFound")
      return view.status();
    HW_ASSIGN_OR_RETURN(seen.moved_to, FindMoved(*arm, machine_id, vm));
    return seen;
  }

  // Resource id of the VM, where it is now; empty: none that the application may see.
  absl::StatusOr<std::string> FindMoved(azure::Arm& arm, const std::string& machine_id,
                                        const AzureVm& vm) {
    const absl::StatusOr<std::vector<azure::AnyResource>> tagged =
        arm.ListTagged(kTagMachine, machine_id, Call());
    // Its role need not reach further than the resource group.
    if (absl::IsPermissionDenied(tagged.status())) return "";
    HW_RETURN_IF_ERROR(tagged.status());
    const CloudTags ours = TagsOf(config_server_id_, machine_id, vm.generation());
    for (const azure::AnyResource& resource : *tagged) {
      const bool has_all = std::all_of(ours.begin(), ours.end(), [&resource](const auto& wanted) {
        const auto tag = resource.tags.find(wanted.first);
        return tag != resource.tags.end() && tag->second == wanted.second;
      });
      if (has_all && absl::EqualsIgnoreCase(resource.type, kVmType) &&
          !azure::SameResource(resource.id, AzureVmId(vm)))
        return resource.id;
    }
    return "";
  }

  void NoteReached() {
    absl::MutexLock lock(&mutex_);
    reached_ = clock_.Now();
    if (!wrong_.ok() && state_.error.code() != wrong_.code())
      LogWarn("azure.wrong", {{"site", state_.site.name()}, {"error", wrong_}});
    state_.error = wrong_;
    if (state_.link == CloudState::Link::kConnected) return;
    LogInfo("azure.connected", {{"site", state_.site.name()}});
    state_.link = CloudState::Link::kConnected;
    state_.since = reached_;
  }
  void NoteLost(const absl::Status& why) {
    absl::MutexLock lock(&mutex_);
    if (stopping_) return;
    state_.error = why;
    if (state_.link != CloudState::Link::kConnected) return;
    LogWarn("azure.lost", {{"site", state_.site.name()}, {"error", why}});
    state_.link = CloudState::Link::kStale;
    state_.since = clock_.Now();
  }

  const Clock& clock_;
  const std::string config_server_id_;
  const Rhythm rhythm_;
  const std::shared_ptr<AzureAccess> access_;  // also of moves that are under way
  // Touched by the thread only.
  absl::Duration sizes_due_;
  absl::Status wrong_;  // with the site, which is reached
  std::atomic<bool> cancelled_ = false;
  mutable absl::Mutex mutex_;
  CloudState state_ ABSL_GUARDED_BY(mutex_);
  absl::Time reached_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::map<std::string, AzureVm> watched_ ABSL_GUARDED_BY(mutex_);
  bool soon_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

SiteFollowers::SiteFollowers(const Clock& clock, std::string config_server_id, Rhythm rhythm)
    : clock_(clock), config_server_id_(std::move(config_server_id)), rhythm_(rhythm) {}

SiteFollowers::~SiteFollowers() { Stop(); }

void SiteFollowers::Stop() {
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, follower] : followers_) follower->RequestStop();
}

void SiteFollowers::Follow(std::shared_ptr<AzureAccess> access,
                           const std::optional<CloudState::Sizes>& seen) {
  const std::string name = access->site().name();
  auto follower = std::make_unique<Follower>(*this, std::move(access), seen);
  absl::MutexLock lock(&mutex_);
  for (const auto& [machine_id, vm] : watched_) {
    if (vm.site() == name) follower->Watch(machine_id, vm);
  }
  follower->Start();
  followers_[name] = std::move(follower);
}

void SiteFollowers::Forget(const std::string& site) {
  absl::MutexLock lock(&mutex_);
  ending_.remove_if([](const std::unique_ptr<Follower>& follower) { return follower->ended(); });
  const auto it = followers_.find(site);
  if (it == followers_.end()) return;
  it->second->RequestStop();
  ending_.push_back(std::move(it->second));
  followers_.erase(it);
}

void SiteFollowers::Watch(const std::string& machine_id, const std::optional<AzureVm>& vm) {
  absl::MutexLock lock(&mutex_);
  const auto before = watched_.find(machine_id);
  if (before == watched_.end() ? !vm.has_value() : vm.has_value() && IsSame(before->second, *vm))
    return;
  if (before != watched_.end()) {
    const auto follower = followers_.find(before->second.site());
    if (follower != followers_.end()) follower->second->Unwatch(machine_id);
    watched_.erase(before);
  }
  if (!vm.has_value()) return;
  watched_[machine_id] = *vm;
  const auto follower = followers_.find(vm->site());
  if (follower != followers_.end()) follower->second->Watch(machine_id, *vm);
}

void SiteFollowers::LookSoon(const std::string& site) {
  absl::MutexLock lock(&mutex_);
  const auto it = followers_.find(site);
  if (it != followers_.end()) it->second->LookSoon();
}

std::shared_ptr<AzureAccess> SiteFollowers::AccessOf(const std::string& site) const {
  absl::MutexLock lock(&mutex_);
  const auto it = followers_.find(site);
  return it == followers_.end() ? nullptr : it->second->access();
}

std::map<std::string, CloudState> SiteFollowers::States() const {
  absl::MutexLock lock(&mutex_);
  std::map<std::string, CloudState> states;
  for (const auto& [name, follower] : followers_) states.emplace(name, follower->state());
  return states;
}

}  // namespace homeward
