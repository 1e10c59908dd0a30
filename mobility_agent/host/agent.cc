#include "mobility_agent/host/agent.h"

#include <algorithm>
#include <array>
#include <random>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/name.h"
#include "common/config/delay.h"
#include "common/control/control_client.h"
#include "common/log/log.h"
#include "common/problem/problem.h"
#include "common/rpc/replication_link.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "mobility_agent/guest/guest_steps.h"
#include "mobility_agent/guest/own_root.h"
#include "mobility_agent/host/protection.h"

namespace homeward {
namespace {

using config::v1::AgentConfig;

constexpr size_t kUuidCharacters = 32;
constexpr char kScriptsDirectory[] = "/etc/homeward/consistency.d";
constexpr std::array<const char*, 3> kUnitSuffixes = {".service", ".scope", ".slice"};

class Agent : public Daemon {
 public:
  Agent(const Environment& environment, AgentConfig config)
      : environment_(environment), config_(std::move(config)) {}

  absl::Status Start() {
    // Before the machine can write.
    HW_ASSIGN_OR_RETURN(const bool stopped_cleanly,
                        Protection::TakeCleanStops(environment_.files, config_.state_directory()));
    // Before anything else: what the machine writes from now on is seen.
    HW_ASSIGN_OR_RETURN(services_, OpenPausedServices(config_));
    OpenDisks(environment_.files, config_, services_, &disks_);
    if (disks_.empty())
      LogWarn("disk.none", {{"why", "this machine seems to have none; name them under disks"}});
    // Before the first thing that waits for the network.
    StartGuestSteps();
    if (!config_.boot_id_file().empty()) {
      HW_ASSIGN_OR_RETURN(const std::string text,
                          ReadWholeFile(environment_.files, config_.boot_id_file(), 4 * kKiB));
      boot_id_ = std::string(absl::StripAsciiWhitespace(text));
    }
    HW_ASSIGN_OR_RETURN(const DelaySource delay,
                        DelaySource::Open(environment_.files, config_.registration().delay()));
    HW_ASSIGN_OR_RETURN(membership_,
                        JoinFabric(environment_.files, Joining(), environment_.stopping));
    dialer_ = std::make_unique<ReplicationDialer>(
        [this] { return ReadIdentity(environment_.files, membership_.files); });
    Protection::Options options;
    options.state_directory = config_.state_directory();
    options.stopped_cleanly = stopped_cleanly;
    options.hooks = config_.hooks();
    options.hook_timeout =
        DurationOr(config_.hooks().timeout(), config_.hooks().has_timeout(), absl::Seconds(60));
    const config::v1::Consistency& consistency = config_.consistency();
    options.scripts.directory = consistency.scripts_directory().empty()
                                    ? kScriptsDirectory
                                    : consistency.scripts_directory();
    options.scripts.script_timeout = DurationOr(
        consistency.script_timeout(), consistency.has_script_timeout(), absl::Seconds(30));
    options.scripts.total_timeout =
        DurationOr(consistency.total_timeout(), consistency.has_total_timeout(), absl::Minutes(2));
    options.scripts.machine = membership_.host_id;
    options.stream.points.freeze_timeout =
        DurationOr(config_.freeze_timeout(), config_.has_freeze_timeout(), absl::Seconds(5));
    options.stream.epoch_stride = std::random_device{}() % kMiB;
    if (config_.has_compression_cpu_percent())
      options.stream.compression_share = config_.compression_cpu_percent() / 100.0;
    options.open_disks = [this](std::vector<CapturedDisk>* disks) {
      OpenDisks(environment_.files, config_, services_, disks);
    };
    protection_ = std::make_unique<Protection>(
        StreamRuntime{environment_.files, environment_.clock, MakeThreadStrand, dialer_.get(),
                      [this] { news_.Tell(); }},
        std::move(options), &disks_);
    control_ = std::make_unique<ControlClient>(
        environment_.files, environment_.clock,
        ControlClient::Options{.address = config_.join().config_server(),
                               .identity = membership_.files,
                               .registration_delay = delay.Draw(std::random_device{}()),
                               .news = &news_},
        ControlClient::Callbacks{
            .registration = [this] { return MakeRegistration(); },
            .registration_revision = [this] { return protection_->disks().revision; },
            .observe =
                [this] {
                  control::v1::Heartbeat heartbeat;
                  *heartbeat.mutable_agent() = protection_->observed();
                  for (const types::v1::HealthIssue& issue : MachineIssues())
                    *heartbeat.add_issues() = issue;
                  return heartbeat;
                },
            .desired =
                [this](const control::v1::Desired& desired) { protection_->Want(desired.agent()); },
            .refused = [this](const types::v1::Problem& problem) { Refused(problem); },
            .registered =
                [this] {
                  absl::MutexLock lock(&mutex_);
                  refusal_.Clear();
                }});
    return absl::OkStatus();
  }
  ~Agent() override {
    guest_stops_.Notify();
    control_.reset();
    protection_.reset();
    guest_.reset();
  }

