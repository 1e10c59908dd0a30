#include <grpcpp/grpcpp.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/config/proxy.h"
#include "common/exec/strand.h"
#include "common/log/log.h"
#include "common/problem/problem.h"
#include "common/rpc/credentials.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "config_server/backup/backups.h"
#include "config_server/backup/restore.h"
#include "config_server/host/config_server.h"
#include "config_server/host/script_threads.h"
#include "config_server/inventory/azure_sites.h"
#include "config_server/inventory/cloud_mover.h"
#include "config_server/inventory/vcenters.h"
#include "config_server/inventory/vm_mover.h"
#include "config_server/jobs/brain.h"
#include "config_server/model/health.h"
#include "config_server/model/points.h"
#include "config_server/pki/registrar.h"
#include "config_server/services/admin_service.h"
#include "config_server/services/control_service.h"

namespace homeward {
namespace {

using config::v1::ConfigServerConfig;

constexpr absl::Duration kStep = absl::Milliseconds(100);
constexpr absl::Duration kRenewal = absl::Minutes(10);
constexpr char kPlanScripts[] = "/etc/homeward/plan-scripts.d";

Settings SettingsOf(const ConfigServerConfig& config) {
  Settings settings;
  settings.heartbeat_interval = DurationOr(
      config.heartbeat_interval(), config.has_heartbeat_interval(), settings.heartbeat_interval);
  settings.heartbeat_timeout = DurationOr(
      config.heartbeat_timeout(), config.has_heartbeat_timeout(), settings.heartbeat_timeout);
  settings.registration_window = DurationOr(
      config.registration_window(), config.has_registration_window(), settings.registration_window);
  settings.certificate_validity =
      DurationOr(config.certificate_validity(), config.has_certificate_validity(),
                 settings.certificate_validity);
  settings.rpo_threshold =
      DurationOr(config.rpo_threshold(), config.has_rpo_threshold(), settings.rpo_threshold);
  if (config.has_encrypt_streams()) settings.encrypt_streams = config.encrypt_streams();
  return settings;
}

VmMover::Patience PatienceOf(const ConfigServerConfig& config) {
  VmMover::Patience patience;
  patience.guest =
      DurationOr(config.guest_shutdown_limit(), config.has_guest_shutdown_limit(), patience.guest);
  return patience;
}

HttpsProxy ProxyOf(const ConfigServerConfig& config) {
  return {config.proxy().address(),
          {config.proxy().except().begin(), config.proxy().except().end()}};
}

Backups::Options BackupsOf(const ConfigServerConfig& config) {
  Backups::Options options;
  options.directory = config.backup().directory();
  options.passphrase_file = config.backup().passphrase_file();
  options.scratch = JoinPath(config.state_directory(), "backup");
  options.listen_address = config.listen_address();
  options.interval =
      DurationOr(config.backup().interval(), config.backup().has_interval(), options.interval);
  if (config.backup().keep() > 0) options.kept = config.backup().keep();
  return options;
}

class ConfigServer : public Daemon {
 public:
  ConfigServer(const Environment& environment, ConfigServerConfig config)
      : environment_(environment), config_(std::move(config)) {}

  absl::Status Start() {
    const std::string& state = config_.state_directory();
    HW_RETURN_IF_ERROR(environment_.files.MakeDirectories(state));
    HW_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, Store::Open(JoinPath(state, "store")));
    const Settings settings = SettingsOf(config_);
    inventories_ = std::make_unique<Inventories>(environment_.clock);
    mover_ = std::make_unique<VmMover>(environment_.clock, inventories_.get(), PatienceOf(config_));
    followers_ = std::make_unique<SiteFollowers>(
        environment_.clock, store->Get<storage::v1::Meta>(Store::kOnly)->config_server_id(),
        SiteFollowers::Rhythm());
    cloud_ =
        std::make_unique<CloudMover>(environment_.clock, followers_.get(), CloudMover::Patience());
    const std::string& scripts = config_.plans().scripts_directory();
    scripts_ = std::make_unique<ScriptThreads>(scripts.empty() ? kPlanScripts : scripts);
    brain_ = std::make_unique<Brain>(environment_.clock, settings, std::move(store), mover_.get(),
                                     cloud_.get(), scripts_.get());
    HW_ASSIGN_OR_RETURN(registrar_, Registrar::Open(&brain_->store(), environment_.clock,
                                                    settings.certificate_validity));
    HW_RETURN_IF_ERROR(KeepIdentities());
    strand_ = MakeThreadStrand("brain");
    control_ = std::make_unique<ControlService>(&environment_.clock, strand_.get(), brain_.get(),
                                                registrar_.get());
    vcenters_ = std::make_unique<Vcenters>(&brain_->store(), environment_.clock, inventories_.get(),
                                           ProxyOf(config_));
    AzureCalls calls;
    calls.proxy = ProxyOf(config_);
    sites_ =
        std::make_unique<AzureSites>(&brain_->store(), environment_.clock, followers_.get(), calls);
    TellOfRestore();
    if (config_.has_backup()) {
      backups_ = std::make_unique<Backups>(environment_.files, environment_.clock, &brain_->store(),
                                           BackupsOf(config_));
    }
    operations_ = std::make_unique<Operations>(strand_.get(), brain_.get(), registrar_.get(),
                                               vcenters_.get(), sites_.get(), backups_.get());
    admin_ = std::make_unique<AdminService>(operations_.get());
    brain_->store().Watch([this](const Store::Transaction&) { operations_->Changed(); });
    HW_ASSIGN_OR_RETURN(server_, StartServer({.address = config_.listen_address(),
                                              .identity = identity_,
                                              .services = {control_.get(), admin_.get()},
                                              .enrolling = true,
                                              .many_connections = true}));
    strand_->Post([this] { KeepStepping(); });
    return absl::OkStatus();
  }
  ~ConfigServer() override {
    if (operations_ != nullptr) operations_->Stop();
    if (server_ != nullptr)
      server_->Shutdown(absl::ToChronoTime(environment_.clock.Now() + absl::Seconds(1)));
    server_.reset();
    backups_.reset();
    if (strand_ != nullptr) strand_->Stop();
    if (followers_ != nullptr) followers_->Stop();
  }

