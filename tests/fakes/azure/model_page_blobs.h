// ModelPageBlobs: Azure's page blobs in memory, for unit tests and the simulation.
#ifndef HOMEWARD_TESTS_FAKES_AZURE_MODEL_PAGE_BLOBS_H_
#define HOMEWARD_TESTS_FAKES_AZURE_MODEL_PAGE_BLOBS_H_

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "common/azure/page_blobs.h"
#include "common/status/status_macros.h"

namespace homeward {

// What is in the container, which outlives who speaks to it. Requests are one behind the other; who
// looks into it does so when there are none.
struct ModelContainer {
  // Bytes of each page that was written and not cleared, by its offset.
  using Pages = std::map<uint64_t, std::shared_ptr<const std::string>>;
  struct Snapshot {
    Pages pages;
    uint64_t bytes = 0;
    azure::Metadata metadata;
    std::string etag;
  };
  struct Blob {
    Pages pages;
    uint64_t bytes = 0;
    azure::Metadata metadata;
    std::string etag;
    std::string lease_id;  // empty: nobody's
    std::map<std::string, Snapshot> snapshots;
  };
  std::map<std::string, Blob> blobs;
  uint64_t changes = 0;  // makes ETags and ids of snapshots
  std::unique_ptr<absl::Mutex> mutex = std::make_unique<absl::Mutex>();
};

// One who speaks to it. Thread-safe, but for its hooks.
class ModelPageBlobs : public azure::PageBlobs {
 public:
  // Where a request is lost. `kAfter`: it had its effect, and nobody here knows.
  enum class Loss { kNone, kBefore, kAfter };
  // Asked at each request; of a Write() at each of its writes, so that some can have been made. May
  // be empty. What it is called with: "Create", "Write", and so on, and the blob's name.
  std::function<Loss(absl::string_view call, const std::string& blob)> loss;
  // What a lost request ends with.
  absl::Status lost = absl::UnavailableError("the storage account is not reached");
  // Called before each request has its effect, as for a crash there. May be empty.
  std::function<void(absl::string_view call, const std::string& blob)> before;
  std::atomic<uint64_t> requests = 0, puts = 0;

  // `container` outlives it.
  explicit ModelPageBlobs(ModelContainer* container) : container_(*container) {}

  absl::StatusOr<std::string> Create(const std::string& blob, uint64_t bytes,
                                     const azure::Metadata& metadata) override {
    HW_RETURN_IF_ERROR(azure::CheckBlobName(blob));
    HW_RETURN_IF_ERROR(azure::CheckBlobBytes(bytes));
    HW_RETURN_IF_ERROR(azure::CheckMetadata(metadata));
    std::string etag;
    HW_RETURN_IF_ERROR(Do("Create", blob, [&] {
      const auto [it, is_new] = container_.blobs.try_emplace(blob);
      if (!is_new && (it->second.bytes != bytes || it->second.metadata != metadata))
        return absl::AlreadyExistsError(absl::StrCat(blob, ": BlobAlreadyExists"));
      if (is_new) {
        it->second.bytes = bytes;
        it->second.metadata = metadata;
        it->second.etag = NextEtag();
      }
      etag = it->second.etag;
      return absl::OkStatus();
    }));
    return etag;
  }

  absl::StatusOr<std::vector<azure::BlobProperties>> List(absl::string_view prefix) override {
    std::vector<azure::BlobProperties> all;
    HW_RETURN_IF_ERROR(Do("List", std::string(prefix), [&] {
      for (const auto& [name, blob] : container_.blobs) {
        if (!absl::StartsWith(name, prefix)) continue;
        for (const auto& [id, snapshot] : blob.snapshots) all.push_back(Of(name, id, snapshot));
        all.push_back(Of(name, blob));
      }
      return absl::OkStatus();
    }));
    return all;
  }

  absl::StatusOr<azure::BlobProperties> Properties(const std::string& blob,
                                                   const std::string& snapshot) override {
    azure::BlobProperties properties;
    HW_RETURN_IF_ERROR(Do("Properties", blob, [&]() -> absl::Status {
      HW_ASSIGN_OR_RETURN(ModelContainer::Blob* const found, Find(blob));
      if (snapshot.empty()) {
        properties = Of(blob, *found);
        return absl::OkStatus();
      }
      HW_ASSIGN_OR_RETURN(const ModelContainer::Snapshot* const of, FindSnapshot(blob, snapshot));
      properties = Of(blob, snapshot, *of);
      return absl::OkStatus();
    }));
    return properties;
  }

  absl::Status Lease(const std::string& blob, const std::string& lease_id) override {
    return Do("Lease", blob, [&]() -> absl::Status {
      HW_ASSIGN_OR_RETURN(ModelContainer::Blob* const found, Find(blob));
      if (!found->lease_id.empty() && found->lease_id != lease_id)
        return absl::AbortedError(absl::StrCat(blob, ": LeaseAlreadyPresent"));
      found->lease_id = lease_id;
      return absl::OkStatus();
    });
  }

