// What of Operations changes nothing.
#include <algorithm>
#include <vector>

#include "common/daemon/daemon.h"
#include "common/os/host.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "config_server/model/health.h"
#include "config_server/model/vm_rules.h"
#include "config_server/operations/convert.h"
#include "config_server/operations/operations.h"

namespace homeward {
namespace {

constexpr uint32_t kJobsDefault = 100;
constexpr uint32_t kEventsDefault = 200;

}  // namespace

absl::Status Operations::ListMachines(const admin::v1::ListMachinesRequest&,
                                      admin::v1::ListMachinesResponse* response) const {
  const View view = brain_.MakeView();
  for (const storage::v1::Machine& machine : view.machines)
    *response->add_machines() = ConvertMachine(view, machine);
  return absl::OkStatus();
}

absl::Status Operations::GetMachine(const admin::v1::GetMachineRequest& request,
                                    admin::v1::Machine* response) const {
  HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request.machine()));
  *response = ConvertMachine(brain_.MakeView(), machine);
  return absl::OkStatus();
}

absl::Status Operations::ListPoints(const admin::v1::ListPointsRequest& request,
                                    admin::v1::ListPointsResponse* response) const {
  HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request.machine()));
  if (const auto* replica = brain_.MakeView().ReplicaOf(machine))
    *response->mutable_points() = replica->points();
  return absl::OkStatus();
}

absl::Status Operations::ListServers(const admin::v1::ListServersRequest&,
                                     admin::v1::ListServersResponse* response) const {
  const View view = brain_.MakeView();
  for (const storage::v1::Server& server : view.servers)
    *response->add_servers() = ConvertServer(view, server);
  return absl::OkStatus();
}

absl::Status Operations::GetServer(const admin::v1::GetServerRequest& request,
                                   admin::v1::Server* response) const {
  const View view = brain_.MakeView();
  const View::MeantServer meant =
      view.ServerCalled(request.server(), {types::v1::PROCESS_SERVER, types::v1::MASTER_TARGET});
  if (meant.refusal) return ToStatus(*meant.refusal, meant.code);
  *response = ConvertServer(view, *meant.server);
  return absl::OkStatus();
}

absl::Status Operations::ListJobs(const admin::v1::ListJobsRequest& request,
                                  admin::v1::ListJobsResponse* response) const {
  std::string machine_id;
  if (!request.machine().empty()) {
    HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request.machine()));
    machine_id = machine.machine_id();
  }
  const uint32_t count_max = request.count_max() == 0 ? kJobsDefault : request.count_max();
  const size_t read_max = machine_id.empty() ? count_max : SIZE_MAX;
  for (const storage::v1::Job& job :
       brain_.store().All<storage::v1::Job>(read_max, /*newest=*/true)) {
    if (!machine_id.empty() && job.subject() != machine_id) continue;
    if (static_cast<uint32_t>(response->jobs_size()) == count_max) break;
    *response->add_jobs() = ConvertJob(brain_, job);
  }
  return absl::OkStatus();
}

absl::Status Operations::GetJob(const admin::v1::GetJobRequest& request,
                                admin::v1::Job* response) const {
  HW_ASSIGN_OR_RETURN(const storage::v1::Job job, brain_.FindJob(request.job_id()));
  *response = ConvertJob(brain_, job);
  return absl::OkStatus();
}

absl::Status Operations::GetRepair(const admin::v1::RepairRequest& request,
                                   admin::v1::RepairFindings* response) const {
  HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request.machine()));
  const VmFindings found = LookForChanges(brain_.MakeView(), machine);
  if (found.refusal) return Refused(*found.refusal);
  *response->mutable_findings() = {found.findings.begin(), found.findings.end()};
  return absl::OkStatus();
}

absl::Status Operations::GetHealth(const admin::v1::GetHealthRequest&,
                                   admin::v1::Health* response) const {
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
  if (backups_ != nullptr && !backups_->last().ok()) {
    add("configuration server", std::vector{MakeIssue(types::v1::WARNING, ProblemId::kBackupFailed,
                                                      std::string(backups_->last().message()))});
  }
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
}

absl::Status Operations::ListEvents(const admin::v1::ListEventsRequest& request,
                                    admin::v1::ListEventsResponse* response) const {
  std::string machine_id;
  if (!request.machine().empty()) {
    HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request.machine()));
    machine_id = machine.machine_id();
  }
  const uint32_t count_max = request.count_max() == 0 ? kEventsDefault : request.count_max();
  std::vector<storage::v1::Event> events;
  const size_t read_max = machine_id.empty() ? count_max : SIZE_MAX;
  for (storage::v1::Event& event :
       brain_.store().All<storage::v1::Event>(read_max, /*newest=*/true)) {
    if (events.size() == count_max) break;
    if (machine_id.empty() || event.machine_id() == machine_id) events.push_back(std::move(event));
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
}

absl::Status Operations::GetVersion(const admin::v1::GetVersionRequest&,
                                    admin::v1::Version* response) const {
  response->set_version(kVersion);
  response->set_config_server_id(
      brain_.store().Get<storage::v1::Meta>(Store::kOnly)->config_server_id());
  return absl::OkStatus();
}

absl::Status Operations::ShowPassphrase(const admin::v1::ShowPassphraseRequest&,
                                        admin::v1::Enrolment* response) const {
  const EnrolmentFile enrolment = registrar_.enrolment();
  response->set_passphrase(enrolment.passphrase);
  response->set_ca(enrolment.ca);
  return absl::OkStatus();
}

void Operations::Changed() {
  absl::MutexLock lock(&mutex_);
  ++changes_;
}

void Operations::Stop() {
  absl::MutexLock lock(&mutex_);
  stopping_ = true;
}

absl::Status Operations::WatchJob(const Caller& caller, const admin::v1::GetJobRequest& request,
                                  const std::function<bool(const admin::v1::Job&)>& show,
                                  const std::function<bool()>& gone) {
  std::string last;
  while (!gone()) {
    uint64_t seen = 0;
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return absl::UnavailableError("the configuration server stops");
      seen = changes_;
    }
    admin::v1::Job job;
    HW_RETURN_IF_ERROR(Do(caller, &Operations::GetJob, request, &job));
    const std::string now = job.SerializeAsString();
    if (now != last && !show(job)) return absl::OkStatus();
    last = now;
    if (job.state() != "Running") return absl::OkStatus();
    const auto changed = [this, seen]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return stopping_ || changes_ != seen;
    };
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&changed), absl::Seconds(1));
  }
  return absl::CancelledError("nobody watches any more");
}

}  // namespace homeward