  void Reload(const google::protobuf::Message& fresh) override {
    if (fresh.SerializeAsString() != config_.SerializeAsString())
      LogWarn("config.needs_restart", {{"why", "the agent reads only log.level while it runs"}});
  }
  std::vector<types::v1::HealthIssue> Health() override {
    std::vector<types::v1::HealthIssue> issues = MachineIssues();
    absl::MutexLock lock(&mutex_);
    if (!refusal_.id().empty()) {
      issues.push_back(IssueOf(types::v1::CRITICAL, refusal_));
    } else if (!control_->connected()) {
      issues.push_back(
          MakeIssue(types::v1::WARNING, ProblemId::kConfigServerUnreachable,
                    absl::StrCat("not connected to ", config_.join().config_server())));
    }
    return issues;
  }
  void Measure(Metrics* metrics) override {
    const control::v1::AgentObserved seen = protection_->observed();
    metrics->SetGauge("homeward_agent_pending_bytes",
                      "What was written to the disks and is not durable yet, in bytes", {},
                      static_cast<double>(seen.pending_bytes()));
    metrics->SetCounter("homeward_agent_sealed_bytes_total",
                        "What was sealed to be sent since the stream was opened, in bytes", {},
                        static_cast<double>(seen.sent_bytes()));
    metrics->SetGauge("homeward_agent_syncing", "1 while a synchronisation runs", {},
                      seen.syncing() ? 1 : 0);
    metrics->SetGauge("homeward_agent_freeze_seconds_max",
                      "The longest of the last freezes, in seconds", {},
                      absl::ToDoubleSeconds(FromProto(seen.freeze().max())));
  }

 private:
  void StartGuestSteps() {
    const config::v1::Guest& guest = config_.guest();
    std::string why_not;
    if (guest.steps() == config::v1::Guest::NONE) why_not = "guest.steps is NONE";
    if (guest.steps() == config::v1::Guest::STEPS_UNSPECIFIED) {
      std::vector<std::string> captured;
      for (const CapturedDisk& disk : disks_) captured.push_back(disk.name);
      why_not = WhyNotOwnRoot(captured);
    }
    if (!why_not.empty()) {
      LogInfo("guest.off", {{"why", why_not}});
      return;
    }
    guest_ = std::make_unique<GuestSteps>(
        environment_.files,
        GuestSteps::Options{.record_path = JoinPath(config_.state_directory(), "guest"),
                            .location = GuestLocationNamed(guest.location())},
        GuestFiles(""), MachineCommands("", guest_stops_), MakeThreadStrand("guest"));
  }
  // Of the disks and of what is on them.
  std::vector<types::v1::HealthIssue> MachineIssues() const {
    std::vector<types::v1::HealthIssue> issues = protection_->issues();
    if (guest_ == nullptr) return issues;
    for (types::v1::HealthIssue& issue : guest_->issues()) issues.push_back(std::move(issue));
    return issues;
  }

