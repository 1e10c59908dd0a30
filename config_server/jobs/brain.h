// Brain: what the configuration server knows and decides, put together: records, registrations,
// jobs, what is desired of each component. Knows no gRPC; runs under simulation as it is.
#ifndef HOMEWARD_CONFIG_SERVER_JOBS_BRAIN_H_
#define HOMEWARD_CONFIG_SERVER_JOBS_BRAIN_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config_server/fleet/fleet.h"
#include "config_server/jobs/common_points.h"
#include "config_server/jobs/desired_state.h"
#include "config_server/jobs/groups.h"
#include "config_server/jobs/job_runner.h"
#include "config_server/jobs/plans.h"
#include "config_server/jobs/policies.h"
#include "config_server/jobs/registrations.h"
#include "config_server/jobs/script_runner.h"
#include "config_server/store/audit_log.h"
#include "config_server/store/records.h"
#include "config_server/store/store.h"
#include "config_server/workflows/locations.h"
#include "config_server/workflows/source.h"

namespace homeward {

// Must run on one strand.
class Brain {
 public:
  // `clock` outlives it, as do `hypervisor`, `cloud` and `scripts`; null where there is none.
  Brain(const Clock& clock, Settings settings, std::unique_ptr<Store> store,
        Hypervisor* hypervisor = nullptr, Cloud* cloud = nullptr, ScriptRunner* scripts = nullptr);

  Store& store() { return records_.store(); }
  const Records& records() const { return records_; }
  Fleet& fleet() { return fleet_; }
  Policies& policies() { return policies_; }
  const Policies& policies() const { return policies_; }
  Groups& groups() { return groups_; }
  const Groups& groups() const { return groups_; }
  AuditLog& audit() { return audit_; }
  const AuditLog& audit() const { return audit_; }
  Plans& plans() { return plans_; }
  const Plans& plans() const { return plans_; }
  const CommonPoints& common_points() const { return common_points_; }
  const Settings& settings() const { return settings_; }
  View MakeView() const;

  // As in Registrations.
  absl::StatusOr<uint64_t> Register(const control::v1::Registration& registration,
                                    Fleet::Session session) {
    return registrations_.Register(registration, std::move(session));
  }
  // As in Store. For registrations of many components that come in a moment.
  void Together(const std::function<void()>& commits) { records_.Together(commits); }
  // As in Registrations, and NOT_FOUND or INVALID_ARGUMENT where nothing, or more than one, is
  // called that.
  absl::StatusOr<storage::v1::Machine> AcceptCopy(const std::string& id_or_name,
                                                  const std::string& wish);
  absl::StatusOr<storage::v1::Server> IdentifyServer(const std::string& id_or_name,
                                                     const std::string& vm);

  // Moves every job as far as it goes, and tells each component what is desired. Call after every
  // change and often (every 200 ms). Costs what runs and what has changed, however many machines
  // there are.
  void Step();

  // NOT_FOUND or INVALID_ARGUMENT with a problem.
  absl::StatusOr<storage::v1::Machine> FindMachine(const std::string& id_or_name) const;

  // Starts a job. It names operation and subject, and has what the operation wants.
  // `chosen_vm`: which VM the machine is, as an operator says (ChoiceOf); recorded with the job.
  // Empty: as it is recorded.
  absl::StatusOr<storage::v1::Job> StartJob(storage::v1::Job job,
                                            const std::string& chosen_vm = "");
  // Starts one job that starts one like `each` for every machine (JobRunner::StartForEach).
  absl::StatusOr<storage::v1::Job> StartForEach(storage::v1::Job each,
                                                const std::vector<std::string>& machine_ids);
  // Begins a run of the plan, once nothing keeps it from that. NOT_FOUND; otherwise with a problem
  // that names all that does.
  absl::StatusOr<storage::v1::Job> RunPlan(const std::string& name, const Plans::Wish& wish);
  // Answers the step of its run that waits for an operator.
  absl::StatusOr<storage::v1::Job> AnswerPlan(const std::string& name,
                                              storage::v1::PlanAnswer answer);
  absl::StatusOr<storage::v1::Job> CancelJob(const std::string& job_id);
  // As CommonPoints::Begin().
  absl::StatusOr<std::string> BeginCommonPoint(const std::string& group, types::v1::PointKind kind);
  absl::StatusOr<storage::v1::Job> FindJob(const std::string& job_id) const;
  // What the running task of a job said last.
  const StepResult* ProgressOf(const std::string& job_id) const { return jobs_.ProgressOf(job_id); }

  void AddEvent(const std::string& name, const std::string& machine_id, const std::string& job_id,
                const std::string& text) {
    records_.AddEvent(name, machine_id, job_id, text);
  }

 private:
  const Clock& clock_;
  const Settings settings_;
  Hypervisor* const hypervisor_;
  Cloud* const cloud_;
  const Locations locations_;
  const Sources sources_;
  Fleet fleet_;
  Records records_;
  AuditLog audit_;
  Policies policies_;
  Groups groups_;
  Plans plans_;
  CommonPoints common_points_;
  Registrations registrations_;
  JobRunner jobs_;
  DesiredState desired_;
  // The machines of the changes that live in Azure are watched there from now on, the others not.
  void WatchHomes(const Records::Changes& changes);

  bool stepping_ = false;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_JOBS_BRAIN_H_
