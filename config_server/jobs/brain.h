// Brain: owns the records and moves them: registrations, jobs, what is desired of each part. Knows
// no gRPC; runs under simulation as it is.
#ifndef HOMEWARD_CONFIG_SERVER_JOBS_BRAIN_H_
#define HOMEWARD_CONFIG_SERVER_JOBS_BRAIN_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config_server/fleet/fleet.h"
#include "config_server/model/rules.h"
#include "config_server/store/store.h"
#include "config_server/workflows/workflow.h"

namespace homeward {

// UNAVAILABLE when trying again may help, FAILED_PRECONDITION otherwise; the problem goes along.
absl::Status Refused(const types::v1::Problem& problem);

// Must run on one strand.
class Brain {
 public:
  // A store that cannot be written to ends the process: what was decided must not be forgotten.
  // `hypervisor` outlives it; null where there is none.
  Brain(const Clock& clock, Settings settings, std::unique_ptr<Store> store,
        Hypervisor* hypervisor = nullptr);

  Store& store() { return *store_; }
  Fleet& fleet() { return fleet_; }
  const Settings& settings() const { return settings_; }
  View MakeView() const;

  // A part opened a session. FAILED_PRECONDITION with a problem: this copy of the machine is over,
  // or another copy is the machine. UNAVAILABLE: that is not known yet, come again.
  absl::StatusOr<uint64_t> Register(const control::v1::Registration& registration,
                                    Fleet::Session session);

  // A copy that is refused is the machine from now on. `wish`: its hardware UUID or boot id; empty
  // where there is only one. NOT_FOUND or FAILED_PRECONDITION with a problem.
  absl::StatusOr<storage::v1::Machine> AcceptCopy(const std::string& id_or_name,
                                                  const std::string& wish);

  // Which VM a master target is, as an operator says by reference or path; kept when it registers
  // again. Empty: nobody says. NOT_FOUND, INVALID_ARGUMENT or FAILED_PRECONDITION with a problem.
  absl::StatusOr<storage::v1::Server> IdentifyServer(const std::string& id_or_name,
                                                     const std::string& vm);

  // Moves every job as far as it goes, and tells each part what is desired. Call after every change
  // and often (every 200 ms).
  void Step();

  // NOT_FOUND or INVALID_ARGUMENT with a problem.
  absl::StatusOr<storage::v1::Machine> FindMachine(const std::string& id_or_name) const;

  // Starts a job. `job` names workflow and machine, and has what the workflow wants.
  // `chosen_vm`: which VM the machine is, as an operator says (ChoiceOf); recorded with the job.
  // Empty: as it is recorded.
  absl::StatusOr<storage::v1::Job> StartJob(storage::v1::Job job,
                                            const std::string& chosen_vm = "");
  absl::StatusOr<storage::v1::Job> CancelJob(const std::string& job_id);
  absl::StatusOr<storage::v1::Job> FindJob(const std::string& job_id) const;
  // What the running task of a job said last.
  const StepResult* ProgressOf(const std::string& job_id) const;

  void AddEvent(const std::string& name, const std::string& machine_id, const std::string& job_id,
                const std::string& text);

 private:
  // Whether `copy` may have the machine's session; then the record says so, and is to be stored.
  absl::Status Admit(const control::v1::Registration& registration,
                     const storage::v1::Incarnation& copy, storage::v1::Machine* machine);
  void StepJob(storage::v1::Job job);
  // The job waits for the same thing for longer than it may.
  bool WaitedTooLong(const storage::v1::Job& job, const StepResult& result);
  void RunTask(const Workflow& workflow, storage::v1::Machine* machine, storage::v1::Job* job);
  void Undo(const Workflow& workflow, storage::v1::Machine* machine, storage::v1::Job* job);
  void EndJob(storage::v1::TaskState state, storage::v1::Machine* machine, storage::v1::Job* job);
  Location& LocationOf(const storage::v1::Machine& machine, const storage::v1::Job& job);
  void TellAll();
  control::v1::AgentDesired AgentDesiredOf(const View& view,
                                           const storage::v1::Machine& machine) const;
  // `forgotten_generation`: of a machine that is forgotten with this event.
  void PutEvent(Store::Transaction* transaction, storage::v1::Event event,
                uint64_t forgotten_generation = 0);
  void Commit(const Store::Transaction& transaction);

  const Clock& clock_;
  const Settings settings_;
  const std::unique_ptr<Store> store_;
  Fleet fleet_;
  Hypervisor* const hypervisor_;
  DatastoreDirectory datastore_directory_;
  OriginalVm original_vm_;
  AlternateVm alternate_vm_;
  std::map<std::string, StepResult> progress_;  // by running job
  // For what a job waits, and since when. A server that starts again counts anew.
  struct Waiting {
    std::string detail;
    uint64_t done_bytes = 0;
    absl::Duration since;
  };
  std::map<std::string, Waiting> waits_;  // by running job
  bool stepping_ = false;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_JOBS_BRAIN_H_
