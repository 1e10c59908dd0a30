// Policies as operators say and see them.
#ifndef HOMEWARD_CONFIG_SERVER_OPERATIONS_POLICY_H_
#define HOMEWARD_CONFIG_SERVER_OPERATIONS_POLICY_H_

#include "absl/time/time.h"
#include "homeward/admin/v1/admin.pb.h"
#include "homeward/storage/v1/storage.pb.h"

namespace homeward {

// What the operator says of it, and no more.
storage::v1::Policy PolicyOf(const admin::v1::Policy& said);
// `rpo_threshold`: where it has none.
admin::v1::Policy ConvertPolicy(const storage::v1::Policy& policy, absl::Duration rpo_threshold);
// What is said of it, and no more.
admin::v1::Policy ConvertPolicy(const storage::v1::Policy& said);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_OPERATIONS_POLICY_H_
