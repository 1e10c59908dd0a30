#include "config_server/services/admin_service.h"

#include <algorithm>

#include "common/base/limits.h"
#include "common/daemon/daemon.h"
#include "common/os/host.h"
#include "common/rpc/credentials.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "config_server/model/vm_rules.h"
#include "config_server/services/convert.h"

namespace homeward {
namespace {

using grpc::ServerContext;
using grpc::Status;

constexpr uint32_t kJobsDefault = 100;
constexpr uint32_t kEventsDefault = 200;

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

absl::Status ApplyPolicy(const admin::v1::Policy& policy, storage::v1::Assignment* assignment) {
  const auto take = [](const google::protobuf::Duration& wanted, bool present,
                       absl::Duration otherwise) {
    return present ? FromProto(wanted) : otherwise;
  };
  const absl::Duration interval =
      take(policy.point_interval(), policy.has_point_interval(), kPointIntervalDefault);
  const absl::Duration app_interval =
      take(policy.app_point_interval(), policy.has_app_point_interval(), kAppPointIntervalDefault);
  const absl::Duration age =
      take(policy.retention_age(), policy.has_retention_age(), kRetentionAgeDefault);
  if (interval < absl::Seconds(1) || app_interval < absl::ZeroDuration() || age < interval) {
    return absl::InvalidArgumentError(
        "a policy needs points at least 1 s apart, and a retention that is longer than that");
  }
  *assignment->mutable_point_interval() = ToProto(interval);
  *assignment->mutable_app_point_interval() = ToProto(app_interval);
  *assignment->mutable_retention_age() = ToProto(age);
  assignment->set_retention_bytes(policy.retention_bytes());
  return absl::OkStatus();
}

}  // namespace

void AdminService::Changed() {
  absl::MutexLock lock(&mutex_);
  ++changes_;
}

void AdminService::Stop() {
  absl::MutexLock lock(&mutex_);
  stopping_ = true;
}

Status AdminService::Ask(ServerContext* context, const std::function<absl::Status()>& ask) {
  const absl::StatusOr<std::string> caller = Authorize(*context, {Role::kOperator});
  if (!caller.ok()) return ToGrpc(caller.status());
  absl::Status status;
  strand_.Run([&] { status = ask(); });
  return ToGrpc(status);
}

Status AdminService::ListMachines(ServerContext* context, const admin::v1::ListMachinesRequest*,
                                  admin::v1::ListMachinesResponse* response) {
  return Ask(context, [&] {
    const View view = brain_.MakeView();
    for (const storage::v1::Machine& machine : view.machines)
      *response->add_machines() = ConvertMachine(view, machine);
    return absl::OkStatus();
  });
}

Status AdminService::GetMachine(ServerContext* context, const admin::v1::GetMachineRequest* request,
                                admin::v1::Machine* response) {
  return Ask(context, [&]() -> absl::Status {
    HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request->machine()));
    *response = ConvertMachine(brain_.MakeView(), machine);
    return absl::OkStatus();
  });
}

Status AdminService::AcceptMachine(ServerContext* context,
                                   const admin::v1::AcceptMachineRequest* request,
                                   admin::v1::Machine* response) {
  return Ask(context, [&]() -> absl::Status {
    HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine,
                        brain_.AcceptCopy(request->machine(), request->copy()));
    *response = ConvertMachine(brain_.MakeView(), machine);
    return absl::OkStatus();
  });
}

Status AdminService::IdentifyServer(ServerContext* context,
                                    const admin::v1::IdentifyServerRequest* request,
                                    admin::v1::Server* response) {
  return Ask(context, [&]() -> absl::Status {
    HW_ASSIGN_OR_RETURN(const storage::v1::Server server,
                        brain_.IdentifyServer(request->server(), request->vm()));
    *response = ConvertServer(brain_.MakeView(), server);
    return absl::OkStatus();
  });
}

Status AdminService::ListPoints(ServerContext* context, const admin::v1::ListPointsRequest* request,
                                admin::v1::ListPointsResponse* response) {
  return Ask(context, [&]() -> absl::Status {
    HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request->machine()));
    if (const auto* replica = brain_.MakeView().ReplicaOf(machine))
      *response->mutable_points() = replica->points();
    return absl::OkStatus();
  });
}

Status AdminService::ListServers(ServerContext* context, const admin::v1::ListServersRequest*,
                                 admin::v1::ListServersResponse* response) {
  return Ask(context, [&] {
    const View view = brain_.MakeView();
    for (const storage::v1::Server& server : view.servers)
      *response->add_servers() = ConvertServer(view, server);
    return absl::OkStatus();
  });
}

