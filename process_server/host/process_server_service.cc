#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/limits.h"
#include "common/base/name.h"
#include "common/control/control_client.h"
#include "common/log/log.h"
#include "common/os/host.h"
#include "common/problem/problem.h"
#include "common/rpc/replication_link.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "process_server/host/azure_config.h"
#include "process_server/host/azure_replicas.h"
#include "process_server/host/process_server.h"
#include "process_server/host/relays.h"
#include "process_server/relay/bandwidth_schedule.h"

namespace homeward {
namespace {

using config::v1::ProcessServerConfig;

constexpr uint64_t kCacheBytesDefaultMax = 8 * kGiB;
// In steps, so that a heartbeat is not a new one at every write.
constexpr uint64_t kStepBytes = 16 * kMiB;
constexpr absl::Duration kRateWindow = absl::Seconds(10);

class ProcessServer : public Daemon {
 public:
  ProcessServer(const Environment& environment, ProcessServerConfig config)
      : environment_(environment),
        config_(std::move(config)),
        cache_directory_(config_.cache_directory().empty()
                             ? JoinPath(config_.state_directory(), "spool")
                             : config_.cache_directory()),
        bandwidth_(environment.clock, config_.bandwidth_bytes_per_second()),
        limits_(config_),
        endpoint_({Role::kAgent},
                  [this](const std::string& machine_id) { return Find(machine_id); }) {}

