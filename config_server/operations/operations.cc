#include "config_server/operations/operations.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/log/log.h"
#include "common/os/host.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "config_server/model/location_rules.h"
#include "config_server/model/operation.h"
#include "config_server/model/placement.h"
#include "config_server/model/points.h"
#include "config_server/model/rules.h"
#include "config_server/operations/convert.h"
#include "config_server/operations/policy.h"

namespace homeward {
namespace {

template <typename Request>
PlacementWish WishOf(const Request& request) {
  PlacementWish wish;
  wish.process_server = request.process_server();
  wish.master_target = request.master_target();
  wish.datastore = request.datastore();
  wish.directory = request.directory();
  wish.block_devices = {request.block_devices().begin(), request.block_devices().end()};
  wish.vm = request.vm();
  return wish;
}

void SetAzure(const admin::v1::AzurePlace& place, PlacementWish* wish) {
  wish->azure = {place.site(), place.size(), place.subnet(), place.firmware()};
}

PlacementWish::NewVm NewVmOf(const admin::v1::NewVm& request) {
  PlacementWish::NewVm wish;
  wish.instance_uuid = RandomUuid();
  wish.name = request.name();
  wish.cpus = static_cast<int32_t>(request.cpus());
  wish.memory_mb = request.memory_mb();
  wish.firmware = request.firmware();
  wish.guest_id = request.guest_id();
  wish.network = request.network();
  return wish;
}

// Nothing: the operator named none.
std::optional<storage::v1::Location> LocationOf(admin::v1::Location location) {
  constexpr std::pair<admin::v1::Location, storage::v1::Location> kLocations[] = {
      {admin::v1::DATASTORE_DIRECTORY, storage::v1::DATASTORE_DIRECTORY},
      {admin::v1::ORIGINAL_VM, storage::v1::ORIGINAL_VM},
      {admin::v1::ALTERNATE_VM, storage::v1::ALTERNATE_VM},
      {admin::v1::AZURE_VM, storage::v1::AZURE_VM},
  };
  for (const auto& [asked, meant] : kLocations) {
    if (asked == location) return meant;
  }
  return std::nullopt;
}

}  // namespace

absl::Status Operations::Ask(const Caller& caller, const std::function<absl::Status()>& ask) {
  if (caller.role != Role::kOperator) {
    return absl::PermissionDeniedError(absl::StrCat(
        "host ", caller.id, " (", caller.role.has_value() ? RoleDnsName(*caller.role) : "no role",
        ") may not call this"));
  }
  absl::Status status;
  strand_.Run([&] { status = ask(); });
  return status;
}

absl::Status Operations::StartJob(storage::v1::Operation operation, const std::string& machine,
                                  storage::v1::Job job, admin::v1::Job* response,
                                  const std::string& chosen_vm) {
  job.set_operation(operation);
  job.set_subject(machine);
  HW_ASSIGN_OR_RETURN(const storage::v1::Job started, brain_.StartJob(std::move(job), chosen_vm));
  *response = ConvertJob(brain_, started);
  return absl::OkStatus();
}

absl::Status Operations::Protect(const admin::v1::ProtectRequest& request,
                                 admin::v1::Job* response) {
  HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request.machine()));
  const View view = brain_.MakeView();
  if (Refusal refusal = CheckOperation(view, machine, storage::v1::PROTECT))
    return Refused(*refusal);
  PlacementWish wish = WishOf(request);
  wish.location = LocationOf(request.location()).value_or(storage::v1::DATASTORE_DIRECTORY);
  if (RulesOf(*wish.location).has_vm())
    return absl::InvalidArgumentError("a machine that is protected goes to azure or directory");
  SetAzure(request.azure(), &wish);
  wish.disks.assign(request.disks().begin(), request.disks().end());
  Placed placed = Place(view, machine, wish);
  if (placed.refusal) return Refused(*placed.refusal);
  storage::v1::Job job;
  HW_RETURN_IF_ERROR(
      brain_.policies().Begin(machine, request.policy_name(), PolicyOf(request.policy()), &job));
  *job.mutable_wanted()->mutable_placement() = std::move(placed.placement);
  return StartJob(storage::v1::PROTECT, machine.machine_id(), std::move(job), response,
                  placed.chosen_vm);
}