Status AdminService::GetServer(ServerContext* context, const admin::v1::GetServerRequest* request,
                               admin::v1::Server* response) {
  return Ask(context, [&]() -> absl::Status {
    const View view = brain_.MakeView();
    const View::MeantServer meant =
        view.ServerCalled(request->server(), {types::v1::PROCESS_SERVER, types::v1::MASTER_TARGET});
    if (meant.refusal) return ToStatus(*meant.refusal, meant.code);
    *response = ConvertServer(view, *meant.server);
    return absl::OkStatus();
  });
}

Status AdminService::ListJobs(ServerContext* context, const admin::v1::ListJobsRequest* request,
                              admin::v1::ListJobsResponse* response) {
  return Ask(context, [&]() -> absl::Status {
    std::string machine_id;
    if (!request->machine().empty()) {
      HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine,
                          brain_.FindMachine(request->machine()));
      machine_id = machine.machine_id();
    }
    const uint32_t count_max = request->count_max() == 0 ? kJobsDefault : request->count_max();
    const size_t read_max = machine_id.empty() ? count_max : SIZE_MAX;
    for (const storage::v1::Job& job :
         brain_.store().All<storage::v1::Job>(read_max, /*newest=*/true)) {
      if (!machine_id.empty() && job.subject() != machine_id) continue;
      if (static_cast<uint32_t>(response->jobs_size()) == count_max) break;
      *response->add_jobs() = ConvertJob(brain_, job);
    }
    return absl::OkStatus();
  });
}

Status AdminService::GetJob(ServerContext* context, const admin::v1::GetJobRequest* request,
                            admin::v1::Job* response) {
  return Ask(context, [&]() -> absl::Status {
    HW_ASSIGN_OR_RETURN(const storage::v1::Job job, brain_.FindJob(request->job_id()));
    *response = ConvertJob(brain_, job);
    return absl::OkStatus();
  });
}

Status AdminService::WatchJob(ServerContext* context, const admin::v1::GetJobRequest* request,
                              grpc::ServerWriter<admin::v1::Job>* writer) {
  std::string last;
  while (!context->IsCancelled()) {
    uint64_t seen = 0;
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return ToGrpc(absl::UnavailableError("the configuration server stops"));
      seen = changes_;
    }
    admin::v1::Job job;
    const Status asked = Ask(context, [&]() -> absl::Status {
      HW_ASSIGN_OR_RETURN(const storage::v1::Job found, brain_.FindJob(request->job_id()));
      job = ConvertJob(brain_, found);
      return absl::OkStatus();
    });
    if (!asked.ok()) return asked;
    const std::string now = job.SerializeAsString();
    if (now != last && !writer->Write(job)) return Status::OK;
    last = now;
    if (job.state() != "Running") return Status::OK;
    const auto changed = [this, seen]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return stopping_ || changes_ != seen;
    };
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&changed), absl::Seconds(1));
  }
  return Status::CANCELLED;
}

Status AdminService::GetHealth(ServerContext* context, const admin::v1::GetHealthRequest*,
                               admin::v1::Health* response) {
  return Ask(context, [&] {
    const View view = brain_.MakeView();
    std::vector<types::v1::HealthIssue> all;
    const auto add = [&](const std::string& name, const auto& issues) {
      for (const types::v1::HealthIssue& issue : issues) {
        admin::v1::HealthError* const error = response->add_errors();
        error->set_of(name);
        *error->mutable_issue() = issue;
        all.push_back(issue);
      }
    };
    for (const storage::v1::Machine& machine : view.machines) {
      if (machine.state() == storage::v1::PROTECTED)
        response->set_machines_protected(response->machines_protected() + 1);
      add(machine.registration().name(), JudgeMachine(view, machine));
    }
    for (const storage::v1::Server& server : view.servers) {
      const admin::v1::Server shown = ConvertServer(view, server);
      if (shown.connected()) response->set_servers_connected(response->servers_connected() + 1);
      add(shown.name(), shown.health_errors());
    }
    response->set_machines_total(view.machines.size());
    response->set_servers_total(view.servers.size());
    response->set_health(WorstOf(all));
    response->set_resident_bytes_max(PeakResidentBytes());
    return absl::OkStatus();
  });
}

