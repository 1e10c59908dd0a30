// What of Operations is about replication groups.
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "config_server/model/groups.h"
#include "config_server/operations/convert.h"
#include "config_server/operations/operations.h"

namespace homeward {
namespace {

using storage::v1::Machine;

admin::v1::CommonPointAttempt Convert(const View& view, const CommonPoints::Attempt& attempt) {
  admin::v1::CommonPointAttempt out;
  out.set_point_id(attempt.point.point_id());
  out.set_kind(attempt.point.kind());
  *out.mutable_began() = ToProto(attempt.began);
  out.set_ended(attempt.ended);
  for (const auto& [machine_id, why] : attempt.missed) {
    admin::v1::MissedMember& missed = *out.add_missed();
    missed.set_machine(view.MachineName(machine_id));
    missed.set_why(why);
  }
  return out;
}

admin::v1::ReplicationGroup Convert(const Brain& brain,
                                    const storage::v1::ReplicationGroup& group) {
  admin::v1::ReplicationGroup out;
  const View view = brain.MakeView();
  const std::vector<const Machine*> members = MembersOf(view, group.name());
  out.set_name(group.name());
  *out.mutable_point_interval() = group.point_interval();
  *out.mutable_app_point_interval() = group.app_point_interval();
  for (const Machine* const member : members) {
    admin::v1::GroupMember& shown = *out.add_members();
    shown.set_name(NameOf(*member));
    shown.set_misses(MissesCommonPoints(view, *member));
  }
  for (types::v1::RecoveryPoint& point : CommonPointsOf(view, members))
    *out.add_common_points() = std::move(point);
  const CommonPoints& points = brain.common_points();
  if (const CommonPoints::Attempt* const last = points.LastOf(group.name()))
    *out.mutable_last_attempt() = Convert(view, *last);
  if (const CommonPoints::Attempt* const ended = points.LastEndedOf(group.name()))
    *out.mutable_last_ended() = Convert(view, *ended);
  return out;
}

// What a request says of a group.
template <typename Request>
absl::StatusOr<Groups::Wish> WishOf(const Brain& brain, const Request& request) {
  Groups::Wish wish;
  wish.group.set_name(request.name());
  if (request.has_point_interval()) *wish.group.mutable_point_interval() = request.point_interval();
  if (request.has_app_point_interval())
    *wish.group.mutable_app_point_interval() = request.app_point_interval();
  if (request.machines().empty()) return wish;
  wish.machine_ids.emplace();
  for (const std::string& id_or_name : request.machines()) {
    HW_ASSIGN_OR_RETURN(const Machine machine, brain.FindMachine(id_or_name));
    wish.machine_ids->push_back(machine.machine_id());
  }
  return wish;
}

}  // namespace

absl::Status Operations::ListGroups(const admin::v1::ListGroupsRequest&,
                                    admin::v1::ListGroupsResponse* response) const {
  for (const storage::v1::ReplicationGroup& group : brain_.groups().All())
    *response->add_groups() = Convert(brain_, group);
  return absl::OkStatus();
}

absl::Status Operations::GetGroup(const admin::v1::GetGroupRequest& request,
                                  admin::v1::ReplicationGroup* response) const {
  HW_ASSIGN_OR_RETURN(const storage::v1::ReplicationGroup group,
                      brain_.groups().Find(request.name()));
  *response = Convert(brain_, group);
  return absl::OkStatus();
}

absl::Status Operations::CreateGroup(const admin::v1::CreateGroupRequest& request,
                                     admin::v1::ReplicationGroup* response) {
  HW_ASSIGN_OR_RETURN(const Groups::Wish wish, WishOf(brain_, request));
  HW_ASSIGN_OR_RETURN(const storage::v1::ReplicationGroup group,
                      brain_.groups().Create(brain_.MakeView(), wish));
  *response = Convert(brain_, group);
  return absl::OkStatus();
}

absl::Status Operations::ChangeGroup(const admin::v1::ChangeGroupRequest& request,
                                     admin::v1::ReplicationGroup* response) {
  HW_ASSIGN_OR_RETURN(const Groups::Wish wish, WishOf(brain_, request));
  HW_ASSIGN_OR_RETURN(const storage::v1::ReplicationGroup group,
                      brain_.groups().Change(brain_.MakeView(), wish));
  *response = Convert(brain_, group);
  return absl::OkStatus();
}

absl::Status Operations::DeleteGroup(const admin::v1::DeleteGroupRequest& request,
                                     admin::v1::ReplicationGroup* response) {
  HW_ASSIGN_OR_RETURN(const storage::v1::ReplicationGroup group,
                      brain_.groups().Find(request.name()));
  *response = Convert(brain_, group);
  return brain_.groups().Delete(brain_.MakeView(), request.name()).status();
}

absl::Status Operations::CreateCommonPoint(const admin::v1::CreateCommonPointRequest& request,
                                           admin::v1::ReplicationGroup* response) {
  const types::v1::PointKind kind = request.kind() == types::v1::APP_CONSISTENT
                                        ? types::v1::APP_CONSISTENT
                                        : types::v1::CRASH_CONSISTENT;
  HW_RETURN_IF_ERROR(brain_.BeginCommonPoint(request.group(), kind).status());
  HW_ASSIGN_OR_RETURN(const storage::v1::ReplicationGroup group,
                      brain_.groups().Find(request.group()));
  *response = Convert(brain_, group);
  return absl::OkStatus();
}

}  // namespace homeward
