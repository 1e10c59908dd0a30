#include <grpcpp/grpcpp.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/name.h"
#include "common/control/control_client.h"
#include "common/log/log.h"
#include "common/problem/problem.h"
#include "common/replica/replicas.h"
#include "common/rpc/replication_link.h"
#include "common/status/status_macros.h"
#include "master_target/host/disk_backends.h"
#include "master_target/host/master_target.h"
#include "master_target/host/retention_volume.h"

namespace homeward {
namespace {

using config::v1::MasterTargetConfig;

ScrubPace PaceOf(const config::v1::MasterTargetConfig& config) {
  ScrubPace pace;
  if (config.scrub_bytes_per_second() != 0) pace.bytes_per_second = config.scrub_bytes_per_second();
  pace.interval = DurationOr(config.scrub_interval(), config.has_scrub_interval(), pace.interval);
  return pace;
}

std::string RetentionDirectoryOf(const MasterTargetConfig& config) {
  return config.retention_directory().empty() ? JoinPath(config.state_directory(), "retention")
                                              : config.retention_directory();
}

class MasterTarget : public Daemon {
 public:
  MasterTarget(const Environment& environment, MasterTargetConfig config)
      : environment_(environment),
        config_(std::move(config)),
        retention_directory_(RetentionDirectoryOf(config_)),
        attached_(MakeAttachedDisks(config_.disk_links_directory().empty()
                                        ? kDiskLinksDirectory
                                        : config_.disk_links_directory())),
        replicas_(std::make_unique<Replicas>(
            StreamRuntime{.files = environment.files,
                          .clock = environment.clock,
                          .make_strand = MakeThreadStrand,
                          .on_news = [this] { news_.Tell(); }},
            Replicas::Volumes{
                .retention_directory = retention_directory_,
                .datastores = {config_.datastores().begin(), config_.datastores().end()},
                .block_devices = {config_.block_devices().begin(), config_.block_devices().end()},
                .scrub = PaceOf(config_),
                .attached = attached_.get(),
                .backends = DiskBackends()})),
        endpoint_({Role::kProcessServer, Role::kAgent},
                  [this](const std::string& machine_id) { return replicas_->Find(machine_id); }) {}

  absl::Status Start() {
    HW_RETURN_IF_ERROR(environment_.files.MakeDirectories(retention_directory_));
    HW_ASSIGN_OR_RETURN(membership_,
                        JoinFabric(environment_.files, Joining(), environment_.stopping));
    HW_RETURN_IF_ERROR(endpoint_.StartDataChannel(
        {.listen_address = config_.listen_address(),
         .data_channel_address = config_.data_channel_address(),
         .identity = [this] { return ReadIdentity(environment_.files, membership_.files); }}));
    HW_ASSIGN_OR_RETURN(server_, StartServer({.address = config_.listen_address(),
                                              .identity = membership_.files,
                                              .services = {&endpoint_}}));
    control_ = std::make_unique<ControlClient>(
        environment_.files, environment_.clock,
        ControlClient::Options{.address = config_.join().config_server(),
                               .identity = membership_.files,
                               .news = &news_},
        ControlClient::Callbacks{.registration = [this] { return MakeRegistration(); },
                                 .observe = [this] { return Observe(); },
                                 .desired =
                                     [this](const control::v1::Desired& desired) {
                                       replicas_->Want(desired.master_target().replicas());
                                     }});
    return absl::OkStatus();
  }
  ~MasterTarget() override {
    control_.reset();
    if (server_ != nullptr)
      server_->Shutdown(absl::ToChronoTime(environment_.clock.Now() + absl::Seconds(1)));
    server_.reset();
    endpoint_.StopDataChannel();
    replicas_.reset();
  }

  void Reload(const google::protobuf::Message& fresh) override {
    if (fresh.SerializeAsString() != config_.SerializeAsString())
      LogWarn("config.needs_restart",
              {{"why", "the master target reads only log.level while it runs"}});
  }
  std::vector<types::v1::HealthIssue> Health() override {
    const control::v1::Heartbeat heartbeat = Observe();
    return {heartbeat.issues().begin(), heartbeat.issues().end()};
  }
  void Measure(Metrics* metrics) override {
    endpoint_.Measure(metrics);
    MeasureReplicas(Observe().master_target().replicas(), metrics);
  }

 private:
  types::v1::Datastore Measured(const std::string& path) const {
    constexpr uint64_t kStep = 16 * kMiB;  // So that a heartbeat is not a new one at every write.
    types::v1::Datastore out;
    out.set_path(path);
    const absl::StatusOr<VolumeSpace> space = environment_.files.Space(path);
    if (space.ok()) {
      out.set_total_bytes(space->total_bytes);
      out.set_free_bytes(space->free_bytes / kStep * kStep);
    }
    return out;
  }

