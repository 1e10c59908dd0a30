// What of a replica is kept in the metadata of its page blobs: docs/formats/page_blob_replica.md.
#ifndef HOMEWARD_PROCESS_SERVER_AZURE_REPLICA_METADATA_H_
#define HOMEWARD_PROCESS_SERVER_AZURE_REPLICA_METADATA_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "common/azure/page_blobs.h"
#include "common/replica/replica_store.h"

namespace homeward {

inline constexpr uint64_t kReplicaFormat = 1;

// Of each blob of a replica, from its beginning to its end.
struct DiskTag {
  std::string machine_id;
  std::string disk_uuid;
};

// Of the first blob: where the replica is.
struct ReplicaTag {
  std::string replica_id;  // empty: of none, it was only made
  StreamState state = {};
  std::string recovered_point = {};  // empty: it follows its stream
  uint64_t opened = 0;               // how often a process server took it
  uint64_t written_bytes = 0;        // since the newest point
  uint64_t oldest = 0;               // points with a smaller number were dropped
};

// Of the snapshots of one point.
struct PointTag {
  std::string replica_id;
  ReplicaPoint point = {};
  StreamState state = {};
  uint64_t written_bytes = 0;  // between the point before and this one
};

azure::Metadata Encode(const DiskTag& disk);
azure::Metadata Encode(const DiskTag& disk, const ReplicaTag& replica);
azure::Metadata Encode(const DiskTag& disk, const PointTag& point);

// FAILED_PRECONDITION: it is not Homeward's, or of a format that this version does not know.
// DATA_LOSS: a value is missing or is none. The message says which.
absl::StatusOr<DiskTag> DecodeDisk(const azure::Metadata& metadata);
absl::StatusOr<ReplicaTag> DecodeReplica(const azure::Metadata& metadata);
absl::StatusOr<PointTag> DecodePoint(const azure::Metadata& metadata);

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_AZURE_REPLICA_METADATA_H_
