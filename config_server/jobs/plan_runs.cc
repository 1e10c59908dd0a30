// What of JobRunner is about runs of recovery plans. What is decided is committed before it is
// begun, so a server that dies goes on at the step where it was.
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/check.h"
#include "common/base/name.h"
#include "common/rpc/problem_status.h"
#include "common/wire/time_proto.h"
#include "config_server/jobs/job_runner.h"
#include "config_server/model/operation.h"
#include "config_server/model/plans.h"
#include "config_server/model/rules.h"

namespace homeward {
namespace {

using storage::v1::Job;
using storage::v1::PlanStep;

constexpr int kPlanChildrenAtOnce = 16;

// The step that is next or under way. The number of all: none is.
int CurrentStep(const Job& job) {
  int i = 0;
  while (i < job.tasks_size() && (job.tasks(i).state() == storage::v1::SUCCEEDED ||
                                  job.tasks(i).state() == storage::v1::FAILED))
    ++i;
  return i;
}

std::string ScriptKey(const Job& job, int index) {
  return absl::StrCat(job.id(), "-", index, "-", job.plan_run().steps(index).attempt());
}

// What a script printed can be any bytes, and a record's text is UTF-8.
std::string Printable(std::string output) {
  // Its end can begin within a character.
  while (!output.empty() && (static_cast<unsigned char>(output.front()) & 0xC0) == 0x80)
    output.erase(0, 1);
  const bool is_text = IsUtf8(output);
  for (char& c : output) {
    const unsigned char byte = static_cast<unsigned char>(c);
    const bool control = byte < 0x20 || byte == 0x7F;
    if ((control && c != '\n' && c != '\t') || (byte >= 0x80 && !is_text)) c = '?';
  }
  return output;
}

}  // namespace

Job JobRunner::StartPlan(Job job) {
  Store::Transaction transaction;
  job = NewJob(std::move(job), &transaction);
  transaction.Put(job.id(), job);
  records_.Commit(transaction);
  records_.AddEvent("job.started", "", job.id(),
                    absl::StrCat(OperationName(job), " of ", job.plan_run().plan().name()));
  return job;
}

absl::Status JobRunner::AnswerPlan(Job job, storage::v1::PlanAnswer answer) {
  const int index = CurrentStep(job);
  const auto refused = [&](const std::string& why) {
    return Refused(MakeProblem(ProblemId::kPlanNotWaiting, absl::StrCat("job ", job.id(), why)));
  };
  if (answer == storage::v1::PLAN_STOP) {
    job.mutable_plan_run()->set_stopping(true);
    CommitPlan(std::move(job));
    return absl::OkStatus();
  }
  if (index == job.tasks_size() || !job.plan_run().steps(index).waits())
    return refused(" waits for no operator");
  PlanStep& step = *job.mutable_plan_run()->mutable_steps(index);
  storage::v1::Task& task = *job.mutable_tasks(index);
  const bool by_hand = step.has_action() && !step.action().has_script();
  switch (answer) {
    case storage::v1::PLAN_CONTINUE:
      task.set_state(by_hand ? storage::v1::SUCCEEDED : storage::v1::FAILED);
      *task.mutable_ended() = ToProto(clock_.Now());
      break;
    case storage::v1::PLAN_RETRY: {
      if (by_hand) return refused(" waits for what is done by hand, which it cannot try again");
      std::vector<std::string> good;
      for (const std::string& id : step.children()) {
        if (records_.store().Get<Job>(id)->state() == storage::v1::SUCCEEDED) good.push_back(id);
      }
      *step.mutable_children() = {good.begin(), good.end()};
      step.clear_problem();
      task.set_state(storage::v1::PENDING);
      break;
    }
    default:
      return absl::InvalidArgumentError("answer with continue, retry or stop");
  }
  step.set_waits(false);
  Store::Transaction transaction;
  transaction.Put(job.id(), job);
  records_.Commit(transaction);
  return absl::OkStatus();
}

void JobRunner::CommitPlan(Job job) {
  Store::Transaction transaction;
  transaction.Put(job.id(), job);
  if (job.state() != storage::v1::RUNNING) PutEndEvent(job, 0, &transaction);
  records_.Commit(transaction);
}

void JobRunner::FailPlanStep(types::v1::Problem problem, int index, Job* job) {
  PlanStep& step = *job->mutable_plan_run()->mutable_steps(index);
  *step.mutable_problem() = std::move(problem);
  if (job->plan_run().plan().stops_at_failure()) {
    job->mutable_plan_run()->set_stopping(true);
  } else {
    step.set_waits(true);
  }
}

// Its children are cancelled where they can be, and it ends when they have ended.
bool JobRunner::StopPlan(Job job) {
  int running = 0;
  for (const std::string& id : job.children()) {
    if (!records_.running_jobs().contains(id)) continue;
    ++running;
    const std::optional<Job> child = records_.store().Get<Job>(id);
    HW_CHECK(child.has_value());
    if (!child->cancel_requested()) (void)Cancel(*child);
  }
  if (running > 0) {
    progress_[job.id()] = StepResult::Wait(absl::StrCat(running, " machines"));
    return false;
  }
  const int index = CurrentStep(job);
  std::string key;
  if (index < job.tasks_size()) {
    PlanStep& step = *job.mutable_plan_run()->mutable_steps(index);
    storage::v1::Task& task = *job.mutable_tasks(index);
    key = ScriptKey(job, index);
    step.set_waits(false);
    task.set_state(step.has_problem() ? storage::v1::FAILED : storage::v1::CANCELLED);
    *task.mutable_ended() = ToProto(clock_.Now());
    if (step.has_problem()) *job.mutable_problem() = step.problem();
  }
  if (!job.has_problem())
    *job.mutable_problem() = MakeProblem(ProblemId::kJobCancelled, "an operator stopped it");
  End(IsProblem(job.problem(), ProblemId::kJobCancelled) ? storage::v1::CANCELLED
                                                         : storage::v1::FAILED,
      &job);
  if (!key.empty() && surroundings_.scripts != nullptr) surroundings_.scripts->Forget(key);
  CommitPlan(std::move(job));
  return false;
}

bool JobRunner::StepPlan(Job job) {
  if (job.cancel_requested() || job.plan_run().stopping()) return StopPlan(std::move(job));
  const int index = CurrentStep(job);
  if (index == job.tasks_size()) {
    EndPlan(std::move(job));
    return false;
  }
  PlanStep& step = *job.mutable_plan_run()->mutable_steps(index);
  storage::v1::Task& task = *job.mutable_tasks(index);
  if (step.waits()) {
    progress_[job.id()] = StepResult::Wait("an operator: homeward plan continue, retry or stop");
    return false;
  }
  if (task.state() == storage::v1::PENDING) {
    task.set_state(storage::v1::RUNNING);
    if (!task.has_started()) *task.mutable_started() = ToProto(clock_.Now());
    const bool by_hand = step.has_action() && !step.action().has_script();
    step.set_waits(by_hand);
    if (!step.has_action()) step.set_attempt(step.attempt() + 1);
    CommitPlan(std::move(job));
    return true;
  }
  if (step.has_action()) return StepScript(std::move(job), index);
  return StepMachines(std::move(job), index);
}

bool JobRunner::StepScript(Job job, int index) {
  PlanStep& step = *job.mutable_plan_run()->mutable_steps(index);
  ScriptRunner* const scripts = surroundings_.scripts;
  if (scripts == nullptr) {
    FailPlanStep(MakeProblem(ProblemId::kPlanScriptFailed, "this server runs no scripts"), index,
                 &job);
    CommitPlan(std::move(job));
    return true;
  }
  if (!scripts->Knows(ScriptKey(job, index)) || step.attempt() == 0) {
    // Before it is begun: each attempt has a number of its own, also of a server that died.
    step.set_attempt(step.attempt() + 1);
    step.clear_output();
    const storage::v1::PlanScript& script = step.action().script();
    ScriptRun run{script.name(),
                  {script.arguments().begin(), script.arguments().end()},
                  PlanEnvironment(job, index),
                  FromProto(script.timeout()),
                  kPlanOutputBytesMax};
    const std::string key = ScriptKey(job, index);
    CommitPlan(std::move(job));
    scripts->Begin(key, run);
    return true;
  }
  const std::optional<ScriptEnd> end = scripts->EndOf(ScriptKey(job, index));
  if (!end.has_value()) {
    progress_[job.id()] = StepResult::Wait("the script's end");
    return false;
  }
  const std::string key = ScriptKey(job, index);
  step.set_output(Printable(end->output));
  storage::v1::Task& task = *job.mutable_tasks(index);
  if (end->status.ok()) {
    task.set_state(storage::v1::SUCCEEDED);
    *task.mutable_ended() = ToProto(clock_.Now());
  } else {
    FailPlanStep(
        MakeProblem(ProblemId::kPlanScriptFailed,
                    absl::StrCat(task.name(), ": ", Printable(std::string(end->status.message())))),
        index, &job);
  }
  CommitPlan(std::move(job));
  scripts->Forget(key);
  return true;
}

std::vector<std::string> JobRunner::PlanEnvironment(const Job& job, int index) const {
  const storage::v1::PlanRun& run = job.plan_run();
  const PlanStep& step = run.steps(index);
  std::vector<std::string> names;
  const View view = surroundings_.view();
  std::string operation;
  for (const std::string& id : run.plan().groups(static_cast<int>(step.group())).machines()) {
    names.push_back(view.MachineName(id));
    const storage::v1::Machine* const machine = records_.FindMachine(id);
    if (machine != nullptr && operation.empty())
      operation = OperationName(MachineOperationOf(job.operation()), *machine);
  }
  return {absl::StrCat("HOMEWARD_PLAN=", run.plan().name()),
          absl::StrCat("HOMEWARD_PLAN_RUN=", job.id()),
          absl::StrCat("HOMEWARD_PLAN_OPERATION=", operation),
          absl::StrCat("HOMEWARD_PLAN_GROUP=", step.group() + 1),
          absl::StrCat("HOMEWARD_PLAN_MACHINES=", absl::StrJoin(names, " ")),
          absl::StrCat("HOMEWARD_PLAN_STEP=", index + 1),
          absl::StrCat("HOMEWARD_ATTEMPT=", step.attempt()),
          "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
}

bool JobRunner::StepMachines(Job job, int index) {
  PlanStep& step = *job.mutable_plan_run()->mutable_steps(index);
  std::set<std::string> begun;
  std::vector<std::string> failed;
  int running = 0;
  for (const std::string& id : step.children()) {
    const std::optional<Job> child = records_.store().Get<Job>(id);
    HW_CHECK(child.has_value());
    begun.insert(child->subject());
    if (child->state() == storage::v1::RUNNING) {
      ++running;
    } else if (child->state() != storage::v1::SUCCEEDED) {
      failed.push_back(absl::StrCat(surroundings_.view().MachineName(child->subject()), ", job ",
                                    id, ": ", child->problem().id(), ": ",
                                    child->problem().message()));
    }
  }
  for (const std::string& machine :
       job.plan_run().plan().groups(static_cast<int>(step.group())).machines()) {
    if (begun.contains(machine) || running >= kPlanChildrenAtOnce) continue;
    BeginPlanChild(std::move(job), index, machine);
    return true;
  }
  if (running > 0) {
    progress_[job.id()] = StepResult::Wait(absl::StrCat(running, " machines"));
    return false;
  }
  if (failed.empty() && job.operation() == storage::v1::PLAN_FAILBACK) {
    // The next group begins when these have come up.
    const View view = surroundings_.view();
    for (const std::string& machine_id : begun) {
      const storage::v1::Machine* const machine = records_.FindMachine(machine_id);
      if (machine == nullptr) continue;
      const Refusal silent = CheckAgent(view, *machine);
      if (!silent) continue;
      if (silent->has_retry_at() ||
          clock_.Now() < FromProto(machine->handed_back_at()) + view.settings.registration_window) {
        progress_[job.id()] =
            StepResult::Wait(absl::StrCat("the agent of ", NameOf(*machine), " to register"));
        return false;
      }
      failed.push_back(absl::StrCat(silent->id(), ": ", silent->message()));
    }
  }
  if (failed.empty()) {
    job.mutable_tasks(index)->set_state(storage::v1::SUCCEEDED);
    *job.mutable_tasks(index)->mutable_ended() = ToProto(clock_.Now());
  } else {
    FailPlanStep(MakeProblem(ProblemId::kPlanStepFailed, absl::StrJoin(failed, "; ")), index, &job);
  }
  CommitPlan(std::move(job));
  return true;
}

void JobRunner::BeginPlanChild(Job job, int index, const std::string& machine_id) {
  storage::v1::PlanRun& run = *job.mutable_plan_run();
  Job wanted;
  wanted.set_operation(MachineOperationOf(job.operation()));
  wanted.set_parent(job.id());
  wanted.set_subject(machine_id);
  if (const auto point = run.points().find(machine_id); point != run.points().end())
    wanted.set_point(point->second);
  if (const auto where = run.wanted().find(machine_id); where != run.wanted().end())
    *wanted.mutable_wanted() = where->second;
  Store::Transaction transaction;
  const Job child = BeginChild(std::move(wanted), &transaction);
  job.add_children(child.id());
  run.mutable_steps(index)->add_children(child.id());
  transaction.Put(job.id(), job);
  records_.Commit(transaction);
  TellOfChild(child);
}

void JobRunner::EndPlan(Job job) {
  int failed = 0;
  types::v1::Problem first;
  for (int i = 0; i < job.tasks_size(); ++i) {
    if (job.tasks(i).state() == storage::v1::FAILED && ++failed == 1)
      first = job.plan_run().steps(i).problem();
  }
  if (failed > 0) {
    first.set_message(absl::StrCat(failed, " of ", job.tasks_size(),
                                   " steps failed and an operator had it go on; ",
                                   first.message()));
    *job.mutable_problem() = std::move(first);
  }
  End(failed == 0 ? storage::v1::SUCCEEDED : storage::v1::FAILED, &job);
  CommitPlan(std::move(job));
}

}  // namespace homeward
