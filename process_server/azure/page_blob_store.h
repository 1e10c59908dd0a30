// PageBlobStore: a replica in page blobs of Azure Blob storage, one for each disk, each a fixed
// VHD. All of its durable state is with the data: docs/formats/page_blob_replica.md. So a process
// server that is lost loses nothing, and another one goes on from where Azure is.
//
// One process server at a time writes: it has a lease of each blob, under an id that no other, and
// no earlier one of its own, ever had. What the one before has still under way is refused by Azure.
// Whoever has the lease of the first blob has the replica.
#ifndef HOMEWARD_PROCESS_SERVER_AZURE_PAGE_BLOB_STORE_H_
#define HOMEWARD_PROCESS_SERVER_AZURE_PAGE_BLOB_STORE_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/optional.h"
#include "common/azure/page_blobs.h"
#include "common/clock/clock.h"
#include "common/exec/strand.h"
#include "common/replica/replica_store.h"
#include "process_server/azure/page_blob_opening.h"
#include "process_server/azure/page_blob_replica.h"

namespace homeward {

// Errors of all that reaches Azure, beside those of ReplicaStore:
//   CANCELLED          another process server took the replica, or is of a newer generation
//   UNAVAILABLE        Azure is not reached, and was tried again for as long as the client does
//   PERMISSION_DENIED  Azure does not take the credential
//   RESOURCE_EXHAUSTED throttled for longer than the client waits; the store can still be used
//   NOT_FOUND          the container or a blob is not there
class PageBlobStore : public ReplicaStore {
 public:
  using Disk = PageBlobReplica::Disk;
  using Replica = PageBlobReplica;
  using Claim = PageBlobClaim;
  // Where puts are made while what comes next is prepared. Empty: each waits for the one before.
  using MakeStrand = std::function<std::unique_ptr<Strand>(const std::string& name)>;
  struct Opened {
    std::unique_ptr<PageBlobStore> store;
    bool fresh = false;  // nothing was ever written to it: the disks read as zeroes
  };
  // Makes the blobs that are missing, takes those of an earlier replica of the machine as they are,
  // and removes the snapshots of no whole point; those of points that lost a blob when the next
  // point is whole. `claim` is that of this process for this replica, and is changed. CANCELLED
  // when another has it: try again, and it is taken when that one seems to be dead. `blobs` and
  // `clock` outlive the store.
  //   FAILED_PRECONDITION  a blob of that name is another's, or has another size
  //   DATA_LOSS            somebody changed the metadata; the message says where
  static absl::StatusOr<Opened> Open(azure::PageBlobs& blobs, const Clock& clock, Replica replica,
                                     Claim* claim, const MakeStrand& make_strand = {});
  ~PageBlobStore() override;

  // Every point is gone, and nobody has a lease; the blobs stay for a later replica of the machine.
  // May be repeated. OK, and nothing is done, where the blobs are another replica's.
  static absl::Status RemovePoints(azure::PageBlobs& blobs, const Replica& replica);
  // The blobs are gone too. FAILED_PRECONDITION: somebody made snapshots of them.
  static absl::Status Remove(azure::PageBlobs& blobs, const Replica& replica);

  const std::vector<ReplicaPoint>& points() const override { return points_; }
  // An estimate from above of what the snapshots keep beside the blobs: for each point the distinct
  // bytes that were written from it to the next. Bytes that held nothing yet are counted and cost
  // nothing; bytes that were written both before and after the replica was opened anew in that time
  // are counted twice. Azure itself says what it keeps only in its bill.
  uint64_t journal_bytes() const override;
  uint64_t KeptBytes(size_t point) const override;
  absl::StatusOr<std::vector<uint32_t>> Differing(uint32_t disk, uint64_t offset,
                                                  uint64_t block_bytes,
                                                  const std::vector<std::string>& digests) override;
  // URLs of its snapshots.
  std::vector<std::string> PathsAt(absl::string_view point_id) const override;
  // Gives the leases back, so that nobody has to break them.
  void Leave() override;
  // Changes something when nothing was for long.
  absl::Status ShowLife() override;

 protected:
  // As one: of each byte the last writer, all at once.
  absl::Status Write(const std::vector<Range>& ranges) override;
  std::unique_ptr<Delivery> Deliver(const std::vector<Range>& ranges) override;
  uint64_t delivery_bytes() const override;
  size_t deliveries_max() const override;
  absl::Status Commit(const StreamState& state) override;
  // The last snapshot is what makes it.
  absl::Status MakePoint(const Marker& marker, const StreamState& state) override;
  // Says so in the metadata. The blobs stay as they are: the point's snapshots are the disks.
  absl::Status GoToPoint(absl::string_view point_id) override;
  absl::Status DropOldestPoint() override;

 private:
  class Puts;
  using Snapshots = PageBlobContents::Snapshots;

  PageBlobStore(azure::PageBlobs& blobs, const Clock& clock, Replica replica, std::string lease_id,
                TakenPageBlobs taken);
  static std::vector<uint64_t> SizesOf(const Replica& replica);

  // What an error of Azure means here, and nothing that would be taken for one of the stream.
  absl::Status Here(const absl::Status& status) const;
  // What is to be put, which may be there from now on. The content stays where `ranges` has it.
  std::vector<azure::PageWrite> Prepare(const std::vector<Range>& ranges);
  absl::Status Tell(const StreamState& state, const std::string& recovered_point);
  absl::Status DeleteDropped();
  uint64_t written_bytes() const;
  std::string BlobUrl(size_t disk) const;

  azure::PageBlobs& blobs_;
  const Clock& clock_;
  const Replica replica_;
  const std::string lease_id_;
  std::map<std::string, std::string> leases_;  // the same for each blob
  uint64_t opened_ = 0;
  std::string etag_;        // of the first blob as it is; empty: it was written to since
  absl::Duration told_at_;  // when the metadata of the first blob was last changed
  bool lost_ = false;
  std::vector<ReplicaPoint> points_;
  std::vector<Snapshots> snapshots_;  // of points_
  uint64_t oldest_ = 0;               // as ReplicaTag
  std::vector<Snapshots> dropped_;    // of older ones, as far as they may be there yet
  // Snapshots of points that lost a blob, as long as no point is whole.
  std::vector<PageBlobContents::Part> left_;
  bool half_made_ = false;             // a point may be there that this store does not know
  uint64_t written_before_bytes_ = 0;  // since the newest point, when it was opened
  std::vector<ExtentSet> written_;     // since the newest point, or since it was opened
  std::vector<absl::optional<ExtentSet>> present_;  // of each disk, what may not be zeroes
  std::atomic<int> putting_ = 0;                    // deliveries that may change an ETag
  size_t next_writer_ = 0;
  std::vector<std::unique_ptr<Strand>> writers_;  // last
};

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_AZURE_PAGE_BLOB_STORE_H_
