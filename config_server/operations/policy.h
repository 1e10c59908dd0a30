// Policy: how often points are made and how long they are kept, where an operator does not say.
#ifndef HOMEWARD_CONFIG_SERVER_OPERATIONS_POLICY_H_
#define HOMEWARD_CONFIG_SERVER_OPERATIONS_POLICY_H_

#include "absl/status/statusor.h"
#include "homeward/admin/v1/admin.pb.h"
#include "homeward/storage/v1/storage.pb.h"

namespace homeward {

// What an operator does not say is as in common/base/limits.h.
// INVALID_ARGUMENT: points would be too close, or gone before the next one is made.
absl::StatusOr<storage::v1::Policy> PolicyOf(const admin::v1::Policy& policy);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_OPERATIONS_POLICY_H_
