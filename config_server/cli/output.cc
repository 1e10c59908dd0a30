#include "config_server/cli/output.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/bytes.h"
#include "common/rpc/problem_status.h"
#include "common/wire/time_proto.h"

namespace homeward {
namespace {

using google::protobuf::Value;

std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    if (c == '\n') {
      out += "\\n";
    } else {
      out.push_back(c);
    }
  }
  return out + "\"";
}

// JSON is YAML too; block style is what people expect of it.
void AppendYaml(const Value& value, int indent, bool after_dash, std::string* out) {
  const std::string space(static_cast<size_t>(indent), ' ');
  switch (value.kind_case()) {
    case Value::kStructValue: {
      // In the map of a Struct the order is any; sorted, two runs are equal.
      std::vector<std::string> names;
      for (const auto& [name, field] : value.struct_value().fields()) names.push_back(name);
      std::sort(names.begin(), names.end());
      if (names.empty()) out->append(" {}\n");
      if (!names.empty() && !after_dash) out->append("\n");
      for (size_t i = 0; i < names.size(); ++i) {
        absl::StrAppend(out, i == 0 && after_dash ? " " : space, names[i], ":");
        AppendYaml(value.struct_value().fields().at(names[i]), indent + 2, false, out);
      }
      break;
    }
    case Value::kListValue:
      if (value.list_value().values().empty()) out->append(" []\n");
      if (!value.list_value().values().empty()) out->append("\n");
      for (const Value& item : value.list_value().values()) {
        absl::StrAppend(out, space, "-");
        AppendYaml(item, indent + 2, true, out);
      }
      break;
    case Value::kStringValue:
      absl::StrAppend(out, " ", Quoted(value.string_value()), "\n");
      break;
    case Value::kBoolValue:
      absl::StrAppend(out, value.bool_value() ? " true\n" : " false\n");
      break;
    case Value::kNumberValue:
      absl::StrAppendFormat(out, " %.15g\n", value.number_value());
      break;
    default:
      out->append(" null\n");
  }
}

std::string Short(const std::string& id) { return id.substr(0, 8); }

std::string OneLine(const types::v1::HealthIssue& issue) {
  return absl::StrCat(issue.severity() == types::v1::CRITICAL ? "Critical " : "Warning ",
                      issue.problem().id(), ": ", issue.problem().message());
}

void AppendField(const char* name, const std::string& value, std::string* out) {
  if (!value.empty()) absl::StrAppendFormat(out, "%-18s %s\n", name, value);
}

void AppendIssues(const google::protobuf::RepeatedPtrField<types::v1::HealthIssue>& issues,
                  std::string* out) {
  for (const types::v1::HealthIssue& issue : issues) {
    absl::StrAppend(out, "  ", OneLine(issue), "\n");
    if (!issue.problem().action().empty())
      absl::StrAppend(out, "    -> ", issue.problem().action(), "\n");
  }
}

std::string FormatConsistency(types::v1::Consistency consistency) {
  switch (consistency) {
    case types::v1::FROZEN:
      return "frozen";
    case types::v1::UNDISTURBED:
      return "undisturbed";
    case types::v1::WRITE_ORDER:
      return "in write order";
    case types::v1::NOT_ONE_INSTANT:
      return "NOT ONE INSTANT";
    default:
      return "not told";
  }
}

std::string FormatSeconds(double seconds) {
  return absl::FormatDuration(absl::Trunc(absl::Seconds(seconds), absl::Milliseconds(100)));
}

std::string FormatCopy(const admin::v1::MachineCopy& copy) {
  return absl::StrCat(copy.name(), ", hardware UUID ",
                      copy.hardware_uuid().empty() ? "unknown" : copy.hardware_uuid(), ", boot ",
                      copy.boot_id(), ", from ", copy.address());
}

}  // namespace

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);
  return json;
}