absl::Status Operations::Reprotect(const admin::v1::ReprotectRequest& request,
                                   admin::v1::Job* response) {
  HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request.machine()));
  const View view = brain_.MakeView();
  if (Refusal refusal = CheckOperation(view, machine, storage::v1::REPROTECT))
    return Refused(*refusal);
  if (const std::string& group = machine.replication_group(); !group.empty()) {
    const std::vector<std::string> plans = brain_.plans().Containing(view, group);
    return Refused(
        MakeProblem(ProblemId::kPlanRequired,
                    absl::StrCat(NameOf(machine), " is a member of group ", group,
                                 plans.empty() ? ", and no recovery plan has a member of it"
                                               : ", which is in recovery plan ",
                                 absl::StrJoin(plans, ", "))));
  }
  PlacementWish wish = WishOf(request);
  wish.remove_snapshots = request.remove_snapshots();
  wish.hyperv = request.location() == admin::v1::HYPERV_VM;
  wish.location = LocationOf(request.location());
  SetAzure(request.azure(), &wish);
  if (RulesMeant(machine, wish).makes_vm()) {
    wish.new_vm = NewVmOf(request.new_vm());
  } else if (request.has_new_vm()) {
    return absl::InvalidArgumentError(
        "a name, hardware or network of a new VM (--vm-name and the like) is for --location "
        "alternate");
  }
  Placed placed = Place(view, machine, wish);
  if (placed.refusal) return Refused(*placed.refusal);
  if (wish.remove_snapshots && !RulesOf(placed.placement.location()).has_snapshots()) {
    return absl::InvalidArgumentError(
        "only the original VM's snapshots can be removed, and the machine does not go there");
  }
  storage::v1::Job job;
  HW_RETURN_IF_ERROR(
      brain_.policies().Begin(machine, request.policy_name(), PolicyOf(request.policy()), &job));
  *job.mutable_wanted()->mutable_placement() = std::move(placed.placement);
  return StartJob(storage::v1::REPROTECT, machine.machine_id(), std::move(job), response,
                  placed.chosen_vm);
}

absl::Status Operations::Resync(const admin::v1::ResyncRequest& request, admin::v1::Job* response) {
  return StartJob(storage::v1::RESYNC, request.machine(), {}, response);
}

absl::Status Operations::Rekey(const admin::v1::RekeyRequest& request, admin::v1::Job* response) {
  return StartJob(storage::v1::REKEY, request.machine(), {}, response);
}

absl::Status Operations::CreatePoint(const admin::v1::CreatePointRequest& request,
                                     admin::v1::Job* response) {
  storage::v1::Job job;
  job.set_operation(storage::v1::CREATE_POINT);
  job.set_point_kind(request.kind() == types::v1::POINT_KIND_UNSPECIFIED
                         ? types::v1::CRASH_CONSISTENT
                         : request.kind());
  if (!request.all_machines())
    return StartJob(storage::v1::CREATE_POINT, request.machine(), std::move(job), response);
  if (!request.machine().empty())
    return absl::InvalidArgumentError("name a machine, or ask for all of them, not both");
  std::vector<std::string> machine_ids;
  for (const storage::v1::Machine& machine : brain_.records().machines()) {
    if (machine.state() == storage::v1::PROTECTED) machine_ids.push_back(machine.machine_id());
  }
  if (machine_ids.empty())
    return Refused(MakeProblem(ProblemId::kNotProtected, "no machine is in state Protected"));
  HW_ASSIGN_OR_RETURN(const storage::v1::Job started, brain_.StartForEach(job, machine_ids));
  *response = ConvertJob(brain_, started);
  return absl::OkStatus();
}

absl::Status Operations::Failback(const admin::v1::FailbackRequest& request,
                                  admin::v1::Job* response) {
  HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request.machine()));
  const View view = brain_.MakeView();
  if (Refusal refusal = CheckOperation(view, machine, storage::v1::FAILBACK))
    return Refused(*refusal);
  if (machine.state() == storage::v1::FAILED_BACK && RulesOf(machine).remakes_machine() &&
      !CheckOperation(view, machine, storage::v1::COMMIT) && !request.discard_changes()) {
    return Refused(MakeProblem(
        ProblemId::kMachineRunning,
        absl::StrCat(machine.registration().name(), " was started from recovery point ",
                     machine.assignment().state().point_id(),
                     ". To have it made anew from another one, and lose what it has written since: "
                     "--discard-changes")));
  }
  // Before anything is stopped: the point that is asked for is there, now.
  const control::v1::ReplicaObserved& replica = *view.ReplicaOf(machine);
  const ChosenPoint chosen = ChoosePoint({replica.points().begin(), replica.points().end()},
                                         request.point(), request.accept_not_one_instant());
  if (chosen.refusal) return Refused(*chosen.refusal);
  storage::v1::Job job;
  job.set_point(request.point());
  job.set_source_lost(request.source_lost());
  job.set_accept_not_one_instant(request.accept_not_one_instant());
  return StartJob(storage::v1::FAILBACK, machine.machine_id(), std::move(job), response);
}

