#include "process_server/azure/page_blob_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"
#include "common/wire/checksum.h"
#include "process_server/azure/overlay.h"

namespace homeward {
namespace {

// What is written between two points is remembered in so many ranges of a disk.
constexpr size_t kWrittenRangesMax = 65536;
// So many puts are made at a time, and so many deliveries are under way.
constexpr size_t kWriters = 8;
constexpr size_t kDeliveriesMax = 16;
constexpr uint64_t kDigestReadBytes = 4 * kMiB;

}  // namespace

std::vector<uint64_t> PageBlobStore::SizesOf(const Replica& replica) {
  std::vector<uint64_t> sizes;
  for (const Disk& disk : replica.disks) sizes.push_back(disk.bytes);
  return sizes;
}

PageBlobStore::PageBlobStore(azure::PageBlobs& blobs, const Clock& clock, Replica replica,
                             std::string lease_id, TakenPageBlobs taken)
    : ReplicaStore(SizesOf(replica), StreamOrder(taken.tag.state, taken.tag.recovered_point)),
      blobs_(blobs),
      clock_(clock),
      replica_(std::move(replica)),
      lease_id_(std::move(lease_id)),
      opened_(taken.tag.opened),
      etag_(std::move(taken.etag)),
      told_at_(clock_.Monotonic()),
      points_(std::move(taken.contents.points)),
      snapshots_(std::move(taken.contents.snapshots)),
      oldest_(taken.tag.oldest),
      left_(std::move(taken.contents.parts)),
      written_before_bytes_(taken.tag.written_bytes),
      written_(replica_.disks.size()),
      present_(replica_.disks.size()) {
  for (const Disk& disk : replica_.disks) leases_[disk.blob] = lease_id_;
}

PageBlobStore::~PageBlobStore() { Abandon(); }

absl::StatusOr<PageBlobStore::Opened> PageBlobStore::Open(azure::PageBlobs& blobs,
                                                          const Clock& clock, Replica replica,
                                                          Claim* claim,
                                                          const MakeStrand& make_strand) {
  HW_ASSIGN_OR_RETURN(TakenPageBlobs taken,
                      TakePageBlobs(blobs, replica, clock.Monotonic(), claim));
  const bool fresh = taken.fresh;
  std::unique_ptr<PageBlobStore> store(
      new PageBlobStore(blobs, clock, std::move(replica), claim->lease_id, std::move(taken)));
  if (make_strand) {
    for (size_t i = 0; i < kWriters; ++i) store->writers_.push_back(make_strand("put-pages"));
  }
  return Opened{std::move(store), fresh};
}

absl::Status PageBlobStore::RemovePoints(azure::PageBlobs& blobs, const Replica& replica) {
  HW_ASSIGN_OR_RETURN(absl::optional<PageBlobContents> ours, LookAtOwnPageBlobs(blobs, replica));
  if (!ours.has_value()) return absl::OkStatus();
  // From here on nobody who had the replica makes another.
  for (const absl::optional<azure::BlobProperties>& blob : ours->blobs) {
    if (blob.has_value()) HW_RETURN_IF_ERROR(blobs.BreakLease(blob->name));
  }
  // A later replica may have taken them meanwhile.
  HW_ASSIGN_OR_RETURN(ours, LookAtOwnPageBlobs(blobs, replica));
  if (!ours.has_value()) return absl::OkStatus();
  for (const Snapshots& point : ours->snapshots) {
    for (size_t i = 0; i < replica.disks.size(); ++i)
      HW_RETURN_IF_ERROR(blobs.Delete(replica.disks[i].blob, point.ids[i], ""));
  }
  for (const azure::BlobProperties& orphan : ours->orphans)
    HW_RETURN_IF_ERROR(blobs.Delete(orphan.name, orphan.snapshot, ""));
  for (const PageBlobContents::Part& part : ours->parts)
    HW_RETURN_IF_ERROR(blobs.Delete(part.snapshot.name, part.snapshot.snapshot, ""));
  return absl::OkStatus();
}

absl::Status PageBlobStore::Remove(azure::PageBlobs& blobs, const Replica& replica) {
  HW_RETURN_IF_ERROR(RemovePoints(blobs, replica));
  HW_ASSIGN_OR_RETURN(const absl::optional<PageBlobContents> ours,
                      LookAtOwnPageBlobs(blobs, replica));
  if (!ours.has_value()) return absl::OkStatus();
  // The first one says whose they are: it goes last.
  for (auto blob = ours->blobs.rbegin(); blob != ours->blobs.rend(); ++blob) {
    if (blob->has_value()) HW_RETURN_IF_ERROR(blobs.Delete((*blob)->name, "", ""));
  }
  return absl::OkStatus();
}

absl::Status PageBlobStore::Here(const absl::Status& status) const {
  switch (status.code()) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kNotFound:
      return status;
    case absl::StatusCode::kAborted:
      return LostTo(std::string(status.message()));
    case absl::StatusCode::kCancelled:
      return absl::UnavailableError(status.message());
    default:
      return absl::UnknownError(status.message());
  }
}