std::string ToYaml(const google::protobuf::Message& message) {
  Value value;
  (void)google::protobuf::util::JsonStringToMessage(ToJson(message), value.mutable_struct_value());
  std::string yaml = "---";
  AppendYaml(value, 0, false, &yaml);
  return yaml;
}

std::string FormatTable(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i)
      absl::StrAppendFormat(&line, "%-*s  ", static_cast<int>(widths[i]), row[i]);
    absl::StrAppend(&out, absl::StripTrailingAsciiWhitespace(line), "\n");
  }
  return out;
}

std::string FormatBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? absl::StrCat(bytes, " B") : absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string FormatTime(const google::protobuf::Timestamp& time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%E3S", FromProto(time), absl::UTCTimeZone());
}

std::string FormatMachines(const admin::v1::ListMachinesResponse& response) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "ID", "STATE", "HEALTH", "AGENT", "RPO", "POINTS", "JOB"}};
  for (const admin::v1::Machine& machine : response.machines()) {
    rows.push_back(
        {machine.name(), Short(machine.machine_id()), machine.protection_state(),
         machine.replication_health(), machine.agent_connected() ? "connected" : "not connected",
         machine.has_rpo_seconds() ? FormatSeconds(machine.rpo_seconds()) : "-",
         absl::StrCat(machine.point_count()), machine.job_id().empty() ? "-" : machine.job_id()});
  }
  return FormatTable(rows);
}

// Its sectors too, where they are not as nearly everywhere.
template <typename Disk>
std::string FormatSize(const Disk& disk) {
  const uint32_t sector = disk.logical_sector_bytes();
  return absl::StrCat(
      ", ", FormatBytes(disk.size_bytes()),
      sector == 0 || sector == 512 ? "" : absl::StrCat(", sectors of ", sector, " bytes"));
}

std::string FormatMachine(const admin::v1::Machine& machine) {
  std::string out;
  AppendField("Name", machine.name(), &out);
  AppendField("Id", machine.machine_id(), &out);
  AppendField("System", machine.os_name(), &out);
  AppendField("State", machine.protection_state(), &out);
  AppendField("Generation", absl::StrCat(machine.generation()), &out);
  AppendField("Allowed", absl::StrJoin(machine.allowed_operations(), ", "), &out);
  AppendField("Agent",
              absl::StrCat(machine.agent_connected() ? "connected" : "not connected", ", version ",
                           machine.agent_version()),
              &out);
  AppendField("Registered", FormatTime(machine.registered_at()), &out);
  if (machine.has_admitted_copy())
    AppendField("Runs as", FormatCopy(machine.admitted_copy()), &out);
  for (const admin::v1::MachineCopy& copy : machine.refused_copies())
    AppendField("Refused copy", FormatCopy(copy), &out);
  for (const types::v1::Disk& disk : machine.disks())
    AppendField("Disk", absl::StrCat(disk.name(), FormatSize(disk)), &out);
  for (const types::v1::UnusableDisk& disk : machine.unusable_disks())
    AppendField("Unusable disk", absl::StrCat(disk.name(), ": ", disk.reason()), &out);
  AppendField("Capture", machine.capture(), &out);
  AppendField("Process server", Short(machine.process_server_id()), &out);
  AppendField("Master target", Short(machine.master_target_id()), &out);
  AppendField("Datastore", machine.datastore(), &out);
  for (const std::string& path : machine.disk_paths()) AppendField("Replica", path, &out);
  if (machine.has_vm()) {
    AppendField("VM",
                absl::StrCat(machine.vm().name(), " of ", machine.vm().vcenter(), " on ",
                             machine.vm().host(), ", UUID ", machine.vm().instance_uuid()),
                &out);
  }
  for (const admin::v1::RecordedDisk& disk : machine.vm().disks()) {
    AppendField(
        "VM disk",
        absl::StrCat(disk.file(), ", ", FormatBytes(disk.size_bytes()), ", bus ", disk.bus(),
                     ", unit ", disk.unit(), ", UUID ", disk.uuid(), ", at ", disk.attached_to()),
        &out);
  }
  if (machine.has_scrubbed_at()) AppendField("Scrubbed", FormatTime(machine.scrubbed_at()), &out);
  if (machine.syncing()) {
    AppendField("Synchronising",
                absl::StrCat(FormatBytes(machine.sync_done_bytes()), " of ",
                             FormatBytes(machine.sync_total_bytes())),
                &out);
  }
  AppendField("Pending", FormatBytes(machine.pending_bytes()), &out);
  AppendField("Points", absl::StrCat(machine.point_count()), &out);
  if (machine.has_newest_point()) {
    AppendField(
        "Newest point",
        absl::StrCat(machine.newest_point().id(), " at ", FormatTime(machine.newest_point().time()),
                     ", ", FormatConsistency(machine.newest_point().consistency())),
        &out);
  }
  if (machine.has_rpo_seconds()) AppendField("RPO", FormatSeconds(machine.rpo_seconds()), &out);
  AppendField("Health", machine.replication_health(), &out);
  AppendIssues(machine.health_errors(), &out);
  AppendField("Job", machine.job_id(), &out);
  return out;
}

