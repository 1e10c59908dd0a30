#include "config_server/workflows/workflow.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/problem/problem.h"
#include "common/wire/time_proto.h"
#include "config_server/model/data_keys.h"
#include "config_server/model/location_rules.h"
#include "config_server/model/points.h"
#include "config_server/model/rules.h"
#include "config_server/model/vm_record.h"

namespace homeward {
namespace {

using storage::v1::Machine;

constexpr char kChooseAndFence[] = "Choose the point and end the old generation";

std::vector<types::v1::RecoveryPoint> PointsOf(const View& view, const Machine& machine) {
  const control::v1::ReplicaObserved* const replica = view.ReplicaOf(machine);
  if (replica == nullptr) return {};
  return {replica->points().begin(), replica->points().end()};
}

bool HasPoint(const TaskContext& context, const std::string& id) {
  const std::vector<types::v1::RecoveryPoint> points = PointsOf(context.view, *context.machine);
  return std::any_of(points.begin(), points.end(),
                     [&](const auto& point) { return point.id() == id; });
}

StepResult TakeAssignment(TaskContext& context) {
  Machine& machine = *context.machine;
  if (machine.assignment().replica_id() == context.job->wanted().replica_id())
    return StepResult::Done();
  if (Refusal refusal = CheckAgent(context.view, machine)) return StepResult::Fail(*refusal);
  // What it looks like, as long as it runs there.
  const VmSearch vm = FindOne(context.view.vcenters, IdentityOfSource(machine));
  if (vm.ambiguous) return StepResult::Fail(*vm.ambiguous);
  if (vm.found.has_value()) {
    *machine.mutable_vm() = RecordVm(*vm.found, context.job->wanted().placement().disks());
    *machine.mutable_vm()->mutable_recorded() = ToProto(context.view.clock.Now());
  }
  *machine.mutable_assignment() = context.job->wanted();
  BeginGeneration(context.view, &machine);
  return StepResult::Done();
}

StepResult PowerOffTarget(TaskContext& context) {
  return context.location.PowerOffTarget(context.view, context.machine);
}

StepResult AttachDisks(TaskContext& context) {
  StepResult result = context.location.AttachDisks(context.view, context.machine);
  if (result.state != StepResult::State::kDone) return result;
  const control::v1::ReplicaObserved* const replica = context.view.ReplicaOf(*context.machine);
  if (replica != nullptr && replica->generation() == context.machine->generation())
    context.machine->mutable_assignment()->mutable_state()->set_fresh(replica->created_fresh());
  context.machine->mutable_assignment()->mutable_state()->set_disks_new(false);
  return result;
}

StepResult AwaitRelay(TaskContext& context) {
  context.machine->mutable_assignment()->mutable_state()->set_streaming(true);
  if (context.machine->assignment().placement().process_server_id().empty())
    return StepResult::Done();
  return context.view.RelayOf(*context.machine) != nullptr
             ? StepResult::Done()
             : StepResult::Wait("the process server to take the stream");
}

StepResult AwaitAgent(TaskContext& context) {
  const control::v1::AgentObserved* const agent = context.view.AgentOf(*context.machine);
  if (agent == nullptr) return StepResult::Wait("the agent to begin");
  if (!agent->refused().empty()) return StepResult::Wait(agent->refused());
  return agent->streaming() ? StepResult::Done() : StepResult::Wait("the stream to be connected");
}

StepResult AwaitSynchronisation(TaskContext& context) {
  const control::v1::AgentObserved* const agent = context.view.AgentOf(*context.machine);
  const control::v1::ReplicaObserved* const replica = context.view.ReplicaOf(*context.machine);
  if (agent == nullptr || replica == nullptr) return StepResult::Wait("the agent and the replica");
  if (agent->syncing() || replica->syncing() ||
      agent->resync_token() != context.machine->assignment().state().resync_token()) {
    StepResult waiting =
        StepResult::Wait(agent->refused().empty() ? "the disks to be compared" : agent->refused());
    waiting.done_bytes = agent->sync_done_bytes();
    waiting.total_bytes = agent->sync_total_bytes();
    return waiting;
  }
  return StepResult::Done();
}

// One that was not there when the job began. Times do not tell: they are of another host's clock.
StepResult AwaitPoint(TaskContext& context) {
  const std::vector<types::v1::RecoveryPoint> points = PointsOf(context.view, *context.machine);
  return !points.empty() && points.back().id() != context.job->point_before()
             ? StepResult::Done()
             : StepResult::Wait("a recovery point");
}

// The job's number differs from that of any other job.
uint64_t TokenOf(const TaskContext& context) {
  uint64_t token = 0;
  for (const char c : context.job->id()) token = token * 31 + static_cast<unsigned char>(c);
  return token;
}

StepResult RequestResync(TaskContext& context) {
  const std::vector<types::v1::RecoveryPoint> points = PointsOf(context.view, *context.machine);
  if (!points.empty()) context.job->set_point_before(points.back().id());
  context.machine->mutable_assignment()->mutable_state()->set_resync_token(TokenOf(context));
  // An operator goes on from a backup that is older than the replica.
  if (CheckRemembered(context.view, *context.machine))
    BeginGeneration(context.view, context.machine);
  return StepResult::Done();
}

StepResult MakeDataKey(TaskContext& context) {
  if (Refusal refusal = CheckEncrypts(context.view, *context.machine))
    return StepResult::Fail(*refusal);
  if (context.machine->assignment().data_keys_size() >= kDataKeysMax &&
      !EndOldDataKeys(context.view, context.machine))
    return StepResult::Wait("what was sent under earlier keys to be written");
  context.machine->set_encrypts_stream(true);
  AddDataKey(context.machine);
  return StepResult::Done();
}

StepResult UseDataKey(TaskContext& context) {
  if (!UseNewestDataKey(context.view, context.machine))
    return StepResult::Wait("the end of the stream to have it");
  // A machine that writes nothing would send nothing under it.
  storage::v1::ReplicationState& state = *context.machine->mutable_assignment()->mutable_state();
  state.set_point_token(TokenOf(context));
  state.set_point_kind(types::v1::CRASH_CONSISTENT);
  return StepResult::Done();
}

StepResult EndDataKeys(TaskContext& context) {
  if (EndOldDataKeys(context.view, context.machine)) return StepResult::Done();
  return StepResult::Wait(context.view.AgentConnected(*context.machine)
                              ? "what was sent before it to be written"
                              : "the machine's agent");
}

// One that is used already stays, and what came before it until the next one.
StepResult ForgetDataKey(TaskContext& context) {
  DropUnusedDataKeys(context.machine);
  return StepResult::Done();
}

StepResult RequestPoint(TaskContext& context) {
  storage::v1::ReplicationState& state = *context.machine->mutable_assignment()->mutable_state();
  state.set_point_token(TokenOf(context));
  state.set_point_kind(context.job->point_kind());
  return StepResult::Done();
}

StepResult AwaitRequestedPoint(TaskContext& context) {
  const control::v1::AgentObserved* const agent = context.view.AgentOf(*context.machine);
  if (agent == nullptr || agent->point_token() != TokenOf(context))
    return StepResult::Wait("the agent to make the point");
  return HasPoint(context, agent->requested_point())
             ? StepResult::Done()
             : StepResult::Wait(absl::StrCat(context.view.ReceiverWord(*context.machine),
                                             " to report the point"));
}

StepResult QuiesceSource(TaskContext& context) {
  Machine& machine = *context.machine;
  if (context.job->state_before() == storage::v1::FAILED_BACK) return StepResult::Done();
  // A source that is gone has nothing more to send; what the process server has, still arrives.
  const bool silent = !context.view.Alive(machine.machine_id());
  if (silent && !context.job->source_lost() && context.source.IsOn(context.view, machine)) {
    return StepResult::Fail(MakeProblem(
        ProblemId::kAgentNotConnected,
        absl::StrCat(machine.registration().name(),
                     " may be running, and its agent is silent: what it wrote since would be lost. "
                     "If the machine itself is lost, use --source-lost")));
  }
  if (context.job->source_lost() || silent) {
    const control::v1::RelayObserved* const relay = context.view.RelayOf(machine);
    if (relay != nullptr && relay->pending_bytes() > 0)
      return StepResult::Wait("the process server to forward what it has");
    return StepResult::Done();
  }
  // One that was heard a moment ago still writes: without its last writes, the latest would not be.
  if (!context.view.fleet.connected(machine.machine_id())) {
    return StepResult::Wait(
        "the agent to come back; if the machine is lost, cancel and use --source-lost");
  }
  machine.mutable_assignment()->mutable_state()->set_quiesce_token(TokenOf(context));
  const control::v1::AgentObserved* const agent = context.view.AgentOf(machine);
  if (agent == nullptr) return StepResult::Wait("the agent to report");
  if (agent->quiesced_token() != machine.assignment().state().quiesce_token())
    return StepResult::Wait("the machine to stop and to send its last writes");
  if (!HasPoint(context, agent->quiesced_point()))
    return StepResult::Wait("the last recovery point");
  // Its last writes are asked for: an older point must not be taken in silence.
  if (context.job->point() == "latest") {
    const ChosenPoint last = ChoosePoint(PointsOf(context.view, machine), agent->quiesced_point(),
                                         context.job->accept_not_one_instant());
    if (last.refusal) return StepResult::Fail(*last.refusal);
  }
  return StepResult::Done();
}

StepResult PowerOffSource(TaskContext& context) {
  storage::v1::Job& job = *context.job;
  if (job.state_before() == storage::v1::FAILED_BACK) return StepResult::Done();
  if (!job.source_turned_off() && context.source.IsOn(context.view, *context.machine)) {
    job.set_source_turned_off(true);
    return StepResult::Wait("the configuration server to record it");
  }
  StepResult off = context.source.TurnOff(context.view, *context.machine);
  // What is lost cannot be turned off; if it does run it is fenced.
  const bool lost = off.state == StepResult::State::kFailed && job.source_lost();
  return lost ? StepResult::Done() : off;
}

// Undoes it. One that cannot be started is named, and is left to the operator.
StepResult StartSource(TaskContext& context) {
  storage::v1::Job& job = *context.job;
  if (!job.source_turned_off()) return StepResult::Done();
  StepResult on = context.source.TurnOn(context.view, *context.machine);
  if (on.state == StepResult::State::kWaiting) return on;
  job.set_source_turned_off(false);
  if (on.state != StepResult::State::kFailed) return on;
  job.add_kept(
      absl::StrCat("the machine is off, and was not started again: ", on.problem->message()));
  return StepResult::Done();
}

bool IsDone(const storage::v1::Job& job, absl::string_view task) {
  for (const storage::v1::Task& one : job.tasks()) {
    if (one.name() == task) return one.state() == storage::v1::SUCCEEDED;
  }
  return false;
}

void ForgetRetired(const std::string& boot_id, Machine* machine) {
  auto& retired = *machine->mutable_retired_boot_ids();
  retired.erase(std::find(retired.begin(), retired.end(), boot_id), retired.end());
}

StepResult ChooseAndFence(TaskContext& context) {
  Machine& machine = *context.machine;
  storage::v1::ReplicationState& state = *machine.mutable_assignment()->mutable_state();
  if (!context.view.fleet.connected(machine.assignment().placement().master_target_id()) ||
      context.view.ReplicaOf(machine) == nullptr) {
    return StepResult::Wait(
        absl::StrCat(context.view.ReceiverWord(machine), " to report its recovery points"));
  }
  const ChosenPoint chosen = ChoosePoint(PointsOf(context.view, machine), context.job->point(),
                                         context.job->accept_not_one_instant());
  if (chosen.refusal) return StepResult::Fail(*chosen.refusal);
  state.set_point_id(chosen.point.id());
  state.set_phase(storage::v1::RECOVER);
  state.set_streaming(false);
  state.set_quiesce_token(0);
  BeginGeneration(context.view, &machine);
  if (context.job->state_before() == storage::v1::PROTECTED) {
    Retire(machine.registration().boot_id(), &machine);
    machine.set_retired_hardware_uuid(machine.registration().hardware_uuid());
  } else if (RulesOf(machine).remakes_machine() && machine.has_registered_at() &&
             RegisteredSinceBoot(machine)) {
    Retire(machine.registration().boot_id(), &machine);  // it is made anew
  }
  return StepResult::Done();
}

StepResult RecoverDisks(TaskContext& context) {
  const Machine& machine = *context.machine;
  const control::v1::ReplicaObserved* const replica = context.view.ReplicaOf(machine);
  if (!context.view.fleet.connected(machine.assignment().placement().master_target_id()) ||
      replica == nullptr)
    return StepResult::Wait(absl::StrCat(context.view.ReceiverWord(machine), " to connect"));
  if (replica->generation() != machine.generation())
    return StepResult::Wait(absl::StrCat(context.view.ReceiverWord(machine), " to begin"));
  if (replica->has_problem() && !replica->problem().retryable())
    return StepResult::Fail(replica->problem());
  if (replica->phase() == control::v1::RECOVER &&
      replica->point_id() == machine.assignment().state().point_id()) {
    return StepResult::Done();
  }
  return StepResult::Wait(replica->has_problem() ? replica->problem().message()
                                                 : "the disks to reach the point");
}

StepResult HandOverDisks(TaskContext& context) {
  return context.location.HandOverDisks(context.view, context.machine);
}

StepResult PowerOn(TaskContext& context) {
  return context.location.PowerOn(context.view, context.machine);
}

StepResult UndoFailback(TaskContext& context) {
  Machine& machine = *context.machine;
  storage::v1::ReplicationState& state = *machine.mutable_assignment()->mutable_state();
  state.set_quiesce_token(0);
  if (context.job->state_before() == storage::v1::FAILED_BACK) {
    // Before the old generation has ended nothing was made.
    if (IsDone(*context.job, kChooseAndFence)) {
      StepResult back = context.location.TakeNewDisksBack(context.view, &machine);
      if (!back.done()) return back;
      for (std::string& kept : back.kept) context.job->add_kept(std::move(kept));
      ForgetRetired(machine.registration().boot_id(), &machine);
    }
    if (state.point_id() != context.job->point_before()) {
      state.set_point_id(context.job->point_before());
      BeginGeneration(context.view, &machine);
    }
    // What was made of the point before stays as it is. Disks that the replica is may be on their
    // way to another point.
    if (RulesOf(machine).remakes_machine() || !IsDone(*context.job, kChooseAndFence))
      return StepResult::Done();
    StepResult back = RecoverDisks(context);
    // A master target that is gone for good must not keep the machine for ever.
    const bool gone = !context.view.Alive(machine.assignment().placement().master_target_id());
    if (back.done() || (back.state == StepResult::State::kWaiting && !gone)) return back;
    context.job->add_kept(absl::StrCat(
        "the disks may not be at recovery point ", state.point_id(),
        " again: ", gone ? "the master target does not answer" : back.problem->message()));
    return StepResult::Done();
  }
  if (state.phase() == storage::v1::RECOVER) {
    StepResult back = context.location.TakeDisksBack(context.view, &machine);
    if (!back.done()) return back;
    for (std::string& kept : back.kept) context.job->add_kept(std::move(kept));
    // The replica may be on its way to the point: it follows again after a synchronisation.
    state.set_phase(storage::v1::FOLLOW);
    state.set_point_id("");
    state.set_streaming(true);
    state.set_fresh(false);
    BeginGeneration(context.view, &machine);
    // What came behind it in the list are later boots of the same copy, which was refused
    // meanwhile.
    ForgetRetired(machine.registration().boot_id(), &machine);
    machine.clear_retired_hardware_uuid();
  }
  return StartSource(context);
}

StepResult ReleasePoints(TaskContext& context) {
  if (!context.machine->has_assignment()) return StepResult::Done();
  StepResult result = context.location.Discard(context.view, context.machine, /*keep_disks=*/true);
  if (result.state != StepResult::State::kDone) return result;
  for (const std::string& kept : result.kept) context.job->add_kept(kept);
  if (context.machine->assignment().placement().has_new_vm()) {
    *context.machine->mutable_vm() = context.machine->assignment().placement().new_vm();
    context.machine->clear_chosen_vm();
  }
  if (context.machine->assignment().placement().has_azure_vm())
    *context.machine->mutable_azure_vm() = context.machine->assignment().placement().azure_vm();
  context.machine->clear_assignment();
  BeginGeneration(context.view, context.machine);
  return result;
}

StepResult DiscardSource(TaskContext& context) {
  StepResult result = context.source.Discard(context.view, context.machine);
  for (const std::string& kept : result.kept) context.job->add_kept(kept);
  return result;
}

StepResult Discard(TaskContext& context) {
  Machine& machine = *context.machine;
  if (!machine.has_assignment()) return StepResult::Done();
  machine.mutable_assignment()->mutable_state()->set_streaming(false);
  StepResult result = context.location.Discard(context.view, &machine, context.job->keep_disks());
  if (result.state != StepResult::State::kDone) return result;
  for (const std::string& kept : result.kept) context.job->add_kept(kept);
  machine.clear_assignment();
  BeginGeneration(context.view, &machine);
  return result;
}

StepResult ChooseTestPoint(TaskContext& context) {
  Machine& machine = *context.machine;
  if (machine.has_test()) return StepResult::Done();
  const ChosenPoint chosen = ChoosePoint(PointsOf(context.view, machine), context.job->point(),
                                         context.job->accept_not_one_instant());
  if (chosen.refusal) return StepResult::Fail(*chosen.refusal);
  const storage::v1::Placement& placement = machine.assignment().placement();
  storage::v1::TestFailover& test = *machine.mutable_test();
  test.set_location(placement.location());
  test.set_point_id(chosen.point.id());
  test.set_holds_point(true);
  *test.mutable_azure_vm() = placement.azure_vm();
  test.mutable_azure_vm()->set_subnet(context.job->test_subnet());
  return StepResult::Done();
}

StepResult StartTest(TaskContext& context) {
  return context.location.StartTest(context.view, context.machine);
}

StepResult EndTest(TaskContext& context) {
  StepResult result = context.location.EndTest(context.view, context.machine);
  for (const std::string& kept : result.kept) context.job->add_kept(kept);
  return result;
}

// Replication goes on where it was: all that the one before had is kept by the agent or the
// receiver.
StepResult ChooseProcessServer(TaskContext& context) {
  storage::v1::Placement* const placement =
      context.machine->mutable_assignment()->mutable_placement();
  context.job->set_process_server_before(ProcessServerOf(*context.machine));
  Refusal refusal = RulesOf(*context.machine)
                        .PlaceProcessServer(context.view, *context.machine,
                                            context.job->process_server_id(), placement);
  if (!refusal) refusal = CheckPassesOn(context.view, *context.machine);
  if (!refusal) return StepResult::Done();
  SetProcessServer(context.job->process_server_before(), context.machine);
  context.job->clear_process_server_before();
  return StepResult::Fail(*std::move(refusal));
}

StepResult AwaitProcessServer(TaskContext& context) {
  const Machine& machine = *context.machine;
  if (RulesOf(machine).has_relay()) return AwaitRelay(context);
  return machine.state() == storage::v1::FAILED_BACK ? RecoverDisks(context) : AttachDisks(context);
}

// The one before may be gone for good; where it is not, it has the machine again.
StepResult GiveBackToProcessServer(TaskContext& context) {
  if (!context.job->process_server_before().empty())
    SetProcessServer(context.job->process_server_before(), context.machine);
  return StepResult::Done();
}

StepResult CompleteMigration(TaskContext& context) {
  context.machine->set_migrated(true);
  return StepResult::Done();
}

// A repair of what is replicated to. Otherwise the VM alone is put right.
bool IsReplicatedTo(const TaskContext& context) {
  return context.machine->state() == storage::v1::PROTECTED && RulesOf(*context.machine).has_vm();
}

StepResult EndReplica(TaskContext& context) {
  if (!IsReplicatedTo(context)) return StepResult::Done();
  context.machine->mutable_assignment()->mutable_state()->set_streaming(false);
  return AwaitEnd(context.view, context.machine, storage::v1::RELEASE);
}

StepResult RepairDisks(TaskContext& context) {
  uint32_t stage = context.job->repair_stage();
  StepResult result = context.location.RepairDisks(context.view, context.machine, &stage);
  context.job->set_repair_stage(stage);
  return result;
}

// Somebody may have written to the disks: nothing that was known of them holds.
StepResult BeginReplicaAnew(TaskContext& context) {
  if (!IsReplicatedTo(context)) return StepResult::Done();
  storage::v1::ReplicationState& state = *context.machine->mutable_assignment()->mutable_state();
  context.machine->mutable_assignment()->set_replica_id(
      absl::StrCat(context.machine->machine_id(), "-", context.job->id()));
  state.clear_point_id();
  state.set_fresh(false);
  BeginGeneration(context.view, context.machine);
  return StepResult::Done();
}

// What ended with a repair that does not come to its end begins anew: a machine that is Protected
// has a replica, or health says what keeps it from having one.
StepResult UndoRepair(TaskContext& context) {
  if (!IsReplicatedTo(context) ||
      context.machine->assignment().state().phase() != storage::v1::RELEASE) {
    return StepResult::Done();
  }
  StepResult ended = EndReplica(context);
  if (!ended.done()) return ended;
  StepResult begun = BeginReplicaAnew(context);
  storage::v1::ReplicationState& state = *context.machine->mutable_assignment()->mutable_state();
  state.set_phase(storage::v1::FOLLOW);
  state.set_streaming(true);
  return begun;
}

template <TaskFunction task>
StepResult IfReplicatedTo(TaskContext& context) {
  return IsReplicatedTo(context) ? task(context) : StepResult::Done();
}

std::vector<TaskSpec> ReplicationTasks() {
  return {{"Check prerequisites and take the assignment", TakeAssignment},
          {"Turn off the VM that gets the disks", PowerOffTarget},
          {"Attach the disks to the master target", AttachDisks},
          {"Assign the process server", AwaitRelay},
          {"Start replication", AwaitAgent},
          {"Synchronise", AwaitSynchronisation},
          {"Make the first recovery point", AwaitPoint}};
}

}  // namespace

const Workflow& WorkflowOf(storage::v1::Operation operation) {
  static const auto& workflows = *new std::vector<Workflow>{
      {storage::v1::PROTECT, ReplicationTasks(), storage::v1::ENABLING, storage::v1::PROTECTED,
       Discard},
      {storage::v1::REPROTECT, ReplicationTasks(), storage::v1::REPROTECTING,
       storage::v1::PROTECTED, Discard},
      {storage::v1::RESYNC,
       {{"Begin a synchronisation", RequestResync},
        {"Synchronise", AwaitSynchronisation},
        {"Make a recovery point", AwaitPoint}}},
      {storage::v1::REKEY,
       {{"Make a data key", MakeDataKey},
        {"Encrypt with it", UseDataKey},
        {"End the one before", EndDataKeys}},
       storage::v1::PROTECTION_STATE_UNSPECIFIED,
       storage::v1::PROTECTION_STATE_UNSPECIFIED,
       ForgetDataKey},
      {storage::v1::CREATE_POINT,
       {{"Ask for a recovery point", RequestPoint},
        {"Make a recovery point", AwaitRequestedPoint}}},
      {storage::v1::FAILBACK,
       {{"Stop the machine and send its last writes", QuiesceSource},
        {"Turn the machine off", PowerOffSource},
        {kChooseAndFence, ChooseAndFence},
        {"Bring the disks to the point", RecoverDisks},
        {"Hand the disks over", HandOverDisks},
        {"Start the machine", PowerOn, false}},
       storage::v1::FAILING_BACK,
       storage::v1::FAILED_BACK,
       UndoFailback},
      {storage::v1::COMMIT,
       // In this order: a job that an older program began has the first one only.
       {{"Remove the recovery points", ReleasePoints, false},
        {"Remove what the machine ran in", DiscardSource, false}},
       storage::v1::PROTECTION_STATE_UNSPECIFIED,
       storage::v1::COMMITTED},
      {storage::v1::REPAIR,
       {{"Remove the recovery points", EndReplica},
        {"Put the disks where they belong", RepairDisks},
        {"End the old generation", BeginReplicaAnew},
        {"Open the disks on the master target", IfReplicatedTo<AttachDisks>},
        {"Assign the process server", IfReplicatedTo<AwaitRelay>},
        {"Start replication", IfReplicatedTo<AwaitAgent>},
        {"Synchronise", IfReplicatedTo<AwaitSynchronisation>},
        {"Make a recovery point", IfReplicatedTo<AwaitPoint>}},
       storage::v1::PROTECTION_STATE_UNSPECIFIED,
       storage::v1::PROTECTION_STATE_UNSPECIFIED,
       UndoRepair,
       /*forgets_unprotected=*/false,
       /*on_vm=*/true},
      {storage::v1::TEST_FAILOVER,
       {{"Choose the point", ChooseTestPoint}, {"Start a copy of the machine", StartTest}},
       storage::v1::PROTECTION_STATE_UNSPECIFIED,
       storage::v1::PROTECTION_STATE_UNSPECIFIED,
       EndTest},
      {storage::v1::TEST_CLEANUP,
       {{"Remove the copy", EndTest, false}},
       storage::v1::PROTECTION_STATE_UNSPECIFIED,
       storage::v1::PROTECTION_STATE_UNSPECIFIED,
       /*undo=*/nullptr,
       /*forgets_unprotected=*/false,
       /*on_vm=*/false,
       /*on_test=*/true},
      {storage::v1::SWITCH_PROCESS_SERVER,
       {{"Choose the process server", ChooseProcessServer},
        {"Let it take the machine", AwaitProcessServer}},
       storage::v1::PROTECTION_STATE_UNSPECIFIED,
       storage::v1::PROTECTION_STATE_UNSPECIFIED,
       GiveBackToProcessServer},
      {storage::v1::COMPLETE_MIGRATION, {{"End failback for good", CompleteMigration, false}}},
      {storage::v1::REMOVE,
       {{"Remove the replica", Discard, false}},
       storage::v1::REMOVING,
       storage::v1::UNPROTECTED,
       /*undo=*/nullptr,
       /*forgets_unprotected=*/true},
  };
  const auto found = std::find_if(workflows.begin(), workflows.end(),
                                  [&](const Workflow& one) { return one.operation == operation; });
  HW_CHECK(found != workflows.end());
  return *found;
}

}  // namespace homeward