  void Reload(const google::protobuf::Message& fresh) override {
    if (fresh.SerializeAsString() != config_.SerializeAsString())
      LogWarn("config.needs_restart",
              {{"why", "the configuration server reads only log.level while it runs"}});
  }
  std::vector<types::v1::HealthIssue> Health() override {
    std::vector<types::v1::HealthIssue> issues;
    if (backups_ != nullptr && !backups_->last().ok()) {
      issues.push_back(MakeIssue(types::v1::WARNING, ProblemId::kBackupFailed,
                                 std::string(backups_->last().message())));
    }
    strand_->Run([&] {
      const View view = brain_->MakeView();
      for (const storage::v1::Machine& machine : view.machines) {
        // The server itself is well: what is wrong elsewhere must not get it restarted.
        for (const types::v1::HealthIssue& issue : JudgeMachine(view, machine))
          issues.push_back(IssueOf(types::v1::WARNING, issue.problem()));
      }
    });
    return issues;
  }
  void Measure(Metrics* metrics) override {
    strand_->Run([&] {
      const View view = brain_->MakeView();
      for (const storage::v1::Machine& machine : view.machines) {
        const Metrics::Labels labels = {{"machine", machine.registration().name()},
                                        {"machine_id", machine.machine_id()}};
        metrics->SetGauge("homeward_machine_protected", "1 while the machine is in state Protected",
                          labels, machine.state() == storage::v1::PROTECTED ? 1 : 0);
        const control::v1::ReplicaObserved* const replica = view.ReplicaOf(machine);
        const types::v1::RecoveryPoint* const instant =
            replica == nullptr ? nullptr : NewestInstant(*replica);
        if (instant == nullptr) continue;
        metrics->SetGauge(
            "homeward_machine_rpo_seconds",
            "Age of the newest recovery point of one instant, in seconds", labels,
            absl::ToDoubleSeconds(environment_.clock.Now() - FromProto(instant->time())));
      }
      metrics->SetGauge("homeward_servers", "Registered servers", {},
                        static_cast<double>(view.servers.size()));
    });
  }

 private:
  // Once. What it has forgotten shows as the replicas report.
  void TellOfRestore() {
    storage::v1::Meta meta = *brain_->store().Get<storage::v1::Meta>(Store::kOnly);
    if (!meta.has_restored_backup_time()) return;
    brain_->AddEvent(
        "config_server.restored", "", "",
        absl::StrCat("as it was at ",
                     absl::FormatTime("%Y-%m-%d %H:%M:%S UTC",
                                      FromProto(meta.restored_backup_time()), absl::UTCTimeZone()),
                     ", from ", meta.restored_from()));
    types::v1::AuditContent content;
    content.set_kind(types::v1::AuditContent::RESTORED);
    content.set_text(meta.restored_from());
    brain_->audit().Append(std::move(content));
    meta = *brain_->store().Get<storage::v1::Meta>(Store::kOnly);
    meta.clear_restored_backup_time();
    meta.clear_restored_from();
    Store::Transaction transaction;
    transaction.Put(Store::kOnly, meta);
    const absl::Status told = brain_->store().Commit(transaction);
    HW_CHECK(told.ok());
  }

  absl::Status KeepIdentities() {
    const std::string id = brain_->store().Get<storage::v1::Meta>(Store::kOnly)->config_server_id();
    const std::string& state = config_.state_directory();
    HW_ASSIGN_OR_RETURN(identity_,
                        registrar_->KeepIdentity(environment_.files, JoinPath(state, "identity"),
                                                 Role::kConfigServer, id));
    return registrar_
        ->KeepIdentity(environment_.files, JoinPath(state, "operator"), Role::kOperator, id)
        .status();
  }

