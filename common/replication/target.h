// What a machine's disks are replicated to, as a message says it: in its `target`, and in fields
// that say the same to components that know no Target. This is the one place that maps one to the
// other; nobody else looks at which of those fields is filled.
#ifndef HOMEWARD_COMMON_REPLICATION_TARGET_H_
#define HOMEWARD_COMMON_REPLICATION_TARGET_H_

#include "homeward/control/v1/control.pb.h"

namespace homeward {

// The `target`, unless the older fields say something else: an older program that changes a record
// leaves what it does not know as it is, and only what it wrote is true then. `kind` is not set
// when it is of a kind that this program does not know.
control::v1::Target TargetOf(const control::v1::Replica& replica);
// Sets both. The older fields stay empty where they cannot say it.
void SetTarget(const control::v1::Target& target, control::v1::Replica* replica);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_REPLICATION_TARGET_H_
