#include "deploy/lab/topology/config_files.h"

#include <google/protobuf/text_format.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "common/wire/time_proto.h"

namespace homeward::lab {
namespace {

using google::protobuf::Duration;

// What applies where a configuration server's configuration says nothing; proto/homeward/config has
// them.
constexpr absl::Duration kHeartbeatInterval = absl::Seconds(10);
constexpr absl::Duration kHeartbeatTimeout = absl::Minutes(15);
constexpr absl::Duration kRegistrationWindow = absl::Minutes(15);
// A shorter one would measure the lab's own machine.
constexpr absl::Duration kHeartbeatIntervalMin = absl::Milliseconds(100);

// What writes in a machine of the lab, as an operator's application does (deploy/lab/guest).
constexpr char kLedgerService[] = "ledger";
// Where a machine has the trace of its registration delays; the lab puts it there.
constexpr char kTraceFile[] = "/etc/homeward/delays";

class Files {
 public:
  Files(const v1::Topology& topology, const Places& places, double time_scale)
      : topology_(topology), places_(places), time_scale_(time_scale) {
    for (const v1::Site& site : topology.sites()) {
      for (const v1::Host& host : site.hosts()) {
        if (host.has_config_server())
          config_server_ =
              ReachedAt(host, host.config_server().listen_address(), kConfigServerPort);
      }
    }
  }

  v1::ConfigFiles Make() {
    for (const v1::Site& site : topology_.sites()) {
      for (const v1::Host& host : site.hosts()) {
        if (host.has_config_server()) ConfigServer(host);
        if (host.has_process_server()) ProcessServer(host);
        if (host.has_master_target()) MasterTarget(host);
      }
    }
    for (const v1::Machine& machine : topology_.machines()) Agent(machine);
    return std::move(files_);
  }

 private:
  std::string Path(const std::string& pattern, const std::string& host) const {
    return absl::StrReplaceAll(pattern, {{"{host}", host}});
  }
  void Scale(Duration* value) const { *value = ToProto(FromProto(*value) / time_scale_); }
  void Join(const std::string& host, config::v1::Join* join) const {
    if (join->config_server().empty()) join->set_config_server(config_server_);
    if (join->enrolment_file().empty())
      join->set_enrolment_file(Path(places_.enrolment_file, host));
    if (join->name().empty()) join->set_name(host);
  }
  // Where others find what listens on `listen_address`.
  static std::string ReachedAt(const v1::Host& host, absl::string_view listen_address, int port) {
    if (listen_address.empty()) return absl::StrCat(host.address(), ":", port);
    for (const char* every : {"0.0.0.0:", "[::]:"}) {
      if (absl::ConsumePrefix(&listen_address, every))
        return absl::StrCat(host.address(), ":", listen_address);
    }
    return std::string(listen_address);
  }
  // What servers that streams come to have alike.
  template <typename Config>
  void Receive(const v1::Host& host, Config* config) const {
    Join(host.name(), config->mutable_join());
    const std::string reached = ReachedAt(host, config->listen_address(), 0);
    if (config->advertised_address().empty() && reached != config->listen_address())
      config->set_advertised_address(reached);
  }
  // What servers have alike.
  template <typename Config>
  void Serve(const v1::Host& host, const char* daemon, int port, Config* config) const {
    if (config->listen_address().empty())
      config->set_listen_address(absl::StrCat(host.address(), ":", port));
    if (config->state_directory().empty())
      config->set_state_directory(absl::StrCat(Path(places_.state_root, host.name()), "/", daemon));
  }
  template <typename Config>
  v1::ConfigFile* Add(const std::string& host, const char* daemon, const std::string& name,
                      const Config& config) {
    v1::ConfigFile& file = *files_.add_files();
    file.set_host(host);
    file.set_daemon(daemon);
    file.set_name(name);
    file.set_state_directory(config.state_directory());
    google::protobuf::TextFormat::PrintToString(config, file.mutable_text());
    return &file;
  }