  // The configuration server does not take this copy for the machine.
  void Refused(const types::v1::Problem& problem) {
    {
      absl::MutexLock lock(&mutex_);
      if (refusal_.id() != problem.id()) {
        LogError(
            "registration.refused",
            {{"problem", problem.id()}, {"why", problem.message()}, {"action", problem.action()}});
      }
      refusal_ = problem;
    }
    if (!IsProblem(problem, ProblemId::kAgentCloned) || !config_.registration().clone_enrols_anew())
      return;
    // What it shipped, if it ever did, was another machine's.
    protection_->Want(control::v1::AgentDesired());
    const absl::Status enrolled = EnrolAnew();
    if (!enrolled.ok()) LogError("enrolment.anew_failed", {{"error", enrolled}});
  }
  absl::Status EnrolAnew() {
    const absl::StatusOr<std::string> told =
        SetIdentityAside(environment_.files, config_.state_directory());
    // Once it is aside, what is left to do is to enrol.
    if (!told.ok() && !absl::IsNotFound(told.status())) return told.status();
    if (told.ok()) LogWarn("identity.set_aside", {{"what", *told}});
    HW_ASSIGN_OR_RETURN(const Membership anew,
                        JoinFabric(environment_.files, Joining(), environment_.stopping));
    // Its files are where they were.
    membership_.host_id = anew.host_id;
    LogInfo("enrolment.anew", {{"host_id", anew.host_id}});
    return absl::OkStatus();
  }

  JoinOptions Joining() const {
    return {.role = types::v1::AGENT,
            .state_directory = config_.state_directory(),
            .join = config_.join()};
  }
  control::v1::Registration MakeRegistration() {
    control::v1::Registration registration = DescribeHost(Joining(), membership_, kVersion);
    if (!config_.hardware_uuid().empty()) registration.set_hardware_uuid(config_.hardware_uuid());
    if (!boot_id_.empty()) registration.set_boot_id(boot_id_);
    registration.set_firmware(BootFirmware(environment_.files));
    const DiskList disks = protection_->disks();
    *registration.mutable_disks() = {disks.usable.begin(), disks.usable.end()};
    *registration.mutable_unusable_disks() = {disks.unusable.begin(), disks.unusable.end()};
    return registration;
  }

