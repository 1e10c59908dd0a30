#include "config_server/store/upgrade.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"
#include "homeward/storage/v1/schema_1.pb.h"

namespace homeward {
namespace {

namespace schema_1 = storage::v1::schema_1;
using storage::v1::Job;
using storage::v1::Machine;

// A location that is a VM has no target: its disks are in its record.
storage::v1::Target TargetOf(const schema_1::Assignment& old) {
  storage::v1::Target target;
  if (!old.block_devices().empty()) {
    *target.mutable_block_devices()->mutable_paths() = old.block_devices();
  } else {
    target.mutable_datastore_directory()->set_datastore(old.datastore());
    target.mutable_datastore_directory()->set_directory(old.directory());
  }
  return target;
}

storage::v1::Placement PlacementOf(const schema_1::Assignment& old) {
  storage::v1::Placement placement;
  placement.set_process_server_id(old.process_server_id());
  placement.set_master_target_id(old.master_target_id());
  placement.set_location(old.location());
  if (old.location() == storage::v1::DATASTORE_DIRECTORY)
    *placement.mutable_target() = TargetOf(old);
  *placement.mutable_disks() = old.disks();
  if (old.has_new_vm()) *placement.mutable_new_vm() = old.new_vm();
  placement.set_remove_snapshots(old.remove_snapshots());
  return placement;
}

storage::v1::Policy PolicyOf(const schema_1::Assignment& old) {
  storage::v1::Policy policy;
  if (old.has_point_interval()) *policy.mutable_point_interval() = old.point_interval();
  if (old.has_app_point_interval()) *policy.mutable_app_point_interval() = old.app_point_interval();
  if (old.has_retention_age()) *policy.mutable_retention_age() = old.retention_age();
  policy.set_retention_bytes(old.retention_bytes());
  return policy;
}

storage::v1::ReplicationState StateOf(const schema_1::Assignment& old) {
  storage::v1::ReplicationState state;
  state.set_phase(old.phase());
  state.set_point_id(old.point_id());
  state.set_streaming(old.streaming());
  state.set_fresh(old.fresh());
  state.set_disks_new(old.disks_new());
  state.set_resync_token(old.resync_token());
  state.set_point_token(old.point_token());
  state.set_point_kind(old.point_kind());
  state.set_quiesce_token(old.quiesce_token());
  return state;
}

void Convert(const schema_1::Assignment& old, storage::v1::Assignment* assignment) {
  assignment->set_replica_id(old.replica_id());
  *assignment->mutable_policy() = PolicyOf(old);
  *assignment->mutable_placement() = PlacementOf(old);
  *assignment->mutable_state() = StateOf(old);
}

// As schema 1 wrote them, whatever operators call the operations today (model/operation.h).
storage::v1::Operation OperationCalled(const std::string& workflow) {
  constexpr std::pair<const char*, storage::v1::Operation> kOperations[] = {
      {"protect", storage::v1::PROTECT},
      {"reprotect", storage::v1::REPROTECT},
      {"resync", storage::v1::RESYNC},
      {"failback", storage::v1::FAILBACK},
      {"create-point", storage::v1::CREATE_POINT},
      {"commit", storage::v1::COMMIT},
      {"repair", storage::v1::REPAIR},
      {"remove", storage::v1::REMOVE},
  };
  for (const auto& [name, operation] : kOperations) {
    if (name == workflow) return operation;
  }
  return storage::v1::OPERATION_UNSPECIFIED;
}

void Convert(const schema_1::Machine& old, Machine* machine) {
  if (old.has_assignment()) Convert(old.assignment(), machine->mutable_assignment());
}

void Convert(const schema_1::Job& old, Job* job) {
  if (old.has_wanted()) Convert(old.wanted(), job->mutable_wanted());
  if (job->operation() == storage::v1::OPERATION_UNSPECIFIED)
    job->set_operation(OperationCalled(old.workflow()));
}

// What a record of schema 2 has no field for, it has kept as it was.
// DATA_LOSS: `key` cannot be read.
template <typename Old, typename Record>
absl::Status PutConverted(const std::string& key, Record record, Store::Transaction* transaction) {
  Old old;
  if (!old.ParseFromString(record.SerializeAsString())) {
    return absl::DataLossError(
        absl::StrCat("its record ", RecordKind<Record>::kPrefix, "/", key, " cannot be read"));
  }
  record.DiscardUnknownFields();
  Convert(old, &record);
  transaction->Put(key, record);
  return absl::OkStatus();
}

}  // namespace

absl::Status UpgradeFromSchema1(Store* store) {
  std::optional<storage::v1::Meta> meta = store->Get<storage::v1::Meta>(Store::kOnly);
  HW_CHECK(meta.has_value() && meta->schema_version() == 1);
  // What was left as it is would be of no schema.
  const size_t unreadable = store->CountUnreadable<Machine>() + store->CountUnreadable<Job>();
  if (unreadable > 0)
    return absl::DataLossError(absl::StrCat(unreadable, " of its records cannot be read"));
  Store::Transaction transaction;
  for (const Machine& machine : store->All<Machine>())
    HW_RETURN_IF_ERROR(
        PutConverted<schema_1::Machine>(machine.machine_id(), machine, &transaction));
  for (const Job& job : store->All<Job>())
    HW_RETURN_IF_ERROR(PutConverted<schema_1::Job>(job.id(), job, &transaction));
  meta->set_schema_version(2);
  transaction.Put(Store::kOnly, *meta);
  HW_RETURN_IF_ERROR(store->Commit(transaction));
  LogInfo("store.upgraded", {{"from", 1}, {"to", 2}, {"records", transaction.changes().size()}});
  return absl::OkStatus();
}

}  // namespace homeward
