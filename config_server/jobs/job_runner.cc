#include "config_server/jobs/job_runner.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/check.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "config_server/model/location_rules.h"
#include "config_server/model/rules.h"
#include "config_server/model/source.h"

namespace homeward {
namespace {

using storage::v1::Job;
using storage::v1::Machine;

// Of a job with children: more at once would only wait for the same disks and links.
constexpr int kChildrenAtOnce = 16;

bool HasEnded(const Job& job) { return job.state() != storage::v1::RUNNING; }

}  // namespace

Job JobRunner::NewJob(Job job, Store::Transaction* transaction) {
  std::optional<storage::v1::Meta> meta = records_.store().Get<storage::v1::Meta>(Store::kOnly);
  HW_CHECK(meta.has_value());
  job.set_id(absl::StrFormat("%08d", meta->next_job()));
  meta->set_next_job(meta->next_job() + 1);
  transaction->Put(Store::kOnly, *meta);
  job.set_state(storage::v1::RUNNING);
  *job.mutable_created() = ToProto(clock_.Now());
  return job;
}

absl::StatusOr<Job> JobRunner::Prepare(Job job, const std::string& chosen_vm,
                                       Store::Transaction* transaction) {
  const Machine* const known = records_.FindMachine(job.subject());
  if (known == nullptr) {
    return Refused(MakeProblem(ProblemId::kNotInDatabase,
                               absl::StrCat("there is no machine ", job.subject())));
  }
  Machine machine = *known;
  if (Refusal refusal = CheckOperation(surroundings_.view(), machine, job.operation()))
    return Refused(*refusal);
  const Workflow& workflow = WorkflowOf(job.operation());
  job = NewJob(std::move(job), transaction);
  job.set_state_before(machine.state());
  job.set_source(SourceOf(machine));
  job.set_location(machine.assignment().placement().location());
  job.set_point_before(machine.assignment().state().point_id());
  for (const TaskSpec& task : workflow.tasks) {
    storage::v1::Task* const out = job.add_tasks();
    out->set_name(task.name);
    out->set_state(storage::v1::PENDING);
  }
  if (job.has_wanted())
    job.mutable_wanted()->set_replica_id(absl::StrCat(machine.machine_id(), "-", job.id()));
  if (workflow.running != storage::v1::PROTECTION_STATE_UNSPECIFIED)
    machine.set_state(workflow.running);
  machine.set_job_id(job.id());
  if (!chosen_vm.empty()) machine.set_chosen_vm(chosen_vm);
  if (!job.policy_name().empty()) machine.set_policy_name(job.policy_name());
  transaction->Put(job.id(), job);
  transaction->Put(machine.machine_id(), machine);
  return job;
}

absl::StatusOr<Job> JobRunner::Start(Job wanted, const std::string& chosen_vm) {
  Store::Transaction transaction;
  HW_ASSIGN_OR_RETURN(Job job, Prepare(std::move(wanted), chosen_vm, &transaction));
  records_.Commit(transaction);
  records_.AddEvent("job.started", job.subject(), job.id(), OperationName(job));
  return job;
}

Job JobRunner::StartForEach(Job each, const std::vector<std::string>& machine_ids) {
  Store::Transaction transaction;
  Job job = NewJob(std::move(each), &transaction);
  job.clear_subject();
  for (const std::string& machine_id : machine_ids) job.add_waiting(machine_id);
  storage::v1::Task& task = *job.add_tasks();
  task.set_name(absl::StrCat(OperationName(job), " of ", machine_ids.size(), " machines"));
  task.set_state(storage::v1::RUNNING);
  *task.mutable_started() = job.created();
  transaction.Put(job.id(), job);
  records_.Commit(transaction);
  records_.AddEvent("job.started", "", job.id(), OperationName(job));
  return job;
}

absl::Status JobRunner::Cancel(Job job) {
  bool cancellable = !HasEnded(job);
  if (!job.subject().empty()) {
    const Workflow& workflow = WorkflowOf(job.operation());
    for (int i = 0; cancellable && i < job.tasks_size(); ++i) {
      if (job.tasks(i).state() == storage::v1::SUCCEEDED) continue;
      cancellable = workflow.tasks[static_cast<size_t>(i)].cancellable;
      break;
    }
  }
  if (!cancellable) {
    return Refused(MakeProblem(ProblemId::kJobNotCancellable,
                               absl::StrCat("job ", job.id(), " cannot be cancelled now")));
  }
  job.set_cancel_requested(true);
  job.clear_waiting();
  Store::Transaction transaction;
  transaction.Put(job.id(), job);
  records_.Commit(transaction);
  return absl::OkStatus();
}

const StepResult* JobRunner::ProgressOf(const std::string& job_id) const {
  const auto it = progress_.find(job_id);
  return it == progress_.end() ? nullptr : &it->second;
}

void JobRunner::End(storage::v1::TaskState state, Job* job) {
  job->set_state(state);
  *job->mutable_ended() = ToProto(clock_.Now());
  progress_.erase(job->id());
  waits_.erase(job->id());
}

bool JobRunner::WaitedTooLong(const Job& job, const StepResult& result) {
  const absl::Duration now = clock_.Monotonic();
  const auto [it, is_new] = waits_.try_emplace(job.id());
  Waiting& waiting = it->second;
  if (is_new || waiting.detail != result.detail || waiting.done_bytes != result.done_bytes)
    waiting = {result.detail, result.done_bytes, now};
  return now - waiting.since > result.limit;
}

Location& JobRunner::LocationOf(const Workflow& workflow, const Machine& machine) const {
  if (workflow.on_test) return surroundings_.location(machine.test().location());
  const bool another = workflow.on_vm && !RulesOf(machine).has_vm();
  return surroundings_.location(another ? storage::v1::ORIGINAL_VM
                                        : machine.assignment().placement().location());
}

void JobRunner::RunTask(const Workflow& workflow, Machine* machine, Job* job) {
  const View view = surroundings_.view();
  TaskContext context{view, LocationOf(workflow, *machine), surroundings_.source(job->source()),
                      machine, job};
  for (int i = 0; i < job->tasks_size(); ++i) {
    storage::v1::Task& task = *job->mutable_tasks(i);
    if (task.state() == storage::v1::SUCCEEDED) continue;
    if (task.state() == storage::v1::PENDING) {
      task.set_state(storage::v1::RUNNING);
      *task.mutable_started() = ToProto(clock_.Now());
    }
    StepResult result = workflow.tasks[static_cast<size_t>(i)].run(context);
    if (result.state == StepResult::State::kWaiting && !WaitedTooLong(*job, result)) {
      progress_[job->id()] = std::move(result);
      return;
    }
    if (result.state == StepResult::State::kWaiting) {
      result = StepResult::Fail(result.problem.value_or(
          MakeProblem(ProblemId::kWaitedTooLong,
                      absl::StrCat("\"", task.name(), "\" waited for ", result.detail, ", ",
                                   absl::FormatDuration(result.limit), " without any progress"))));
    }
    *task.mutable_ended() = ToProto(clock_.Now());
    if (result.state == StepResult::State::kFailed) {
      task.set_state(storage::v1::FAILED);
      *job->mutable_problem() = *result.problem;
      return;
    }
    task.set_state(storage::v1::SUCCEEDED);
    // What was decided is stored before the next task looks at what came of it.
    if (i + 1 < job->tasks_size()) return;
  }
  if (workflow.succeeded != storage::v1::PROTECTION_STATE_UNSPECIFIED)
    machine->set_state(workflow.succeeded);
  machine->clear_job_id();
  End(storage::v1::SUCCEEDED, job);
}

void JobRunner::Undo(const Workflow& workflow, Machine* machine, Job* job) {
  if (!job->has_problem()) {
    *job->mutable_problem() = MakeProblem(ProblemId::kJobCancelled, "an operator cancelled it");
  }
  if (workflow.undo != nullptr) {
    const View view = surroundings_.view();
    TaskContext context{view, LocationOf(workflow, *machine), surroundings_.source(job->source()),
                        machine, job};
    StepResult result = workflow.undo(context);
    if (result.state == StepResult::State::kWaiting) {
      progress_[job->id()] = std::move(result);
      return;
    }
  }
  bool failed = false;
  for (storage::v1::Task& task : *job->mutable_tasks()) {
    failed = failed || task.state() == storage::v1::FAILED;
    if (task.state() == storage::v1::RUNNING) task.set_state(storage::v1::CANCELLED);
  }
  machine->set_state(job->state_before());
  machine->clear_job_id();
  End(failed ? storage::v1::FAILED : storage::v1::CANCELLED, job);
}

void JobRunner::PutEndEvent(const Job& job, uint64_t forgotten_generation,
                            Store::Transaction* transaction) {
  storage::v1::Event event;
  event.set_name(job.state() == storage::v1::SUCCEEDED ? "job.succeeded" : "job.failed");
  event.set_machine_id(job.subject());
  event.set_job_id(job.id());
  const std::string name = OperationName(job);
  event.set_text(job.has_problem()
                     ? absl::StrCat(name, ": ", job.problem().id(), ": ", job.problem().message())
                     : name);
  records_.PutEvent(transaction, std::move(event), forgotten_generation);
}

void JobRunner::StepJob(Job job) {
  const Workflow& workflow = WorkflowOf(job.operation());
  const Machine* const known = records_.FindMachine(job.subject());
  HW_CHECK(known != nullptr);
  Machine machine = *known;
  while (!HasEnded(job)) {
    const std::string job_before = job.SerializeAsString();
    const std::string machine_before = machine.SerializeAsString();
    if (job.cancel_requested() || job.has_problem()) {
      Undo(workflow, &machine, &job);
    } else {
      RunTask(workflow, &machine, &job);
    }
    const bool machine_changed = machine.SerializeAsString() != machine_before;
    if (job.SerializeAsString() == job_before && !machine_changed) return;
    Store::Transaction transaction;
    transaction.Put(job.id(), job);
    const bool forgotten = job.state() == storage::v1::SUCCEEDED && workflow.forgets_unprotected &&
                           job.state_before() == storage::v1::UNPROTECTED &&
                           !surroundings_.connected(machine.machine_id());
    if (forgotten) {
      transaction.Remove<Machine>(machine.machine_id());
    } else if (machine_changed) {
      transaction.Put(machine.machine_id(), machine);
    }
    if (HasEnded(job)) PutEndEvent(job, forgotten ? machine.generation() : 0, &transaction);
    records_.Commit(transaction);
  }
}

void JobRunner::StartNextChild(Job parent) {
  Job wanted = parent;
  wanted.clear_tasks();
  wanted.clear_waiting();
  wanted.clear_children();
  wanted.set_parent(parent.id());
  wanted.set_subject(parent.waiting(0));
  parent.mutable_waiting()->erase(parent.waiting().begin());
  // With the parent: a server that dies begins no child twice, and forgets none.
  Store::Transaction transaction;
  const Job child = BeginChild(std::move(wanted), &transaction);
  parent.add_children(child.id());
  transaction.Put(parent.id(), parent);
  records_.Commit(transaction);
  TellOfChild(child);
}

Job JobRunner::BeginChild(Job wanted, Store::Transaction* transaction) {
  absl::StatusOr<Job> child = Prepare(wanted, "", transaction);
  if (child.ok()) return *std::move(child);
  const std::optional<types::v1::Problem> refusal = ProblemOf(child.status());
  HW_CHECK(refusal.has_value());
  Job refused = NewJob(std::move(wanted), transaction);
  *refused.mutable_problem() = *refusal;
  End(storage::v1::FAILED, &refused);
  transaction->Put(refused.id(), refused);
  return refused;
}

void JobRunner::TellOfChild(const Job& child) {
  records_.AddEvent(HasEnded(child) ? "job.failed" : "job.started", child.subject(), child.id(),
                    child.has_problem() ? child.problem().message() : OperationName(child));
}

bool JobRunner::StepParent(Job job) {
  int running = 0;
  for (const std::string& id : job.children()) {
    if (!records_.running_jobs().contains(id)) continue;
    ++running;
    // Here, not where it was asked for: a server that dies in between cancels them too. One that is
    // past the point of no return goes on, and the parent ends with it.
    const std::optional<Job> child = records_.store().Get<Job>(id);
    HW_CHECK(child.has_value());
    if (job.cancel_requested() && !child->cancel_requested()) (void)Cancel(*child);
  }
  if (!job.waiting().empty() && running < kChildrenAtOnce) {
    StartNextChild(std::move(job));
    return true;
  }
  const int left = running + job.waiting_size();
  progress_[job.id()] = StepResult::Wait(absl::StrCat(left, " machines"));
  if (left == 0) EndParent(std::move(job));
  return false;
}

void JobRunner::EndParent(Job job) {
  int failed = 0;
  types::v1::Problem problem;
  for (const std::string& id : job.children()) {
    const std::optional<Job> child = records_.store().Get<Job>(id);
    HW_CHECK(child.has_value());
    if (child->state() == storage::v1::SUCCEEDED || ++failed > 1) continue;
    problem = child->problem();
    problem.set_message(absl::StrCat("job ", id, ": ", problem.message()));
  }
  storage::v1::Task& task = *job.mutable_tasks(0);
  *task.mutable_ended() = ToProto(clock_.Now());
  task.set_state(failed == 0 ? storage::v1::SUCCEEDED : storage::v1::FAILED);
  if (job.cancel_requested()) {
    task.set_state(storage::v1::CANCELLED);
    *job.mutable_problem() = MakeProblem(ProblemId::kJobCancelled, "an operator cancelled it");
  } else if (failed > 0) {
    problem.set_message(
        absl::StrCat(failed, " of ", job.children_size(), " machines; ", problem.message()));
    *job.mutable_problem() = std::move(problem);
  }
  End(task.state(), &job);
  Store::Transaction transaction;
  transaction.Put(job.id(), job);
  PutEndEvent(job, 0, &transaction);
  records_.Commit(transaction);
}

void JobRunner::Step() {
  // By id, oldest first. One that is begun meanwhile has its turn at the next step.
  const std::set<std::string> running = records_.running_jobs();
  for (const std::string& id : running) {
    const std::optional<Job> job = records_.store().Get<Job>(id);
    HW_CHECK(job.has_value());
    if (HasEnded(*job)) continue;
    if (!job->subject().empty()) {
      StepJob(*job);
    } else if (job->has_plan_run()) {
      while (StepPlan(*records_.store().Get<Job>(id))) {
      }
    } else {
      while (StepParent(*records_.store().Get<Job>(id))) {
      }
    }
  }
}

}  // namespace homeward