  absl::Status Start() {
    HW_RETURN_IF_ERROR(environment_.files.MakeDirectories(cache_directory_));
    HW_ASSIGN_OR_RETURN(const VolumeSpace space, environment_.files.Space(cache_directory_));
    cache_bytes_ = CacheBytesOf(config_.cache_bytes_max(), space.free_bytes,
                                Relays::HeldBytes(environment_.files, cache_directory_));
    LogInfo("cache.size", {{"directory", cache_directory_}, {"bytes", cache_bytes_}});
    HW_ASSIGN_OR_RETURN(membership_,
                        JoinFabric(environment_.files, Joining(), environment_.stopping));
    dialer_ = std::make_unique<ReplicationDialer>(
        [this] { return ReadIdentity(environment_.files, membership_.files); });
    Relay::Options common;
    common.compression = Compression();
    if (config_.compression() == config::v1::COMPRESSION_UNSPECIFIED)
      common.adaptive_clock = &environment_.clock;
    common.bandwidth = &bandwidth_;
    const auto on_news = [this] { news_.Tell(); };
    relays_ = std::make_unique<Relays>(
        StreamRuntime{environment_.files, environment_.clock, MakeThreadStrand, dialer_.get(),
                      on_news},
        Relays::Limits{.cache_directory = cache_directory_, .cache_bytes_max = cache_bytes_},
        std::move(common));
    HW_ASSIGN_OR_RETURN(
        azure_,
        AzureReplicas::Start(StreamRuntime{environment_.files, environment_.clock, MakeThreadStrand,
                                           /*dialer=*/nullptr, on_news},
                             {.config = config_.azure(),
                              .host_id = membership_.host_id,
                              .directory = JoinPath(config_.state_directory(), "replicas")}));
    strand_ = MakeThreadStrand("process-server");
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
                                       azure_->Want(desired.process_server().replicas());
                                       strand_->Post([this, wanted = desired.process_server()] {
                                         relays_->Want(wanted);
                                       });
                                     }});
    strand_->Post([this] { KeepReconciling(); });
    return absl::OkStatus();
  }
  ~ProcessServer() override {
    control_.reset();
    // Calls of agents wait for what is under way there.
    if (azure_ != nullptr) azure_->Cancel();
    if (server_ != nullptr)
      server_->Shutdown(absl::ToChronoTime(environment_.clock.Now() + absl::Seconds(1)));
    server_.reset();
    endpoint_.StopDataChannel();
    if (strand_ != nullptr) strand_->Stop();
    relays_.reset();
    azure_.reset();
  }

  void Reload(const google::protobuf::Message& fresh) override {
    const auto& config = static_cast<const ProcessServerConfig&>(fresh);
    {
      absl::MutexLock lock(&mutex_);
      limits_.set_bandwidth_bytes_per_second(config.bandwidth_bytes_per_second());
      *limits_.mutable_bandwidth_schedule() = config.bandwidth_schedule();
    }
    ProcessServerConfig rest = config;
    rest.set_bandwidth_bytes_per_second(config_.bandwidth_bytes_per_second());
    *rest.mutable_bandwidth_schedule() = config_.bandwidth_schedule();
    *rest.mutable_log() = config_.log();
    if (rest.SerializeAsString() != config_.SerializeAsString()) {
      LogWarn("config.needs_restart",
              {{"why", "only log.level and the bandwidth change while it runs"}});
    }
  }
  std::vector<types::v1::HealthIssue> Health() override {
    const control::v1::Heartbeat heartbeat = Observe();
    return {heartbeat.issues().begin(), heartbeat.issues().end()};
  }
  void Measure(Metrics* metrics) override {
    endpoint_.Measure(metrics);
    const control::v1::ProcessServerObserved seen = Observe().process_server();
    metrics->SetGauge("homeward_cache_free_bytes", "What is free of the cache, in bytes", {},
                      static_cast<double>(seen.cache_free_bytes()));
    for (const control::v1::RelayObserved& stream : seen.streams()) {
      metrics->SetGauge("homeward_stream_pending_bytes",
                        "What waits at the process server until it is durable, in bytes",
                        {{"machine", stream.machine_id()}},
                        static_cast<double>(stream.pending_bytes()));
    }
    azure_->Measure(seen, metrics);
  }

 private:
  // A machine's stream is relayed, or ends here.
  absl::StatusOr<HostedInbox> Find(const std::string& machine_id) const {
    absl::StatusOr<HostedInbox> relay = relays_->Find(machine_id);
    if (relay.ok()) return relay;
    absl::StatusOr<HostedInbox> replica = azure_->Find(machine_id);
    return replica.ok() ? std::move(replica) : std::move(relay);
  }

  void KeepReconciling() {
    {
      absl::MutexLock lock(&mutex_);
      bandwidth_.SetRate(BandwidthAt(limits_, environment_.clock.Now(), absl::LocalTimeZone()));
    }
    relays_->Reconcile();
    strand_->PostAfter(absl::Seconds(1), [this] { KeepReconciling(); });
  }

  PayloadEncoding Compression() const {
    switch (config_.compression()) {
      case config::v1::NONE:
        return PayloadEncoding::kPlain;
      case config::v1::LZ4:
        return PayloadEncoding::kLz4;
      default:
        return PayloadEncoding::kZstd;
    }
  }

  JoinOptions Joining() const {
    return {.role = types::v1::PROCESS_SERVER,
            .state_directory = config_.state_directory(),
            .join = config_.join()};
  }

  control::v1::Registration MakeRegistration() {
    control::v1::Registration registration = DescribeHost(Joining(), membership_, kVersion);
    registration.set_replication_address(config_.advertised_address().empty()
                                             ? config_.listen_address()
                                             : config_.advertised_address());
    registration.set_data_channel_port(endpoint_.data_channel_port());
    registration.set_ends_unchecked(true);
    return registration;
  }

  control::v1::Heartbeat Observe() {
    control::v1::Heartbeat heartbeat;
    control::v1::ProcessServerObserved& seen = *heartbeat.mutable_process_server();
    const uint64_t forwarded = relays_->Observe(&seen);
    const uint64_t pending = seen.pending_bytes();
    absl::MutexLock lock(&mutex_);
    const absl::StatusOr<VolumeSpace> space = environment_.files.Space(cache_directory_);
    if (space.ok()) {
      seen.set_cache_total_bytes(cache_bytes_);
      seen.set_cache_free_bytes(CacheFreeOf(cache_bytes_, pending, space->free_bytes));
    }
    const absl::Duration now = environment_.clock.Monotonic();
    if (now - rate_since_ > kRateWindow) {
      load_ = ReadHostLoad();
      if (rate_since_ > absl::ZeroDuration() && forwarded >= rate_base_) {
        rate_ =
            static_cast<double>(forwarded - rate_base_) / absl::ToDoubleSeconds(now - rate_since_);
      }
      rate_base_ = forwarded;
      rate_since_ = now;
    }
    seen.set_cpu_percent(load_.cpu_percent);
    seen.set_memory_percent(load_.memory_percent);
    if (pending > 0 && rate_ > 0)
      *seen.mutable_time_to_drain() = ToProto(absl::Seconds(static_cast<double>(pending) / rate_));
    for (const types::v1::HealthIssue& issue : JudgeProcessServer(seen))
      *heartbeat.add_issues() = issue;
    azure_->Observe(&heartbeat);
    return heartbeat;
  }

  const Environment environment_;
  const ProcessServerConfig config_;
  const std::string cache_directory_;
  uint64_t cache_bytes_ = 0;  // constant after Start()
  Membership membership_;
  Bandwidth bandwidth_;
  ProcessServerConfig limits_ ABSL_GUARDED_BY(mutex_);  // the bandwidth that is configured now
  absl::Mutex mutex_;
  uint64_t rate_base_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Duration rate_since_ ABSL_GUARDED_BY(mutex_);
  double rate_ ABSL_GUARDED_BY(mutex_) = 0;
  HostLoad load_ ABSL_GUARDED_BY(mutex_);
  News news_;
  std::unique_ptr<StreamDialer> dialer_;
  std::unique_ptr<Relays> relays_;
  std::unique_ptr<AzureReplicas> azure_;
  ReplicationEndpoint endpoint_;
  std::unique_ptr<Strand> strand_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<ControlClient> control_;
};

