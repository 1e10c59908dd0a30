// Replicas: all replicas on this host, as the configuration server wants them.
#ifndef HOMEWARD_COMMON_REPLICA_REPLICAS_H_
#define HOMEWARD_COMMON_REPLICA_REPLICAS_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/metrics/metrics.h"
#include "common/replica/hosted_replica.h"

namespace homeward {

// Thread-safe.
class Replicas {
 public:
  struct Volumes {
    std::string retention_directory;
    std::vector<std::string> datastores = {};
    std::vector<std::string> block_devices = {};
    ScrubPace scrub = {};               // of all replicas together
    AttachedDisks* attached = nullptr;  // outlives it; null where no disk can be attached
    BackendTable backends = {};         // what a replica can be kept in here
  };
  Replicas(StreamRuntime runtime, Volumes volumes)
      : runtime_(std::move(runtime)), volumes_(std::move(volumes)) {}

  // One call at a time. What is not desired any more is closed and left as it is.
  void Want(const google::protobuf::RepeatedPtrField<control::v1::Replica>& desired);
  std::vector<control::v1::ReplicaObserved> observed() const;
  // Where the machine's stream goes. UNAVAILABLE: it is not kept here (yet).
  absl::StatusOr<HostedInbox> Find(const std::string& machine_id) const;

 private:
  const StreamRuntime runtime_;
  const Volumes volumes_;
  mutable absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<HostedReplica>> replicas_ ABSL_GUARDED_BY(mutex_);
};

// What of replicas is worth a metric.
void MeasureReplicas(
    const google::protobuf::RepeatedPtrField<control::v1::ReplicaObserved>& replicas,
    Metrics* metrics);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_REPLICA_REPLICAS_H_
