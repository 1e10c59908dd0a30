#include "common/replica/replicas.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace homeward {

absl::StatusOr<HostedInbox> Replicas::Find(const std::string& machine_id) const {
  absl::MutexLock lock(&mutex_);
  for (const auto& [id, replica] : replicas_) {
    if (replica->observed().machine_id() != machine_id) continue;
    HostedInbox inbox = replica->inbox();
    inbox.keep_alive = replica;
    return inbox;
  }
  return absl::UnavailableError(
      absl::StrCat("machine ", machine_id, " is not kept by this server (yet)"));
}

void Replicas::Want(const google::protobuf::RepeatedPtrField<control::v1::Replica>& desired) {
  std::map<std::string, std::shared_ptr<HostedReplica>> next, ended;
  {
    absl::MutexLock lock(&mutex_);
    ended = replicas_;
  }
  for (const control::v1::Replica& wanted : desired) {
    std::shared_ptr<HostedReplica>& replica = next[wanted.replica_id()];
    if (const auto it = ended.find(wanted.replica_id()); it != ended.end()) {
      replica = it->second;
      ended.erase(it);
    } else {
      replica = std::make_shared<HostedReplica>(
          runtime_, volumes_.backends,
          BackendParts{
              .files = runtime_.files,
              .retention_directory = JoinPath(volumes_.retention_directory, wanted.replica_id()),
              .datastores = volumes_.datastores,
              .block_devices = volumes_.block_devices,
              .attached = volumes_.attached,
              .make_strand = runtime_.make_strand});
    }
    // Together they read no faster than one.
    ScrubPace pace = volumes_.scrub;
    pace.bytes_per_second /= static_cast<uint64_t>(desired.size());
    replica->Want(wanted, pace);
  }
  for (const auto& [id, replica] : ended) replica->Retire();
  absl::MutexLock lock(&mutex_);
  replicas_ = std::move(next);
}

std::vector<control::v1::ReplicaObserved> Replicas::observed() const {
  absl::MutexLock lock(&mutex_);
  std::vector<control::v1::ReplicaObserved> seen;
  for (const auto& [id, replica] : replicas_) seen.push_back(replica->observed());
  return seen;
}

void MeasureReplicas(
    const google::protobuf::RepeatedPtrField<control::v1::ReplicaObserved>& replicas,
    Metrics* metrics) {
  for (const control::v1::ReplicaObserved& replica : replicas) {
    const Metrics::Labels labels = {{"machine", replica.machine_id()}};
    metrics->SetGauge("homeward_replica_points", "Recovery points of the replica", labels,
                      replica.points_size());
    metrics->SetGauge("homeward_replica_journal_bytes",
                      "What the recovery points take beside the replica, in bytes", labels,
                      static_cast<double>(replica.journal_bytes()));
    metrics->SetCounter("homeward_replica_received_bytes_total",
                        "What the server has received for the replica since it began, in bytes",
                        labels, static_cast<double>(replica.received_bytes()));
  }
}

}  // namespace homeward
