#include "config_server/jobs/brain.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/check.h"
#include "common/fault/fault.h"
#include "common/log/log.h"
#include "common/replication/target.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "config_server/model/copies.h"
#include "config_server/model/target.h"
#include "config_server/model/vm_record.h"
#include "config_server/model/vm_search.h"

namespace homeward {
namespace {

using storage::v1::Job;
using storage::v1::Machine;

constexpr uint64_t kEventsMax = 10000;

std::string EventKey(uint64_t number) { return absl::StrFormat("%016d", number); }

}  // namespace

absl::Status Refused(const types::v1::Problem& problem) {
  return ToStatus(problem, problem.retryable() ? absl::StatusCode::kUnavailable
                                               : absl::StatusCode::kFailedPrecondition);
}

Brain::Brain(const Clock& clock, Settings settings, std::unique_ptr<Store> store,
             Hypervisor* hypervisor)
    : clock_(clock),
      settings_(settings),
      store_(std::move(store)),
      fleet_(clock, settings.heartbeat_timeout, settings.heartbeat_interval),
      hypervisor_(hypervisor),
      original_vm_(hypervisor),
      alternate_vm_(hypervisor) {}

View Brain::MakeView() const {
  return {fleet_,
          clock_,
          settings_,
          store_->All<storage::v1::Server>(),
          store_->All<Machine>(),
          hypervisor_ == nullptr ? std::map<std::string, VcenterState>() : hypervisor_->States()};
}

Location& Brain::LocationOf(const Machine& machine, const Job& job) {
  if (machine.assignment().location() == storage::v1::ORIGINAL_VM) return original_vm_;
  if (machine.assignment().location() == storage::v1::ALTERNATE_VM) return alternate_vm_;
  // Its VM, where it has one, is not the replica's.
  if (job.workflow() == "repair") return original_vm_;
  return datastore_directory_;
}

void Brain::Commit(const Store::Transaction& transaction) {
  const absl::Status committed = store_->Commit(transaction);
  if (!committed.ok()) LogError("store.failed", {{"error", committed}});
  HW_CHECK(committed.ok());
}

void Brain::PutEvent(Store::Transaction* transaction, storage::v1::Event event,
                     uint64_t forgotten_generation) {
  std::optional<storage::v1::Meta> meta = store_->Get<storage::v1::Meta>(Store::kOnly);
  HW_CHECK(meta.has_value());
  *event.mutable_time() = ToProto(clock_.Now());
  const uint64_t number = meta->next_event();
  meta->set_next_event(number + 1);
  meta->set_forgotten_generation(std::max(meta->forgotten_generation(), forgotten_generation));
  transaction->Put(EventKey(number), event);
  if (number > kEventsMax) transaction->Remove<storage::v1::Event>(EventKey(number - kEventsMax));
  transaction->Put(Store::kOnly, *meta);
  LogInfo(event.name(),
          {{"machine", event.machine_id()}, {"job", event.job_id()}, {"text", event.text()}});
}

void Brain::AddEvent(const std::string& name, const std::string& machine_id,
                     const std::string& job_id, const std::string& text) {
  storage::v1::Event event;
  event.set_name(name);
  event.set_machine_id(machine_id);
  event.set_job_id(job_id);
  event.set_text(text);
  Store::Transaction transaction;
  PutEvent(&transaction, event);
  Commit(transaction);
}

absl::StatusOr<uint64_t> Brain::Register(const control::v1::Registration& registration,
                                         Fleet::Session session) {
  const std::string& id = registration.host_id();
  Store::Transaction transaction;
  if (registration.role() != types::v1::AGENT) {
    storage::v1::Server server =
        store_->Get<storage::v1::Server>(id).value_or(storage::v1::Server());
    server.set_host_id(id);
    server.set_role(registration.role());
    *server.mutable_registration() = registration;
    *server.mutable_registered_at() = ToProto(clock_.Now());
    transaction.Put(id, server);
    Commit(transaction);
    return fleet_.Connect(id, std::move(session));
  }
  Machine machine = store_->Get<Machine>(id).value_or(Machine());
  const auto& retired = machine.retired_boot_ids();
  const bool retired_boot =
      std::find(retired.begin(), retired.end(), registration.boot_id()) != retired.end();
  const bool retired_hardware = !machine.retired_hardware_uuid().empty() &&
                                machine.retired_hardware_uuid() == registration.hardware_uuid();
  if (machine.has_handed_back_at() && (retired_boot || retired_hardware) &&
      !HW_FAULT("mutation.admit_left_behind")) {
    if (!retired_boot) {
      // By its hardware it is known only until the next failback.
      Retire(registration, &machine);
      transaction.Put(id, machine);
      Commit(transaction);
    }
    return Refused(
        MakeProblem(ProblemId::kForeignConfigServer,
                    absl::StrCat("this copy of ", registration.name(),
                                 " was left behind by a failback; the machine is at generation ",
                                 machine.generation())));
  }
  session.incarnation = absl::StrCat(registration.boot_id(), "/", registration.incarnation());
  const storage::v1::Incarnation copy = IncarnationOf(registration, session.address);
  if (absl::Status admitted = Admit(registration, copy, &machine); !admitted.ok()) return admitted;
  if (machine.machine_id().empty()) {
    machine.set_machine_id(id);
    machine.set_state(storage::v1::UNPROTECTED);
    if (!HW_FAULT("mutation.forget_generation"))
      machine.set_generation(store_->Get<storage::v1::Meta>(Store::kOnly)->forgotten_generation());
  }
  // While its disks are brought to a point, only the old copy can be talking.
  const bool counts = machine.state() != storage::v1::FAILING_BACK ||
                      machine.assignment().phase() != control::v1::RECOVER;
  if (counts) {
    *machine.mutable_registration() = registration;
    *machine.mutable_registered_at() = ToProto(clock_.Now());
  }
  transaction.Put(id, machine);
  storage::v1::Event event;
  event.set_name("machine.registered");
  event.set_machine_id(id);
  event.set_text(absl::StrCat(registration.name(), ", boot ", registration.boot_id(), ", ",
                              registration.disks_size(), " disks"));
  PutEvent(&transaction, event);
  Commit(transaction);
  return fleet_.Connect(id, std::move(session));
}

absl::Status Brain::Admit(const control::v1::Registration& registration,
                          const storage::v1::Incarnation& copy, Machine* machine) {
  const std::string& id = registration.host_id();
  const absl::Duration started = registration.has_running_for()
                                     ? clock_.Monotonic() - FromProto(registration.running_for())
                                     : absl::InfiniteDuration();
  CopyVerdict verdict = JudgeCopy(MakeView(), *machine, copy, started);
  if (verdict.kind == CopyVerdict::Kind::kAsk) {
    const std::string asker =
        absl::StrCat(copy.hardware_uuid(), "/", copy.boot_id(), "/", copy.start());
    switch (fleet_.Ask(id, asker)) {
      case Fleet::Answer::kAwaited:
        verdict.kind = CopyVerdict::Kind::kLater;
        break;
      case Fleet::Answer::kGiven:
        verdict = {CopyVerdict::Kind::kClone,
                   absl::StrCat(DescribeCopy(copy), " has the identity of ",
                                DescribeCopy(machine->admission().admitted()),
                                ", which is the machine, and runs")};
        break;
      case Fleet::Answer::kMissing:
        break;
    }
  }
  if (verdict.kind == CopyVerdict::Kind::kLater) return absl::UnavailableError(verdict.why);
  if (verdict.kind != CopyVerdict::Kind::kClone) {
    AdmitCopy(copy, machine);
    return absl::OkStatus();
  }
  fleet_.NoteRefused(id, {copy, verdict.why, {}});
  if (NoteRefusedCopy(copy, machine)) {
    Store::Transaction transaction;
    transaction.Put(id, *machine);
    storage::v1::Event event;
    event.set_name("machine.clone_refused");
    event.set_machine_id(id);
    event.set_text(verdict.why);
    PutEvent(&transaction, event);
    Commit(transaction);
  }
  return Refused(MakeProblem(ProblemId::kAgentCloned, verdict.why));
}

absl::StatusOr<Machine> Brain::AcceptCopy(const std::string& id_or_name, const std::string& wish) {
  HW_ASSIGN_OR_RETURN(Machine machine, FindMachine(id_or_name));
  std::vector<storage::v1::Incarnation> found;
  for (const Fleet::RefusedCopy& refused : fleet_.Refused(machine.machine_id())) {
    const storage::v1::Incarnation& copy = refused.copy;
    if (wish.empty() || wish == copy.hardware_uuid() || wish == copy.boot_id())
      found.push_back(copy);
  }
  if (found.size() != 1) {
    std::string text = absl::StrCat(found.size(), " copies of ", machine.registration().name(),
                                    " ask to be the machine");
    if (!wish.empty()) absl::StrAppend(&text, " by ", wish);
    for (const storage::v1::Incarnation& copy : found)
      absl::StrAppend(&text, "; ", DescribeCopy(copy));
    return Refused(MakeProblem(ProblemId::kCopyNotChosen, text));
  }
  *machine.mutable_admission()->mutable_accepted() = found.front();
  Store::Transaction transaction;
  transaction.Put(machine.machine_id(), machine);
  storage::v1::Event event;
  event.set_name("machine.copy_accepted");
  event.set_machine_id(machine.machine_id());
  event.set_text(absl::StrCat(DescribeCopy(found.front()), " is the machine from now on, not ",
                              DescribeCopy(machine.admission().admitted())));
  PutEvent(&transaction, event);
  Commit(transaction);
  fleet_.ForgetRefused(machine.machine_id());
  return machine;
}

absl::StatusOr<storage::v1::Server> Brain::IdentifyServer(const std::string& id_or_name,
                                                          const std::string& vm) {
  const View view = MakeView();
  const View::MeantServer known = view.ServerCalled(id_or_name, {types::v1::MASTER_TARGET});
  if (known.refusal) return ToStatus(*known.refusal, known.code);
  storage::v1::Server server = *known.server;
  server.clear_chosen_vm();
  if (!vm.empty()) {
    Choice choice = ChooseVm(view, IdentityOfServer(view, server), vm);
    if (choice.refusal) return Refused(*choice.refusal);
    server.set_chosen_vm(std::move(choice.recorded));
  }
  Store::Transaction transaction;
  transaction.Put(server.host_id(), server);
  storage::v1::Event event;
  event.set_name("server.identified");
  event.set_text(
      vm.empty()
          ? absl::StrCat(server.registration().name(), " is again the VM that it is found to be")
          : absl::StrCat(server.registration().name(), " is ", vm, " (", server.chosen_vm(), ")"));
  PutEvent(&transaction, event);
  Commit(transaction);
  return server;
}

absl::StatusOr<Machine> Brain::FindMachine(const std::string& id_or_name) const {
  if (const std::optional<Machine> machine = store_->Get<Machine>(id_or_name)) return *machine;
  std::vector<Machine> found;
  for (Machine& machine : store_->All<Machine>()) {
    if (IsCalled(id_or_name, machine.machine_id(), machine.registration().name()))
      found.push_back(std::move(machine));
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    return ToStatus(MakeProblem(ProblemId::kNotInDatabase,
                                absl::StrCat("there is no machine \"", id_or_name, "\"")),
                    absl::StatusCode::kNotFound);
  }
  const auto id = [](std::string* out, const Machine& machine) {
    absl::StrAppend(out, machine.machine_id());
  };
  return ToStatus(MakeProblem(ProblemId::kAmbiguousName,
                              absl::StrCat(found.size(), " machines are called \"", id_or_name,
                                           "\": ", absl::StrJoin(found, ", ", id))),
                  absl::StatusCode::kInvalidArgument);
}

absl::StatusOr<Job> Brain::FindJob(const std::string& job_id) const {
  const std::optional<Job> job = store_->Get<Job>(job_id);
  if (job.has_value()) return *job;
  return ToStatus(
      MakeProblem(ProblemId::kNotInDatabase, absl::StrCat("there is no job \"", job_id, "\"")),
      absl::StatusCode::kNotFound);
}

const StepResult* Brain::ProgressOf(const std::string& job_id) const {
  const auto it = progress_.find(job_id);
  return it == progress_.end() ? nullptr : &it->second;
}

absl::StatusOr<Job> Brain::StartJob(Job job, const std::string& chosen_vm) {
  const Workflow* const workflow = FindWorkflow(job.workflow());
  HW_CHECK(workflow != nullptr);
  HW_ASSIGN_OR_RETURN(Machine machine, FindMachine(job.machine_id()));
  if (Refusal refusal = CheckOperation(MakeView(), machine, job.workflow()))
    return Refused(*refusal);
  std::optional<storage::v1::Meta> meta = store_->Get<storage::v1::Meta>(Store::kOnly);
  HW_CHECK(meta.has_value());
  job.set_id(absl::StrFormat("%08d", meta->next_job()));
  meta->set_next_job(meta->next_job() + 1);
  job.set_machine_id(machine.machine_id());
  job.set_state(storage::v1::RUNNING);
  job.set_state_before(machine.state());
  job.set_point_before(machine.assignment().point_id());
  *job.mutable_created() = ToProto(clock_.Now());
  for (const TaskSpec& task : workflow->tasks) {
    storage::v1::Task* const out = job.add_tasks();
    out->set_name(task.name);
    out->set_state(storage::v1::PENDING);
  }
  if (job.has_wanted())
    job.mutable_wanted()->set_replica_id(absl::StrCat(machine.machine_id(), "-", job.id()));
  if (workflow->running != storage::v1::PROTECTION_STATE_UNSPECIFIED)
    machine.set_state(workflow->running);
  machine.set_job_id(job.id());
  if (!chosen_vm.empty()) machine.set_chosen_vm(chosen_vm);
  Store::Transaction transaction;
  transaction.Put(job.id(), job);
  transaction.Put(machine.machine_id(), machine);
  transaction.Put(Store::kOnly, *meta);
  Commit(transaction);
  AddEvent("job.started", machine.machine_id(), job.id(), job.workflow());
  Step();
  return FindJob(job.id());
}

absl::StatusOr<Job> Brain::CancelJob(const std::string& job_id) {
  HW_ASSIGN_OR_RETURN(Job job, FindJob(job_id));
  const Workflow* const workflow = FindWorkflow(job.workflow());
  bool cancellable = workflow != nullptr && job.state() == storage::v1::RUNNING;
  for (int i = 0; cancellable && i < job.tasks_size(); ++i) {
    const storage::v1::TaskState state = job.tasks(i).state();
    if (state == storage::v1::SUCCEEDED) continue;
    cancellable = workflow->tasks[static_cast<size_t>(i)].cancellable;
    break;
  }
  if (!cancellable) {
    return Refused(MakeProblem(ProblemId::kJobNotCancellable,
                               absl::StrCat("job ", job_id, " cannot be cancelled now")));
  }
  job.set_cancel_requested(true);
  Store::Transaction transaction;
  transaction.Put(job.id(), job);
  Commit(transaction);
  Step();
  return FindJob(job_id);
}

void Brain::EndJob(storage::v1::TaskState state, Machine* machine, Job* job) {
  job->set_state(state);
  *job->mutable_ended() = ToProto(clock_.Now());
  machine->clear_job_id();
  progress_.erase(job->id());
  waits_.erase(job->id());
}

bool Brain::WaitedTooLong(const Job& job, const StepResult& result) {
  const absl::Duration now = clock_.Monotonic();
  const auto [it, is_new] = waits_.try_emplace(job.id());
  Waiting& waiting = it->second;
  if (is_new || waiting.detail != result.detail || waiting.done_bytes != result.done_bytes)
    waiting = {result.detail, result.done_bytes, now};
  return now - waiting.since > result.limit;
}

void Brain::RunTask(const Workflow& workflow, Machine* machine, Job* job) {
  const View view = MakeView();
  TaskContext context{view, LocationOf(*machine, *job), machine, job};
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
  EndJob(storage::v1::SUCCEEDED, machine, job);
}

void Brain::Undo(const Workflow& workflow, Machine* machine, Job* job) {
  if (!job->has_problem()) {
    *job->mutable_problem() = MakeProblem(ProblemId::kJobCancelled, "an operator cancelled it");
  }
  if (workflow.undo != nullptr) {
    const View view = MakeView();
    TaskContext context{view, LocationOf(*machine, *job), machine, job};
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
  EndJob(failed ? storage::v1::FAILED : storage::v1::CANCELLED, machine, job);
}

void Brain::StepJob(Job job) {
  const Workflow* const workflow = FindWorkflow(job.workflow());
  std::optional<Machine> machine = store_->Get<Machine>(job.machine_id());
  HW_CHECK(workflow != nullptr && machine.has_value());
  while (job.state() == storage::v1::RUNNING) {
    const std::string job_before = job.SerializeAsString();
    const std::string machine_before = machine->SerializeAsString();
    if (job.cancel_requested() || job.has_problem()) {
      Undo(*workflow, &*machine, &job);
    } else {
      RunTask(*workflow, &*machine, &job);
    }
    const bool machine_changed = machine->SerializeAsString() != machine_before;
    if (job.SerializeAsString() == job_before && !machine_changed) return;
    Store::Transaction transaction;
    transaction.Put(job.id(), job);
    // Two transactions: a server that dies in between forgets half of what was decided.
    if (HW_FAULT("mutation.split_transaction")) {
      Commit(transaction);
      transaction = Store::Transaction();
    }
    const bool forgotten = job.state() == storage::v1::SUCCEEDED && job.workflow() == "remove" &&
                           job.state_before() == storage::v1::UNPROTECTED &&
                           !fleet_.connected(machine->machine_id());
    if (forgotten) {
      transaction.Remove<Machine>(machine->machine_id());
    } else if (machine_changed) {
      transaction.Put(machine->machine_id(), *machine);
    }
    if (job.state() != storage::v1::RUNNING) {
      storage::v1::Event event;
      event.set_name(job.state() == storage::v1::SUCCEEDED ? "job.succeeded" : "job.failed");
      event.set_machine_id(machine->machine_id());
      event.set_job_id(job.id());
      event.set_text(job.has_problem() ? absl::StrCat(job.workflow(), ": ", job.problem().id(),
                                                      ": ", job.problem().message())
                                       : job.workflow());
      PutEvent(&transaction, event, forgotten ? machine->generation() : 0);
    }
    Commit(transaction);
  }
}

void Brain::Step() {
  if (stepping_) return;
  stepping_ = true;
  for (const Machine& machine : store_->All<Machine>()) {
    if (machine.job_id().empty()) continue;
    const std::optional<Job> job = store_->Get<Job>(machine.job_id());
    HW_CHECK(job.has_value());
    StepJob(*job);
  }
  TellAll();
  stepping_ = false;
}

control::v1::AgentDesired Brain::AgentDesiredOf(const View& view, const Machine& machine) const {
  control::v1::AgentDesired desired;
  const storage::v1::Assignment& assignment = machine.assignment();
  if (!machine.has_assignment() || !assignment.streaming() || !view.RegisteredSinceBoot(machine))
    return desired;
  const bool direct = assignment.process_server_id().empty();
  const storage::v1::Server* const server =
      view.FindServer(direct ? assignment.master_target_id() : assignment.process_server_id(),
                      direct ? types::v1::MASTER_TARGET : types::v1::PROCESS_SERVER);
  if (server == nullptr) return desired;
  control::v1::Protection& protection = *desired.mutable_protection();
  protection.set_machine_id(machine.machine_id());
  protection.set_generation(machine.generation());
  protection.set_replica_id(assignment.replica_id());
  protection.set_fence(FenceOf(machine));
  for (const types::v1::Disk& disk : assignment.disks()) protection.add_disks(disk.name());
  protection.set_address(server->registration().replication_address());
  protection.set_direct(direct);
  protection.set_fresh_replica(assignment.fresh());
  *protection.mutable_point_interval() = assignment.point_interval();
  *protection.mutable_app_point_interval() = assignment.app_point_interval();
  protection.set_resync_token(assignment.resync_token());
  protection.set_point_token(assignment.point_token());
  protection.set_point_kind(assignment.point_kind());
  protection.set_quiesce_token(assignment.quiesce_token());
  return desired;
}

void Brain::TellAll() {
  const View view = MakeView();
  std::map<std::string, control::v1::Desired> desired;
  for (const storage::v1::Server& server : view.servers) {
    control::v1::Desired& out = desired[server.host_id()];
    if (server.role() == types::v1::PROCESS_SERVER) {
      out.mutable_process_server();
    } else {
      out.mutable_master_target();
    }
  }
  for (const Machine& machine : view.machines) {
    *desired[machine.machine_id()].mutable_agent() = AgentDesiredOf(view, machine);
    if (!machine.has_assignment()) continue;
    const storage::v1::Assignment& assignment = machine.assignment();
    const storage::v1::Server* const target =
        view.FindServer(assignment.master_target_id(), types::v1::MASTER_TARGET);
    if (target == nullptr) continue;
    control::v1::Replica* const replica =
        desired[target->host_id()].mutable_master_target()->add_replicas();
    replica->set_replica_id(assignment.replica_id());
    replica->set_machine_id(machine.machine_id());
    replica->set_generation(machine.generation());
    SetTarget(ReplicaTargetOf(machine), replica);
    *replica->mutable_disks() = assignment.disks();
    *replica->mutable_retention_age() = assignment.retention_age();
    replica->set_retention_bytes(assignment.retention_bytes());
    replica->set_phase(assignment.phase());
    replica->set_point_id(assignment.point_id());
    if (assignment.process_server_id().empty()) replica->set_fence(FenceOf(machine));
    if (!assignment.streaming() || assignment.process_server_id().empty()) continue;
    control::v1::RelayedStream* const stream =
        desired[assignment.process_server_id()].mutable_process_server()->add_streams();
    stream->set_machine_id(machine.machine_id());
    stream->set_generation(machine.generation());
    stream->set_replica_id(assignment.replica_id());
    stream->set_fence(FenceOf(machine));
    stream->set_master_target_address(target->registration().replication_address());
    for (const types::v1::Disk& disk : assignment.disks())
      stream->add_disk_bytes(disk.size_bytes());
  }
  for (auto& [host_id, wanted] : desired) fleet_.Want(host_id, std::move(wanted));
}

}  // namespace homeward
