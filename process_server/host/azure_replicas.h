// AzureReplicas: the replicas that this process server keeps in page blobs, and the containers that
// its configuration names for them.
#ifndef HOMEWARD_PROCESS_SERVER_HOST_AZURE_REPLICAS_H_
#define HOMEWARD_PROCESS_SERVER_HOST_AZURE_REPLICAS_H_

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/azure/pauses.h"
#include "common/azure/token.h"
#include "common/metrics/metrics.h"
#include "common/replica/replicas.h"
#include "homeward/config/v1/config.pb.h"
#include "homeward/control/v1/control.pb.h"
#include "process_server/azure/page_blob_backend.h"

namespace homeward {

// Thread-safe. None of it waits for Azure but its end, which waits some seconds for what is under
// way.
class AzureReplicas {
 public:
  struct Options {
    config::v1::Azure config;
    std::string host_id;    // of this process server
    std::string directory;  // what replicas keep on this host
    // How long each container is let be from one look to the next: one that was reached, and one
    // that was not.
    absl::Duration look_again = absl::Minutes(1);
    absl::Duration look_soon = absl::Seconds(10);
  };
  // Reads the files with secrets, and looks at each container from then on. An error names what it
  // could not read.
  static absl::StatusOr<std::unique_ptr<AzureReplicas>> Start(StreamRuntime runtime,
                                                              Options options);
  ~AzureReplicas();
  // What is under way in Azure ends soon, and nothing more is done there: whoever waits for it need
  // not wait long.
  void Cancel() { cancelled_ = true; }

  void Want(const google::protobuf::RepeatedPtrField<control::v1::Replica>& desired);
  // As Replicas::Find().
  absl::StatusOr<HostedInbox> Find(const std::string& machine_id) const {
    return replicas_->Find(machine_id);
  }
  // Adds replicas, containers, and the health issues of both.
  void Observe(control::v1::Heartbeat* heartbeat) const;
  void Measure(const control::v1::ProcessServerObserved& seen, Metrics* metrics) const;

 private:
  // A container as it is looked at, by a client that gives up soon.
  struct Watched {
    Watched(std::string at, Containers::Clients clients)
        : url(std::move(at)), container(std::move(clients)) {}
    const std::string url;
    Containers container;
    std::unique_ptr<Strand> strand;
  };

  explicit AzureReplicas(Options options) : options_(std::move(options)) {}
  absl::Status Open(const StreamRuntime& runtime);
  absl::StatusOr<Containers::Clients> ClientsOf(const StreamRuntime& runtime,
                                                const config::v1::AzureStorage& storage,
                                                bool patient);
  void KeepLooking(Watched* watched);

  const Options options_;
  std::atomic<bool> cancelled_ = false;
  azure::RealPauses pauses_;
  std::vector<std::unique_ptr<azure::Tokens>> tokens_;  // constant after Start(), as the rest
  std::vector<std::unique_ptr<Watched>> watched_;
  std::unique_ptr<Containers> containers_;
  std::unique_ptr<Replicas> replicas_;
  // Where replicas are wanted: to close one may take as long as Azure does.
  std::unique_ptr<Strand> strand_;
};

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_HOST_AZURE_REPLICAS_H_