Status AdminService::ListEvents(ServerContext* context, const admin::v1::ListEventsRequest* request,
                                admin::v1::ListEventsResponse* response) {
  return Ask(context, [&]() -> absl::Status {
    std::string machine_id;
    if (!request->machine().empty()) {
      HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine,
                          brain_.FindMachine(request->machine()));
      machine_id = machine.machine_id();
    }
    const uint32_t count_max = request->count_max() == 0 ? kEventsDefault : request->count_max();
    std::vector<storage::v1::Event> events;
    const size_t read_max = machine_id.empty() ? count_max : SIZE_MAX;
    for (storage::v1::Event& event :
         brain_.store().All<storage::v1::Event>(read_max, /*newest=*/true)) {
      if (events.size() == count_max) break;
      if (machine_id.empty() || event.machine_id() == machine_id)
        events.push_back(std::move(event));
    }
    std::reverse(events.begin(), events.end());
    for (const storage::v1::Event& event : events) {
      admin::v1::Event* const out = response->add_events();
      *out->mutable_time() = event.time();
      out->set_name(event.name());
      out->set_machine_id(event.machine_id());
      out->set_job_id(event.job_id());
      out->set_text(event.text());
    }
    return absl::OkStatus();
  });
}

Status AdminService::GetVersion(ServerContext* context, const admin::v1::GetVersionRequest*,
                                admin::v1::Version* response) {
  return Ask(context, [&] {
    response->set_version(kVersion);
    response->set_config_server_id(
        brain_.store().Get<storage::v1::Meta>(Store::kOnly)->config_server_id());
    return absl::OkStatus();
  });
}

absl::Status AdminService::StartSimple(storage::v1::Operation operation, const std::string& machine,
                                       storage::v1::Job job, admin::v1::Job* response,
                                       const std::string& chosen_vm) {
  job.set_operation(operation);
  job.set_subject(machine);
  HW_ASSIGN_OR_RETURN(const storage::v1::Job started, brain_.StartJob(std::move(job), chosen_vm));
  *response = ConvertJob(brain_, started);
  return absl::OkStatus();
}

Status AdminService::Protect(ServerContext* context, const admin::v1::ProtectRequest* request,
                             admin::v1::Job* response) {
  return Ask(context, [&]() -> absl::Status {
    HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request->machine()));
    const View view = brain_.MakeView();
    if (Refusal refusal = CheckOperation(view, machine, storage::v1::PROTECT))
      return Refused(*refusal);
    PlacementWish wish = WishOf(*request);
    wish.location = storage::v1::DATASTORE_DIRECTORY;
    wish.disks.assign(request->disks().begin(), request->disks().end());
    Placement placement = Place(view, machine, wish);
    if (placement.refusal) return Refused(*placement.refusal);
    HW_RETURN_IF_ERROR(ApplyPolicy(request->policy(), &placement.assignment));
    storage::v1::Job job;
    *job.mutable_wanted() = std::move(placement.assignment);
    return StartSimple(storage::v1::PROTECT, machine.machine_id(), std::move(job), response,
                       placement.chosen_vm);
  });
}

Status AdminService::Reprotect(ServerContext* context, const admin::v1::ReprotectRequest* request,
                               admin::v1::Job* response) {
  return Ask(context, [&]() -> absl::Status {
    HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request->machine()));
    const View view = brain_.MakeView();
    if (Refusal refusal = CheckOperation(view, machine, storage::v1::REPROTECT))
      return Refused(*refusal);
    PlacementWish wish = WishOf(*request);
    wish.remove_snapshots = request->remove_snapshots();
    wish.hyperv = request->location() == admin::v1::HYPERV_VM;
    if (request->location() == admin::v1::ORIGINAL_VM) wish.location = storage::v1::ORIGINAL_VM;
    if (request->location() == admin::v1::DATASTORE_DIRECTORY)
      wish.location = storage::v1::DATASTORE_DIRECTORY;
    if (request->location() == admin::v1::ALTERNATE_VM) {
      wish.location = storage::v1::ALTERNATE_VM;
      wish.new_vm = NewVmOf(request->new_vm());
    }
    if (request->has_new_vm() && wish.location != storage::v1::ALTERNATE_VM) {
      return absl::InvalidArgumentError(
          "a name, hardware or network of a new VM (--vm-name and the like) is for --location "
          "alternate");
    }
    Placement placement = Place(view, machine, wish);
    if (placement.refusal) return Refused(*placement.refusal);
    if (wish.remove_snapshots && placement.assignment.location() != storage::v1::ORIGINAL_VM) {
      return absl::InvalidArgumentError(
          "only the original VM's snapshots can be removed, and the machine does not go there");
    }
    HW_RETURN_IF_ERROR(ApplyPolicy(request->policy(), &placement.assignment));
    storage::v1::Job job;
    *job.mutable_wanted() = std::move(placement.assignment);
    return StartSimple(storage::v1::REPROTECT, machine.machine_id(), std::move(job), response,
                       placement.chosen_vm);
  });
}

