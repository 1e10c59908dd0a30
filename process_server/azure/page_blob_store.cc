#include "process_server/azure/page_blob_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"
#include "common/wire/checksum.h"
#include "process_server/azure/overlay.h"
#include "process_server/azure/vhd_footer.h"

namespace homeward {
namespace {

using azure::BlobProperties;

// What is written between two points is remembered in so many ranges of a disk.
constexpr size_t kWrittenRangesMax = 65536;
// So many puts are made at a time, and so many deliveries are under way.
constexpr size_t kWriters = 8;
constexpr size_t kDeliveriesMax = 16;
constexpr uint64_t kDigestReadBytes = 4 * kMiB;
// Whoever loses its lease waits for seconds before it looks at it again; who takes it does not.
constexpr int kLeaseRounds = 5;

uint64_t BlobBytes(const PageBlobStore::Disk& disk) {
  return VhdDiskBytes(disk.bytes) + kVhdFooterBytes;
}

// Never the same for two openings, whoever opens.
std::string LeaseIdOf(const PageBlobStore::Replica& replica, uint64_t opened) {
  const std::string digest = absl::BytesToHexString(Digest128(AsBytes(absl::StrCat(
      replica.host_id, "\n", replica.replica_id, "\n", replica.generation, "\n", opened))));
  const absl::string_view hex = digest;
  return absl::StrCat(hex.substr(0, 8), "-", hex.substr(8, 4), "-", hex.substr(12, 4), "-",
                      hex.substr(16, 4), "-", hex.substr(20));
}

// The first one last: who takes it takes the others.
void ReleaseAll(azure::PageBlobs& blobs, const PageBlobStore::Replica& replica,
                const std::string& lease_id) {
  for (auto disk = replica.disks.rbegin(); disk != replica.disks.rend(); ++disk) {
    const absl::Status released = blobs.ReleaseLease(disk->blob, lease_id);
    if (!released.ok() && !absl::IsAborted(released)) return;
  }
}

absl::Status LostTo(const std::string& whom) {
  return absl::CancelledError(
      absl::StrCat("the replica is not this process server's any more: ", whom));
}

}  // namespace

// A snapshot of a point of this replica, by the point's number.
struct PageBlobStore::Part {
  uint64_t number = 0;
  BlobProperties snapshot;
};

// What the container has of a replica.
struct PageBlobStore::Contents {
  std::vector<absl::optional<BlobProperties>> blobs;  // by disk
  std::vector<ReplicaPoint> points;                   // whole ones, oldest first
  std::vector<Snapshots> snapshots;                   // of points
  std::vector<BlobProperties> orphans;                // snapshots of anything else
  std::vector<Part> parts;                            // snapshots of points that are not whole
  uint64_t newest = 0;                                // number of any point, also of these
};

absl::StatusOr<PageBlobStore::Contents> PageBlobStore::List(azure::PageBlobs& blobs,
                                                            const Replica& replica) {
  HW_ASSIGN_OR_RETURN(const std::vector<BlobProperties> listed,
                      blobs.List(absl::StrCat(replica.machine_id, "/")));
  Contents contents;
  contents.blobs.resize(replica.disks.size());
  struct Group {
    PointTag tag;
    std::vector<std::string> ids;
    std::vector<const BlobProperties*> parts;
  };
  std::map<std::pair<uint64_t, std::string>, Group> groups;  // by number and id of the point
  for (const BlobProperties& found : listed) {
    const auto disk = std::find_if(replica.disks.begin(), replica.disks.end(),
                                   [&](const Disk& one) { return one.blob == found.name; });
    if (disk == replica.disks.end()) continue;
    const size_t index = static_cast<size_t>(disk - replica.disks.begin());
    if (found.snapshot.empty()) {
      contents.blobs[index] = found;
      continue;
    }
    // Somebody's own, as of a backup: it has the blob's metadata, if it has any of ours.
    if (!found.metadata.contains("hw_replica") || !found.metadata.contains("hw_point")) continue;
    absl::StatusOr<PointTag> tag = DecodePoint(found.metadata);
    if (!tag.ok()) {
      return Annotate(tag.status(),
                      absl::StrCat("snapshot ", found.snapshot, " of blob ", found.name));
    }
    if (tag->replica_id != replica.replica_id) {
      contents.orphans.push_back(found);
      continue;
    }
    Group& group = groups[{tag->point.number, tag->point.marker.id}];
    group.ids.resize(replica.disks.size());
    if (!group.ids[index].empty()) {
      contents.orphans.push_back(found);
      continue;
    }
    group.tag = *std::move(tag);
    group.ids[index] = found.snapshot;
    group.parts.push_back(&found);
  }
  for (const auto& [point, group] : groups) {
    contents.newest = std::max(contents.newest, point.first);
    if (group.parts.size() < replica.disks.size()) {
      for (const BlobProperties* part : group.parts) contents.parts.push_back({point.first, *part});
      continue;
    }
    contents.points.push_back(group.tag.point);
    contents.snapshots.push_back({group.ids, group.tag.state, group.tag.written_bytes});
  }
  return contents;
}

// Takes a replica, step by step. Each step may be done again.
class PageBlobStore::Opening {
 public:
  Opening(azure::PageBlobs& blobs, const Replica& replica) : blobs_(blobs), replica_(replica) {}

