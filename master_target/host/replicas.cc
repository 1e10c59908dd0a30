#include "master_target/host/replicas.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace homeward {
namespace {

constexpr char kNotOurs[] = " (not among this master target's)";

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

absl::StatusOr<HostedInbox> Replicas::Find(const std::string& machine_id) const {
  absl::MutexLock lock(&mutex_);
  for (const auto& [id, replica] : replicas_) {
    if (replica->observed().machine_id() != machine_id) continue;
    HostedInbox inbox = replica->inbox();
    inbox.keep_alive = replica;
    return inbox;
  }
  return absl::UnavailableError(
      absl::StrCat("machine ", machine_id, " is not kept by this master target (yet)"));
}

void Replicas::Want(const control::v1::MasterTargetDesired& desired) {
  std::map<std::string, std::shared_ptr<HostedReplica>> next, ended;
  {
    absl::MutexLock lock(&mutex_);
    ended = replicas_;
  }
  for (const control::v1::Replica& wanted : desired.replicas()) {
    std::shared_ptr<HostedReplica>& replica = next[wanted.replica_id()];
    if (const auto it = ended.find(wanted.replica_id()); it != ended.end()) {
      replica = it->second;
      ended.erase(it);
    } else {
      replica = std::make_shared<HostedReplica>(
          runtime_, volumes_.attached, JoinPath(volumes_.retention_directory, wanted.replica_id()));
    }
    // Together they read no faster than one.
    ScrubPace pace = volumes_.scrub;
    pace.bytes_per_second /= static_cast<uint64_t>(desired.replicas_size());
    replica->Want(Known(wanted), pace);
  }
  for (const auto& [id, replica] : ended) replica->Retire();
  absl::MutexLock lock(&mutex_);
  replicas_ = std::move(next);
}

// A datastore or device that is not configured here is not there, whatever its path says.
control::v1::Replica Replicas::Known(control::v1::Replica wanted) const {
  for (std::string& device : *wanted.mutable_block_devices()) {
    if (!Contains(volumes_.block_devices, device)) absl::StrAppend(&device, kNotOurs);
  }
  if (wanted.block_devices().empty() && !Contains(volumes_.datastores, wanted.datastore()))
    wanted.set_datastore(absl::StrCat(wanted.datastore(), kNotOurs));
  return wanted;
}

std::vector<control::v1::ReplicaObserved> Replicas::observed() const {
  absl::MutexLock lock(&mutex_);
  std::vector<control::v1::ReplicaObserved> seen;
  for (const auto& [id, replica] : replicas_) seen.push_back(replica->observed());
  return seen;
}

}  // namespace homeward