absl::Status PageBlobStore::Tell(const StreamState& state, const std::string& recovered_point) {
  if (lost_) return LostTo("it lost its lease");
  const ReplicaTag tag{.replica_id = replica_.replica_id,
                       .state = state,
                       .recovered_point = recovered_point,
                       .opened = opened_,
                       .written_bytes = points_.empty() ? 0 : written_bytes(),
                       .oldest = oldest_};
  const std::string& blob = replica_.disks[0].blob;
  const bool stands_still = putting_ == 0;
  absl::StatusOr<std::string> etag = blobs_.SetMetadata(
      blob, Encode({replica_.machine_id, replica_.disks[0].uuid}, tag), etag_, lease_id_);
  etag_ = stands_still ? etag.value_or("") : "";
  if (etag.ok()) told_at_ = clock_.Monotonic();
  lost_ = lost_ || absl::IsAborted(etag.status());
  return Here(etag.status());
}

std::vector<azure::PageWrite> PageBlobStore::Prepare(const std::vector<Range>& ranges) {
  std::vector<DiskWrite> writes;
  for (const Range& range : ranges) writes.push_back({range.disk, range.extent, range.content});
  std::vector<azure::PageWrite> puts;
  for (const DiskWrite& write : Overlay(writes, azure::kPutBytesMax)) {
    puts.push_back(
        {replica_.disks[write.disk].blob, write.extent.offset, write.content, write.extent.length});
    // Before it is tried: what fails may be there.
    if (!write.content.empty() && present_[write.disk].has_value())
      present_[write.disk]->Add(write.extent);
    if (points_.empty()) continue;
    written_[write.disk].Add(write.extent);
    written_[write.disk].Coarsen(kWrittenRangesMax, replica_.disks[write.disk].bytes);
  }
  etag_.clear();
  return puts;
}

absl::Status PageBlobStore::Write(const std::vector<Range>& ranges) {
  if (ranges.empty()) return absl::OkStatus();
  if (lost_) return LostTo("it lost its lease");
  const absl::Status written = blobs_.Write(Prepare(ranges), leases_);
  lost_ = absl::IsAborted(written);
  return Here(written);
}

// Each put is made by its writer, or by whoever waits for it before the writer gets to it.
class PageBlobStore::Puts : public ReplicaStore::Delivery {
 public:
  Puts(PageBlobStore* store, const std::vector<Range>& ranges)
      : store_(*store), work_(std::make_shared<Work>()) {
    work_->puts = store_.Prepare(ranges);
    work_->taken.resize(work_->puts.size());
    work_->open = work_->puts.size();
    ++store_.putting_;
    for (size_t i = 0; i < work_->puts.size(); ++i) {
      Strand& writer = *store_.writers_[store_.next_writer_++ % store_.writers_.size()];
      writer.Post([store, work = work_, i] {
        if (Make(store, work.get(), i)) store->OnArrival();
      });
    }
  }
  ~Puts() override {
    absl::MutexLock lock(&work_->mutex);
    for (size_t i = 0; i < work_->puts.size(); ++i) {
      if (Take(work_.get(), i)) End(&store_, work_.get());
    }
    work_->mutex.Await(absl::Condition(work_.get(), &Work::has_ended));
  }

  bool has_ended() const override {
    absl::MutexLock lock(&work_->mutex);
    return work_->has_ended();
  }
  absl::Status Await() override {
    for (size_t i = 0; i < work_->puts.size(); ++i) {
      if (Make(&store_, work_.get(), i)) store_.OnArrival();
    }
    absl::MutexLock lock(&work_->mutex);
    work_->mutex.Await(absl::Condition(work_.get(), &Work::has_ended));
    store_.lost_ = store_.lost_ || absl::IsAborted(work_->result);
    return store_.Here(work_->result);
  }