std::string FormatFindings(const admin::v1::RepairFindings& findings) {
  if (findings.findings().empty()) return "All is as it is recorded.\n";
  return absl::StrCat(absl::StrJoin(findings.findings(), "\n"), "\n");
}

std::string FormatPoints(const admin::v1::ListPointsResponse& response) {
  std::vector<std::vector<std::string>> rows = {{"ID", "TIME (UTC)", "KIND", "MADE", "HOW"}};
  for (const types::v1::RecoveryPoint& point : response.points()) {
    rows.push_back(
        {point.id(), FormatTime(point.time()),
         point.kind() == types::v1::APP_CONSISTENT ? "app-consistent" : "crash-consistent",
         FormatConsistency(point.consistency()), point.how()});
  }
  return FormatTable(rows);
}

std::string FormatServers(const admin::v1::ListServersResponse& response) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "ID", "ROLE", "CONNECTED", "HEALTH", "MACHINES", "ADDRESS"}};
  for (const admin::v1::Server& server : response.servers()) {
    rows.push_back({server.name(), Short(server.host_id()),
                    server.role() == types::v1::PROCESS_SERVER ? "process server" : "master target",
                    server.connected() ? "yes" : "no", server.health(),
                    absl::StrCat(server.machine_count()), server.replication_address()});
  }
  return FormatTable(rows);
}

std::string FormatServer(const admin::v1::Server& server) {
  std::string out;
  AppendField("Name", server.name(), &out);
  AppendField("Id", server.host_id(), &out);
  AppendField("Role",
              server.role() == types::v1::PROCESS_SERVER ? "process server" : "master target",
              &out);
  AppendField("Version", server.version(), &out);
  AppendField("Address", server.replication_address(), &out);
  AppendField("Connected", server.connected() ? "yes" : "no", &out);
  if (!server.chosen_vm().empty()) AppendField("VM (chosen)", server.chosen_vm(), &out);
  AppendField("Machines", absl::StrCat(server.machine_count()), &out);
  for (const types::v1::Datastore& store : server.datastores()) {
    AppendField("Datastore",
                absl::StrCat(store.path(), ", ", FormatBytes(store.free_bytes()), " of ",
                             FormatBytes(store.total_bytes()), " free"),
                &out);
  }
  for (const types::v1::BlockDevice& device : server.block_devices()) {
    AppendField("Block device", absl::StrCat(device.path(), FormatSize(device)), &out);
  }
  if (!server.retention_volume().path().empty()) {
    AppendField("Retention",
                absl::StrCat(server.retention_volume().path(), ", ",
                             FormatBytes(server.retention_volume().free_bytes()), " free"),
                &out);
  }
  if (server.cache_total_bytes() > 0) {
    AppendField("Cache",
                absl::StrCat(FormatBytes(server.cache_free_bytes()), " of ",
                             FormatBytes(server.cache_total_bytes()), " free"),
                &out);
    AppendField("Pending", FormatBytes(server.pending_bytes()), &out);
  }
  if (server.has_time_to_drain())
    AppendField("Time to drain", absl::FormatDuration(FromProto(server.time_to_drain())), &out);
  AppendField("Health", server.health(), &out);
  AppendIssues(server.health_errors(), &out);
  return out;
}

