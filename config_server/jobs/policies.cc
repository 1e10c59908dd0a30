#include "config_server/jobs/policies.h"

#include <optional>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/check.h"
#include "common/base/name.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "config_server/model/view.h"

namespace homeward {
namespace {

using storage::v1::Job;
using storage::v1::Machine;
using storage::v1::NamedPolicy;
using storage::v1::Policy;

constexpr size_t kPolicyNameBytesMax = 64;
constexpr size_t kNamesShownMax = 5;

absl::Status Wrong(const types::v1::Problem& problem) {
  return ToStatus(problem, absl::StatusCode::kInvalidArgument);
}

std::string NamesOf(const std::vector<const Machine*>& machines) {
  std::vector<std::string> names;
  for (const Machine* machine : machines) {
    if (names.size() == kNamesShownMax) break;
    names.push_back(NameOf(*machine));
  }
  const size_t more = machines.size() - names.size();
  return absl::StrCat(absl::StrJoin(names, ", "),
                      more == 0 ? "" : absl::StrCat(" and ", more, " more"));
}

}  // namespace

Policies::Policies(const Clock& clock, absl::Duration rpo_threshold, Records* records)
    : clock_(clock), rpo_threshold_(rpo_threshold), records_(*records) {
  MakeFailback();
  TakeOlderRecords();
}

void Policies::MakeFailback() {
  if (records_.store().Get<NamedPolicy>(kFailbackPolicy).has_value()) return;
  NamedPolicy failback;
  failback.set_name(kFailbackPolicy);
  *failback.mutable_policy() = FailbackPolicy();
  Store::Transaction transaction;
  transaction.Put(kFailbackPolicy, failback);
  records_.Commit(transaction);
}

// What is in force stays so: only who said it becomes known.
void Policies::TakeOlderRecords() {
  Store::Transaction transaction;
  const auto take = [&](const Machine& machine, storage::v1::Assignment* assignment) {
    const absl::StatusOr<NamedPolicy> named = Find(PolicyNameOf(machine));
    if (!named.ok() || assignment->has_own_policy()) return false;
    *assignment->mutable_own_policy() = OwnPolicyOf(*assignment, named->policy());
    return true;
  };
  for (const Machine& known : records_.machines()) {
    Machine machine = known;
    if (machine.has_assignment() && take(machine, machine.mutable_assignment()))
      transaction.Put(machine.machine_id(), machine);
  }
  for (const std::string& job_id : records_.running_jobs()) {
    std::optional<Job> job = records_.store().Get<Job>(job_id);
    const Machine* const machine = job ? records_.FindMachine(job->subject()) : nullptr;
    if (machine != nullptr && job->has_wanted() && take(*machine, job->mutable_wanted()))
      transaction.Put(job_id, *job);
  }
  if (!transaction.empty()) records_.Commit(transaction);
}

std::vector<NamedPolicy> Policies::All() const { return records_.store().All<NamedPolicy>(); }

absl::StatusOr<NamedPolicy> Policies::Find(const std::string& name) const {
  std::optional<NamedPolicy> policy = records_.store().Get<NamedPolicy>(name);
  if (policy.has_value()) return *std::move(policy);
  return ToStatus(MakeProblem(ProblemId::kPolicyUnknown,
                              absl::StrCat("there is no policy \"", absl::CHexEscape(name), "\"")),
                  absl::StatusCode::kNotFound);
}

std::vector<const Machine*> Policies::MachinesOf(const std::string& name) const {
  std::vector<const Machine*> machines;
  for (const Machine& machine : records_.machines()) {
    if (PolicyNameOf(machine) == name) machines.push_back(&machine);
  }
  return machines;
}

absl::StatusOr<NamedPolicy> Policies::Create(const std::string& name, const Policy& said) {
  const std::string wrong = WrongInPlainName(name, kPolicyNameBytesMax);
  if (!wrong.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("\"", absl::Utf8SafeCHexEscape(name),
                                                   "\" cannot be a policy's name: it ", wrong));
  }
  if (Find(name).ok()) {
    return Refused(MakeProblem(ProblemId::kPolicyExists,
                               absl::StrCat("there is a policy ", name, " already")));
  }
  HW_ASSIGN_OR_RETURN(const NamedPolicy failback, Find(kFailbackPolicy));
  NamedPolicy created;
  created.set_name(name);
  *created.mutable_policy() = Over(failback.policy(), said);
  if (Refusal refusal = CheckNamedPolicy(created.policy(), rpo_threshold_)) return Wrong(*refusal);
  Store::Transaction transaction;
  transaction.Put(name, created);
  Commit("policy.created", "", name, &transaction);
  return created;
}