 private:
  struct Work {
    bool has_ended() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return open == 0; }
    std::vector<azure::PageWrite> puts;  // constant once it is begun
    absl::Mutex mutex;
    std::vector<bool> taken ABSL_GUARDED_BY(mutex);  // by whoever makes it, of puts
    size_t open ABSL_GUARDED_BY(mutex) = 0;          // puts that have not ended
    absl::Status result ABSL_GUARDED_BY(mutex);
  };
  static bool Take(Work* work, size_t put) ABSL_EXCLUSIVE_LOCKS_REQUIRED(work->mutex) {
    if (work->taken[put]) return false;
    work->taken[put] = true;
    return true;
  }
  static void End(PageBlobStore* store, Work* work) ABSL_EXCLUSIVE_LOCKS_REQUIRED(work->mutex) {
    if (--work->open == 0) --store->putting_;
  }
  // True: it was the last one. False may also mean that somebody else made it, and that the store
  // is gone.
  static bool Make(PageBlobStore* store, Work* work, size_t put) {
    {
      absl::MutexLock lock(&work->mutex);
      if (!Take(work, put)) return false;
      if (!work->result.ok()) {
        End(store, work);
        return work->has_ended();
      }
    }
    const absl::Status made = store->blobs_.Write({work->puts[put]}, store->leases_);
    absl::MutexLock lock(&work->mutex);
    if (work->result.ok()) work->result = made;
    End(store, work);
    return work->has_ended();
  }

  PageBlobStore& store_;
  const std::shared_ptr<Work> work_;
};

std::unique_ptr<ReplicaStore::Delivery> PageBlobStore::Deliver(const std::vector<Range>& ranges) {
  if (writers_.empty() || lost_) return nullptr;
  return std::make_unique<Puts>(this, ranges);
}

uint64_t PageBlobStore::delivery_bytes() const {
  return writers_.empty() ? UINT64_MAX : replica_.delivery_bytes;
}

size_t PageBlobStore::deliveries_max() const { return kDeliveriesMax; }

absl::Status PageBlobStore::Commit(const StreamState& state) { return Tell(state, ""); }

absl::Status PageBlobStore::MakePoint(const Marker& marker, const StreamState& state) {
  if (lost_) return LostTo("it lost its lease");
  // As it is opened anew, it is seen whether that point is whole, under a lease that no snapshot of
  // before can still be made under.
  if (half_made_)
    return absl::UnavailableError("a recovery point was half made: the replica is opened anew");
  const bool made = !points_.empty() && snapshots_.back().state.position == state.position;
  if (!made) {
    const PointTag tag{
        .replica_id = replica_.replica_id,
        .point = {marker, std::max(oldest_, points_.empty() ? 1 : points_.back().number + 1)},
        .state = state,
        .written_bytes = points_.empty() ? 0 : written_bytes()};
    Snapshots point{{}, state, tag.written_bytes};
    for (const Disk& disk : replica_.disks) {
      half_made_ = true;
      absl::StatusOr<std::string> id =
          blobs_.Snapshot(disk.blob, Encode({replica_.machine_id, disk.uuid}, tag), lease_id_);
      lost_ = absl::IsAborted(id.status());
      HW_RETURN_IF_ERROR(Here(id.status()));
      point.ids.push_back(*std::move(id));
    }
    half_made_ = false;
    points_.push_back(tag.point);
    snapshots_.push_back(std::move(point));
    written_before_bytes_ = 0;
    for (ExtentSet& written : written_) written.Clear();
  }
  HW_RETURN_IF_ERROR(Tell(state, ""));
  // What cannot be deleted now goes with the next point, or as the replica is opened anew.
  while (!left_.empty()) {
    const azure::BlobProperties& snapshot = left_.back().snapshot;
    if (!blobs_.Delete(snapshot.name, snapshot.snapshot, "").ok()) break;
    left_.pop_back();
  }
  return absl::OkStatus();
}

absl::Status PageBlobStore::GoToPoint(absl::string_view point_id) {
  HW_ASSIGN_OR_RETURN(const PageBlobContents contents, ListReplica(blobs_, replica_));
  const auto has = [&](const ReplicaPoint& point) { return point.marker.id == point_id; };
  if (std::none_of(points_.begin(), points_.end(), has) ||
      std::none_of(contents.points.begin(), contents.points.end(), has)) {
    return absl::NotFoundError(absl::StrCat("container ", replica_.container_url,
                                            " has no whole recovery point ", point_id));
  }
  return Tell(state(), std::string(point_id));
}

