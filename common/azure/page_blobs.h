// PageBlobs: the page blobs of one container of Azure Blob storage.
#ifndef HOMEWARD_COMMON_AZURE_PAGE_BLOBS_H_
#define HOMEWARD_COMMON_AZURE_PAGE_BLOBS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/base/extent_set.h"
#include "common/base/pieces.h"

namespace homeward::azure {

// Azure's limits (Put Page, Put Blob, Setting and retrieving properties and metadata).
constexpr uint64_t kPageBytes = 512;
constexpr uint64_t kPutBytesMax = uint64_t{4} << 20;
constexpr uint64_t kPageBlobBytesMax = uint64_t{8} << 40;
constexpr uint64_t kMetadataBytesMax = 8 << 10;  // names and values together

// Names of lower-case letters, digits and '_', not beginning with a digit. Values of printable
// ASCII that neither begin nor end with a space, and are not empty. Anything else: in base64.
using Metadata = std::map<std::string, std::string>;

struct BlobProperties {
  std::string name;
  std::string snapshot;  // its id; empty: the blob itself
  uint64_t bytes = 0;
  std::string
      etag;  // as SetMetadata() takes it; each write, and each change of metadata, changes it
  Metadata metadata;
  bool leased = false;  // by anybody; of a snapshot false
};

// Offset and size in whole pages.
struct PageWrite {
  std::string blob;
  uint64_t offset = 0;
  Pieces content;  // of `bytes` bytes; empty: the range is cleared and reads as zeros
  uint64_t bytes = 0;
};

// What Azure takes. INVALID_ARGUMENT says what to give instead.
absl::Status CheckBlobName(absl::string_view name);
absl::Status CheckMetadata(const Metadata& metadata);
absl::Status CheckBlobBytes(uint64_t bytes);
absl::Status CheckWrites(const std::vector<PageWrite>& writes);

// Thread-safe. Blocks. A name is "machine/disk.vhd": letters, digits, '-', '_', '.' and '/'.
// `snapshot` is the id of one, empty for the blob itself. `lease_id` is a UUID, empty for none.
//
// Everything can return what follows, with Azure's error code and request id in the message:
//   UNAVAILABLE          not reached, or an error of the service; tried again within the limit
//   RESOURCE_EXHAUSTED   throttled for longer than the limit
//   PERMISSION_DENIED    the credential is not taken, or not for this; or the certificate
//   NOT_FOUND            no such blob, snapshot or container
//   ABORTED              another holds the lease, or the lease is no more
//   CANCELLED            by the owner
//   INVALID_ARGUMENT     what Azure would not take
//   FAILED_PRECONDITION  the account or the container does not allow it
//   INTERNAL             the reply is not what Azure answers
class PageBlobs {
 public:
  virtual ~PageBlobs() = default;

  // A page blob of zeros. Returns its ETag. ALREADY_EXISTS: a blob of that name, unless it has this
  // very size and metadata: then it may have been made by a request whose reply was lost, and is
  // taken for it, whatever was written to it since.
  virtual absl::StatusOr<std::string> Create(const std::string& blob, uint64_t bytes,
                                             const Metadata& metadata) = 0;
  // Page blobs and their snapshots whose names begin with `prefix`, in order of name, the
  // snapshots of a blob before it, the oldest first.
  virtual absl::StatusOr<std::vector<BlobProperties>> List(absl::string_view prefix) = 0;
  virtual absl::StatusOr<BlobProperties> Properties(const std::string& blob,
                                                    const std::string& snapshot) = 0;

  // An infinite lease. OK when this id holds it already.
  virtual absl::Status Lease(const std::string& blob, const std::string& lease_id) = 0;
  // Whoever holds it, at once. OK when there is none.
  virtual absl::Status BreakLease(const std::string& blob) = 0;
  // OK when nobody holds one. ABORTED: another does.
  virtual absl::Status ReleaseLease(const std::string& blob, const std::string& lease_id) = 0;

  // Disjoint ranges, of any size, in any order; some of them at once. On OK all are durable. Else
  // each of them may be written, in part or not at all: the same may be written again. Whatever it
  // returned, nothing of it arrives after a later Write() to the same blob has returned OK.
  // `lease_of_blob` needs no entry for a blob that has no lease.
  virtual absl::Status Write(const std::vector<PageWrite>& writes,
                             const std::map<std::string, std::string>& lease_of_blob) = 0;

  // Replaces all of it; returns the new ETag. ABORTED: the blob is not as it was at `if_match` any
  // more, unless its metadata is this very one, as after a request whose reply was lost. `if_match`
  // empty: whatever it is. Note that each put of Write() changes the ETag.
  virtual absl::StatusOr<std::string> SetMetadata(const std::string& blob, const Metadata& metadata,
                                                  absl::string_view if_match,
                                                  absl::string_view lease_id) = 0;

  // Returns the id of the new snapshot, whose metadata is `metadata` and not the blob's. It must
  // differ from that of each other snapshot of the blob, and not be empty: after a lost reply, a
  // snapshot that has it is taken for the one that was asked for. In rare cases two have it, both
  // of this time: whoever deletes one deletes both.
  virtual absl::StatusOr<std::string> Snapshot(const std::string& blob, const Metadata& metadata,
                                               absl::string_view lease_id) = 0;

  // OK when it is not there. FAILED_PRECONDITION: a blob that has snapshots. A snapshot needs no
  // lease.
  virtual absl::Status Delete(const std::string& blob, const std::string& snapshot,
                              absl::string_view lease_id) = 0;

  // Exactly `bytes` bytes; any offset and size. INVALID_ARGUMENT: beyond the end.
  virtual absl::StatusOr<std::string> Read(const std::string& blob, const std::string& snapshot,
                                           uint64_t offset, uint64_t bytes) = 0;
  // What was written and not cleared since. All else reads as zeros.
  virtual absl::StatusOr<ExtentSet> Ranges(const std::string& blob,
                                           const std::string& snapshot) = 0;
};

}  // namespace homeward::azure

#endif  // HOMEWARD_COMMON_AZURE_PAGE_BLOBS_H_
