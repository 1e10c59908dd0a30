// BlobContainer: PageBlobs of Azure Blob storage, over its REST.
#ifndef HOMEWARD_COMMON_AZURE_BLOB_CONTAINER_H_
#define HOMEWARD_COMMON_AZURE_BLOB_CONTAINER_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/azure/page_blobs.h"
#include "common/azure/retry.h"
#include "common/azure/token_source.h"
#include "common/clock/clock.h"
#include "common/net/https_client.h"

namespace homeward::azure {

// The version of the Blob service's REST that is spoken here (the x-ms-version of every request).
constexpr char kStorageApiVersion[] = "2021-12-02";
// What a token for Blob storage is asked for.
constexpr char kStorageResource[] = "https://storage.azure.com/";

// An account's key, as Azure shows it.
struct AccountKey {
  std::string base64;
};
// A token that Azure shows: "sv=...&sig=...".
struct SharedAccessSignature {
  std::string token;
};
// The token source outlives the container.
using StorageCredential = std::variant<AccountKey, SharedAccessSignature, TokenSource*>;

struct BlobContainerOptions {
  // "https://ACCOUNT.blob.core.windows.net/CONTAINER"; where the host is an address, as of an
  // emulator, "https://127.0.0.1:10000/ACCOUNT/CONTAINER".
  std::string url;
  StorageCredential credential;
  // CAs (PEM) that the account's certificate may be signed by, beside those that this host trusts.
  std::string trusted;
  HttpsProxy proxy;
  size_t puts_max = 8;  // of one Write() at a time
  absl::Duration request_limit = absl::Seconds(90);
  RetryLimits retry;
  size_t list_results_max = 5000;  // in one reply
  uint64_t seed = 0;               // of the chance in retries
  // Ends calls soon after it becomes true, as CANCELLED. May be null; must outlive the container.
  const std::atomic<bool>* cancelled = nullptr;
};

// What a container's address says. INVALID_ARGUMENT: it is none, and why.
struct ContainerAddress {
  HostPort host;
  std::string account;
  std::string path;  // "/CONTAINER" or "/ACCOUNT/CONTAINER"
};
absl::StatusOr<ContainerAddress> ParseContainerUrl(absl::string_view url);

// Thread-safe. Content goes with its CRC-64, which Azure compares.
//
// A put whose connection ended may still be on its way, and arrive after a later one of the same
// pages. So each put is only for the blob at one sequence number, and after such an end, and before
// the first put of this object's life, the sequence number is increased: what is on its way from
// before then finds another one, whoever sent it, and does nothing. Two objects that write to one
// blob at the same time keep each other waiting; a lease is what decides between them.
class BlobContainer : public PageBlobs {
 public:
  // Sends nothing yet. INVALID_ARGUMENT: the URL or the credential. `clock` outlives it.
  static absl::StatusOr<std::unique_ptr<BlobContainer>> Open(BlobContainerOptions options,
                                                             const Clock& clock);

  absl::StatusOr<std::string> Create(const std::string& blob, uint64_t bytes,
                                     const Metadata& metadata) override;
  absl::StatusOr<std::vector<BlobProperties>> List(absl::string_view prefix) override;
  absl::StatusOr<BlobProperties> Properties(const std::string& blob,
                                            const std::string& snapshot) override;
  absl::Status Lease(const std::string& blob, const std::string& lease_id) override;
  absl::Status BreakLease(const std::string& blob) override;
  absl::Status ReleaseLease(const std::string& blob, const std::string& lease_id) override;
  absl::Status Write(const std::vector<PageWrite>& writes,
                     const std::map<std::string, std::string>& lease_of_blob) override;
  absl::StatusOr<std::string> SetMetadata(const std::string& blob, const Metadata& metadata,
                                          absl::string_view if_match,
                                          absl::string_view lease_id) override;
  absl::StatusOr<std::string> Snapshot(const std::string& blob, const Metadata& metadata,
                                       absl::string_view lease_id) override;
  absl::Status Delete(const std::string& blob, const std::string& snapshot,
                      absl::string_view lease_id) override;
  absl::StatusOr<std::string> Read(const std::string& blob, const std::string& snapshot,
                                   uint64_t offset, uint64_t bytes) override;
  absl::StatusOr<ExtentSet> Ranges(const std::string& blob, const std::string& snapshot) override;

 private:
  struct Request {
    HttpsMethod method = HttpsMethod::kGet;
    std::string blob;  // empty: the container
    std::map<std::string, std::string> query;
    std::map<std::string, std::string> headers;
    Pieces content;
    bool once = false;  // never sent twice by the transport
  };
  // How one attempt ended.
  struct Attempt {
    absl::StatusOr<HttpsReply> reply;  // of any code
    bool may_pass = false;
    absl::Duration asked_for;  // the wait, by the server
  };

  BlobContainer(BlobContainerOptions options, ContainerAddress address, const Clock& clock);

  // Attempts until it ends with what does not pass, or the limit comes. A reply with an error code
  // is that error.
  absl::StatusOr<HttpsReply> Repeat(const std::string& blob,
                                    const std::function<Attempt()>& attempt);
  absl::StatusOr<HttpsReply> Send(const Request& request);
  Attempt SendOnce(const Request& request);
  absl::Status Authorise(const Request& request, HttpsRequest* https);
  absl::Status LeaseRequest(const std::string& blob,
                            const std::map<std::string, std::string>& headers);
  absl::Status Put(const PageWrite& write, const std::string& lease_id);
  // One attempt, and what it takes for the sequence number to be known.
  Attempt PutOnce(Request* request, const std::string& lease_id);
  // OK: `number` is the blob's, increased where it was not known.
  Attempt KnowSequence(const std::string& blob, const std::string& lease_id, uint64_t* number);
  absl::StatusOr<std::string> FindSnapshot(const std::string& blob, const Metadata& metadata);
  // False: cancelled.
  bool Wait(absl::Duration duration);
  bool is_cancelled() const { return options_.cancelled != nullptr && *options_.cancelled; }

  const BlobContainerOptions options_;
  const ContainerAddress address_;
  const Clock& clock_;
  std::string account_key_;  // decoded; or empty
  std::string signature_;    // or empty
  HttpsClient client_;
  std::atomic<uint64_t> repeats_{0};
  absl::Mutex sequence_mutex_;  // held while one increases a sequence number
  absl::Mutex mutex_;
  // Of blobs where no put of before can arrive any more.
  std::map<std::string, uint64_t> sequence_of_blob_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace homeward::azure

#endif  // HOMEWARD_COMMON_AZURE_BLOB_CONTAINER_H_
