#include "process_server/azure/page_blob_opening.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"
#include "common/wire/checksum.h"
#include "process_server/azure/vhd_footer.h"

namespace homeward {
namespace {

using azure::BlobProperties;

// Whoever loses its lease waits for seconds before it looks at it again; who takes it does not.
constexpr int kLeaseRounds = 5;

// Never the same for two openings, whoever opens.
std::string LeaseIdOf(const PageBlobReplica& replica, uint64_t opened) {
  const std::string digest = absl::BytesToHexString(Digest128(AsBytes(absl::StrCat(
      replica.host_id, "\n", replica.replica_id, "\n", replica.generation, "\n", opened))));
  const absl::string_view hex = digest;
  return absl::StrCat(hex.substr(0, 8), "-", hex.substr(8, 4), "-", hex.substr(12, 4), "-",
                      hex.substr(16, 4), "-", hex.substr(20));
}

// Takes a replica, step by step. Each step may be done again.
class Opening {
 public:
  Opening(azure::PageBlobs& blobs, const PageBlobReplica& replica)
      : blobs_(blobs), replica_(replica) {}

  absl::Status Run(absl::Duration now, PageBlobClaim* claim) {
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
    HW_ASSIGN_OR_RETURN(contents, ListReplica(blobs_, replica_));
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

  PageBlobContents contents;
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
        PageBlobContents::Part& part = contents.parts.emplace_back();
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
  absl::Status TakeFirst(absl::Duration now, PageBlobClaim* claim) {
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
  absl::Status TakeAgain(const PageBlobClaim& claim) {
    const absl::Status taken = blobs_.Lease(Name(0), lease_id_);
    if (!absl::IsAborted(taken)) return taken;
    HW_RETURN_IF_ERROR(blobs_.ReleaseLease(Name(0), claim.lease_id));
    return blobs_.Lease(Name(0), lease_id_);
  }
  // Whether who has it has not changed anything for long. Where it was recovered to a point,
  // nothing is to change.
  bool SeemsDead(absl::Duration now, PageBlobClaim* claim) const {
    const absl::optional<BlobProperties>& first = contents.blobs[0];
    if (!first.has_value() || !tag.recovered_point.empty()) return false;
    if (first->etag != claim->seen_etag) {
      claim->seen_etag = first->etag;
      claim->seen_at = now;
    }
    return now - claim->seen_at >= replica_.dead_after;
  }
  void Release() { ReleaseLeases(blobs_, replica_, lease_id_); }

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
    std::vector<PageBlobContents::Part> left;
    for (PageBlobContents::Part& part : contents.parts) {
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
  const PageBlobReplica& replica_;
  std::string lease_id_;
};

}  // namespace

absl::StatusOr<TakenPageBlobs> TakePageBlobs(azure::PageBlobs& blobs,
                                             const PageBlobReplica& replica, absl::Duration now,
                                             PageBlobClaim* claim) {
  Opening opening(blobs, replica);
  HW_RETURN_IF_ERROR(opening.Run(now, claim));
  return TakenPageBlobs{std::move(opening.contents), std::move(opening.tag),
                        std::move(opening.etag), opening.fresh};
}

absl::StatusOr<absl::optional<PageBlobContents>> LookAtOwnPageBlobs(
    azure::PageBlobs& blobs, const PageBlobReplica& replica) {
  Opening opening(blobs, replica);
  HW_ASSIGN_OR_RETURN(const bool ours, opening.IsOurs());
  if (!ours) return absl::nullopt;
  return std::move(opening.contents);
}

}  // namespace homeward