  absl::Status Run(absl::Duration now, Claim* claim) {
    HW_RETURN_IF_ERROR(Look());
    const uint64_t opened = tag.opened;
    lease_id_ = LeaseIdOf(replica_, opened + 1);
    HW_RETURN_IF_ERROR(MakeFirst());
    HW_RETURN_IF_ERROR(TakeFirst(now, claim));
    claim->lease_id = lease_id_;
    const absl::Status taken = TakeRest(opened);
    // Whoever has the first blob now is not kept waiting for the others.
    if (absl::IsAborted(taken) || absl::IsCancelled(taken)) Release();
    // Between its steps somebody took it.
    if (absl::IsAborted(taken)) return LostTo(std::string(taken.message()));
    return taken;
  }

  // What is there, and whether it may be this replica's.
  absl::Status Look() {
    HW_ASSIGN_OR_RETURN(contents, List(blobs_, replica_));
    for (size_t i = 0; i < contents.blobs.size(); ++i) {
      if (contents.blobs[i].has_value())
        HW_RETURN_IF_ERROR(Annotate(Check(i), absl::StrCat("blob ", Name(i))));
    }
    if (!contents.blobs[0].has_value()) return absl::OkStatus();
    absl::StatusOr<ReplicaTag> read = DecodeReplica(contents.blobs[0]->metadata);
    if (!read.ok()) return Annotate(read.status(), absl::StrCat("blob ", Name(0)));
    tag = *std::move(read);
    LeaveOutDropped();
    if (tag.state.generation > replica_.generation) {
      return LostTo(absl::StrCat("blob ", Name(0), " is of generation ", tag.state.generation,
                                 ", and this one is to keep generation ", replica_.generation));
    }
    return absl::OkStatus();
  }

  // Looks. False: another replica has taken the blobs, or had them and this one never did.
  absl::StatusOr<bool> IsOurs() {
    const absl::Status seen = Look();
    if (absl::IsCancelled(seen)) return false;
    HW_RETURN_IF_ERROR(seen);
    return tag.replica_id.empty() || tag.replica_id == replica_.replica_id;
  }

  Contents contents;
  ReplicaTag tag;
  std::string etag;
  bool fresh = false;

 private:
  absl::Status TakeRest(uint64_t opened) {
    HW_RETURN_IF_ERROR(MakeOthers());
    HW_RETURN_IF_ERROR(TakeOthers());
    // What the one before did up to its last moment.
    HW_RETURN_IF_ERROR(Look());
    if (tag.opened != opened) return LostTo("another one opened it at the same time");
    HW_RETURN_IF_ERROR(CompleteVhds());
    HW_RETURN_IF_ERROR(TakeState());
    return LookForContent();
  }

  // Whoever dropped a point may remove its snapshots whenever it gets to it.
  void LeaveOutDropped() {
    if (tag.replica_id != replica_.replica_id) return;
    size_t count = 0;
    while (count < contents.points.size() && contents.points[count].number < tag.oldest) {
      for (size_t i = 0; i < replica_.disks.size(); ++i) {
        Part& part = contents.parts.emplace_back();
        part.number = contents.points[count].number;
        part.snapshot.name = Name(i);
        part.snapshot.snapshot = contents.snapshots[count].ids[i];
      }
      ++count;
    }
    const auto end = static_cast<std::ptrdiff_t>(count);
    contents.points.erase(contents.points.begin(), contents.points.begin() + end);
    contents.snapshots.erase(contents.snapshots.begin(), contents.snapshots.begin() + end);
  }

