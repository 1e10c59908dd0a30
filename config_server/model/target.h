// What a machine's disks are replicated to, as the store keeps it and as the master target is told.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_TARGET_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_TARGET_H_

#include "homeward/control/v1/control.pb.h"
#include "homeward/storage/v1/storage.pb.h"

namespace homeward {

// Of an assignment to a DATASTORE_DIRECTORY. As TargetOf() of common/replication/target.h, which
// does it.
control::v1::Target TargetOf(const storage::v1::Assignment& assignment);
void SetTarget(const control::v1::Target& target, storage::v1::Assignment* assignment);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_TARGET_H_
