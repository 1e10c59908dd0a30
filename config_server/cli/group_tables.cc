#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/wire/time_proto.h"
#include "config_server/cli/format.h"
#include "config_server/cli/tables.h"

namespace homeward {
namespace {

using admin::v1::ReplicationGroup;

std::string FormatEvery(const google::protobuf::Duration& interval) {
  const absl::Duration duration = FromProto(interval);
  return duration == absl::ZeroDuration() ? "when asked for" : FormatTimeSpan(duration);
}

const types::v1::RecoveryPoint* NewestOf(const ReplicationGroup& group, bool app) {
  const types::v1::RecoveryPoint* newest = nullptr;
  for (const types::v1::RecoveryPoint& point : group.common_points()) {
    if (!app || point.kind() == types::v1::APP_CONSISTENT) newest = &point;
  }
  return newest;
}

std::string FormatNewest(const types::v1::RecoveryPoint* point) {
  return point == nullptr ? "none" : absl::StrCat(point->id(), ", ", FormatTime(point->time()));
}

std::string FormatAttempt(const admin::v1::CommonPointAttempt& attempt) {
  if (!attempt.ended()) return "under way";
  if (attempt.missed().empty()) return "taken by all members";
  std::vector<std::string> missed;
  for (const admin::v1::MissedMember& one : attempt.missed())
    missed.push_back(absl::StrCat(one.machine(), ": ", one.why()));
  return absl::StrCat("missed: ", absl::StrJoin(missed, "; "));
}

std::vector<std::string> NamesOf(const ReplicationGroup& group) {
  std::vector<std::string> names;
  for (const admin::v1::GroupMember& member : group.members()) names.push_back(member.name());
  return names;
}

}  // namespace

std::string FormatGroup(const ReplicationGroup& group) {
  std::string out;
  AppendField("Name", group.name(), &out);
  AppendField("Common points every", FormatEvery(group.point_interval()), &out);
  AppendField("  App-consistent", FormatEvery(group.app_point_interval()), &out);
  AppendField("Newest common point", FormatNewest(NewestOf(group, /*app=*/false)), &out);
  AppendField("  App-consistent", FormatNewest(NewestOf(group, /*app=*/true)), &out);
  AppendField("Common points", absl::StrCat(group.common_points_size()), &out);
  const auto append = [&](const char* name, const admin::v1::CommonPointAttempt& attempt) {
    AppendField(name,
                absl::StrCat(attempt.point_id(), ", ", FormatTime(attempt.began()), ", ",
                             FormatAttempt(attempt)),
                &out);
  };
  if (group.has_last_attempt()) append("Last attempt", group.last_attempt());
  if (group.has_last_ended() && !group.last_attempt().ended())
    append("  The one before", group.last_ended());
  for (const admin::v1::GroupMember& member : group.members()) {
    AppendField("Member",
                absl::StrCat(member.name(), member.misses().empty() ? "" : ", takes no part now: ",
                             member.misses()),
                &out);
  }
  return out;
}

std::string FormatGroups(const admin::v1::ListGroupsResponse& response) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "COMMON POINTS EVERY", "APP-CONSISTENT", "NEWEST COMMON POINT", "MEMBERS"}};
  for (const ReplicationGroup& group : response.groups()) {
    const types::v1::RecoveryPoint* const newest = NewestOf(group, /*app=*/false);
    rows.push_back({group.name(), FormatEvery(group.point_interval()),
                    FormatEvery(group.app_point_interval()),
                    newest == nullptr ? "none" : FormatTime(newest->time()),
                    absl::StrJoin(NamesOf(group), ", ")});
  }
  return FormatTable(rows);
}

}  // namespace homeward
