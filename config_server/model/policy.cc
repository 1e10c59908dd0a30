#include "config_server/model/policy.h"

#include "absl/strings/str_cat.h"
#include "common/base/limits.h"
#include "common/wire/time_proto.h"

namespace homeward {
namespace {

using storage::v1::Policy;

std::string Text(absl::Duration duration) { return absl::FormatDuration(duration); }

Refusal Unsuitable(const std::string& why) { return MakeProblem(ProblemId::kPolicyInterval, why); }

Refusal CheckLimits(const Policy& policy, absl::Duration interval_min) {
  const absl::Duration interval = FromProto(policy.point_interval());
  const absl::Duration app_interval = FromProto(policy.app_point_interval());
  const absl::Duration age = FromProto(policy.retention_age());
  if (interval < interval_min || interval > kPolicyDurationMax) {
    return Unsuitable(absl::StrCat("points cannot be ", Text(interval), " apart"));
  }
  if (app_interval < absl::ZeroDuration() || app_interval > kPolicyDurationMax) {
    return Unsuitable(
        absl::StrCat("application-consistent points cannot be ", Text(app_interval), " apart"));
  }
  const absl::Duration rpo_threshold = RpoThresholdOf(policy, kRpoThresholdDefault);
  if (rpo_threshold <= absl::ZeroDuration() || rpo_threshold > kPolicyDurationMax)
    return Unsuitable(absl::StrCat("an RPO threshold cannot be ", Text(rpo_threshold)));
  if (age < interval || age > kPolicyDurationMax) {
    return MakeProblem(ProblemId::kPolicyRetention,
                       absl::StrCat("points that are made every ", Text(interval),
                                    " cannot be kept for ", Text(age)));
  }
  if (policy.retention_bytes() != 0 && policy.retention_bytes() < kRetentionBytesMin) {
    return MakeProblem(
        ProblemId::kPolicyRetention,
        absl::StrCat("a machine's points cannot be kept in ", policy.retention_bytes(), " bytes"));
  }
  return std::nullopt;
}

}  // namespace

std::string PolicyNameOf(const storage::v1::Machine& machine) {
  return machine.policy_name().empty() ? kFailbackPolicy : machine.policy_name();
}

Policy FailbackPolicy() {
  Policy policy;
  *policy.mutable_point_interval() = ToProto(kPointIntervalDefault);
  *policy.mutable_app_point_interval() = ToProto(kAppPointIntervalDefault);
  *policy.mutable_retention_age() = ToProto(kRetentionAgeDefault);
  policy.set_retention_bytes(0);
  return policy;
}

Policy Over(const Policy& otherwise, const Policy& said) {
  Policy policy = otherwise;
  if (said.has_point_interval()) *policy.mutable_point_interval() = said.point_interval();
  if (said.has_app_point_interval())
    *policy.mutable_app_point_interval() = said.app_point_interval();
  if (said.has_retention_age()) *policy.mutable_retention_age() = said.retention_age();
  if (said.has_retention_bytes()) policy.set_retention_bytes(said.retention_bytes());
  if (said.has_rpo_threshold()) *policy.mutable_rpo_threshold() = said.rpo_threshold();
  return policy;
}

Policy OwnPolicyOf(const storage::v1::Assignment& assignment, const Policy& named) {
  if (assignment.has_own_policy()) return assignment.own_policy();
  const Policy& now = assignment.policy();
  const auto differs = [](const google::protobuf::Duration& a,
                          const google::protobuf::Duration& b) {
    return FromProto(a) != FromProto(b);
  };
  Policy own;
  if (now.has_point_interval() && differs(now.point_interval(), named.point_interval()))
    *own.mutable_point_interval() = now.point_interval();
  if (now.has_app_point_interval() && differs(now.app_point_interval(), named.app_point_interval()))
    *own.mutable_app_point_interval() = now.app_point_interval();
  if (now.has_retention_age() && differs(now.retention_age(), named.retention_age()))
    *own.mutable_retention_age() = now.retention_age();
  if (now.retention_bytes() != named.retention_bytes())
    own.set_retention_bytes(now.retention_bytes());
  return own;
}

void SetPolicy(const Policy& named, const Policy& own, storage::v1::Assignment* assignment) {
  *assignment->mutable_policy() = Over(named, own);
  *assignment->mutable_own_policy() = own;
}

absl::Duration RpoThresholdOf(const Policy& policy, absl::Duration otherwise) {
  return policy.has_rpo_threshold() ? FromProto(policy.rpo_threshold()) : otherwise;
}

Refusal CheckNamedPolicy(const Policy& policy, absl::Duration rpo_threshold) {
  if (Refusal refusal = CheckLimits(policy, kPointIntervalMin)) return refusal;
  const absl::Duration interval = FromProto(policy.point_interval());
  const absl::Duration app_interval = FromProto(policy.app_point_interval());
  if (app_interval != absl::ZeroDuration() && app_interval < interval) {
    return Unsuitable(absl::StrCat("application-consistent points every ", Text(app_interval),
                                   " would be more than crash-consistent ones, every ",
                                   Text(interval)));
  }
  const absl::Duration threshold = RpoThresholdOf(policy, rpo_threshold);
  if (threshold < interval) {
    return Unsuitable(absl::StrCat("the RPO threshold is ", Text(threshold),
                                   ", and the next point is made after ", Text(interval)));
  }
  return std::nullopt;
}

Refusal CheckPolicyInForce(const Policy& policy) {
  return CheckLimits(policy, kOwnPointIntervalMin);
}

}  // namespace homeward
