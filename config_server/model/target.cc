#include "config_server/model/target.h"

#include "common/replication/target.h"

namespace homeward {

// The older fields have the same names and meanings as those of a replica.
control::v1::Target TargetOf(const storage::v1::Assignment& assignment) {
  control::v1::Replica as_replica;
  as_replica.set_datastore(assignment.datastore());
  as_replica.set_directory(assignment.directory());
  *as_replica.mutable_block_devices() = assignment.block_devices();
  if (assignment.has_target()) *as_replica.mutable_target() = assignment.target();
  return TargetOf(as_replica);
}

void SetTarget(const control::v1::Target& target, storage::v1::Assignment* assignment) {
  control::v1::Replica as_replica;
  SetTarget(target, &as_replica);
  assignment->set_datastore(as_replica.datastore());
  assignment->set_directory(as_replica.directory());
  *assignment->mutable_block_devices() = as_replica.block_devices();
  *assignment->mutable_target() = target;
}

}  // namespace homeward
