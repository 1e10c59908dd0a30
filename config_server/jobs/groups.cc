#include "config_server/jobs/groups.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/limits.h"
#include "common/base/name.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "config_server/model/groups.h"

namespace homeward {
namespace {

using storage::v1::Machine;
using storage::v1::ReplicationGroup;

constexpr size_t kGroupNameBytesMax = 64;

Refusal CheckInterval(const char* what, const google::protobuf::Duration& interval) {
  const absl::Duration time = FromProto(interval);
  if (time == absl::ZeroDuration() || (time >= kPointIntervalMin && time <= kPolicyDurationMax))
    return std::nullopt;
  return MakeProblem(ProblemId::kGroupInterval,
                     absl::StrCat(what, " cannot be ", absl::FormatDuration(time), " apart"));
}

void TakeIntervals(const ReplicationGroup& said, ReplicationGroup* group) {
  if (said.has_point_interval()) *group->mutable_point_interval() = said.point_interval();
  if (said.has_app_point_interval())
    *group->mutable_app_point_interval() = said.app_point_interval();
}

}  // namespace

std::vector<ReplicationGroup> Groups::All() const {
  return records_.store().All<ReplicationGroup>();
}

absl::StatusOr<ReplicationGroup> Groups::Find(const std::string& name) const {
  std::optional<ReplicationGroup> group = records_.store().Get<ReplicationGroup>(name);
  if (group.has_value()) return *std::move(group);
  return ToStatus(MakeProblem(ProblemId::kGroupUnknown,
                              absl::StrCat("there is no group \"", absl::CHexEscape(name), "\"")),
                  absl::StatusCode::kNotFound);
}

absl::StatusOr<ReplicationGroup> Groups::Create(const View& view, const Wish& wish) {
  const std::string& name = wish.group.name();
  const std::string wrong = WrongInPlainName(name, kGroupNameBytesMax);
  if (!wrong.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("\"", absl::Utf8SafeCHexEscape(name),
                                                   "\" cannot be a group's name: it ", wrong));
  }
  if (Find(name).ok()) {
    return Refused(
        MakeProblem(ProblemId::kGroupExists, absl::StrCat("there is a group ", name, " already")));
  }
  HW_ASSIGN_OR_RETURN(const storage::v1::NamedPolicy failback, policies_.Find(kFailbackPolicy));
  ReplicationGroup group;
  group.set_name(name);
  *group.mutable_point_interval() = failback.policy().point_interval();
  *group.mutable_app_point_interval() = failback.policy().app_point_interval();
  *group.mutable_created() = ToProto(clock_.Now());
  return Put(view, std::move(group), wish, "group.created");
}

absl::StatusOr<ReplicationGroup> Groups::Change(const View& view, const Wish& wish) {
  HW_ASSIGN_OR_RETURN(ReplicationGroup group, Find(wish.group.name()));
  return Put(view, std::move(group), wish, "group.changed");
}

absl::StatusOr<ReplicationGroup> Groups::Put(const View& view, ReplicationGroup group,
                                             const Wish& wish, const std::string& event) {
  TakeIntervals(wish.group, &group);
  Refusal refusal = CheckInterval("common points", group.point_interval());
  if (!refusal)
    refusal = CheckInterval("application-consistent common points", group.app_point_interval());
  if (refusal) return ToStatus(*refusal, absl::StatusCode::kInvalidArgument);
  Store::Transaction transaction;
  transaction.Put(group.name(), group);
  if (!wish.machine_ids.has_value()) {
    Commit(event, group.name(), &transaction);
    return group;
  }
  std::vector<const Machine*> members;
  for (const Machine& machine : view.machines) {
    const bool wanted = absl::c_linear_search(*wish.machine_ids, machine.machine_id());
    const bool is_member = machine.replication_group() == group.name();
    if (wanted && !is_member && !machine.replication_group().empty()) {
      return Refused(MakeProblem(
          ProblemId::kGroupOfAnother,
          absl::StrCat(NameOf(machine), " is a member of group ", machine.replication_group())));
    }
    if (wanted) members.push_back(&machine);
    if (wanted == is_member) continue;
    Machine changed = machine;
    changed.set_replication_group(wanted ? group.name() : "");
    transaction.Put(changed.machine_id(), changed);
  }
  refusal = CheckMembers(view, members);
  if (refusal) return Refused(*refusal);
  Commit(event, group.name(), &transaction);
  return group;
}

absl::StatusOr<ReplicationGroup> Groups::Delete(const View& view, const std::string& name) {
  HW_ASSIGN_OR_RETURN(const ReplicationGroup group, Find(name));
  Store::Transaction transaction;
  transaction.Remove<ReplicationGroup>(name);
  for (const Machine* const member : MembersOf(view, name)) {
    Machine changed = *member;
    changed.clear_replication_group();
    transaction.Put(changed.machine_id(), changed);
  }
  Commit("group.deleted", name, &transaction);
  return group;
}

void Groups::Commit(const std::string& event, const std::string& text,
                    Store::Transaction* transaction) {
  storage::v1::Event noted;
  noted.set_name(event);
  noted.set_text(text);
  records_.PutEvent(transaction, std::move(noted));
  records_.Commit(*transaction);
  ++revision_;
}

}  // namespace homeward
