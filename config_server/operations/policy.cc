#include "config_server/operations/policy.h"

#include "common/base/limits.h"
#include "common/wire/time_proto.h"

namespace homeward {

absl::StatusOr<storage::v1::Policy> PolicyOf(const admin::v1::Policy& policy) {
  const auto take = [](const google::protobuf::Duration& wanted, bool present,
                       absl::Duration otherwise) {
    return present ? FromProto(wanted) : otherwise;
  };
  const absl::Duration interval =
      take(policy.point_interval(), policy.has_point_interval(), kPointIntervalDefault);
  const absl::Duration app_interval =
      take(policy.app_point_interval(), policy.has_app_point_interval(), kAppPointIntervalDefault);
  const absl::Duration age =
      take(policy.retention_age(), policy.has_retention_age(), kRetentionAgeDefault);
  if (interval < absl::Seconds(1) || app_interval < absl::ZeroDuration() || age < interval) {
    return absl::InvalidArgumentError(
        "a policy needs points at least 1 s apart, and a retention that is longer than that");
  }
  storage::v1::Policy complete;
  *complete.mutable_point_interval() = ToProto(interval);
  *complete.mutable_app_point_interval() = ToProto(app_interval);
  *complete.mutable_retention_age() = ToProto(age);
  complete.set_retention_bytes(policy.retention_bytes());
  return complete;
}

}  // namespace homeward
