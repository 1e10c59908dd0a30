// JobRunner: starts jobs and moves those that run as far as they go. A job is stored with all that
// it changes of its machine, so each step may be the first after a crash.
#ifndef HOMEWARD_CONFIG_SERVER_JOBS_JOB_RUNNER_H_
#define HOMEWARD_CONFIG_SERVER_JOBS_JOB_RUNNER_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config_server/jobs/script_runner.h"
#include "config_server/model/view.h"
#include "config_server/store/records.h"
#include "config_server/workflows/workflow.h"

namespace homeward {

// Must run on one strand. Knows neither how a View is made nor where machines can be: both are
// given to it.
class JobRunner {
 public:
  struct Surroundings {
    std::function<View()> view;
    std::function<Location&(storage::v1::Location)> location;
    std::function<Source&(storage::v1::Source)> source;
    // The machine has a session: it must not be forgotten.
    std::function<bool(const std::string& machine_id)> connected;
    // Null: no plan runs a script.
    ScriptRunner* scripts = nullptr;
  };
  // `clock` and `records` outlive it.
  JobRunner(const Clock& clock, Records* records, Surroundings surroundings)
      : clock_(clock), records_(*records), surroundings_(std::move(surroundings)) {}

  // Stores the job and moves nothing yet. `job` names the operation and, as `subject`, a machine
  // that there is; and has what the operation wants. `chosen_vm`: recorded with it, unless empty.
  // FAILED_PRECONDITION or UNAVAILABLE with a problem.
  absl::StatusOr<storage::v1::Job> Start(storage::v1::Job job, const std::string& chosen_vm);
  // A job that starts one like `each` for every machine, a few at a time. It ends when they have
  // ended, and succeeds when all did. One that may not start ends as failed.
  storage::v1::Job StartForEach(storage::v1::Job each, const std::vector<std::string>& machine_ids);
  // A run of a recovery plan, as Plans prepared it.
  storage::v1::Job StartPlan(storage::v1::Job job);
  // To the step that waits for an operator. FAILED_PRECONDITION with a problem: none waits for
  // that.
  absl::Status AnswerPlan(storage::v1::Job job, storage::v1::PlanAnswer answer);
  // Of a job with children, those that run are cancelled where they can be, and no other starts.
  absl::Status Cancel(storage::v1::Job job);

  // Moves every running job as far as it goes.
  void Step();
  // What the running task of a job said last. Null: nothing.
  const StepResult* ProgressOf(const std::string& job_id) const;

 private:
  void StepJob(storage::v1::Job job);
  // Of a job with children. True: it started another one, and is to be stepped again.
  bool StepParent(storage::v1::Job job);
  void StartNextChild(storage::v1::Job parent);
  void EndParent(storage::v1::Job job);
  // Adds a child to the transaction: as it begins, or as failed where it may not start.
  storage::v1::Job BeginChild(storage::v1::Job wanted, Store::Transaction* transaction);
  void TellOfChild(const storage::v1::Job& child);
  // Of a run of a plan. True: it went on, and is to be stepped again.
  bool StepPlan(storage::v1::Job job);
  bool StopPlan(storage::v1::Job job);
  bool StepScript(storage::v1::Job job, int index);
  bool StepMachines(storage::v1::Job job, int index);
  void BeginPlanChild(storage::v1::Job job, int index, const std::string& machine_id);
  void FailPlanStep(types::v1::Problem problem, int index, storage::v1::Job* job);
  std::vector<std::string> PlanEnvironment(const storage::v1::Job& job, int index) const;
  void EndPlan(storage::v1::Job job);
  void CommitPlan(storage::v1::Job job);
  // Where the workflow works on the machine.
  Location& LocationOf(const Workflow& workflow, const storage::v1::Machine& machine) const;
  // The job waits for the same thing for longer than it may.
  bool WaitedTooLong(const storage::v1::Job& job, const StepResult& result);
  void RunTask(const Workflow& workflow, storage::v1::Machine* machine, storage::v1::Job* job);
  void Undo(const Workflow& workflow, storage::v1::Machine* machine, storage::v1::Job* job);
  void End(storage::v1::TaskState state, storage::v1::Job* job);
  void PutEndEvent(const storage::v1::Job& job, uint64_t forgotten_generation,
                   Store::Transaction* transaction);
  // Adds the job and its machine, as they are when it has begun, to the transaction.
  absl::StatusOr<storage::v1::Job> Prepare(storage::v1::Job job, const std::string& chosen_vm,
                                           Store::Transaction* transaction);
  // A running job with a number of its own.
  storage::v1::Job NewJob(storage::v1::Job job, Store::Transaction* transaction);

  const Clock& clock_;
  Records& records_;
  const Surroundings surroundings_;
  std::map<std::string, StepResult> progress_;  // by running job
  // For what a job waits, and since when. A server that starts again counts anew.
  struct Waiting {
    std::string detail;
    uint64_t done_bytes = 0;
    absl::Duration since;
  };
  std::map<std::string, Waiting> waits_;  // by running job
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_JOBS_JOB_RUNNER_H_
