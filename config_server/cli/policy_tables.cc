#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/wire/time_proto.h"
#include "config_server/cli/format.h"
#include "config_server/cli/tables.h"

namespace homeward {
namespace {

std::string FormatInterval(const google::protobuf::Duration& interval) {
  const absl::Duration duration = FromProto(interval);
  return duration == absl::ZeroDuration() ? "never" : FormatTimeSpan(duration);
}

std::string FormatRoom(const admin::v1::Policy& policy) {
  return policy.retention_bytes() == 0 ? "no limit" : FormatBytes(policy.retention_bytes());
}

}  // namespace

void AppendPolicy(const admin::v1::Policy& policy, const admin::v1::Policy& own, std::string* out) {
  const auto append = [&](const char* name, const std::string& value, bool is_own) {
    AppendField(name, absl::StrCat(value, is_own ? ", for this machine alone" : ""), out);
  };
  append("  Points every", FormatInterval(policy.point_interval()), own.has_point_interval());
  append("  App-consistent", FormatInterval(policy.app_point_interval()),
         own.has_app_point_interval());
  append("  Kept for", FormatTimeSpan(FromProto(policy.retention_age())), own.has_retention_age());
  append("  Kept in", FormatRoom(policy), own.has_retention_bytes());
  append("  RPO threshold", FormatTimeSpan(FromProto(policy.rpo_threshold())),
         own.has_rpo_threshold());
}

std::string FormatPolicy(const admin::v1::NamedPolicy& policy) {
  std::string out;
  AppendField("Name", policy.name(), &out);
  AppendPolicy(policy.policy(), {}, &out);
  if (policy.has_changed()) AppendField("Changed", FormatTime(policy.changed()), &out);
  AppendField("Machines",
              policy.machines().empty() ? "none" : absl::StrJoin(policy.machines(), ", "), &out);
  return out;
}

std::string FormatPolicies(const admin::v1::ListPoliciesResponse& response) {
  std::vector<std::vector<std::string>> rows = {{"NAME", "POINTS EVERY", "APP-CONSISTENT",
                                                 "KEPT FOR", "KEPT IN", "RPO THRESHOLD",
                                                 "MACHINES"}};
  for (const admin::v1::NamedPolicy& policy : response.policies()) {
    const admin::v1::Policy& settings = policy.policy();
    rows.push_back({policy.name(), FormatInterval(settings.point_interval()),
                    FormatInterval(settings.app_point_interval()),
                    FormatTimeSpan(FromProto(settings.retention_age())), FormatRoom(settings),
                    FormatTimeSpan(FromProto(settings.rpo_threshold())),
                    absl::StrCat(policy.machines_size())});
  }
  return FormatTable(rows);
}

}  // namespace homeward