  DiskTag TagOf(size_t disk) const { return {replica_.machine_id, replica_.disks[disk].uuid}; }
  const std::string& Name(size_t disk) const { return replica_.disks[disk].blob; }

  absl::Status Check(size_t disk) const {
    const BlobProperties& found = *contents.blobs[disk];
    HW_ASSIGN_OR_RETURN(const DiskTag has, DecodeDisk(found.metadata));
    if (has.machine_id != replica_.machine_id || has.disk_uuid != replica_.disks[disk].uuid) {
      return absl::FailedPreconditionError(absl::StrCat(
          "it is disk ", has.disk_uuid, " of machine ", has.machine_id, " and not disk ",
          replica_.disks[disk].uuid, " of machine ", replica_.machine_id, ": rename or delete it"));
    }
    if (found.bytes != BlobBytes(replica_.disks[disk])) {
      return absl::FailedPreconditionError(
          absl::StrCat("it has ", found.bytes, " bytes, and the machine's disk of ",
                       replica_.disks[disk].bytes, " bytes needs ", BlobBytes(replica_.disks[disk]),
                       ": delete it if nobody needs it, and the disk is replicated anew"));
    }
    return absl::OkStatus();
  }

  absl::Status MakeMissing(size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      if (contents.blobs[i].has_value()) continue;
      HW_RETURN_IF_ERROR(
          blobs_.Create(Name(i), BlobBytes(replica_.disks[i]), Encode(TagOf(i))).status());
    }
    return absl::OkStatus();
  }
  absl::Status MakeFirst() { return MakeMissing(0, 1); }
  // Under the first one's lease. Where one of them was deleted, the others hold what the stream
  // brought and this one nothing: before it is made, it is told that all is to be compared.
  absl::Status MakeOthers() {
    const bool all_there = std::all_of(contents.blobs.begin() + 1, contents.blobs.end(),
                                       [](const auto& blob) { return blob.has_value(); });
    if (all_there) return absl::OkStatus();
    if (contents.blobs[0].has_value() && !tag.state.position.none()) {
      const uint64_t generation = tag.state.generation;
      tag.state = StreamState();
      tag.state.generation = generation;
      tag.written_bytes = 0;
      // What is left of the points is never taken for a part of a later one.
      tag.oldest = std::max(tag.oldest, contents.newest + 1);
      HW_RETURN_IF_ERROR(
          blobs_.SetMetadata(Name(0), Encode(TagOf(0), tag), contents.blobs[0]->etag, lease_id_)
              .status());
    }
    return MakeMissing(1, contents.blobs.size());
  }

  // The first blob's lease is that of the replica.
  absl::Status TakeFirst(absl::Duration now, Claim* claim) {
    absl::Status taken = claim->lease_id.empty() ? TakeFromAnybody(Name(0)) : TakeAgain(*claim);
    if (absl::IsAborted(taken) && SeemsDead(now, claim)) taken = TakeFromAnybody(Name(0));
    if (absl::IsAborted(taken)) return LostTo(std::string(taken.message()));
    if (taken.ok()) claim->seen_etag.clear();
    return taken;
  }
  // Those of the others follow it.
  absl::Status TakeOthers() {
    for (size_t i = 1; i < replica_.disks.size(); ++i) HW_RETURN_IF_ERROR(TakeFromAnybody(Name(i)));
    return absl::OkStatus();
  }
  absl::Status TakeFromAnybody(const std::string& blob) {
    absl::Status taken = blobs_.Lease(blob, lease_id_);
    for (int round = 0; absl::IsAborted(taken) && round < kLeaseRounds; ++round) {
      HW_RETURN_IF_ERROR(blobs_.BreakLease(blob));
      taken = blobs_.Lease(blob, lease_id_);
    }
    return taken;
  }
  absl::Status TakeAgain(const Claim& claim) {
    const absl::Status taken = blobs_.Lease(Name(0), lease_id_);
    if (!absl::IsAborted(taken)) return taken;
    HW_RETURN_IF_ERROR(blobs_.ReleaseLease(Name(0), claim.lease_id));
    return blobs_.Lease(Name(0), lease_id_);
  }
  // Whether who has it has not changed anything for long. Where it was recovered to a point,
  // nothing is to change.
  bool SeemsDead(absl::Duration now, Claim* claim) const {
    const absl::optional<BlobProperties>& first = contents.blobs[0];
    if (!first.has_value() || !tag.recovered_point.empty()) return false;
    if (first->etag != claim->seen_etag) {
      claim->seen_etag = first->etag;
      claim->seen_at = now;
    }
    return now - claim->seen_at >= replica_.dead_after;
  }
  void Release() { ReleaseAll(blobs_, replica_, lease_id_); }