void Judge(double value, HealthLimits limits, ProblemId id, const std::string& text,
           std::vector<types::v1::HealthIssue>* issues) {
  const bool more_is_worse = limits.critical > limits.warning;
  const auto beyond = [&](double limit) { return more_is_worse ? value > limit : value < limit; };
  if (!beyond(limits.warning)) return;
  issues->push_back(
      MakeIssue(beyond(limits.critical) ? types::v1::CRITICAL : types::v1::WARNING, id, text));
}

}  // namespace

uint64_t CacheBytesOf(uint64_t configured_bytes, uint64_t free_bytes, uint64_t held_bytes) {
  if (configured_bytes != 0) return configured_bytes;
  return std::clamp((free_bytes + held_bytes) / 4 * 3, Relays::kShareBytesMin,
                    kCacheBytesDefaultMax);
}

uint64_t CacheFreeOf(uint64_t cache_bytes, uint64_t pending_bytes, uint64_t volume_free_bytes) {
  const uint64_t own = cache_bytes - std::min(cache_bytes, pending_bytes);
  return std::min(own, volume_free_bytes) / kStepBytes * kStepBytes;
}

std::vector<types::v1::HealthIssue> JudgeProcessServer(
    const control::v1::ProcessServerObserved& seen) {
  std::vector<types::v1::HealthIssue> issues;
  if (seen.cache_total_bytes() > 0) {
    const double free = 100.0 * static_cast<double>(seen.cache_free_bytes()) /
                        static_cast<double>(seen.cache_total_bytes());
    const uint64_t held = std::min(seen.pending_bytes(), seen.cache_total_bytes());
    const bool volume_is_full =
        seen.cache_free_bytes() + kStepBytes < seen.cache_total_bytes() - held;
    Judge(free, kCacheFreePercent, ProblemId::kCacheLow,
          absl::StrCat("the cache has ", static_cast<int>(free), " % free of ",
                       seen.cache_total_bytes() / kMiB, " MiB",
                       volume_is_full ? ": other data is on its volume" : ""),
          &issues);
  }
  Judge(seen.cpu_percent(), kProcessorPercent, ProblemId::kProcessorHigh,
        absl::StrCat("the host's processors are ", static_cast<int>(seen.cpu_percent()), " % busy"),
        &issues);
  Judge(seen.memory_percent(), kMemoryPercent, ProblemId::kMemoryHigh,
        absl::StrCat("the host uses ", static_cast<int>(seen.memory_percent()), " % of its memory"),
        &issues);
  const absl::Duration drain = FromProto(seen.time_to_drain());
  Judge(absl::ToDoubleMinutes(drain), kDrainMinutes, ProblemId::kPendingHigh,
        absl::StrCat("the data that waits needs ", absl::FormatDuration(drain), " to leave"),
        &issues);
  return issues;
}

void CheckProcessServerConfig(const google::protobuf::Message& message, ConfigProblems* problems) {
  const auto& config = static_cast<const ProcessServerConfig&>(message);
  RequireAddress("join.config_server", config.join().config_server(), problems);
  RequireName("join.name", config.join().name(), kHostNameBytesMax, problems);
  RequireAddress("listen_address", config.listen_address(), problems);
  RequireAbsolutePath("state_directory", config.state_directory(), problems);
  if (!config.cache_directory().empty())
    RequireAbsolutePath("cache_directory", config.cache_directory(), problems);
  if (!config.advertised_address().empty())
    RequireAddress("advertised_address", config.advertised_address(), problems);
  if (!config.data_channel_address().empty() && config.data_channel_address() != "none")
    RequireAddress("data_channel_address", config.data_channel_address(), problems);
  if (config.cache_bytes_max() != 0 && config.cache_bytes_max() < Relays::kShareBytesMin)
    problems->Add("cache_bytes_max", "must be at least 67108864 (64 MiB), or absent");
  for (int i = 0; i < config.bandwidth_schedule_size(); ++i) {
    const config::v1::BandwidthWindow& window = config.bandwidth_schedule(i);
    for (const auto& [name, text] :
         {std::make_pair("from", window.from()), std::make_pair("to", window.to())}) {
      if (!ParseTimeOfDay(text).has_value()) {
        problems->Add(absl::StrCat("bandwidth_schedule[", i, "].", name),
                      absl::StrCat("\"", text, "\" is no time of day; write one like 08:30"));
      }
    }
  }
  if (!config.monitoring().listen_address().empty())
    RequireAddress("monitoring.listen_address", config.monitoring().listen_address(), problems);
  if (config.has_azure()) CheckAzureConfig(RealFileSystem(), config.azure(), problems);
}

absl::StatusOr<std::unique_ptr<Daemon>> StartProcessServer(const google::protobuf::Message& config,
                                                           const Environment& environment) {
  auto server =
      std::make_unique<ProcessServer>(environment, static_cast<const ProcessServerConfig&>(config));
  HW_RETURN_IF_ERROR(server->Start());
  return server;
}

}  // namespace homeward
