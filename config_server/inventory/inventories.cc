#include "config_server/inventory/inventories.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/log/log.h"
#include "common/problem/problem.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/vsphere/follower.h"
#include "common/vsphere/operations.h"

namespace homeward {
namespace {

constexpr absl::Duration kPatience =
    absl::Seconds(20);  // of one wait; it tells of a change at once
constexpr absl::Duration kConnectRetryFirst = absl::Seconds(1);
constexpr absl::Duration kConnectRetryMax = absl::Seconds(30);

}  // namespace

class Inventories::Watch {
 public:
  Watch(const Clock& clock, std::string name, vsphere::Endpoint endpoint)
      : clock_(clock), name_(std::move(name)), endpoint_(std::move(endpoint)) {
    state_.since = clock_.Now();
    state_.inventory = std::make_shared<vsphere::Inventory>();
    thread_ = std::thread([this] { Run(); });
  }
  ~Watch() {
    RequestStop();
    thread_.join();
  }

  void RequestStop() {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    cancelled_ = true;
  }
  // The thread has nothing left to do.
  bool ended() const {
    absl::MutexLock lock(&mutex_);
    return ended_;
  }

  void Refresh() {
    absl::MutexLock lock(&mutex_);
    refresh_ = true;
    cancelled_ = true;  // A wait under way returns.
  }
  const vsphere::Endpoint& endpoint() const { return endpoint_; }
  VcenterState state() const {
    absl::MutexLock lock(&mutex_);
    VcenterState state = state_;
    // Stale does not last: told when it is asked for, as nothing happens at that moment.
    if (state.link == VcenterState::Link::kStale && clock_.Now() - state.as_of > kStaleFor) {
      state.link = VcenterState::Link::kDisconnected;
      state.since = state.as_of + kStaleFor;
    }
    return state;
  }

 private:
  void Run() {
    absl::Duration retry = kConnectRetryFirst;
    while (true) {
      const absl::Status ended = Follow(&retry);
      if (!Pause(ended, retry)) return;
      retry = std::min(retry * 2, kConnectRetryMax);
    }
  }
  // Until a failure, or something wants to be done.
  absl::Status Follow(absl::Duration* retry) {
    vsphere::CallLimit limit;
    limit.cancelled = &cancelled_;
    HW_ASSIGN_OR_RETURN(const std::unique_ptr<vsphere::Session> session,
                        vsphere::Session::Open(endpoint_, limit));
    vsphere::Follower follower(*session);
    bool began_anew = false;
    while (true) {
      const absl::StatusOr<bool> changed = follower.Wait(kPatience, &cancelled_);
      // The session is another: it begins anew. A server that ends each at once is left alone.
      if (absl::IsAborted(changed.status()) && !std::exchange(began_anew, true)) continue;
      HW_RETURN_IF_ERROR(changed.status());
      began_anew = false;
      *retry = kConnectRetryFirst;
      NoteConnected(*changed ? std::make_shared<vsphere::Inventory>(follower.inventory())
                             : nullptr);
    }
  }
  void NoteConnected(std::shared_ptr<const vsphere::Inventory> inventory) {
    absl::MutexLock lock(&mutex_);
    const absl::Time now = clock_.Now();
    if (state_.link != VcenterState::Link::kConnected) {
      LogInfo("vcenter.connected", {{"vcenter", name_}});
      state_.link = VcenterState::Link::kConnected;
      state_.since = now;
    }
    state_.error = absl::OkStatus();
    state_.as_of = now;
    if (inventory != nullptr) state_.inventory = std::move(inventory);
  }
  // False when it is to end.
  bool Pause(const absl::Status& ended, absl::Duration retry) {
    absl::MutexLock lock(&mutex_);
    if (stopping_) return End();
    if (!refresh_) {
      if (state_.link == VcenterState::Link::kConnected) {
        LogWarn("vcenter.lost", {{"vcenter", name_}, {"error", ended}});
        state_.link = VcenterState::Link::kStale;
        state_.since = clock_.Now();
      }
      state_.error = ended;
      const auto wanted = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return stopping_ || refresh_;
      };
      mutex_.AwaitWithTimeout(absl::Condition(&wanted), retry);
    }
    refresh_ = false;
    if (stopping_) return End();
    cancelled_ = false;
    return true;
  }
  bool End() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    ended_ = true;
    return false;
  }

  const Clock& clock_;
  const std::string name_;
  const vsphere::Endpoint endpoint_;
  std::atomic<bool> cancelled_ = false;
  mutable absl::Mutex mutex_;
  VcenterState state_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool refresh_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

