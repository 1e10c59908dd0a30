#include "config_server/jobs/registrations.h"
#include "config_server/model/rules.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "config_server/model/boots.h"
#include "config_server/model/control_messages.h"
#include "config_server/model/copies.h"
#include "config_server/model/vm_search.h"

namespace homeward {

using storage::v1::Machine;

uint64_t Registrations::RegisterServer(const control::v1::Registration& registration,
                                       Fleet::Session session) {
  const std::string& id = registration.host_id();
  const storage::v1::Server* const known = records_.FindServer(id);
  storage::v1::Server server = known == nullptr ? storage::v1::Server() : *known;
  server.set_host_id(id);
  server.set_role(registration.role());
  *server.mutable_registration() = ToStorage(registration);
  *server.mutable_registered_at() = ToProto(clock_.Now());
  Store::Transaction transaction;
  transaction.Put(id, server);
  records_.Commit(transaction);
  return fleet_.Connect(id, std::move(session));
}

absl::Status Registrations::CheckLeftBehind(const control::v1::Registration& registration,
                                            const storage::v1::Incarnation& copy, Machine machine) {
  const auto& retired = machine.retired_boot_ids();
  const bool retired_boot =
      std::find(retired.begin(), retired.end(), registration.boot_id()) != retired.end();
  const bool retired_hardware = !machine.retired_hardware_uuid().empty() &&
                                machine.retired_hardware_uuid() == registration.hardware_uuid();
  if (!machine.has_handed_back_at() || (!retired_boot && !retired_hardware))
    return absl::OkStatus();
  Store::Transaction transaction;
  if (!retired_boot) {
    // By its hardware it is known only until the next failback.
    Retire(registration.boot_id(), &machine);
    transaction.Put(registration.host_id(), machine);
  }
  const std::string why = absl::StrCat(DescribeCopy(copy), " is a copy of ", registration.name(),
                                       " that was left behind when it moved; the machine is at "
                                       "generation ",
                                       machine.generation());
  if (!fleet_.NoteRefused(registration.host_id(), {copy, why, ProblemId::kForeignConfigServer})) {
    storage::v1::Event event;
    event.set_name("machine.left_behind_refused");
    event.set_machine_id(registration.host_id());
    event.set_text(why);
    records_.PutEvent(&transaction, event);
  }
  records_.Commit(transaction);
  return Refused(MakeProblem(ProblemId::kForeignConfigServer, why));
}

absl::StatusOr<uint64_t> Registrations::Register(const control::v1::Registration& registration,
                                                 Fleet::Session session) {
  if (registration.role() != types::v1::AGENT)
    return RegisterServer(registration, std::move(session));
  const std::string& id = registration.host_id();
  const Machine* const known = records_.FindMachine(id);
  Machine machine = known == nullptr ? Machine() : *known;
  session.incarnation = absl::StrCat(registration.boot_id(), "/", registration.incarnation());
  const storage::v1::Registration stored = ToStorage(registration);
  storage::v1::Incarnation copy = IncarnationOf(stored);
  copy.set_start(registration.incarnation());
  copy.set_address(session.address);
  HW_RETURN_IF_ERROR(CheckLeftBehind(registration, copy, machine));
  if (absl::Status admitted = Admit(registration, copy, &machine); !admitted.ok()) return admitted;
  if (machine.machine_id().empty()) {
    machine.set_machine_id(id);
    machine.set_state(storage::v1::UNPROTECTED);
    machine.set_generation(
        records_.store().Get<storage::v1::Meta>(Store::kOnly)->forgotten_generation());
  }
  // While its disks are brought to a point, only the old copy can be talking.
  const bool counts = machine.state() != storage::v1::FAILING_BACK ||
                      machine.assignment().state().phase() != storage::v1::RECOVER;
  if (counts) {
    NoteBoot(registration, clock_.Now(), &machine);
    *machine.mutable_registration() = stored;
    *machine.mutable_registered_at() = ToProto(clock_.Now());
  }
  Store::Transaction transaction;
  transaction.Put(id, machine);
  storage::v1::Event event;
  event.set_name("machine.registered");
  event.set_machine_id(id);
  event.set_text(absl::StrCat(registration.name(), ", boot ", registration.boot_id(), ", ",
                              registration.disks_size(), " disks"));
  records_.PutEvent(&transaction, event);
  records_.Commit(transaction);
  return fleet_.Connect(id, std::move(session));
}

absl::Status Registrations::Admit(const control::v1::Registration& registration,
                                  const storage::v1::Incarnation& copy, Machine* machine) {
  const std::string& id = registration.host_id();
  const absl::Duration started = registration.has_running_for()
                                     ? clock_.Monotonic() - FromProto(registration.running_for())
                                     : absl::InfiniteDuration();
  CopyVerdict verdict = JudgeCopy(view_(), *machine, copy, started);
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
  fleet_.NoteRefused(id, {copy, verdict.why});
  if (NoteRefusedCopy(copy, machine)) {
    Store::Transaction transaction;
    transaction.Put(id, *machine);
    storage::v1::Event event;
    event.set_name("machine.clone_refused");
    event.set_machine_id(id);
    event.set_text(verdict.why);
    records_.PutEvent(&transaction, event);
    records_.Commit(transaction);
  }
  return Refused(MakeProblem(ProblemId::kAgentCloned, verdict.why));
}

absl::StatusOr<Machine> Registrations::AcceptCopy(Machine machine, const std::string& wish) {
  std::vector<storage::v1::Incarnation> found;
  for (const RefusedCopy& refused :
       fleet_.state().RefusedCopies(machine.machine_id(), clock_.Monotonic())) {
    const storage::v1::Incarnation& copy = refused.copy;
    if (refused.problem != ProblemId::kAgentCloned) continue;  // it is over, whoever says otherwise
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
  records_.PutEvent(&transaction, event);
  records_.Commit(transaction);
  fleet_.ForgetRefused(machine.machine_id());
  return machine;
}

absl::StatusOr<storage::v1::Server> Registrations::Identify(storage::v1::Server server,
                                                            const std::string& vm) {
  server.clear_chosen_vm();
  if (!vm.empty()) {
    Choice choice = ChooseVm(view_(), IdentityOfServer(view_(), server), vm);
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
  records_.PutEvent(&transaction, event);
  records_.Commit(transaction);
  return server;
}

}  // namespace homeward
