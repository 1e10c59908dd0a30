#include "process_server/host/azure_replicas.h"

#include <functional>
#include <utility>

#include "common/azure/blob_container.h"
#include "common/problem/problem.h"
#include "common/status/status_macros.h"
#include "process_server/host/azure_config.h"

namespace homeward {
namespace {

// Of a look at a container.
constexpr absl::Duration kLookRequestLimit = absl::Seconds(20);
constexpr absl::Duration kLookLimit = absl::Seconds(5);

HttpsProxy ProxyOf(const config::v1::Proxy& proxy) {
  return {proxy.address(), {proxy.except().begin(), proxy.except().end()}};
}

}  // namespace

absl::StatusOr<std::unique_ptr<AzureReplicas>> AzureReplicas::Start(StreamRuntime runtime,
                                                                    Options options) {
  std::unique_ptr<AzureReplicas> azure(new AzureReplicas(std::move(options)));
  HW_RETURN_IF_ERROR(azure->Open(runtime));
  return azure;
}

absl::Status AzureReplicas::Open(const StreamRuntime& runtime) {
  Containers::Clients all;
  for (const config::v1::AzureStorage& storage : options_.config.storage()) {
    HW_ASSIGN_OR_RETURN(Containers::Clients patient, ClientsOf(runtime, storage, /*patient=*/true));
    all.merge(patient);
    HW_ASSIGN_OR_RETURN(Containers::Clients hasty, ClientsOf(runtime, storage, /*patient=*/false));
    watched_.push_back(std::make_unique<Watched>(ContainerUrlOf(storage), std::move(hasty)));
  }
  containers_ = std::make_unique<Containers>(std::move(all));
  replicas_ = std::make_unique<Replicas>(
      runtime, Replicas::Volumes{.retention_directory = options_.directory,
                                 .backends = PageBlobBackends(containers_.get(), options_.host_id,
                                                              runtime.clock, runtime.make_strand)});
  strand_ = runtime.make_strand("azure");
  for (const std::unique_ptr<Watched>& watched : watched_) {
    watched->strand = runtime.make_strand("azure-look");
    watched->strand->Post([this, one = watched.get()] { KeepLooking(one); });
  }
  return absl::OkStatus();
}

absl::StatusOr<Containers::Clients> AzureReplicas::ClientsOf(
    const StreamRuntime& runtime, const config::v1::AzureStorage& storage, bool patient) {
  HW_ASSIGN_OR_RETURN(StorageAccess access,
                      ReadStorageAccess(runtime.files, storage, ProxyOf(options_.config.proxy())));
  if (!patient) {
    access.options.request_limit = kLookRequestLimit;
    access.options.retry.whole = kLookLimit;
  }
  if (access.tokens.has_value()) {
    if (!patient) access.tokens->retry_limit = kLookLimit;
    HW_ASSIGN_OR_RETURN(
        std::unique_ptr<azure::Tokens> tokens,
        azure::MakeTokens(*std::move(access.tokens), runtime.clock, pauses_, &cancelled_));
    access.options.credential = tokens.get();
    tokens_.push_back(std::move(tokens));
  }
  access.options.cancelled = &cancelled_;
  // Process servers that were throttled together do not come back together.
  access.options.seed = std::hash<std::string>()(options_.host_id);
  const std::string url = access.options.url;
  Containers::Clients clients;
  HW_ASSIGN_OR_RETURN(clients[url],
                      azure::BlobContainer::Open(std::move(access.options), runtime.clock));
  return clients;
}

AzureReplicas::~AzureReplicas() {
  Cancel();
  if (strand_ != nullptr) strand_->Stop();
  for (const std::unique_ptr<Watched>& watched : watched_) {
    if (watched->strand != nullptr) watched->strand->Stop();
  }
}

void AzureReplicas::KeepLooking(Watched* watched) {
  watched->container.Look();
  const bool reached = watched->container.issues().empty();
  watched->strand->PostAfter(reached ? options_.look_again : options_.look_soon,
                             [this, watched] { KeepLooking(watched); });
}

void AzureReplicas::Want(const google::protobuf::RepeatedPtrField<control::v1::Replica>& desired) {
  strand_->Post([this, desired] { replicas_->Want(desired); });
}

void AzureReplicas::Observe(control::v1::Heartbeat* heartbeat) const {
  control::v1::ProcessServerObserved& seen = *heartbeat->mutable_process_server();
  for (control::v1::ReplicaObserved& replica : replicas_->observed()) {
    if (replica.has_problem())
      *heartbeat->add_issues() = IssueOf(types::v1::CRITICAL, replica.problem());
    *seen.add_replicas() = std::move(replica);
  }
  for (const std::unique_ptr<Watched>& watched : watched_) {
    for (const std::string& url : watched->container.reachable())
      seen.add_page_blob_containers(url);
    for (const types::v1::HealthIssue& issue : watched->container.issues())
      *heartbeat->add_issues() = issue;
  }
}

void AzureReplicas::Measure(const control::v1::ProcessServerObserved& seen,
                            Metrics* metrics) const {
  MeasureReplicas(seen.replicas(), metrics);
  for (const std::unique_ptr<Watched>& watched : watched_) {
    metrics->SetGauge("homeward_container_reached",
                      "Whether the container could be listed at the last look: 1, or 0",
                      {{"container", watched->url}},
                      watched->container.reachable().empty() ? 0 : 1);
  }
}

}  // namespace homeward
