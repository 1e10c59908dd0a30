#include "config_server/operations/policy.h"

#include "common/wire/time_proto.h"

namespace homeward {
namespace {

template <typename To, typename From>
To Convert(const From& from) {
  To to;
  if (from.has_point_interval()) *to.mutable_point_interval() = from.point_interval();
  if (from.has_app_point_interval()) *to.mutable_app_point_interval() = from.app_point_interval();
  if (from.has_retention_age()) *to.mutable_retention_age() = from.retention_age();
  if (from.has_retention_bytes()) to.set_retention_bytes(from.retention_bytes());
  if (from.has_rpo_threshold()) *to.mutable_rpo_threshold() = from.rpo_threshold();
  return to;
}

}  // namespace

storage::v1::Policy PolicyOf(const admin::v1::Policy& said) {
  return Convert<storage::v1::Policy>(said);
}

admin::v1::Policy ConvertPolicy(const storage::v1::Policy& policy, absl::Duration rpo_threshold) {
  admin::v1::Policy out = ConvertPolicy(policy);
  if (!out.has_rpo_threshold()) *out.mutable_rpo_threshold() = ToProto(rpo_threshold);
  return out;
}

admin::v1::Policy ConvertPolicy(const storage::v1::Policy& said) {
  return Convert<admin::v1::Policy>(said);
}

}  // namespace homeward
