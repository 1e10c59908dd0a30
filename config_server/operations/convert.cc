#include "config_server/operations/convert.h"
#include "config_server/model/health.h"
#include "config_server/model/operation.h"
#include "config_server/model/points.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/problem/problem.h"
#include "common/wire/time_proto.h"
#include "config_server/model/azure_record.h"
#include "config_server/model/policy.h"
#include "config_server/model/vm_record.h"
#include "config_server/operations/policy.h"

namespace homeward {
namespace {

std::string TaskStateName(storage::v1::TaskState state) {
  switch (state) {
    case storage::v1::PENDING:
      return "Pending";
    case storage::v1::RUNNING:
      return "Running";
    case storage::v1::SUCCEEDED:
      return "Succeeded";
    case storage::v1::FAILED:
      return "Failed";
    default:
      return "Cancelled";
  }
}

std::string PlaceName(storage::v1::DiskPlace place) {
  if (place == storage::v1::NOT_MADE) return "nothing yet";
  return place == storage::v1::AT_MASTER_TARGET ? "MasterTarget" : "VM";
}

admin::v1::RecordedVm ConvertVm(const storage::v1::Vm& vm) {
  admin::v1::RecordedVm out;
  out.set_vcenter(vm.vcenter());
  out.set_name(vm.name());
  out.set_instance_uuid(vm.instance_uuid());
  out.set_bios_uuid(vm.bios_uuid());
  out.set_host(vm.host());
  for (const storage::v1::VmDisk& disk : vm.disks()) {
    admin::v1::RecordedDisk* const shown = out.add_disks();
    shown->set_uuid(disk.uuid());
    shown->set_file(disk.file());
    shown->set_bus(disk.bus());
    shown->set_unit(disk.unit());
    shown->set_size_bytes(disk.size_bytes());
    const bool moving = disk.moving_to() != storage::v1::DISK_PLACE_UNSPECIFIED;
    shown->set_attached_to(absl::StrCat(PlaceName(disk.place()), moving ? "->" : "",
                                        moving ? PlaceName(disk.moving_to()) : ""));
  }
  return out;
}

admin::v1::MadeVm ConvertAzureVm(const storage::v1::AzureVm& vm) {
  admin::v1::MadeVm out;
  out.set_site(vm.site());
  if (!vm.name().empty()) out.set_resource_id(AzureVmId(vm));
  out.set_size(vm.size());
  out.set_subnet(vm.subnet());
  return out;
}

// What it lives in there, as Azure said last.
admin::v1::MadeVm ConvertHome(const View& view, const storage::v1::Machine& machine) {
  admin::v1::MadeVm out = ConvertAzureVm(machine.azure_vm());
  out.set_is_home(true);
  const auto cloud = view.clouds.find(machine.azure_vm().site());
  if (cloud == view.clouds.end()) return out;
  const auto seen = cloud->second.vms.find(machine.machine_id());
  if (seen == cloud->second.vms.end()) return out;
  out.set_power(seen->second.exists ? seen->second.power : "gone");
  return out;
}

admin::v1::MachineCopy ConvertCopy(const storage::v1::Incarnation& copy) {
  admin::v1::MachineCopy out;
  out.set_name(copy.name());
  out.set_hardware_uuid(copy.hardware_uuid());
  out.set_boot_id(copy.boot_id());
  out.set_address(copy.address());
  return out;
}

}  // namespace

admin::v1::Machine ConvertMachine(const View& view, const storage::v1::Machine& machine) {
  const storage::v1::Registration& registration = machine.registration();
  const storage::v1::Placement& placement = machine.assignment().placement();
  admin::v1::Machine out;
  out.set_machine_id(machine.machine_id());
  out.set_name(registration.name());
  out.set_os_type(registration.os_type());
  out.set_os_name(registration.os_name());
  out.set_agent_version(registration.version());
  *out.mutable_disks() = placement.disks().empty() ? registration.disks() : placement.disks();
  *out.mutable_unusable_disks() = registration.unusable_disks();
  out.set_protection_state(StateName(machine.state()));
  out.set_generation(machine.generation());
  for (const storage::v1::Operation operation : AllowedOperations(machine))
    out.add_allowed_operations(OperationName(operation, machine));
  const std::vector<types::v1::HealthIssue> issues = JudgeMachine(view, machine);
  const bool protected_now = machine.has_assignment();
  out.set_replication_health(protected_now || !issues.empty() ? WorstOf(issues) : "None");
  for (const types::v1::HealthIssue& issue : issues) *out.add_health_errors() = issue;
  if (machine.has_registered_at()) *out.mutable_registered_at() = machine.registered_at();
  const absl::Time heard = view.fleet.last_heard(machine.machine_id());
  if (heard != absl::InfinitePast()) *out.mutable_last_heartbeat() = ToProto(heard);
  out.set_agent_connected(view.AgentConnected(machine));
  out.set_process_server_id(placement.process_server_id());
  out.set_master_target_id(placement.master_target_id());
  out.set_datastore(placement.target().datastore_directory().datastore());
  out.set_policy_name(PolicyNameOf(machine));
  out.set_replication_group(machine.replication_group());
  if (machine.has_assignment()) {
    *out.mutable_policy() =
        ConvertPolicy(machine.assignment().policy(), view.settings.rpo_threshold);
    if (machine.assignment().own_policy().ByteSizeLong() > 0)
      *out.mutable_own_policy() = ConvertPolicy(machine.assignment().own_policy());
  }
  out.set_job_id(machine.job_id());
  if (const control::v1::AgentObserved* const agent = view.AgentOf(machine);
      agent != nullptr && agent->data_key_id() != 0)
    out.set_data_key_id(absl::StrCat(absl::Hex(agent->data_key_id(), absl::kZeroPad16)));
  if (machine.admission().has_admitted())
    *out.mutable_admitted_copy() = ConvertCopy(machine.admission().admitted());
  for (const RefusedCopy& refused : view.RefusedCopies(machine))
    *out.add_refused_copies() = ConvertCopy(refused.copy);
  if (machine.has_vm() || placement.has_new_vm()) *out.mutable_vm() = ConvertVm(VmOf(machine));
  if (machine.has_azure_vm()) {
    *out.mutable_azure_vm() = ConvertHome(view, machine);
  } else if (placement.has_azure_vm()) {
    *out.mutable_azure_vm() = ConvertAzureVm(placement.azure_vm());
  }
  if (machine.has_test()) *out.mutable_test_vm() = ConvertAzureVm(machine.test().azure_vm());
  if (const control::v1::ReplicaObserved* replica = view.ReplicaOf(machine)) {
    out.set_point_count(static_cast<uint64_t>(replica->points_size()));
    out.set_journal_bytes(replica->journal_bytes());
    if (replica->has_scrubbed()) *out.mutable_scrubbed_at() = replica->scrubbed();
    out.set_received_bytes(replica->received_bytes());
    *out.mutable_disk_paths() = replica->disk_paths();
    if (!replica->points().empty()) {
      *out.mutable_newest_point() = replica->points(replica->points_size() - 1);
      const types::v1::RecoveryPoint* const instant = NewestInstant(*replica);
      if (machine.state() == storage::v1::PROTECTED && instant != nullptr) {
        out.set_rpo_seconds(absl::ToDoubleSeconds(view.clock.Now() - FromProto(instant->time())));
      }
    }
  } else {
    *out.mutable_disk_paths() = machine.home_disks();
  }
  if (const control::v1::AgentObserved* agent = view.AgentOf(machine)) {
    out.set_syncing(agent->syncing());
    out.set_sync_done_bytes(agent->sync_done_bytes());
    out.set_sync_total_bytes(agent->sync_total_bytes());
    out.set_pending_bytes(agent->pending_bytes());
    out.set_capture(agent->capture());
    *out.mutable_freeze() = agent->freeze();
  }
  return out;
}

admin::v1::Server ConvertServer(const View& view, const storage::v1::Server& server) {
  admin::v1::Server out;
  out.set_host_id(server.host_id());
  out.set_role(server.role());
  out.set_name(server.registration().name());
  out.set_version(server.registration().version());
  out.set_replication_address(server.registration().replication_address());
  out.set_connected(view.fleet.connected(server.host_id()));
  out.set_chosen_vm(server.chosen_vm());
  *out.mutable_registered_at() = server.registered_at();
  const absl::Time heard = view.fleet.last_heard(server.host_id());
  if (heard != absl::InfinitePast()) *out.mutable_last_heartbeat() = ToProto(heard);
  std::vector<types::v1::HealthIssue> issues;
  if (const control::v1::Heartbeat* heartbeat = view.fleet.heartbeat(server.host_id())) {
    issues.assign(heartbeat->issues().begin(), heartbeat->issues().end());
    *out.mutable_datastores() = heartbeat->master_target().datastores();
    *out.mutable_retention_volume() = heartbeat->master_target().retention_volume();
    *out.mutable_block_devices() = heartbeat->master_target().block_devices();
    out.set_cache_total_bytes(heartbeat->process_server().cache_total_bytes());
    out.set_cache_free_bytes(heartbeat->process_server().cache_free_bytes());
    out.set_pending_bytes(heartbeat->process_server().pending_bytes());
    if (heartbeat->process_server().has_time_to_drain())
      *out.mutable_time_to_drain() = heartbeat->process_server().time_to_drain();
    out.set_resident_bytes_max(heartbeat->resident_bytes_max());
  }
  if (!out.connected()) {
    const bool gone = !view.Alive(server.host_id());
    issues.push_back(MakeIssue(gone ? types::v1::CRITICAL : types::v1::WARNING,
                               server.role() == types::v1::PROCESS_SERVER
                                   ? ProblemId::kProcessServerDown
                                   : ProblemId::kMasterTargetDown,
                               out.name() + " is not connected"));
  }
  out.set_health(WorstOf(issues));
  for (const types::v1::HealthIssue& issue : issues) *out.add_health_errors() = issue;
  out.set_machine_count(static_cast<uint64_t>(std::count_if(
      view.machines.begin(), view.machines.end(), [&](const storage::v1::Machine& machine) {
        return machine.assignment().placement().process_server_id() == server.host_id() ||
               machine.assignment().placement().master_target_id() == server.host_id();
      })));
  return out;
}

admin::v1::PlanAction ConvertPlanAction(const storage::v1::PlanAction& action) {
  admin::v1::PlanAction out;
  if (action.has_script()) {
    out.mutable_script()->set_name(action.script().name());
    *out.mutable_script()->mutable_arguments() = action.script().arguments();
    *out.mutable_script()->mutable_timeout() = action.script().timeout();
  } else {
    out.set_instruction(action.instruction());
  }
  return out;
}

admin::v1::Job ConvertJob(const Brain& brain, const storage::v1::Job& job) {
  admin::v1::Job out;
  out.set_id(job.id());
  out.set_workflow(OperationName(job));
  out.set_machine_id(job.subject());
  if (const storage::v1::Machine* const machine = brain.records().FindMachine(job.subject()))
    out.set_machine_name(machine->registration().name());
  out.set_parent(job.parent());
  *out.mutable_children() = job.children();
  *out.mutable_kept() = job.kept();
  out.set_state(TaskStateName(job.state()));
  *out.mutable_created() = job.created();
  if (job.has_ended()) *out.mutable_ended() = job.ended();
  if (job.has_problem()) *out.mutable_problem() = job.problem();
  const StepResult* const progress = brain.ProgressOf(job.id());
  for (const storage::v1::Task& task : job.tasks()) {
    admin::v1::Task* const shown = out.add_tasks();
    shown->set_name(task.name());
    shown->set_state(TaskStateName(task.state()));
    if (task.has_started()) *shown->mutable_started() = task.started();
    if (task.has_ended()) *shown->mutable_ended() = task.ended();
    if (task.state() == storage::v1::RUNNING && progress != nullptr) {
      shown->set_detail(progress->detail);
      shown->set_done_bytes(progress->done_bytes);
      shown->set_total_bytes(progress->total_bytes);
    }
  }
  out.set_plan(job.plan_run().plan().name());
  for (const storage::v1::PlanStep& step : job.plan_run().steps()) {
    admin::v1::PlanStep& shown = *out.add_plan_steps();
    shown.set_group(step.group() + 1);
    if (step.has_action()) *shown.mutable_action() = ConvertPlanAction(step.action());
    shown.set_attempt(step.attempt());
    shown.set_output(step.output());
    *shown.mutable_children() = step.children();
    if (step.has_problem()) *shown.mutable_problem() = step.problem();
    shown.set_waits(step.waits());
  }
  return out;
}

}  // namespace homeward