  JoinOptions Joining() const {
    return {.role = types::v1::MASTER_TARGET,
            .state_directory = config_.state_directory(),
            .join = config_.join()};
  }

  control::v1::Registration MakeRegistration() {
    control::v1::Registration registration = DescribeHost(Joining(), membership_, kVersion);
    if (!config_.hardware_uuid().empty()) registration.set_hardware_uuid(config_.hardware_uuid());
    registration.set_replication_address(config_.advertised_address().empty()
                                             ? config_.listen_address()
                                             : config_.advertised_address());
    registration.set_data_channel_port(endpoint_.data_channel_port());
    // By them its VM is told from a copy of it.
    for (const std::string& uuid : attached_->Uuids()) registration.add_disks()->set_uuid(uuid);
    return registration;
  }

  control::v1::Heartbeat Observe() {
    control::v1::Heartbeat heartbeat;
    control::v1::MasterTargetObserved& seen = *heartbeat.mutable_master_target();
    for (control::v1::ReplicaObserved& replica : replicas_->observed()) {
      if (replica.has_problem()) {
        *heartbeat.add_issues() = IssueOf(types::v1::CRITICAL, replica.problem());
      }
      *seen.add_replicas() = std::move(replica);
    }
    for (const std::string& path : config_.datastores()) *seen.add_datastores() = Measured(path);
    *seen.mutable_retention_volume() = Measured(retention_directory_);
    if (const absl::Status suits = CheckRetentionVolume(environment_.files, retention_directory_);
        !suits.ok()) {
      seen.mutable_retention_volume()->set_unsuitable(std::string(suits.message()));
    }
    for (const std::string& path : config_.block_devices()) {
      const auto device = environment_.files.Open(path, OpenMode::kReadOnly);
      const absl::StatusOr<uint64_t> size =
          device.ok() ? (*device)->Size() : absl::StatusOr<uint64_t>(device.status());
      if (!size.ok()) continue;
      types::v1::BlockDevice& offered = *seen.add_block_devices();
      offered.set_path(path);
      offered.set_size_bytes(*size);
      offered.set_logical_sector_bytes(LogicalSectorBytesOf(path));
    }
    return heartbeat;
  }

  const Environment environment_;
  const MasterTargetConfig config_;
  const std::string retention_directory_;
  Membership membership_;
  const std::unique_ptr<AttachedDisks> attached_;
  News news_;
  std::unique_ptr<Replicas> replicas_;
  ReplicationEndpoint endpoint_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<ControlClient> control_;
};

}  // namespace

void CheckMasterTargetConfig(const google::protobuf::Message& message, ConfigProblems* problems) {
  const auto& config = static_cast<const MasterTargetConfig&>(message);
  RequireAddress("join.config_server", config.join().config_server(), problems);
  RequireName("join.name", config.join().name(), kHostNameBytesMax, problems);
  RequireAddress("listen_address", config.listen_address(), problems);
  RequireAbsolutePath("state_directory", config.state_directory(), problems);
  if (!config.retention_directory().empty())
    RequireAbsolutePath("retention_directory", config.retention_directory(), problems);
  if (!config.advertised_address().empty())
    RequireAddress("advertised_address", config.advertised_address(), problems);
  if (!config.data_channel_address().empty() && config.data_channel_address() != "none")
    RequireAddress("data_channel_address", config.data_channel_address(), problems);
  if (!config.disk_links_directory().empty())
    RequireAbsolutePath("disk_links_directory", config.disk_links_directory(), problems);
  for (int i = 0; i < config.block_devices_size(); ++i)
    RequireAbsolutePath(absl::StrCat("block_devices[", i, "]"), config.block_devices(i), problems);
  for (int i = 0; i < config.datastores_size(); ++i)
    RequireAbsolutePath(absl::StrCat("datastores[", i, "]"), config.datastores(i), problems);
  if (!config.monitoring().listen_address().empty())
    RequireAddress("monitoring.listen_address", config.monitoring().listen_address(), problems);
}

absl::StatusOr<std::string> PrepareRetention(const google::protobuf::Message& config) {
  return PrepareRetentionVolume(
      RealFileSystem(), RetentionDirectoryOf(static_cast<const MasterTargetConfig&>(config)));
}

absl::StatusOr<std::unique_ptr<Daemon>> StartMasterTarget(const google::protobuf::Message& config,
                                                          const Environment& environment) {
  auto target =
      std::make_unique<MasterTarget>(environment, static_cast<const MasterTargetConfig&>(config));
  HW_RETURN_IF_ERROR(target->Start());
  return target;
}

}  // namespace homeward