absl::Status Operations::Commit(const admin::v1::CommitRequest& request, admin::v1::Job* response) {
  return StartJob(storage::v1::COMMIT, request.machine(), {}, response);
}

absl::Status Operations::Remove(const admin::v1::RemoveRequest& request, admin::v1::Job* response) {
  storage::v1::Job job;
  job.set_keep_disks(request.keep_disks());
  return StartJob(storage::v1::REMOVE, request.machine(), std::move(job), response);
}

absl::Status Operations::SwitchProcessServer(const admin::v1::SwitchProcessServerRequest& request,
                                             admin::v1::Job* response) {
  if (request.machine().empty() == request.from().empty())
    return absl::InvalidArgumentError(
        "name a machine, or the process server that loses all of its");
  const View view = brain_.MakeView();
  const auto find = [&](const std::string& name, std::string* host_id) -> absl::Status {
    if (name.empty()) return absl::OkStatus();
    const View::MeantServer meant = view.ServerCalled(name, {types::v1::PROCESS_SERVER});
    if (meant.refusal) return Refused(*meant.refusal);
    *host_id = meant.server->host_id();
    return absl::OkStatus();
  };
  storage::v1::Job job;
  job.set_operation(storage::v1::SWITCH_PROCESS_SERVER);
  HW_RETURN_IF_ERROR(find(request.process_server(), job.mutable_process_server_id()));
  const std::string& to = job.process_server_id();
  if (request.from().empty()) {
    HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request.machine()));
    if (Refusal refusal = CheckOperation(view, machine, job.operation())) return Refused(*refusal);
    if (to == ProcessServerOf(machine)) {
      return Refused(
          MakeProblem(ProblemId::kWrongState,
                      absl::StrCat(machine.registration().name(), " is with process server ",
                                   request.process_server(), " already")));
    }
    storage::v1::Placement placement = machine.assignment().placement();
    if (Refusal refusal = RulesOf(machine).PlaceProcessServer(view, machine, to, &placement))
      return Refused(*refusal);
    return StartJob(storage::v1::SWITCH_PROCESS_SERVER, machine.machine_id(), std::move(job),
                    response);
  }
  std::string from;
  HW_RETURN_IF_ERROR(find(request.from(), &from));
  if (from == to)
    return absl::InvalidArgumentError("--from and --process-server name the same process server");
  std::vector<std::string> machine_ids;
  for (const storage::v1::Machine& machine : brain_.records().machines()) {
    if (HasProcessServer(machine) && ProcessServerOf(machine) == from)
      machine_ids.push_back(machine.machine_id());
  }
  if (machine_ids.empty()) {
    return Refused(MakeProblem(ProblemId::kNotProtected,
                               absl::StrCat("no machine needs process server ", request.from())));
  }
  HW_ASSIGN_OR_RETURN(const storage::v1::Job started, brain_.StartForEach(job, machine_ids));
  *response = ConvertJob(brain_, started);
  return absl::OkStatus();
}

absl::Status Operations::Repair(const admin::v1::RepairRequest& request, admin::v1::Job* response) {
  return StartJob(storage::v1::REPAIR, request.machine(), {}, response);
}

absl::Status Operations::CancelJob(const admin::v1::CancelJobRequest& request,
                                   admin::v1::Job* response) {
  HW_ASSIGN_OR_RETURN(const storage::v1::Job job, brain_.CancelJob(request.job_id()));
  *response = ConvertJob(brain_, job);
  return absl::OkStatus();
}

absl::Status Operations::AcceptMachine(const admin::v1::AcceptMachineRequest& request,
                                       admin::v1::Machine* response) {
  HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine,
                      brain_.AcceptCopy(request.machine(), request.copy()));
  *response = ConvertMachine(brain_.MakeView(), machine);
  return absl::OkStatus();
}

absl::Status Operations::IdentifyServer(const admin::v1::IdentifyServerRequest& request,
                                        admin::v1::Server* response) {
  HW_ASSIGN_OR_RETURN(const storage::v1::Server server,
                      brain_.IdentifyServer(request.server(), request.vm()));
  *response = ConvertServer(brain_.MakeView(), server);
  return absl::OkStatus();
}

absl::Status Operations::RotatePassphrase(const admin::v1::RotatePassphraseRequest&,
                                          admin::v1::Enrolment* response) {
  HW_RETURN_IF_ERROR(registrar_.RotatePassphrase());
  brain_.AddEvent("enrolment.passphrase_rotated", "", "", "");
  const EnrolmentFile enrolment = registrar_.enrolment();
  response->set_passphrase(enrolment.passphrase);
  response->set_ca(enrolment.ca);
  return absl::OkStatus();
}

}  // namespace homeward
