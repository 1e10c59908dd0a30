// The backend of a process server: replicas in page blobs of the containers that its configuration
// names.
#ifndef HOMEWARD_PROCESS_SERVER_AZURE_PAGE_BLOB_BACKEND_H_
#define HOMEWARD_PROCESS_SERVER_AZURE_PAGE_BLOB_BACKEND_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/azure/page_blobs.h"
#include "common/clock/clock.h"
#include "common/problem/problem.h"
#include "common/replica/replica_backend.h"
#include "process_server/azure/page_blob_store.h"

namespace homeward {

// Thread-safe.
class Containers {
 public:
  // By its URL.
  using Clients = std::map<std::string, std::unique_ptr<azure::PageBlobs>>;
  explicit Containers(Clients clients) : clients_(std::move(clients)) {}

  // Null: the configuration does not name it.
  azure::PageBlobs* Find(const std::string& url) const;
  // Lists something in each, to see whether it can. Blocks for as long as a client tries.
  void Look();
  // Those of which the last Look() could; in order.
  std::vector<std::string> reachable() const;
  // Of those of which it could not.
  std::vector<types::v1::HealthIssue> issues() const;

 private:
  const Clients clients_;
  mutable absl::Mutex mutex_;
  std::map<std::string, absl::Status> seen_ ABSL_GUARDED_BY(mutex_);
};

// What an error of Azure is to an operator.
ProblemId ProblemOfAzure(const absl::Status& status);

// `containers` and `clock` outlive what it makes. `host_id` is this process server's.
BackendTable PageBlobBackends(const Containers* containers, const std::string& host_id,
                              const Clock& clock, const PageBlobStore::MakeStrand& make_strand);

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_AZURE_PAGE_BLOB_BACKEND_H_