Status AdminService::Resync(ServerContext* context, const admin::v1::ResyncRequest* request,
                            admin::v1::Job* response) {
  return Ask(context,
             [&] { return StartSimple(storage::v1::RESYNC, request->machine(), {}, response); });
}

Status AdminService::CreatePoint(ServerContext* context,
                                 const admin::v1::CreatePointRequest* request,
                                 admin::v1::Job* response) {
  return Ask(context, [&] {
    storage::v1::Job job;
    job.set_point_kind(request->kind() == types::v1::POINT_KIND_UNSPECIFIED
                           ? types::v1::CRASH_CONSISTENT
                           : request->kind());
    return StartSimple(storage::v1::CREATE_POINT, request->machine(), std::move(job), response);
  });
}

Status AdminService::Failback(ServerContext* context, const admin::v1::FailbackRequest* request,
                              admin::v1::Job* response) {
  return Ask(context, [&]() -> absl::Status {
    HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request->machine()));
    const View view = brain_.MakeView();
    if (Refusal refusal = CheckOperation(view, machine, storage::v1::FAILBACK))
      return Refused(*refusal);
    // Before anything is stopped: the point that is asked for is there, now.
    const control::v1::ReplicaObserved& replica = *view.ReplicaOf(machine);
    const ChosenPoint chosen = ChoosePoint({replica.points().begin(), replica.points().end()},
                                           request->point(), request->accept_not_one_instant());
    if (chosen.refusal) return Refused(*chosen.refusal);
    storage::v1::Job job;
    job.set_point(request->point());
    job.set_source_lost(request->source_lost());
    job.set_accept_not_one_instant(request->accept_not_one_instant());
    return StartSimple(storage::v1::FAILBACK, machine.machine_id(), std::move(job), response);
  });
}

Status AdminService::Commit(ServerContext* context, const admin::v1::CommitRequest* request,
                            admin::v1::Job* response) {
  return Ask(context,
             [&] { return StartSimple(storage::v1::COMMIT, request->machine(), {}, response); });
}

Status AdminService::Remove(ServerContext* context, const admin::v1::RemoveRequest* request,
                            admin::v1::Job* response) {
  return Ask(context, [&] {
    storage::v1::Job job;
    job.set_keep_disks(request->keep_disks());
    return StartSimple(storage::v1::REMOVE, request->machine(), std::move(job), response);
  });
}

Status AdminService::GetRepair(ServerContext* context, const admin::v1::RepairRequest* request,
                               admin::v1::RepairFindings* response) {
  return Ask(context, [&]() -> absl::Status {
    HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request->machine()));
    const VmFindings found = LookForChanges(brain_.MakeView(), machine);
    if (found.refusal) return Refused(*found.refusal);
    *response->mutable_findings() = {found.findings.begin(), found.findings.end()};
    return absl::OkStatus();
  });
}

Status AdminService::Repair(ServerContext* context, const admin::v1::RepairRequest* request,
                            admin::v1::Job* response) {
  return Ask(context,
             [&] { return StartSimple(storage::v1::REPAIR, request->machine(), {}, response); });
}

Status AdminService::CancelJob(ServerContext* context, const admin::v1::CancelJobRequest* request,
                               admin::v1::Job* response) {
  return Ask(context, [&]() -> absl::Status {
    HW_ASSIGN_OR_RETURN(const storage::v1::Job job, brain_.CancelJob(request->job_id()));
    *response = ConvertJob(brain_, job);
    return absl::OkStatus();
  });
}

Status AdminService::ShowPassphrase(ServerContext* context, const admin::v1::ShowPassphraseRequest*,
                                    admin::v1::Enrolment* response) {
  return Ask(context, [&] {
    const EnrolmentFile enrolment = registrar_.enrolment();
    response->set_passphrase(enrolment.passphrase);
    response->set_ca(enrolment.ca);
    return absl::OkStatus();
  });
}

Status AdminService::RotatePassphrase(ServerContext* context,
                                      const admin::v1::RotatePassphraseRequest*,
                                      admin::v1::Enrolment* response) {
  return Ask(context, [&]() -> absl::Status {
    HW_RETURN_IF_ERROR(registrar_.RotatePassphrase());
    brain_.AddEvent("enrolment.passphrase_rotated", "", "", "");
    const EnrolmentFile enrolment = registrar_.enrolment();
    response->set_passphrase(enrolment.passphrase);
    response->set_ca(enrolment.ca);
    return absl::OkStatus();
  });
}

}  // namespace homeward