namespace {

std::string MachinesOf(const admin::v1::Job& job) {
  return job.machine_id().empty() ? "many machines" : job.machine_name();
}

}  // namespace

std::string FormatJobs(const admin::v1::ListJobsResponse& response) {
  std::vector<std::vector<std::string>> rows = {
      {"ID", "WORKFLOW", "MACHINE", "STATE", "STARTED (UTC)", "PROBLEM"}};
  for (const admin::v1::Job& job : response.jobs()) {
    rows.push_back({job.id(), job.workflow(), MachinesOf(job), job.state(),
                    FormatTime(job.created()), job.has_problem() ? job.problem().id() : "-"});
  }
  return FormatTable(rows);
}

std::string FormatJob(const admin::v1::Job& job) {
  std::string out = absl::StrCat("Job ", job.id(), ": ", job.workflow(), " of ", MachinesOf(job),
                                 ": ", job.state(), "\n");
  if (!job.parent().empty()) absl::StrAppend(&out, "  Part of job ", job.parent(), "\n");
  for (const admin::v1::Task& task : job.tasks()) {
    absl::StrAppendFormat(&out, "  %-10s %s", task.state(), task.name());
    if (task.has_ended() && task.has_started()) {
      absl::StrAppend(
          &out, " (",
          absl::FormatDuration(absl::Trunc(FromProto(task.ended()) - FromProto(task.started()),
                                           absl::Milliseconds(10))),
          ")");
    }
    if (task.state() == "Running" && !task.detail().empty())
      absl::StrAppend(&out, ": waiting for ", task.detail());
    if (task.total_bytes() > 0) {
      absl::StrAppend(&out, ", ", FormatBytes(task.done_bytes()), " of ",
                      FormatBytes(task.total_bytes()));
    }
    absl::StrAppend(&out, "\n");
  }
  if (job.children_size() > 0)
    absl::StrAppend(&out, "  Its jobs: ", absl::StrJoin(job.children(), ", "), "\n");
  if (job.has_problem()) absl::StrAppend(&out, FormatProblem(job.problem()));
  return out;
}

std::string FormatHealth(const admin::v1::Health& health) {
  std::string out =
      absl::StrCat(health.health(), ": ", health.machines_protected(), " of ",
                   health.machines_total(), " machines protected, ", health.servers_connected(),
                   " of ", health.servers_total(), " servers connected\n");
  for (const admin::v1::HealthError& error : health.errors())
    absl::StrAppend(&out, "  ", error.of(), ": ", OneLine(error.issue()), "\n");
  return out;
}

std::string FormatVcenter(const admin::v1::Vcenter& vcenter) {
  std::string out;
  AppendField("Name", vcenter.name(), &out);
  AppendField("Address", vcenter.address(), &out);
  AppendField("Account", vcenter.user(), &out);
  AppendField("Product", vcenter.product(), &out);
  AppendField("Instance UUID", vcenter.instance_uuid(), &out);
  AppendField("State", vcenter.state(), &out);
  if (vcenter.has_since()) AppendField("Since", FormatTime(vcenter.since()), &out);
  if (vcenter.has_as_of()) AppendField("As of", FormatTime(vcenter.as_of()), &out);
  if (!vcenter.error().empty()) AppendField("Error", vcenter.error(), &out);
  return out;
}