  absl::Status BreakLease(const std::string& blob) override {
    return Do("BreakLease", blob, [&]() -> absl::Status {
      HW_ASSIGN_OR_RETURN(ModelContainer::Blob* const found, Find(blob));
      found->lease_id.clear();
      return absl::OkStatus();
    });
  }

  absl::Status ReleaseLease(const std::string& blob, const std::string& lease_id) override {
    return Do("ReleaseLease", blob, [&]() -> absl::Status {
      HW_ASSIGN_OR_RETURN(ModelContainer::Blob* const found, Find(blob));
      if (!found->lease_id.empty() && found->lease_id != lease_id)
        return absl::AbortedError(absl::StrCat(blob, ": LeaseIdMismatchWithLeaseOperation"));
      found->lease_id.clear();
      return absl::OkStatus();
    });
  }

  absl::Status Write(const std::vector<azure::PageWrite>& writes,
                     const std::map<std::string, std::string>& lease_of_blob) override {
    HW_RETURN_IF_ERROR(azure::CheckWrites(writes));
    for (const azure::PageWrite& write : writes) {
      const auto lease = lease_of_blob.find(write.blob);
      const std::string lease_id = lease == lease_of_blob.end() ? "" : lease->second;
      HW_RETURN_IF_ERROR(Do("Write", write.blob, [&]() -> absl::Status {
        HW_ASSIGN_OR_RETURN(ModelContainer::Blob* const blob, Find(write.blob));
        HW_RETURN_IF_ERROR(CheckLease(write.blob, *blob, lease_id, /*needed=*/true));
        if (write.offset + write.bytes > blob->bytes)
          return absl::InvalidArgumentError(absl::StrCat(write.blob, ": InvalidPageRange"));
        Put(write, &blob->pages);
        blob->etag = NextEtag();
        ++puts;
        return absl::OkStatus();
      }));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> SetMetadata(const std::string& blob, const azure::Metadata& metadata,
                                          absl::string_view if_match,
                                          absl::string_view lease_id) override {
    HW_RETURN_IF_ERROR(azure::CheckMetadata(metadata));
    std::string etag;
    HW_RETURN_IF_ERROR(Do("SetMetadata", blob, [&]() -> absl::Status {
      HW_ASSIGN_OR_RETURN(ModelContainer::Blob* const found, Find(blob));
      HW_RETURN_IF_ERROR(CheckLease(blob, *found, lease_id, /*needed=*/true));
      const bool as_it_was = if_match.empty() || found->etag == if_match;
      if (!as_it_was && found->metadata != metadata)
        return absl::AbortedError(absl::StrCat(blob, ": ConditionNotMet"));
      if (as_it_was) {
        found->metadata = metadata;
        found->etag = NextEtag();
      }
      etag = found->etag;
      return absl::OkStatus();
    }));
    return etag;
  }

  absl::StatusOr<std::string> Snapshot(const std::string& blob, const azure::Metadata& metadata,
                                       absl::string_view lease_id) override {
    HW_RETURN_IF_ERROR(azure::CheckMetadata(metadata));
    if (metadata.empty()) return absl::InvalidArgumentError("a snapshot needs metadata");
    std::string id;
    HW_RETURN_IF_ERROR(Do("Snapshot", blob, [&]() -> absl::Status {
      HW_ASSIGN_OR_RETURN(ModelContainer::Blob* const found, Find(blob));
      HW_RETURN_IF_ERROR(CheckLease(blob, *found, lease_id, /*needed=*/false));
      id = absl::StrFormat("2026-01-01T00:00:00.%07uZ", ++container_.changes);
      found->snapshots[id] = {found->pages, found->bytes, metadata, found->etag};
      return absl::OkStatus();
    }));
    return id;
  }

  absl::Status Delete(const std::string& blob, const std::string& snapshot,
                      absl::string_view lease_id) override {
    return Do("Delete", blob, [&] {
      const auto it = container_.blobs.find(blob);
      if (it == container_.blobs.end()) return absl::OkStatus();
      if (!snapshot.empty()) {
        it->second.snapshots.erase(snapshot);
        return absl::OkStatus();
      }
      HW_RETURN_IF_ERROR(CheckLease(blob, it->second, lease_id, /*needed=*/true));
      if (!it->second.snapshots.empty())
        return absl::FailedPreconditionError(absl::StrCat(blob, ": SnapshotsPresent"));
      container_.blobs.erase(it);
      return absl::OkStatus();
    });
  }

  absl::StatusOr<std::string> Read(const std::string& blob, const std::string& snapshot,
                                   uint64_t offset, uint64_t bytes) override {
    std::string content;
    HW_RETURN_IF_ERROR(Do("Read", blob, [&]() -> absl::Status {
      HW_ASSIGN_OR_RETURN(const Content of, ContentOf(blob, snapshot));
      if (bytes > of.bytes || offset > of.bytes - bytes)
        return absl::InvalidArgumentError(absl::StrCat(blob, ": InvalidRange"));
      content.assign(bytes, '\0');
      for (auto it = of.pages->lower_bound(offset - offset % azure::kPageBytes);
           it != of.pages->end() && it->first < offset + bytes; ++it) {
        const uint64_t from = std::max(it->first, offset);
        const uint64_t end = std::min(it->first + azure::kPageBytes, offset + bytes);
        content.replace(from - offset, end - from, *it->second, from - it->first, end - from);
      }
      return absl::OkStatus();
    }));
    return content;
  }

  absl::StatusOr<ExtentSet> Ranges(const std::string& blob, const std::string& snapshot) override {
    ExtentSet ranges;
    HW_RETURN_IF_ERROR(Do("Ranges", blob, [&]() -> absl::Status {
      HW_ASSIGN_OR_RETURN(const Content of, ContentOf(blob, snapshot));
      for (const auto& [offset, page] : *of.pages) ranges.Add(Extent{offset, azure::kPageBytes});
      return absl::OkStatus();
    }));
    return ranges;
  }

 private:
  struct Content {
    const ModelContainer::Pages* pages;
    uint64_t bytes;
  };

  absl::Status Do(absl::string_view call, const std::string& blob,
                  const std::function<absl::Status()>& effect) {
    ++requests;
    const Loss lose = loss ? loss(call, blob) : Loss::kNone;
    if (lose == Loss::kBefore) return lost;
    if (before) before(call, blob);
    absl::MutexLock lock(container_.mutex.get());
    const absl::Status status = effect();
    return lose == Loss::kAfter ? lost : status;
  }
  std::string NextEtag() { return absl::StrFormat("\"0x8D%013X\"", ++container_.changes); }

  absl::StatusOr<ModelContainer::Blob*> Find(const std::string& name) {
    const auto it = container_.blobs.find(name);
    if (it == container_.blobs.end())
      return absl::NotFoundError(absl::StrCat(name, ": BlobNotFound"));
    return &it->second;
  }
  absl::StatusOr<const ModelContainer::Snapshot*> FindSnapshot(const std::string& name,
                                                               const std::string& id) {
    HW_ASSIGN_OR_RETURN(const ModelContainer::Blob* const blob, Find(name));
    const auto it = blob->snapshots.find(id);
    if (it == blob->snapshots.end())
      return absl::NotFoundError(absl::StrCat(name, " at ", id, ": BlobNotFound"));
    return &it->second;
  }
  absl::StatusOr<Content> ContentOf(const std::string& name, const std::string& snapshot) {
    if (snapshot.empty()) {
      HW_ASSIGN_OR_RETURN(const ModelContainer::Blob* const blob, Find(name));
      return Content{&blob->pages, blob->bytes};
    }
    HW_ASSIGN_OR_RETURN(const ModelContainer::Snapshot* const of, FindSnapshot(name, snapshot));
    return Content{&of->pages, of->bytes};
  }

  // As Azure tells them apart (Lease Blob, "Outcomes of use attempts on blobs by lease state").
  static absl::Status CheckLease(const std::string& name, const ModelContainer::Blob& blob,
                                 absl::string_view lease_id, bool needed) {
    const char* code = nullptr;
    if (lease_id.empty()) {
      if (needed && !blob.lease_id.empty()) code = "LeaseIdMissing";
    } else if (blob.lease_id.empty()) {
      code = "LeaseNotPresentWithBlobOperation";
    } else if (blob.lease_id != lease_id) {
      code = "LeaseIdMismatchWithBlobOperation";
    }
    return code == nullptr ? absl::OkStatus() : absl::AbortedError(absl::StrCat(name, ": ", code));
  }

  static void Put(const azure::PageWrite& write, ModelContainer::Pages* pages) {
    const std::string content = write.content.Joined();
    for (uint64_t at = 0; at < write.bytes; at += azure::kPageBytes) {
      if (content.empty()) {
        pages->erase(write.offset + at);
      } else {
        (*pages)[write.offset + at] =
            std::make_shared<const std::string>(content.substr(at, azure::kPageBytes));
      }
    }
  }

  static azure::BlobProperties Of(const std::string& name, const ModelContainer::Blob& blob) {
    return {name, "", blob.bytes, blob.etag, blob.metadata, !blob.lease_id.empty()};
  }
  static azure::BlobProperties Of(const std::string& name, const std::string& id,
                                  const ModelContainer::Snapshot& snapshot) {
    return {name, id, snapshot.bytes, snapshot.etag, snapshot.metadata, false};
  }

  ModelContainer& container_;
};

}  // namespace homeward

#endif  // HOMEWARD_TESTS_FAKES_AZURE_MODEL_PAGE_BLOBS_H_
