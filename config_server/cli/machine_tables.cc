#include "config_server/cli/tables.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/wire/time_proto.h"
#include "config_server/cli/format.h"

namespace homeward {
namespace {

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
      return "not reported";
  }
}

std::string FormatCopy(const admin::v1::MachineCopy& copy) {
  return absl::StrCat(copy.name(), ", hardware UUID ",
                      copy.hardware_uuid().empty() ? "unknown" : copy.hardware_uuid(), ", boot ",
                      copy.boot_id(), ", from ", copy.address());
}

std::string FormatRpo(double seconds) { return FormatTimeSpan(absl::Seconds(seconds)); }

}  // namespace

std::string FormatMachines(const admin::v1::ListMachinesResponse& response) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "ID", "STATE", "HEALTH", "AGENT", "RPO", "POINTS", "JOB"}};
  for (const admin::v1::Machine& machine : response.machines()) {
    rows.push_back(
        {machine.name(), ShortId(machine.machine_id()), machine.protection_state(),
         machine.replication_health(), machine.agent_connected() ? "connected" : "not connected",
         machine.has_rpo_seconds() ? FormatRpo(machine.rpo_seconds()) : "-",
         absl::StrCat(machine.point_count()), machine.job_id().empty() ? "-" : machine.job_id()});
  }
  return FormatTable(rows);
}

std::string FormatMachine(const admin::v1::Machine& machine) {
  std::string out;
  AppendField("Name", machine.name(), &out);
  AppendField("ID", machine.machine_id(), &out);
  AppendField("OS", machine.os_name(), &out);
  AppendField("State", machine.protection_state(), &out);
  AppendField("Generation", absl::StrCat(machine.generation()), &out);
  AppendField("Allowed operations", absl::StrJoin(machine.allowed_operations(), ", "), &out);
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
  if (!machine.data_key_id().empty())
    AppendField("Encryption", absl::StrCat("data key ", machine.data_key_id()), &out);
  AppendField("Process server", ShortId(machine.process_server_id()), &out);
  AppendField("Master target", ShortId(machine.master_target_id()), &out);
  AppendField("Datastore", machine.datastore(), &out);
  for (const std::string& path : machine.disk_paths()) AppendField("Replica", path, &out);
  if (machine.has_azure_vm()) {
    const admin::v1::MadeVm& azure = machine.azure_vm();
    AppendField("Azure VM",
                absl::StrCat(azure.resource_id().empty() ? "not made yet" : azure.resource_id(),
                             ", site ", azure.site(), ", size ", azure.size(),
                             azure.is_home() ? ", the machine lives there" : "",
                             azure.power().empty() ? "" : ", ", azure.power()),
                &out);
  }
  if (machine.has_test_vm()) {
    AppendField("Test failover",
                absl::StrCat(machine.test_vm().resource_id(), ", in ", machine.test_vm().subnet()),
                &out);
  }
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
  if (machine.has_scrubbed_at()) AppendField("Last scrub", FormatTime(machine.scrubbed_at()), &out);
  if (machine.syncing()) {
    AppendField("Synchronising",
                absl::StrCat(FormatBytes(machine.sync_done_bytes()), " of ",
                             FormatBytes(machine.sync_total_bytes())),
                &out);
  }
  if (!machine.replication_group().empty()) AppendField("Group", machine.replication_group(), &out);
  AppendField("Policy", machine.policy_name(), &out);
  if (machine.has_policy()) AppendPolicy(machine.policy(), machine.own_policy(), &out);
  AppendField("Pending", FormatBytes(machine.pending_bytes()), &out);
  AppendField("Points", absl::StrCat(machine.point_count()), &out);
  if (machine.has_newest_point()) {
    AppendField(
        "Newest point",
        absl::StrCat(machine.newest_point().id(), " at ", FormatTime(machine.newest_point().time()),
                     ", ", FormatConsistency(machine.newest_point().consistency())),
        &out);
  }
  if (machine.has_rpo_seconds()) AppendField("RPO", FormatRpo(machine.rpo_seconds()), &out);
  AppendField("Health", machine.replication_health(), &out);
  AppendIssues(machine.health_errors(), &out);
  AppendField("Job", machine.job_id(), &out);
  return out;
}

std::string FormatFindings(const admin::v1::RepairFindings& findings) {
  if (findings.findings().empty()) return "Nothing to repair: everything is as it is recorded.\n";
  return absl::StrCat(absl::StrJoin(findings.findings(), "\n"), "\n");
}

std::string FormatPoints(const admin::v1::ListPointsResponse& response) {
  std::vector<std::vector<std::string>> rows = {{"ID", "TIME", "KIND", "KEPT", "MADE", "HOW"}};
  for (const types::v1::RecoveryPoint& point : response.points()) {
    rows.push_back(
        {point.id(), FormatTime(point.time()),
         point.kind() == types::v1::APP_CONSISTENT ? "app-consistent" : "crash-consistent",
         FormatBytes(point.kept_bytes()), FormatConsistency(point.consistency()), point.how()});
  }
  return FormatTable(rows);
}

}  // namespace homeward