absl::Status Policies::PutFollower(Machine machine, const Policy& named, const OwnOf& own_of,
                                   Store::Transaction* transaction) const {
  const auto follow = [&](storage::v1::Assignment* assignment) -> absl::Status {
    SetPolicy(named, own_of(*assignment), assignment);
    if (Refusal refusal = CheckPolicyInForce(assignment->policy())) {
      refusal->set_message(
          absl::StrCat(NameOf(machine), " has settings of its own: ", refusal->message()));
      return Wrong(*refusal);
    }
    return absl::OkStatus();
  };
  if (machine.has_assignment()) HW_RETURN_IF_ERROR(follow(machine.mutable_assignment()));
  transaction->Put(machine.machine_id(), machine);
  std::optional<Job> job = records_.store().Get<Job>(machine.job_id());
  if (!job.has_value() || !job->has_wanted()) return absl::OkStatus();
  HW_RETURN_IF_ERROR(follow(job->mutable_wanted()));
  transaction->Put(job->id(), *job);
  return absl::OkStatus();
}

absl::StatusOr<NamedPolicy> Policies::Change(const std::string& name, const Policy& said) {
  HW_ASSIGN_OR_RETURN(const NamedPolicy before, Find(name));
  NamedPolicy changed = before;
  *changed.mutable_policy() = Over(before.policy(), said);
  if (changed.SerializeAsString() == before.SerializeAsString()) return before;
  if (Refusal refusal = CheckNamedPolicy(changed.policy(), rpo_threshold_)) return Wrong(*refusal);
  *changed.mutable_changed() = ToProto(clock_.Now());
  Store::Transaction transaction;
  transaction.Put(name, changed);
  const auto own_of = [&](const storage::v1::Assignment& assignment) {
    return OwnPolicyOf(assignment, before.policy());
  };
  for (const Machine* const machine : MachinesOf(name))
    HW_RETURN_IF_ERROR(PutFollower(*machine, changed.policy(), own_of, &transaction));
  Commit("policy.changed", "", name, &transaction);
  return changed;
}

absl::StatusOr<NamedPolicy> Policies::Delete(const std::string& name) {
  HW_ASSIGN_OR_RETURN(const NamedPolicy policy, Find(name));
  if (name == kFailbackPolicy) {
    return Refused(MakeProblem(ProblemId::kPolicyBuiltIn,
                               "the policy failback is what machines follow by default"));
  }
  const std::vector<const Machine*> machines = MachinesOf(name);
  if (!machines.empty()) {
    return Refused(
        MakeProblem(ProblemId::kPolicyInUse,
                    absl::StrCat("policy ", name, " is followed by ", NamesOf(machines))));
  }
  Store::Transaction transaction;
  transaction.Remove<NamedPolicy>(name);
  Commit("policy.deleted", "", name, &transaction);
  return policy;
}

absl::StatusOr<Machine> Policies::Assign(Machine machine, const std::string& name,
                                         const Policy& own) {
  HW_ASSIGN_OR_RETURN(const NamedPolicy named, Find(name));
  if (own.ByteSizeLong() > 0 && !machine.has_assignment() && machine.job_id().empty()) {
    return Refused(
        MakeProblem(ProblemId::kNotProtected,
                    absl::StrCat(NameOf(machine),
                                 " is not replicated: say what is for it alone when it is "
                                 "protected")));
  }
  machine.set_policy_name(name);
  const auto own_of = [&](const storage::v1::Assignment&) { return own; };
  Store::Transaction transaction;
  HW_RETURN_IF_ERROR(PutFollower(machine, named.policy(), own_of, &transaction));
  Commit("machine.policy_set", machine.machine_id(), name, &transaction);
  return *records_.FindMachine(machine.machine_id());
}

absl::Status Policies::Begin(const Machine& machine, const std::string& name, const Policy& own,
                             Job* job) const {
  HW_ASSIGN_OR_RETURN(const NamedPolicy named, Find(name.empty() ? PolicyNameOf(machine) : name));
  job->set_policy_name(name);
  SetPolicy(named.policy(), own, job->mutable_wanted());
  if (Refusal refusal = CheckPolicyInForce(job->wanted().policy())) return Wrong(*refusal);
  return absl::OkStatus();
}

void Policies::Commit(const std::string& event, const std::string& machine_id,
                      const std::string& text, Store::Transaction* transaction) {
  storage::v1::Event noted;
  noted.set_name(event);
  noted.set_machine_id(machine_id);
  noted.set_text(text);
  records_.PutEvent(transaction, std::move(noted));
  records_.Commit(*transaction);
}

}  // namespace homeward