  absl::Status CompleteVhds() {
    for (size_t i = 0; i < contents.blobs.size(); ++i) {
      if (!contents.blobs[i].has_value())
        return absl::NotFoundError(absl::StrCat("blob ", Name(i), " was deleted meanwhile"));
      const uint64_t at = VhdDiskBytes(replica_.disks[i].bytes);
      const std::string footer = VhdFooter(at, replica_.disks[i].uuid);
      HW_ASSIGN_OR_RETURN(const std::string has, blobs_.Read(Name(i), "", at, kVhdFooterBytes));
      if (has == footer) continue;
      HW_RETURN_IF_ERROR(
          blobs_.Write({{Name(i), at, footer, footer.size()}}, {{Name(i), lease_id_}}));
      contents.blobs[i]->etag.clear();
    }
    return absl::OkStatus();
  }

  // From here on it is this replica's, and what else there was is gone.
  absl::Status TakeState() {
    if (tag.replica_id != replica_.replica_id) {
      const uint64_t generation = tag.state.generation;
      const uint64_t opened = tag.opened;
      // It was only made, and there are points: the first blob was deleted.
      const bool deleted = tag.replica_id.empty() && contents.newest > 0;
      tag = ReplicaTag();
      if (deleted) tag.oldest = contents.newest + 1;
      tag.replica_id = replica_.replica_id;
      tag.state.generation = generation;
      tag.opened = opened;
    }
    // The last snapshot of a point takes the stream that far, whatever came after it.
    if (!contents.points.empty() && contents.snapshots.back().state.position > tag.state.position) {
      const uint64_t generation = tag.state.generation;
      tag.state = contents.snapshots.back().state;
      tag.state.generation = std::max(tag.state.generation, generation);
      tag.written_bytes = 0;
    }
    ++tag.opened;
    HW_ASSIGN_OR_RETURN(etag, blobs_.SetMetadata(Name(0), Encode(TagOf(0), tag),
                                                 contents.blobs[0]->etag, lease_id_));
    // The lease was held all the time since they were listed: no later one's are among them.
    for (const BlobProperties& orphan : contents.orphans)
      HW_RETURN_IF_ERROR(blobs_.Delete(orphan.name, orphan.snapshot, ""));
    contents.orphans.clear();
    return DeleteParts();
  }
  // Of what was half made, and of dropped points. Whoever drops one leaves a later one that is
  // whole: where there is none, a blob was deleted, and these are the last copies of the others.
  absl::Status DeleteParts() {
    std::vector<Part> left;
    for (Part& part : contents.parts) {
      if (contents.points.empty() && part.number < tag.oldest) {
        left.push_back(std::move(part));
        continue;
      }
      HW_RETURN_IF_ERROR(blobs_.Delete(part.snapshot.name, part.snapshot.snapshot, ""));
    }
    contents.parts = std::move(left);
    return absl::OkStatus();
  }

  absl::Status LookForContent() {
    if (!tag.state.position.none()) return absl::OkStatus();
    for (size_t i = 0; i < replica_.disks.size(); ++i) {
      HW_ASSIGN_OR_RETURN(ExtentSet ranges, blobs_.Ranges(Name(i), ""));
      ranges.Remove({VhdDiskBytes(replica_.disks[i].bytes), kVhdFooterBytes});
      if (!ranges.empty()) return absl::OkStatus();
    }
    fresh = true;
    return absl::OkStatus();
  }

  azure::PageBlobs& blobs_;
  const Replica& replica_;
  std::string lease_id_;
};

std::vector<uint64_t> PageBlobStore::SizesOf(const Replica& replica) {
  std::vector<uint64_t> sizes;
  for (const Disk& disk : replica.disks) sizes.push_back(disk.bytes);
  return sizes;
}

