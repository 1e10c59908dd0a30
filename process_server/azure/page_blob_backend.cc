#include "process_server/azure/page_blob_backend.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/log/log.h"
#include "common/replication/target.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

// What no replica's blobs are under.
constexpr char kProbePrefix[] = "homeward-probe/";

class PageBlobBackend : public ReplicaBackend {
 public:
  PageBlobBackend(azure::PageBlobs* blobs, const std::string& host_id, const Clock& clock,
                  PageBlobStore::MakeStrand make_strand, const control::v1::Replica& replica)
      : blobs_(blobs), clock_(clock), make_strand_(std::move(make_strand)) {
    const control::v1::PageBlobs target = TargetOf(replica).page_blobs();
    replica_ = {.container_url = target.container_url(),
                .host_id = host_id,
                .machine_id = replica.machine_id(),
                .replica_id = replica.replica_id(),
                .generation = replica.generation()};
    for (int i = 0; i < target.blobs_size(); ++i) {
      PageBlobStore::Disk& disk = replica_.disks.emplace_back();
      disk.blob = target.blobs(i);
      if (i >= replica.disks_size()) continue;
      disk.bytes = replica.disks(i).size_bytes();
      disk.uuid = replica.disks(i).uuid();
    }
    disks_wanted_ = replica.disks_size();
  }

  absl::StatusOr<Opened> Open() override {
    HW_RETURN_IF_ERROR(Check());
    HW_ASSIGN_OR_RETURN(PageBlobStore::Opened opened,
                        PageBlobStore::Open(*blobs_, clock_, replica_, &claim_, make_strand_));
    return Opened{std::move(opened.store), opened.fresh};
  }
  std::vector<std::string> Paths() const override {
    std::vector<std::string> urls;
    for (const PageBlobStore::Disk& disk : replica_.disks)
      urls.push_back(absl::StrCat(replica_.container_url, "/", disk.blob));
    return urls;
  }
  // A point is its snapshots, and nothing that is written to the blobs changes them.
  absl::StatusOr<std::string> Stamp(int) override { return std::string("snapshots"); }
  absl::Status RemovePoints() override {
    HW_RETURN_IF_ERROR(Check());
    return PageBlobStore::RemovePoints(*blobs_, replica_);
  }
  absl::Status Remove() override {
    HW_RETURN_IF_ERROR(Check());
    return PageBlobStore::Remove(*blobs_, replica_);
  }
  bool points_are_here() const override { return false; }
  // Twice the puts that are made at a time.
  uint64_t window_bytes() const override { return 64 * kMiB; }
  bool machines_send() const override { return true; }
  // Where one has lost the replica without being told so, it does not take it back.
  std::string claim() const override { return claim_.lease_id; }
  void GoOnWith(const std::string& claim) override { claim_ = {.lease_id = claim}; }
  // The client has tried for a while already.
  Trouble TroubleOf(const absl::Status& status) const override {
    return {ProblemOfAzure(status), /*slow=*/true};
  }

 private:
  absl::Status Check() const {
    if (blobs_ == nullptr) {
      return absl::NotFoundError(
          absl::StrCat("container ", replica_.container_url,
                       " is not under azure.storage in this process server's configuration"));
    }
    if (replica_.disks.empty() || static_cast<int>(replica_.disks.size()) != disks_wanted_) {
      return absl::FailedPreconditionError(absl::StrCat(
          replica_.disks.size(), " page blobs for a machine with ", disks_wanted_, " disks"));
    }
    for (const PageBlobStore::Disk& disk : replica_.disks) {
      if (!absl::StartsWith(disk.blob, absl::StrCat(replica_.machine_id, "/"))) {
        return absl::FailedPreconditionError(absl::StrCat("page blob ", disk.blob, " is not under ",
                                                          replica_.machine_id, "/, the machine's"));
      }
    }
    return absl::OkStatus();
  }

  azure::PageBlobs* const blobs_;
  const Clock& clock_;
  const PageBlobStore::MakeStrand make_strand_;
  PageBlobStore::Replica replica_;
  int disks_wanted_ = 0;
  PageBlobStore::Claim claim_;
};

}  // namespace

ProblemId ProblemOfAzure(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kCancelled:
      return ProblemId::kReplicaLostLease;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return ProblemId::kContainerNotReachable;
    case absl::StatusCode::kNotFound:
      return ProblemId::kContainerMissing;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return ProblemId::kStorageAccessRefused;
    case absl::StatusCode::kResourceExhausted:
      return ProblemId::kStorageThrottled;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAlreadyExists:
      return ProblemId::kBlobUnsuitable;
    case absl::StatusCode::kDataLoss:
      return ProblemId::kBlobMetadataWrong;
    case absl::StatusCode::kOutOfRange:
      return ProblemId::kPointNotFound;
    default:
      return ProblemId::kReplicaFailed;
  }
}

azure::PageBlobs* Containers::Find(const std::string& url) const {
  const auto it = clients_.find(url);
  return it == clients_.end() ? nullptr : it->second.get();
}

void Containers::Look() {
  for (const auto& [url, client] : clients_) {
    const absl::Status seen = client->List(kProbePrefix).status();
    absl::MutexLock lock(&mutex_);
    const auto before = seen_.find(url);
    const bool was_reached = before != seen_.end() && before->second.ok();
    if (seen.ok() && !was_reached) LogInfo("container.reached", {{"container", url}});
    if (!seen.ok() && (before == seen_.end() || was_reached))
      LogError("container.not_reached", {{"container", url}, {"error", seen}});
    seen_[url] = seen;
  }
}

std::vector<std::string> Containers::reachable() const {
  absl::MutexLock lock(&mutex_);
  std::vector<std::string> urls;
  for (const auto& [url, seen] : seen_) {
    if (seen.ok()) urls.push_back(url);
  }
  return urls;
}

std::vector<types::v1::HealthIssue> Containers::issues() const {
  absl::MutexLock lock(&mutex_);
  std::vector<types::v1::HealthIssue> issues;
  for (const auto& [url, seen] : seen_) {
    if (seen.ok()) continue;
    issues.push_back(MakeIssue(types::v1::CRITICAL, ProblemOfAzure(seen),
                               absl::StrCat("container ", url, ": ", seen.message())));
  }
  return issues;
}

BackendTable PageBlobBackends(const Containers* containers, const std::string& host_id,
                              const Clock& clock, const PageBlobStore::MakeStrand& make_strand) {
  return {{control::v1::Target::kPageBlobs,
           [containers, host_id, &clock, make_strand](const BackendParts&,
                                                      const control::v1::Replica& replica) {
             azure::PageBlobs* const blobs =
                 containers->Find(TargetOf(replica).page_blobs().container_url());
             return std::make_unique<PageBlobBackend>(blobs, host_id, clock, make_strand, replica);
           }}};
}

}  // namespace homeward