std::string FormatVcenters(const admin::v1::ListVcentersResponse& response) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "ADDRESS", "STATE", "SINCE", "HOSTS", "DATASTORES", "VMS", "ERROR"}};
  for (const admin::v1::Vcenter& vcenter : response.vcenters()) {
    rows.push_back({vcenter.name(), vcenter.address(), vcenter.state(), FormatTime(vcenter.since()),
                    absl::StrCat(vcenter.host_count()), absl::StrCat(vcenter.datastore_count()),
                    absl::StrCat(vcenter.vm_count()), vcenter.error()});
  }
  return FormatTable(rows);
}

std::string FormatEsxHosts(const admin::v1::Inventory& inventory) {
  std::vector<std::vector<std::string>> rows = {{"VCENTER", "HOST", "STATE", "MAINTENANCE"}};
  for (const admin::v1::EsxHost& host : inventory.hosts()) {
    rows.push_back({host.vcenter(), host.name(), host.connection_state(),
                    host.in_maintenance() ? "yes" : "no"});
  }
  return FormatTable(rows);
}

std::string FormatEsxDatastores(const admin::v1::Inventory& inventory) {
  std::vector<std::vector<std::string>> rows = {{"VCENTER", "DATASTORE", "TYPE", "FREE", "CAPACITY",
                                                 "ACCESSIBLE", "READ-WRITE", "READ-ONLY"}};
  for (const admin::v1::EsxDatastore& store : inventory.datastores()) {
    rows.push_back({store.vcenter(), store.name(), store.type(), FormatBytes(store.free_bytes()),
                    FormatBytes(store.capacity_bytes()), store.accessible() ? "yes" : "no",
                    absl::StrJoin(store.read_write_hosts(), ","),
                    absl::StrJoin(store.read_only_hosts(), ",")});
  }
  return FormatTable(rows);
}

std::string FormatVirtualMachines(const admin::v1::Inventory& inventory) {
  std::vector<std::vector<std::string>> rows = {
      {"VCENTER", "VM", "HOST", "POWER", "DISKS", "SNAPSHOTS", "INSTANCE UUID"}};
  for (const admin::v1::VirtualMachine& vm : inventory.vms()) {
    rows.push_back({vm.vcenter(), vm.name(), vm.host(), vm.power_state(),
                    absl::StrCat(vm.disks_size()), absl::StrCat(vm.snapshot_count()),
                    vm.instance_uuid()});
  }
  return FormatTable(rows);
}

std::string FormatEvents(const admin::v1::ListEventsResponse& response) {
  std::string out;
  for (const admin::v1::Event& event : response.events()) {
    absl::StrAppendFormat(&out, "%s  %-28s %-9s %s\n", FormatTime(event.time()), event.name(),
                          Short(event.machine_id()), event.text());
  }
  return out;
}

std::string FormatProblem(const types::v1::Problem& problem) {
  std::string out = absl::StrCat(
      problem.id(), problem.number() == 0 ? "" : absl::StrCat(" (", problem.number(), ")"), ": ",
      problem.message(), "\n");
  if (!problem.causes().empty())
    absl::StrAppend(&out, "  why:   ", absl::StrJoin(problem.causes(), "; "), "\n");
  if (!problem.action().empty()) absl::StrAppend(&out, "  do:    ", problem.action(), "\n");
  absl::StrAppend(&out, "  retry: ",
                  !problem.retryable()     ? "not without a change"
                  : problem.has_retry_at() ? absl::StrCat("yes, at the latest from ",
                                                          FormatTime(problem.retry_at()), " UTC on")
                                           : std::string("yes"),
                  "\n");
  return out;
}

std::string FormatFailure(const absl::Status& status) {
  if (const std::optional<types::v1::Problem> problem = ProblemOf(status))
    return FormatProblem(*problem);
  std::string out =
      absl::StrCat(absl::StatusCodeToString(status.code()), ": ", status.message(), "\n");
  if (absl::IsUnavailable(status)) {
    absl::StrAppend(&out, "  do:    Check --server and that homeward-config-server runs there.\n");
  }
  return out;
}

}  // namespace homeward
