#include "config_server/model/groups.h"

#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "config_server/model/operation.h"

namespace homeward {
namespace {

using storage::v1::Machine;
using types::v1::RecoveryPoint;

bool IsCommon(const RecoveryPoint& point) {
  return absl::StartsWith(point.id(), kCommonPointPrefix) &&
         point.consistency() != types::v1::NOT_ONE_INSTANT;
}

}  // namespace

std::vector<const Machine*> MembersOf(const View& view, absl::string_view group) {
  std::vector<const Machine*> members;
  for (const Machine& machine : view.machines) {
    if (!group.empty() && machine.replication_group() == group) members.push_back(&machine);
  }
  return members;
}

Refusal CheckMembers(const View& view, const std::vector<const Machine*>& members) {
  const Machine *known = nullptr, *placed = nullptr;
  const storage::v1::Server* target = nullptr;
  for (const Machine* const member : members) {
    const types::v1::OsType os = member->registration().os_type();
    if (os != types::v1::OS_TYPE_UNSPECIFIED) {
      if (known != nullptr && known->registration().os_type() != os) {
        return MakeProblem(
            ProblemId::kGroupMixedOs,
            absl::StrCat(NameOf(*known), " is a ",
                         types::v1::OsType_Name(known->registration().os_type()), " machine, ",
                         NameOf(*member), " a ", types::v1::OsType_Name(os), " machine"));
      }
      known = member;
    }
    const storage::v1::Server* const receiver = view.ReceiverOf(*member);
    if (receiver == nullptr || receiver->role() != types::v1::MASTER_TARGET) continue;
    if (target != nullptr && target != receiver) {
      return MakeProblem(
          ProblemId::kGroupMasterTarget,
          absl::StrCat(NameOf(*placed), " is replicated to ", target->registration().name(), ", ",
                       NameOf(*member), " to ", receiver->registration().name()));
    }
    placed = member;
    target = receiver;
  }
  return std::nullopt;
}

std::string MissesCommonPoints(const View& view, const Machine& member) {
  if (member.state() != storage::v1::PROTECTED)
    return absl::StrCat("it is in state ", StateName(member.state()));
  if (!view.AgentConnected(member)) return "its agent is not connected";
  const control::v1::AgentObserved* const agent = view.AgentOf(member);
  if (agent == nullptr || !agent->streaming()) return "its agent does not stream";
  if (agent->syncing()) return "it is being synchronised";
  return "";
}

std::vector<RecoveryPoint> CommonPointsOf(const View& view,
                                          const std::vector<const Machine*>& members) {
  std::vector<RecoveryPoint> common;
  bool first = true;
  for (const Machine* const member : members) {
    const control::v1::ReplicaObserved* const replica = view.ReplicaOf(*member);
    if (replica == nullptr) return {};
    std::map<absl::string_view, const RecoveryPoint*> points;
    for (const RecoveryPoint& point : replica->points()) {
      if (!IsCommon(point)) continue;
      points[point.id()] = &point;
      if (first) common.push_back(point);
    }
    first = false;
    std::vector<RecoveryPoint> kept;
    for (RecoveryPoint& point : common) {
      const auto found = points.find(point.id());
      if (found == points.end()) continue;
      if (found->second->kind() != types::v1::APP_CONSISTENT)
        point.set_kind(types::v1::CRASH_CONSISTENT);
      kept.push_back(std::move(point));
    }
    common = std::move(kept);
  }
  return common;
}

}  // namespace homeward