  void ConfigServer(const v1::Host& host) {
    config::v1::ConfigServerConfig config = host.config_server();
    Serve(host, "config-server", kConfigServerPort, &config);
    if (!config.has_heartbeat_interval())
      *config.mutable_heartbeat_interval() = ToProto(kHeartbeatInterval);
    if (!config.has_heartbeat_timeout())
      *config.mutable_heartbeat_timeout() = ToProto(kHeartbeatTimeout);
    if (!config.has_registration_window())
      *config.mutable_registration_window() = ToProto(kRegistrationWindow);
    Scale(config.mutable_heartbeat_interval());
    if (FromProto(config.heartbeat_interval()) < kHeartbeatIntervalMin)
      *config.mutable_heartbeat_interval() = ToProto(kHeartbeatIntervalMin);
    Scale(config.mutable_heartbeat_timeout());
    Scale(config.mutable_registration_window());
    Add(host.name(), "config-server", host.name(), config)
        ->set_listen_address(config.listen_address());
  }

  void ProcessServer(const v1::Host& host) {
    config::v1::ProcessServerConfig config = host.process_server();
    Serve(host, "process-server", kProcessServerPort, &config);
    Receive(host, &config);
    if (!config.has_azure() && !places_.container_url.empty()) {
      config::v1::AzureStorage& storage = *config.mutable_azure()->add_storage();
      storage.set_container_url(places_.container_url);
      storage.set_key_file(Path(places_.key_file, host.name()));
      storage.set_trusted_certificates_file(Path(places_.trusted_certificates_file, host.name()));
    }
    v1::ConfigFile& file = *Add(host.name(), "process-server", config.join().name(), config);
    file.set_listen_address(config.listen_address());
    file.set_enrolment_file(config.join().enrolment_file());
  }

  void MasterTarget(const v1::Host& host) {
    config::v1::MasterTargetConfig config = host.master_target().config();
    Serve(host, "master-target", kMasterTargetPort, &config);
    Receive(host, &config);
    const int mounted = config.datastores_size();
    for (const std::string& name : host.master_target().directories())
      config.add_datastores(absl::StrCat(Path(places_.directory_root, host.name()), "/", name));
    if (places_.simulated_hardware && config.hardware_uuid().empty())
      config.set_hardware_uuid(host.master_target().uuid());
    if (!places_.disk_links_directory.empty() && config.disk_links_directory().empty())
      config.set_disk_links_directory(Path(places_.disk_links_directory, host.name()));
    v1::ConfigFile& file = *Add(host.name(), "master-target", config.join().name(), config);
    file.set_listen_address(config.listen_address());
    file.set_enrolment_file(config.join().enrolment_file());
    for (int i = mounted; i < config.datastores_size(); ++i)
      file.add_directories(config.datastores(i));
  }

  void Agent(const v1::Machine& machine) {
    config::v1::AgentConfig config = machine.settings().agent();
    Join(machine.name(), config.mutable_join());
    // The machine's own paths, whatever the lab's are.
    config.mutable_join()->set_enrolment_file("/etc/homeward/enrolment");
    if (config.state_directory().empty()) config.set_state_directory("/var/lib/homeward/agent");
    if (!config.has_hooks()) {
      for (const char* word : {"/usr/bin/systemctl", "stop", kLedgerService})
        config.mutable_hooks()->add_quiesce(word);
      for (const char* word : {"/usr/bin/systemctl", "start", kLedgerService})
        config.mutable_hooks()->add_resume(word);
    }
    if (config.registration().has_delay())
      ScaleDelay(config.mutable_registration()->mutable_delay());
    if (config.registration().delay().has_trace())
      config.mutable_registration()->mutable_delay()->mutable_trace()->set_file(kTraceFile);
    Add(machine.name(), "agent", machine.name(), config)
        ->set_enrolment_file(config.join().enrolment_file());
  }

  // Each duration of it, whatever kind it is.
  void ScaleDelay(google::protobuf::Message* message) const {
    const google::protobuf::Reflection& fields = *message->GetReflection();
    std::vector<const google::protobuf::FieldDescriptor*> present;
    fields.ListFields(*message, &present);
    for (const google::protobuf::FieldDescriptor* field : present) {
      if (field->is_repeated() || field->message_type() == nullptr) continue;
      google::protobuf::Message* const inner = fields.MutableMessage(message, field);
      if (field->message_type() == Duration::descriptor())
        Scale(static_cast<Duration*>(inner));
      else
        ScaleDelay(inner);
    }
  }

  const v1::Topology& topology_;
  const Places& places_;
  const double time_scale_;
  std::string config_server_;  // host:port
  v1::ConfigFiles files_;
};

}  // namespace

v1::ConfigFiles ConfigFilesOf(const v1::Topology& topology, const Places& places,
                              double time_scale) {
  return Files(topology, places, time_scale).Make();
}

}  // namespace homeward::lab