  void KeepStepping() {
    brain_->Step();
    operations_->Changed();  // What a job waits for may have moved too.
    absl::Duration renewal = kRenewal;
    if (config_.has_certificate_validity())
      renewal = std::min(renewal, FromProto(config_.certificate_validity()) / 4);
    if (environment_.clock.Monotonic() - last_renewal_ > renewal) {
      last_renewal_ = environment_.clock.Monotonic();
      const absl::Status kept = KeepIdentities();
      if (!kept.ok()) LogError("certificate.renewal_failed", {{"error", kept}});
    }
    strand_->PostAfter(kStep, [this] { KeepStepping(); });
  }

  const Environment environment_;
  const ConfigServerConfig config_;
  IdentityFiles identity_;
  absl::Duration last_renewal_;  // on strand_
  std::unique_ptr<Inventories> inventories_;
  std::unique_ptr<VmMover> mover_;
  std::unique_ptr<SiteFollowers> followers_;
  std::unique_ptr<CloudMover> cloud_;
  std::unique_ptr<ScriptThreads> scripts_;  // on strand_, as the next
  std::unique_ptr<Brain> brain_;
  std::unique_ptr<Registrar> registrar_;
  std::unique_ptr<Backups> backups_;    // null: it makes none
  std::unique_ptr<Vcenters> vcenters_;  // on strand_, as the next
  std::unique_ptr<AzureSites> sites_;
  std::unique_ptr<ControlService> control_;
  std::unique_ptr<Operations> operations_;
  std::unique_ptr<AdminService> admin_;
  std::unique_ptr<Strand> strand_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace

void CheckConfigServerConfig(const google::protobuf::Message& message, ConfigProblems* problems) {
  const auto& config = static_cast<const ConfigServerConfig&>(message);
  RequireAddress("listen_address", config.listen_address(), problems);
  RequireAbsolutePath("state_directory", config.state_directory(), problems);
  RequirePositive("heartbeat_interval", config.heartbeat_interval(),
                  config.has_heartbeat_interval(), problems);
  RequirePositive("heartbeat_timeout", config.heartbeat_timeout(), config.has_heartbeat_timeout(),
                  problems);
  RequirePositive("registration_window", config.registration_window(),
                  config.has_registration_window(), problems);
  if (config.has_certificate_validity() && FromProto(config.certificate_validity()) < kValidityMin)
    problems->Add("certificate_validity",
                  absl::StrCat("must be at least ", absl::FormatDuration(kValidityMin)));
  RequireProxy("proxy", config.proxy(), problems);
  RequirePositive("guest_shutdown_limit", config.guest_shutdown_limit(),
                  config.has_guest_shutdown_limit(), problems);
  RequirePositive("rpo_threshold", config.rpo_threshold(), config.has_rpo_threshold(), problems);
  if (config.has_backup()) {
    RequireAbsolutePath("backup.directory", config.backup().directory(), problems);
    RequireAbsolutePath("backup.passphrase_file", config.backup().passphrase_file(), problems);
    if (config.backup().has_interval() && FromProto(config.backup().interval()) < absl::Minutes(1))
      problems->Add("backup.interval", "must be at least 1 min");
  }
  if (!config.plans().scripts_directory().empty())
    RequireAbsolutePath("plans.scripts_directory", config.plans().scripts_directory(), problems);
  const Settings settings = SettingsOf(config);
  if (settings.heartbeat_timeout < 2 * settings.heartbeat_interval)
    problems->Add("heartbeat_timeout", "must be at least twice heartbeat_interval");
  if (!config.monitoring().listen_address().empty())
    RequireAddress("monitoring.listen_address", config.monitoring().listen_address(), problems);
}

absl::StatusOr<std::unique_ptr<Daemon>> StartConfigServer(const google::protobuf::Message& config,
                                                          const Environment& environment) {
  auto server =
      std::make_unique<ConfigServer>(environment, static_cast<const ConfigServerConfig&>(config));
  HW_RETURN_IF_ERROR(server->Start());
  return server;
}

absl::StatusOr<std::string> RestoreConfigServer(const google::protobuf::Message& message,
                                                const std::string& backup) {
  const auto& config = static_cast<const ConfigServerConfig&>(message);
  if (!config.has_backup()) {
    return absl::InvalidArgumentError(
        "backup.passphrase_file is not in the configuration: it has what backups are opened with");
  }
  absl::StatusOr<std::string> restored =
      Restore(RealFileSystem(), {.backup = backup,
                                 .passphrase_file = config.backup().passphrase_file(),
                                 .state_directory = config.state_directory(),
                                 .listen_address = config.listen_address()});
  if (const auto problem = ProblemOf(restored.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat(Describe(restored.status()), ".\n", problem->action()));
  }
  return restored;
}

}  // namespace homeward