Inventories::Inventories(const Clock& clock) : clock_(clock) {}

Inventories::~Inventories() = default;

void Inventories::Follow(const std::string& name, vsphere::Endpoint endpoint) {
  auto watch = std::make_unique<Watch>(clock_, name, std::move(endpoint));
  absl::MutexLock lock(&mutex_);
  watches_[name] = std::move(watch);
}

void Inventories::Forget(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  ending_.remove_if([](const std::unique_ptr<Watch>& watch) { return watch->ended(); });
  const auto it = watches_.find(name);
  if (it == watches_.end()) return;
  it->second->RequestStop();
  ending_.push_back(std::move(it->second));
  watches_.erase(it);
}

void Inventories::Refresh(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  const auto it = watches_.find(name);
  if (it != watches_.end()) it->second->Refresh();
}

absl::StatusOr<vsphere::Endpoint> Inventories::EndpointOf(const std::string& name) const {
  absl::MutexLock lock(&mutex_);
  const auto it = watches_.find(name);
  if (it == watches_.end())
    return absl::NotFoundError(absl::StrCat("there is no vCenter named ", name));
  return it->second->endpoint();
}

std::map<std::string, VcenterState> Inventories::States() const {
  absl::MutexLock lock(&mutex_);
  std::map<std::string, VcenterState> states;
  for (const auto& [name, watch] : watches_) states.emplace(name, watch->state());
  return states;
}

absl::StatusOr<std::string> ProbeVcenter(const vsphere::Endpoint& endpoint) {
  const auto refuse = [](ProblemId id, absl::string_view why) {
    return ToStatus(MakeProblem(id, std::string(why)), absl::StatusCode::kFailedPrecondition);
  };
  if (endpoint.thumbprint.empty() && endpoint.trusted.empty()) {
    const absl::StatusOr<std::string> shown =
        vsphere::ShownThumbprint(endpoint.address, endpoint.proxy);
    if (!shown.ok()) return refuse(ProblemId::kVcenterDisconnected, shown.status().message());
    return refuse(ProblemId::kVcenterCertificate,
                  absl::StrCat(FormatHostPort(endpoint.address),
                               " shows a certificate with the SHA-256 thumbprint ", *shown));
  }
  const absl::StatusOr<std::unique_ptr<vsphere::Session>> session =
      vsphere::Session::Open(endpoint);
  if (!session.ok()) {
    return refuse(absl::IsUnauthenticated(session.status())    ? ProblemId::kVcenterLogin
                  : absl::IsPermissionDenied(session.status()) ? ProblemId::kVcenterCertificate
                                                               : ProblemId::kVcenterDisconnected,
                  session.status().message());
  }
  const absl::StatusOr<std::vector<std::string>> missing =
      vsphere::MissingPrivileges(**session, {(*session)->content().root_folder});
  if (!missing.ok()) return refuse(ProblemId::kVcenterDisconnected, missing.status().message());
  if (!missing->empty()) {
    return refuse(ProblemId::kVcenterReadOnlyAccount,
                  absl::StrCat(endpoint.user, " lacks ", absl::StrJoin(*missing, ", ")));
  }
  return (*session)->content().instance_uuid;
}

}  // namespace homeward
