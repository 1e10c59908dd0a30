// Taking a machine's page blobs for a replica: whoever had them before loses them.
#ifndef HOMEWARD_PROCESS_SERVER_AZURE_PAGE_BLOB_OPENING_H_
#define HOMEWARD_PROCESS_SERVER_AZURE_PAGE_BLOB_OPENING_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "common/azure/page_blobs.h"
#include "process_server/azure/page_blob_replica.h"
#include "process_server/azure/replica_metadata.h"

namespace homeward {

// What a process knows of who has the replica. Empty when it begins: then it takes it from whoever
// has it.
struct PageBlobClaim {
  std::string lease_id;  // of its last opening
  // The first blob as it was when another had it, and when this process saw it so first.
  std::string seen_etag = {};
  absl::Duration seen_at = {};
};

struct TakenPageBlobs {
  PageBlobContents contents;
  ReplicaTag tag;      // as it was written at the end of the opening
  std::string etag;    // of the first blob since then; empty: it was written to
  bool fresh = false;  // nothing was ever written to it: the disks read as zeroes
};

// As PageBlobStore::Open(). Each of its steps may be done again.
absl::StatusOr<TakenPageBlobs> TakePageBlobs(azure::PageBlobs& blobs,
                                             const PageBlobReplica& replica, absl::Duration now,
                                             PageBlobClaim* claim);

// Looks and takes nothing. None: another replica has taken the blobs, or had them and this one
// never did.
absl::StatusOr<absl::optional<PageBlobContents>> LookAtOwnPageBlobs(azure::PageBlobs& blobs,
                                                                    const PageBlobReplica& replica);

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_AZURE_PAGE_BLOB_OPENING_H_