PageBlobStore::PageBlobStore(azure::PageBlobs& blobs, const Clock& clock, Replica replica,
                             std::string lease_id, ReplicaTag tag, Contents contents)
    : ReplicaStore(SizesOf(replica), StreamOrder(tag.state, tag.recovered_point)),
      blobs_(blobs),
      clock_(clock),
      replica_(std::move(replica)),
      lease_id_(std::move(lease_id)),
      opened_(tag.opened),
      told_at_(clock_.Monotonic()),
      points_(std::move(contents.points)),
      snapshots_(std::move(contents.snapshots)),
      oldest_(tag.oldest),
      written_before_bytes_(tag.written_bytes),
      written_(replica_.disks.size()),
      present_(replica_.disks.size()) {
  for (const Disk& disk : replica_.disks) leases_[disk.blob] = lease_id_;
}

PageBlobStore::~PageBlobStore() { Abandon(); }

absl::StatusOr<PageBlobStore::Opened> PageBlobStore::Open(azure::PageBlobs& blobs,
                                                          const Clock& clock, Replica replica,
                                                          Claim* claim,
                                                          const MakeStrand& make_strand) {
  Opening opening(blobs, replica);
  HW_RETURN_IF_ERROR(opening.Run(clock.Monotonic(), claim));
  const std::vector<Part> parts = std::move(opening.contents.parts);
  std::unique_ptr<PageBlobStore> store(new PageBlobStore(blobs, clock, std::move(replica),
                                                         claim->lease_id, std::move(opening.tag),
                                                         std::move(opening.contents)));
  store->etag_ = std::move(opening.etag);
  for (const Part& part : parts)
    store->left_.push_back({part.snapshot.name, part.snapshot.snapshot});
  if (make_strand) {
    for (size_t i = 0; i < kWriters; ++i) store->writers_.push_back(make_strand("put-pages"));
  }
  return Opened{std::move(store), opening.fresh};
}

absl::Status PageBlobStore::RemovePoints(azure::PageBlobs& blobs, const Replica& replica) {
  Opening opening(blobs, replica);
  HW_ASSIGN_OR_RETURN(bool ours, opening.IsOurs());
  if (!ours) return absl::OkStatus();
  // From here on nobody who had the replica makes another.
  for (const absl::optional<BlobProperties>& blob : opening.contents.blobs) {
    if (blob.has_value()) HW_RETURN_IF_ERROR(blobs.BreakLease(blob->name));
  }
  // A later replica may have taken them meanwhile.
  HW_ASSIGN_OR_RETURN(ours, opening.IsOurs());
  if (!ours) return absl::OkStatus();
  const Contents& contents = opening.contents;
  for (const Snapshots& point : contents.snapshots) {
    for (size_t i = 0; i < replica.disks.size(); ++i)
      HW_RETURN_IF_ERROR(blobs.Delete(replica.disks[i].blob, point.ids[i], ""));
  }
  for (const BlobProperties& orphan : contents.orphans)
    HW_RETURN_IF_ERROR(blobs.Delete(orphan.name, orphan.snapshot, ""));
  for (const Part& part : contents.parts)
    HW_RETURN_IF_ERROR(blobs.Delete(part.snapshot.name, part.snapshot.snapshot, ""));
  return absl::OkStatus();
}

absl::Status PageBlobStore::Remove(azure::PageBlobs& blobs, const Replica& replica) {
  HW_RETURN_IF_ERROR(RemovePoints(blobs, replica));
  Opening opening(blobs, replica);
  HW_ASSIGN_OR_RETURN(const bool ours, opening.IsOurs());
  if (!ours) return absl::OkStatus();
  const Contents& contents = opening.contents;
  // The first one says whose they are: it goes last.
  for (auto blob = contents.blobs.rbegin(); blob != contents.blobs.rend(); ++blob) {
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
  while (!left_.empty() && blobs_.Delete(left_.back().blob, left_.back().id, "").ok())
    left_.pop_back();
  return absl::OkStatus();
}

absl::Status PageBlobStore::GoToPoint(absl::string_view point_id) {
  HW_ASSIGN_OR_RETURN(const Contents contents, List(blobs_, replica_));
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
  ReleaseAll(blobs_, replica_, lease_id_);
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
