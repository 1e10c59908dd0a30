// Groups: the members of a replication group, and the recovery points that they have in common.
// Pure.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_GROUPS_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_GROUPS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "config_server/model/refusal.h"
#include "config_server/model/view.h"

namespace homeward {

// Of a common point all members have the same id, which begins so. No other point's does.
inline constexpr char kCommonPointPrefix[] = "common-";

// By their ids.
std::vector<const storage::v1::Machine*> MembersOf(const View& view, absl::string_view group);
// Whether these can be one group: one type of operating system, and one master target, as far as
// they have one.
Refusal CheckMembers(const View& view, const std::vector<const storage::v1::Machine*>& members);
// What keeps a member from taking a common point now. Empty: nothing.
std::string MissesCommonPoints(const View& view, const storage::v1::Machine& member);
// Those that the replicas of all members have, each of one instant; oldest first. One is
// application-consistent where it is at every member.
std::vector<types::v1::RecoveryPoint> CommonPointsOf(
    const View& view, const std::vector<const storage::v1::Machine*>& members);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_GROUPS_H_
