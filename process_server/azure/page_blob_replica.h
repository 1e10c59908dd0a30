// What page blobs hold of a machine's replica, and whose it is. Format:
// docs/formats/page_blob_replica.md.
#ifndef HOMEWARD_PROCESS_SERVER_AZURE_PAGE_BLOB_REPLICA_H_
#define HOMEWARD_PROCESS_SERVER_AZURE_PAGE_BLOB_REPLICA_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "common/azure/page_blobs.h"
#include "common/replica/replica_store.h"
#include "process_server/azure/replica_metadata.h"

namespace homeward {

struct PageBlobReplica {
  struct Disk {
    std::string blob;
    uint64_t bytes = 0;  // of the machine's disk
    std::string uuid;    // 32 hex digits
  };
  std::string container_url;
  std::string host_id;  // of this process server
  std::string machine_id;
  std::string replica_id;
  uint64_t generation = 0;
  std::vector<Disk> disks = {};  // in stream order, at least one
  // Where nothing changed for so long, whoever has it is dead; who lives changes something three
  // times as often.
  absl::Duration dead_after = absl::Minutes(2);
  // Of one delivery; some are under way at a time.
  uint64_t delivery_bytes = 4 * kMiB;
};

// With the footer.
uint64_t BlobBytes(const PageBlobReplica::Disk& disk);

// What the container has of a replica.
struct PageBlobContents {
  // A point that is whole, beside its ReplicaPoint.
  struct Snapshots {
    std::vector<std::string> ids;  // of each disk
    StreamState state;
    uint64_t written_bytes = 0;  // from the point before to this one
  };
  // A snapshot of a point, by the point's number.
  struct Part {
    uint64_t number = 0;
    azure::BlobProperties snapshot;
  };
  std::vector<absl::optional<azure::BlobProperties>> blobs;  // by disk
  std::vector<ReplicaPoint> points;                          // whole ones, oldest first
  std::vector<Snapshots> snapshots;                          // of points
  std::vector<azure::BlobProperties> orphans;                // snapshots of anything else
  std::vector<Part> parts;  // snapshots of points that are not whole
  uint64_t newest = 0;      // number of any point, also of these
};

// Errors as PageBlobStore's; DATA_LOSS names the snapshot whose metadata somebody changed.
absl::StatusOr<PageBlobContents> ListReplica(azure::PageBlobs& blobs,
                                             const PageBlobReplica& replica);

// The first one last: who takes it takes the others. As far as it can.
void ReleaseLeases(azure::PageBlobs& blobs, const PageBlobReplica& replica,
                   const std::string& lease_id);

// CANCELLED: another has it.
absl::Status LostTo(const std::string& whom);

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_AZURE_PAGE_BLOB_REPLICA_H_
