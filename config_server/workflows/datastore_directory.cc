#include "absl/strings/str_cat.h"
#include "common/problem/problem.h"
#include "common/wire/time_proto.h"
#include "config_server/model/control_messages.h"
#include "config_server/model/rules.h"
#include "config_server/workflows/location.h"

namespace homeward {
StepResult AwaitPhase(const View& view, storage::v1::Machine* machine,
                      storage::v1::ReplicaPhase phase, const char* what) {
  machine->mutable_assignment()->mutable_state()->set_phase(phase);
  if (!view.fleet.connected(machine->assignment().placement().master_target_id()))
    return StepResult::Wait(absl::StrCat(view.ReceiverWord(*machine), " to connect"));
  const control::v1::ReplicaObserved* const replica = view.ReplicaOf(*machine);
  if (replica == nullptr) return StepResult::Wait(what);
  if (replica->has_problem() && !replica->problem().retryable())
    return StepResult::Fail(replica->problem());
  if (replica->phase() != ToControl(phase)) {
    return StepResult::Wait(replica->has_problem() ? replica->problem().message() : what);
  }
  return StepResult::Done();
}

StepResult AwaitEnd(const View& view, storage::v1::Machine* machine,
                    storage::v1::ReplicaPhase phase) {
  // A receiver that is gone for good must not keep the machine for ever.
  if (!view.Alive(machine->assignment().placement().master_target_id())) return StepResult::Done();
  const std::string remove =
      absl::StrCat(view.ReceiverWord(*machine), " to remove the recovery points");
  StepResult result = AwaitPhase(view, machine, phase, remove.c_str());
  return result.state == StepResult::State::kFailed ? StepResult::Wait(result.problem->message())
                                                    : result;
}

void NoteStarted(const View& view, storage::v1::Machine* machine) {
  *machine->mutable_handed_back_at() = ToProto(view.clock.Now());
  machine->clear_registered_at();
}

StepResult Location::TakeNewDisksBack(const View&, storage::v1::Machine*) {
  return StepResult::Done();
}

StepResult Location::StartTest(const View&, storage::v1::Machine*) {
  return StepResult::Fail(MakeProblem(ProblemId::kWrongState,
                                      "a copy can be started in Azure only, to test a machine"));
}

StepResult Location::EndTest(const View&, storage::v1::Machine*) { return StepResult::Done(); }

StepResult DatastoreDirectory::PowerOffTarget(const View&, storage::v1::Machine*) {
  return StepResult::Done();
}

StepResult DatastoreDirectory::AttachDisks(const View& view, storage::v1::Machine* machine) {
  return AwaitPhase(view, machine, storage::v1::FOLLOW, "the master target to create the disks");
}

StepResult DatastoreDirectory::HandOverDisks(const View& view, storage::v1::Machine* machine) {
  const control::v1::ReplicaObserved* const replica = view.ReplicaOf(*machine);
  if (replica == nullptr) return StepResult::Wait("the master target to connect");
  machine->clear_home_disks();
  for (const std::string& path : replica->disk_paths()) machine->add_home_disks(path);
  return StepResult::Done();
}

StepResult DatastoreDirectory::PowerOn(const View& view, storage::v1::Machine* machine) {
  NoteStarted(view, machine);
  return StepResult::Done();
}

StepResult DatastoreDirectory::TakeDisksBack(const View&, storage::v1::Machine*) {
  return StepResult::Done();
}

StepResult DatastoreDirectory::RepairDisks(const View&, storage::v1::Machine*, uint32_t*) {
  return StepResult::Done();
}

StepResult DatastoreDirectory::Discard(const View& view, storage::v1::Machine* machine,
                                       bool keep_disks) {
  return AwaitEnd(view, machine, keep_disks ? storage::v1::RELEASE : storage::v1::DELETE);
}

}  // namespace homeward