  const Environment environment_;
  const AgentConfig config_;
  std::string boot_id_;  // instead of the kernel's
  Membership membership_;
  std::shared_ptr<PausedServices> services_;
  std::vector<CapturedDisk> disks_;  // protection_'s, once it is there
  absl::Notification guest_stops_;
  News news_;
  std::unique_ptr<GuestSteps> guest_;  // null: off
  std::unique_ptr<StreamDialer> dialer_;
  std::unique_ptr<Protection> protection_;
  absl::Mutex mutex_;
  types::v1::Problem refusal_ ABSL_GUARDED_BY(mutex_);  // of the last attempt; without id: none
  std::unique_ptr<ControlClient> control_;
};

void CheckHook(const std::string& key,
               const google::protobuf::RepeatedPtrField<std::string>& arguments,
               ConfigProblems* problems) {
  if (!arguments.empty()) RequireAbsolutePath(absl::StrCat(key, "[0]"), arguments[0], problems);
}

}  // namespace

void CheckAgentConfig(const google::protobuf::Message& message, ConfigProblems* problems) {
  const auto& config = static_cast<const AgentConfig&>(message);
  RequireAddress("join.config_server", config.join().config_server(), problems);
  RequireName("join.name", config.join().name(), kHostNameBytesMax, problems);
  RequireAbsolutePath("state_directory", config.state_directory(), problems);
  for (int i = 0; i < config.disks_size(); ++i) {
    const config::v1::AgentDisk& disk = config.disks(i);
    const std::string key = absl::StrCat("disks[", i, "]");
    RequireAbsolutePath(key + ".path", disk.path(), problems);
    if (disk.capture() == config::v1::NBD_TAP || !disk.nbd_socket().empty())
      RequireAbsolutePath(key + ".nbd_socket", disk.nbd_socket(), problems);
    if (disk.capture() != config::v1::NBD_TAP &&
        disk.capture() != config::v1::CAPTURE_UNSPECIFIED && !disk.nbd_socket().empty()) {
      problems->Add(key + ".nbd_socket", "is of use with capture: NBD_TAP only");
    }
    const bool plain =
        disk.uuid().size() == kUuidCharacters && absl::c_all_of(disk.uuid(), [](unsigned char c) {
          return absl::ascii_isxdigit(c) && !absl::ascii_isupper(c);
        });
    if (!disk.uuid().empty() && !plain)
      problems->Add(key + ".uuid", "must be 32 hex digits in lower case, without anything between");
    for (int j = 0; j < i; ++j) {
      if (!disk.uuid().empty() && config.disks(j).uuid() == disk.uuid())
        problems->Add(key + ".uuid", absl::StrCat(disk.uuid(), " is named twice"));
      if (config.disks(j).path() == disk.path())
        problems->Add(key + ".path", absl::StrCat(disk.path(), " is named twice"));
    }
  }
  for (int i = 0; i < config.pause_services_size(); ++i) {
    const std::string& service = config.pause_services(i);
    const bool unit = !service.empty() && !absl::StrContains(service, '/') &&
                      absl::c_any_of(kUnitSuffixes, [&](const char* suffix) {
                        return absl::EndsWith(service, suffix);
                      });
    if (!unit && !absl::StartsWith(service, "/")) {
      problems->Add(absl::StrCat("pause_services[", i, "]"),
                    "must be a systemd unit, like db.service, or a control group's absolute path");
    }
  }
  if (!config.guest().location().empty() &&
      GuestLocationNamed(config.guest().location()) == GuestLocation::kOther) {
    problems->Add("guest.location", "must be azure or vmware, or be left out");
  }
  if (config.registration().has_delay())
    RequireDelay("registration.delay", config.registration().delay(), problems);
  CheckHook("hooks.quiesce", config.hooks().quiesce(), problems);
  CheckHook("hooks.pre_freeze", config.hooks().pre_freeze(), problems);
  CheckHook("hooks.post_thaw", config.hooks().post_thaw(), problems);
  CheckHook("hooks.resume", config.hooks().resume(), problems);
  RequirePositive("hooks.timeout", config.hooks().timeout(), config.hooks().has_timeout(),
                  problems);
  const config::v1::Consistency& consistency = config.consistency();
  if (!consistency.scripts_directory().empty())
    RequireAbsolutePath("consistency.scripts_directory", consistency.scripts_directory(), problems);
  RequirePositive("consistency.script_timeout", consistency.script_timeout(),
                  consistency.has_script_timeout(), problems);
  RequirePositive("consistency.total_timeout", consistency.total_timeout(),
                  consistency.has_total_timeout(), problems);
  RequirePositive("freeze_timeout", config.freeze_timeout(), config.has_freeze_timeout(), problems);
  if (config.compression_cpu_percent() > 100)
    problems->Add("compression_cpu_percent", "must be 0 to 100: it is a share of one core");
  if (!config.monitoring().listen_address().empty())
    RequireAddress("monitoring.listen_address", config.monitoring().listen_address(), problems);
}

std::string BootFirmware(FileSystem& files) {
  const absl::StatusOr<std::vector<std::string>> told = files.List("/sys/firmware");
  if (!told.ok() || told->empty()) return "";
  return absl::c_linear_search(*told, "efi") ? "efi" : "bios";
}

absl::StatusOr<std::string> EnrolAnewAtNextStart(const google::protobuf::Message& config) {
  HW_ASSIGN_OR_RETURN(const std::string told,
                      SetIdentityAside(RealFileSystem(),
                                       static_cast<const AgentConfig&>(config).state_directory()));
  return absl::StrCat(
      told, "The agent enrols as another machine when it is started; restart it if it runs.\n");
}

absl::StatusOr<std::unique_ptr<Daemon>> StartAgent(const google::protobuf::Message& config,
                                                   const Environment& environment) {
  auto agent = std::make_unique<Agent>(environment, static_cast<const AgentConfig&>(config));
  HW_RETURN_IF_ERROR(agent->Start());
  return agent;
}

}  // namespace homeward