absl::Status PageBlobStore::DropOldestPoint() {
  if (lost_) return LostTo("it lost its lease");
  dropped_.push_back(std::move(snapshots_.front()));
  points_.erase(points_.begin());
  snapshots_.erase(snapshots_.begin());
  oldest_ = points_.front().number;
  // A snapshot needs no lease to be removed. So nobody who has the replica after this one may still
  // believe in the point.
  HW_RETURN_IF_ERROR(Tell(state(), recovered_point()));
  return DeleteDropped();
}

absl::Status PageBlobStore::DeleteDropped() {
  while (!dropped_.empty()) {
    const std::vector<std::string>& ids = dropped_.back().ids;
    for (size_t i = 0; i < ids.size(); ++i)
      HW_RETURN_IF_ERROR(Here(blobs_.Delete(replica_.disks[i].blob, ids[i], "")));
    dropped_.pop_back();
  }
  return absl::OkStatus();
}

absl::Status PageBlobStore::ShowLife() {
  if (lost_ || clock_.Monotonic() - told_at_ < replica_.dead_after / 3) return absl::OkStatus();
  return Tell(state(), recovered_point());
}

uint64_t PageBlobStore::written_bytes() const {
  uint64_t bytes = written_before_bytes_;
  for (const ExtentSet& written : written_) bytes += written.bytes();
  return bytes;
}

uint64_t PageBlobStore::journal_bytes() const {
  uint64_t bytes = 0;
  for (size_t i = 0; i < points_.size(); ++i) bytes += KeptBytes(i);
  return bytes;
}

uint64_t PageBlobStore::KeptBytes(size_t point) const {
  return point + 1 < snapshots_.size() ? snapshots_[point + 1].written_bytes : written_bytes();
}

std::string PageBlobStore::BlobUrl(size_t disk) const {
  return absl::StrCat(replica_.container_url, "/", replica_.disks[disk].blob);
}

std::vector<std::string> PageBlobStore::PathsAt(absl::string_view point_id) const {
  std::vector<std::string> urls;
  for (size_t p = 0; p < points_.size(); ++p) {
    if (points_[p].marker.id != point_id) continue;
    for (size_t i = 0; i < replica_.disks.size(); ++i)
      urls.push_back(absl::StrCat(BlobUrl(i), "?snapshot=", snapshots_[p].ids[i]));
    break;
  }
  return urls;
}

void PageBlobStore::Leave() {
  Abandon();
  if (lost_) return;
  ReleaseLeases(blobs_, replica_, lease_id_);
}

absl::StatusOr<std::vector<uint32_t>> PageBlobStore::Differing(
    uint32_t disk, uint64_t offset, uint64_t block_bytes, const std::vector<std::string>& digests) {
  if (disk >= replica_.disks.size() || block_bytes == 0 || block_bytes % kSectorBytes != 0 ||
      block_bytes > kBatchPayloadBytesMax || digests.size() > kBatchExtentsMax ||
      offset > replica_.disks[disk].bytes) {
    return absl::InvalidArgumentError("digest query out of bounds");
  }
  const std::string& blob = replica_.disks[disk].blob;
  const uint64_t end = offset + digests.size() * block_bytes;
  const uint64_t disk_end = replica_.disks[disk].bytes;
  if (!digests.empty() && end - block_bytes >= disk_end)
    return absl::InvalidArgumentError("digest query past the end");
  if (!present_[disk].has_value()) {
    HW_ASSIGN_OR_RETURN(present_[disk], blobs_.Ranges(blob, ""));
  }
  std::vector<uint32_t> differing;
  const uint64_t step = std::max(kDigestReadBytes / block_bytes, uint64_t{1}) * block_bytes;
  for (uint64_t at = offset, index = 0; at < std::min(end, disk_end); at += step) {
    const Extent chunk{at, std::min({step, end - at, disk_end - at})};
    std::string content;
    if (present_[disk]->Missing(chunk) == std::vector<Extent>{chunk}) {
      content.resize(chunk.length);
    } else {
      HW_ASSIGN_OR_RETURN(content, blobs_.Read(blob, "", chunk.offset, chunk.length));
    }
    const ConstBytes bytes = AsBytes(content);
    for (uint64_t done = 0; done < chunk.length; done += block_bytes, ++index) {
      if (Digest128(bytes.subspan(done, block_bytes)) != digests[index])
        differing.push_back(static_cast<uint32_t>(index));
    }
  }
  return differing;
}

}  // namespace homeward
