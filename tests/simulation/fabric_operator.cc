#include <algorithm>

#include "absl/algorithm/container.h"
#include "common/rpc/problem_status.h"
#include "common/wire/time_proto.h"
#include "config_server/model/location_rules.h"
#include "tests/simulation/fabric_cluster.h"

namespace homeward::simulation {

using storage::v1::Operation;

void Fabric::ScheduleOperator(Guest* guest) {
  world_.After(
      world_.Between(absl::Milliseconds(200), faulty() ? absl::Seconds(5) : absl::Seconds(1)),
      [this, guest] {
        Ask([&](Brain& brain) {
          const auto machine = brain.store().Get<Machine>(guest->id);
          if (azure_ != nullptr) StartByHand(brain, guest);
          if (!machine.has_value()) return;
          if (faulty() && world_.Chance(0.05)) return MeddleWithAll(brain);
          faulty() ? Meddle(brain, guest, *machine) : GoHome(brain, guest, *machine);
        });
        ScheduleOperator(guest);
      });
}

void Fabric::ScheduleFailback(Guest* guest) {
  world_.After(world_.Between(absl::Milliseconds(1), absl::Seconds(1)), [this, guest] {
    Ask([&](Brain& brain) {
      const auto machine = brain.store().Get<Machine>(guest->id);
      if (machine.has_value() && machine->state() == storage::v1::PROTECTED &&
          machine->job_id().empty())
        Start(brain, guest, *machine, storage::v1::FAILBACK);
    });
  });
}

void Fabric::Meddle(Brain& brain, Guest* guest, const Machine& machine) {
  if (!machine.job_id().empty()) {
    // Half of the operators cancel a lot, and want it again at once.
    if (!world_.Chance(few_kinds_ ? 0.35 : 0.1)) return;
    const absl::StatusOr<Job> cancelled = brain.CancelJob(machine.job_id());
    Say(absl::StrCat("operator: cancel ", machine.job_id(), ": ", cancelled.status().ToString()));
    if (few_kinds_ && cancelled.ok() && cancelled->operation() == storage::v1::FAILBACK)
      ScheduleFailback(guest);
    return;
  }
  static const auto& kOperations = *new std::vector<Operation>{
      storage::v1::PROTECT,  storage::v1::REPROTECT, storage::v1::RESYNC, storage::v1::CREATE_POINT,
      storage::v1::FAILBACK, storage::v1::COMMIT,    storage::v1::REMOVE};
  std::vector<Operation> wishes = AllowedOperations(machine);
  if (!encrypts_)
    wishes.erase(std::remove(wishes.begin(), wishes.end(), storage::v1::REKEY), wishes.end());
  if (world_.Chance(0.1)) wishes = kOperations;  // Also what cannot be.
  if (azure_ != nullptr && world_.Chance(0.05))
    wishes = {storage::v1::TEST_FAILOVER, storage::v1::TEST_CLEANUP, storage::v1::FAILBACK};
  if (wishes.empty()) return;
  Operation operation = wishes[world_.Pick(wishes.size())];
  // Round the circle.
  constexpr Operation kRound[] = {storage::v1::PROTECT, storage::v1::FAILBACK, storage::v1::COMMIT,
                                  storage::v1::REPROTECT};
  if (azure_ != nullptr && world_.Chance(0.5)) {
    for (const Operation next : kRound) {
      if (absl::c_linear_search(wishes, next)) operation = next;
    }
  }
  if (operation == storage::v1::REMOVE && world_.Chance(0.7)) return;
  // A machine that is forgotten is forgotten with the copies it left behind.
  const bool haunted = std::any_of(guest->copies.begin(), guest->copies.end(),
                                   [](const auto& copy) { return copy->left_behind; }) ||
                       std::any_of(guest->clones.begin(), guest->clones.end(),
                                   [](const auto& clone) { return clone->host.up; });
  if (operation == storage::v1::REMOVE && machine.state() == storage::v1::UNPROTECTED && haunted)
    return;
  // Once it was started, an operator would have to turn it off first. In Azure another point makes
  // it anew.
  const bool to_azure = machine.assignment().placement().location() == storage::v1::AZURE_VM;
  if (operation == storage::v1::FAILBACK && machine.state() == storage::v1::FAILED_BACK &&
      !to_azure && !guest->boots)
    return;
  // Both end its way home for good; and what is forgotten is not known to live there.
  if (machine.has_azure_vm() && operation == storage::v1::REMOVE &&
      (machine.state() == storage::v1::UNPROTECTED || world_.Chance(0.8)))
    return;
  if (operation == storage::v1::COMPLETE_MIGRATION && world_.Chance(0.8)) return;
  Start(brain, guest, machine, operation);
}

void Fabric::MeddleWithAll(Brain& brain) {
  if (!last_parent_.empty() && world_.Chance(0.3)) {
    Say(absl::StrCat("operator: cancel ", last_parent_, ": ",
                     brain.CancelJob(last_parent_).status().ToString()));
    return;
  }
  std::vector<std::string> ids;
  for (const auto& guest : machines_) ids.push_back(guest->id);
  Job each;
  each.set_operation(storage::v1::CREATE_POINT);
  each.set_point_kind(types::v1::CRASH_CONSISTENT);
  const absl::StatusOr<Job> started = brain.StartForEach(each, ids);
  if (started.ok()) last_parent_ = started->id();
  Say(absl::StrCat("operator: points of all machines: ", started.status().ToString()));
}

void Fabric::GoHome(Brain& brain, Guest* guest, const Machine& machine) {
  if (!machine.job_id().empty() || guest->home || guest->boots) return;
  if (machine.has_test()) return Start(brain, guest, machine, storage::v1::TEST_CLEANUP);
  if (machine.has_azure_vm() &&
      (machine.migrated() || machine.state() == storage::v1::UNPROTECTED)) {
    guest->home = true;
    return CheckStays(*guest, machine);
  }
  if (guest->was_home_again && machine.state() == storage::v1::COMMITTED) {
    guest->home = true;
    return CheckGone(*guest);
  }
  switch (machine.state()) {
    case storage::v1::UNPROTECTED:
      return Start(brain, guest, machine, storage::v1::PROTECT);
    case storage::v1::FAILED_BACK: {
      // Nothing runs where another point was to be taken, and was not.
      const bool runs = !RulesOf(machine).CheckCommit(machine).has_value();
      return Start(brain, guest, machine, runs ? storage::v1::COMMIT : storage::v1::FAILBACK);
    }
    case storage::v1::COMMITTED:
      return Start(brain, guest, machine, storage::v1::REPROTECT);
    case storage::v1::PROTECTED: {
      Copy& copy = *guest->copies.back();
      guest->resting = true;
      if (copy.protection == nullptr) return;
      const control::v1::AgentObserved seen = copy.protection->observed();
      if (seen.generation() != machine.generation() || seen.syncing() || seen.pending_bytes() > 0)
        return;
      return Start(brain, guest, machine, storage::v1::FAILBACK);
    }
    default:
      return;
  }
}

std::string Fabric::APoint(const View& view, const Machine& machine) {
  const control::v1::ReplicaObserved* const replica = view.ReplicaOf(machine);
  if (!faulty() || replica == nullptr || replica->points_size() == 0 || !world_.Chance(0.5))
    return "latest";
  const auto count = static_cast<uint64_t>(replica->points_size());
  return replica->points(static_cast<int>(world_.Pick(count))).id();
}

void Fabric::Start(Brain& brain, Guest* guest, const Machine& machine, Operation operation) {
  const std::map<std::string, std::string> before = records_.by_key;
  Job job;
  job.set_operation(operation);
  job.set_subject(machine.machine_id());
  std::string chosen_vm;
  absl::Status wrong;
  const View view = brain.MakeView();
  Copy& copy = *guest->copies.back();
  if (vcenter_ != nullptr && faulty() && operation == storage::v1::REPROTECT && world_.Chance(0.3))
    DeleteVm(machine);
  if (Refusal refusal = CheckOperation(view, machine, operation)) wrong = Refused(*refusal);
  if (operation == storage::v1::PROTECT || operation == storage::v1::REPROTECT) {
    if (wrong.ok() && machine.has_handed_back_at() && !machine.has_registered_at())
      Fail(absl::StrCat(guest->id, " can be reprotected before its agent registers"));
    Placed placed = Place(view, machine, WishOf(view, *guest, machine, operation));
    if (wrong.ok() && placed.refusal) wrong = Refused(*placed.refusal);
    chosen_vm = placed.chosen_vm;
    storage::v1::Policy& policy = *job.mutable_wanted()->mutable_policy();
    *policy.mutable_point_interval() = ToProto(guest->point_interval);
    *policy.mutable_retention_age() = ToProto(absl::Hours(24));
    policy.set_retention_bytes(guest->retention_bytes);
    *job.mutable_wanted()->mutable_placement() = std::move(placed.placement);
  } else if (operation == storage::v1::FAILBACK) {
    job.set_point(APoint(view, machine));
    job.set_source_lost(faulty() && world_.Chance(0.2));
  } else if (operation == storage::v1::REMOVE) {
    job.set_keep_disks(true);
  } else if (operation == storage::v1::TEST_FAILOVER) {
    job.set_point(APoint(view, machine));
    const storage::v1::AzureSite& site = azure_->cloud.site;
    job.set_test_subnet(world_.Chance(0.1) ? site.subnet() : site.test_subnet());
    const Refusal refusal = RulesOf(machine).CheckTest(view, machine, job.test_subnet());
    if (wrong.ok() && refusal) wrong = Refused(*refusal);
  }
  if (wrong.ok()) {
    // Known before it is asked: the answer may be lost.
    if (operation == storage::v1::FAILBACK) {
      guest->order_at_start = points_made_;
      // Azure may still be at work on what an earlier job asked for.
      const bool stays_on =
          copy.in_azure.empty() || azure_->cloud.vms[copy.in_azure].power == "running";
      guest->could_stop = machine.state() == storage::v1::PROTECTED && !job.source_lost() &&
                          view.Alive(machine.machine_id()) && copy.host.up && stays_on;
      guest->wish = job.point();
      // With another point it is as lost as it was.
      guest->source_lost =
          job.source_lost() || (guest->source_lost && machine.state() == storage::v1::FAILED_BACK);
    }
    const absl::StatusOr<Job> started = brain.StartJob(job, chosen_vm);
    wrong = started.status();
    if (started.ok()) jobs_[started->id()] = started->state();
  }
  Say(absl::StrCat("operator: ", OperationName(operation), " ", guest->id, ": ", wrong.ToString()));
  ++(wrong.ok() ? outcome_.jobs : outcome_.refusals);
  if (!wrong.ok() && records_.by_key != before)
    Fail("a refused " + OperationName(operation) + " changed records");
}

}  // namespace homeward::simulation
