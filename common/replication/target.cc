#include "common/replication/target.h"

#include <algorithm>

namespace homeward {
namespace {

using control::v1::Replica;
using control::v1::Target;

// What a component reads that knows no Target: this is how it chooses.
Target FromOlderFields(const Replica& replica) {
  Target target;
  if (!replica.attached_disks().empty()) {
    *target.mutable_attached_disks()->mutable_uuids() = replica.attached_disks();
    target.mutable_attached_disks()->set_fresh(replica.attached_fresh());
  } else if (!replica.block_devices().empty()) {
    *target.mutable_block_devices()->mutable_paths() = replica.block_devices();
  } else {
    target.mutable_datastore_directory()->set_datastore(replica.datastore());
    target.mutable_datastore_directory()->set_directory(replica.directory());
  }
  return target;
}

void SetOlderFields(const Target& target, Replica* replica) {
  replica->clear_datastore();
  replica->clear_directory();
  replica->clear_block_devices();
  replica->clear_attached_disks();
  replica->clear_attached_fresh();
  switch (target.kind_case()) {
    case Target::kDatastoreDirectory:
      replica->set_datastore(target.datastore_directory().datastore());
      replica->set_directory(target.datastore_directory().directory());
      break;
    case Target::kAttachedDisks:
      *replica->mutable_attached_disks() = target.attached_disks().uuids();
      replica->set_attached_fresh(target.attached_disks().fresh());
      break;
    case Target::kBlockDevices:
      *replica->mutable_block_devices() = target.block_devices().paths();
      break;
    case Target::kPageBlobs:  // No component from before Target keeps a replica in them.
    case Target::KIND_NOT_SET:
      break;
  }
}

bool SameOlderFields(const Replica& a, const Replica& b) {
  const auto same = [](const auto& one, const auto& other) {
    return std::equal(one.begin(), one.end(), other.begin(), other.end());
  };
  return a.datastore() == b.datastore() && a.directory() == b.directory() &&
         same(a.block_devices(), b.block_devices()) &&
         same(a.attached_disks(), b.attached_disks()) && a.attached_fresh() == b.attached_fresh();
}

}  // namespace

Target TargetOf(const Replica& replica) {
  if (!replica.has_target()) return FromOlderFields(replica);
  Replica as_older;
  SetOlderFields(replica.target(), &as_older);
  return SameOlderFields(replica, as_older) ? replica.target() : FromOlderFields(replica);
}

void SetTarget(const Target& target, Replica* replica) {
  SetOlderFields(target, replica);
  *replica->mutable_target() = target;
}

}  // namespace homeward
