#include "config_server/store/upgrade.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "config_server/store/golden_store.h"
#include "google/protobuf/util/message_differencer.h"
#include "homeward/storage/v1/schema_1.pb.h"
#include "tests/fakes/memory_disk.h"
#include "tests/fakes/store_on_files.h"

namespace homeward {
namespace {

namespace schema_1 = storage::v1::schema_1;
using google::protobuf::util::MessageDifferencer;
using storage::v1::Assignment;
using storage::v1::Job;
using storage::v1::Machine;
using storage::v1::Meta;
using testing::kWeb;
using testing::RawRecords;
using testing::StoreDirectory;

// The ten records of a small fabric, and a machine for each kind of place.
RawRecords Schema1() {
  RawRecords records = testing::ReadGoldenRecords("config_store_v1.txt");
  EXPECT_EQ(records.size(), 10u);
  for (const char* kind : {"directory", "block_devices", "original_vm"}) {
    const std::string bytes =
        testing::ReadGolden(absl::StrCat("storage_machine_", kind, "_v1.bin"));
    Machine machine;
    EXPECT_TRUE(machine.ParseFromString(bytes));
    records[absl::StrCat("machine/", machine.machine_id())] = bytes;
  }
  return records;
}

template <typename Message>
Message Parsed(const std::string& bytes) {
  Message message;
  EXPECT_TRUE(message.ParseFromString(bytes));
  return message;
}

// The flat assignment that `now` is said to be.
schema_1::Assignment Flat(const Assignment& now) {
  const storage::v1::Placement& placement = now.placement();
  const storage::v1::ReplicationState& state = now.state();
  schema_1::Assignment old;
  old.set_replica_id(now.replica_id());
  old.set_process_server_id(placement.process_server_id());
  old.set_master_target_id(placement.master_target_id());
  old.set_datastore(placement.target().datastore_directory().datastore());
  old.set_directory(placement.target().datastore_directory().directory());
  *old.mutable_block_devices() = placement.target().block_devices().paths();
  *old.mutable_disks() = placement.disks();
  old.set_location(placement.location());
  if (placement.has_new_vm()) *old.mutable_new_vm() = placement.new_vm();
  old.set_remove_snapshots(placement.remove_snapshots());
  if (now.policy().has_point_interval())
    *old.mutable_point_interval() = now.policy().point_interval();
  if (now.policy().has_app_point_interval())
    *old.mutable_app_point_interval() = now.policy().app_point_interval();
  if (now.policy().has_retention_age()) *old.mutable_retention_age() = now.policy().retention_age();
  old.set_retention_bytes(now.policy().retention_bytes());
  old.set_phase(state.phase());
  old.set_point_id(state.point_id());
  old.set_streaming(state.streaming());
  old.set_fresh(state.fresh());
  old.set_disks_new(state.disks_new());
  old.set_resync_token(state.resync_token());
  old.set_point_token(state.point_token());
  old.set_point_kind(state.point_kind());
  old.set_quiesce_token(state.quiesce_token());
  return old;
}

void ExpectSame(schema_1::Assignment before, const Assignment& now) {
  before.DiscardUnknownFields();
  EXPECT_TRUE(MessageDifferencer::Equals(before, Flat(now)))
      << before.DebugString() << now.DebugString();
}

// All but what schema 2 has elsewhere.
template <typename Record>
Record Rest(const std::string& bytes) {
  Record record = Parsed<Record>(bytes);
  record.DiscardUnknownFields();
  return record;
}

void ExpectConverted(const RawRecords& before, const RawRecords& now) {
  for (const auto& [key, bytes] : before) {
    ASSERT_TRUE(now.contains(key)) << key;
    if (absl::StartsWith(key, "machine/")) {
      Machine machine = Parsed<Machine>(now.at(key));
      const auto old = Parsed<schema_1::Machine>(bytes);
      EXPECT_EQ(machine.has_assignment(), old.has_assignment()) << key;
      ExpectSame(old.assignment(), machine.assignment());
      machine.clear_assignment();
      EXPECT_TRUE(MessageDifferencer::Equals(machine, Rest<Machine>(bytes))) << key;
    } else if (absl::StartsWith(key, "job/")) {
      Job job = Parsed<Job>(now.at(key));
      const auto old = Parsed<schema_1::Job>(bytes);
      EXPECT_EQ(job.has_wanted(), old.has_wanted()) << key;
      ExpectSame(old.wanted(), job.wanted());
      EXPECT_NE(job.operation(), storage::v1::OPERATION_UNSPECIFIED) << old.workflow();
      job.clear_wanted();
      job.clear_operation();
      EXPECT_TRUE(MessageDifferencer::Equals(job, Rest<Job>(bytes))) << key;
    } else if (key == "meta/only") {
      Meta meta = Parsed<Meta>(now.at(key));
      EXPECT_EQ(meta.schema_version(), 2u);
      meta.set_schema_version(1);
      EXPECT_EQ(meta.SerializeAsString(), bytes);
    } else {
      EXPECT_EQ(now.at(key), bytes) << key;
    }
  }
}

TEST(Upgrade, EveryRecordOfSchema1HasWhatItHad) {
  const StoreDirectory directory(Schema1());
  {
    auto store = directory.Open();
    ASSERT_TRUE(store.ok()) << store.status();
    EXPECT_EQ((*store)->Get<Job>("00000004")->operation(), storage::v1::REPROTECT);
    const Machine web = *(*store)->Get<Machine>(kWeb);
    EXPECT_EQ(web.registration().name(), "web-1");
    EXPECT_EQ(web.assignment().placement().location(), storage::v1::ORIGINAL_VM);
    EXPECT_FALSE(web.assignment().placement().has_target()) << "its disks are its VM's";
    EXPECT_EQ(web.assignment().state().phase(), storage::v1::FOLLOW);
    const auto target_of = [&](const char* id) {
      return (*store)->Get<Machine>(id)->assignment().placement().target();
    };
    EXPECT_EQ(target_of("m1").datastore_directory().datastore(), "/ds1");
    EXPECT_EQ(target_of("m1").datastore_directory().directory(), "web");
    EXPECT_EQ(target_of("m2").block_devices().paths_size(), 2);
    EXPECT_TRUE((*store)->Get<Machine>("m3")->assignment().state().disks_new());
  }
  const RawRecords now = directory.Records();
  ExpectConverted(Schema1(), now);
  EXPECT_EQ(now.size(), Schema1().size() + 1) << "and the revision";
}

// What no golden record has: every field of an assignment differs from what an absent one says.
TEST(Upgrade, NoFieldOfAnAssignmentIsForgotten) {
  schema_1::Assignment old;
  const google::protobuf::Reflection& reflection = *old.GetReflection();
  for (int i = 0; i < old.GetDescriptor()->field_count(); ++i) {
    const google::protobuf::FieldDescriptor* const field = old.GetDescriptor()->field(i);
    if (field->is_repeated()) continue;
    switch (field->cpp_type()) {
      case google::protobuf::FieldDescriptor::CPPTYPE_STRING:
        reflection.SetString(&old, field, field->name());
        break;
      case google::protobuf::FieldDescriptor::CPPTYPE_BOOL:
        reflection.SetBool(&old, field, true);
        break;
      case google::protobuf::FieldDescriptor::CPPTYPE_UINT64:
        reflection.SetUInt64(&old, field, static_cast<uint64_t>(100 + i));
        break;
      case google::protobuf::FieldDescriptor::CPPTYPE_ENUM:
        reflection.SetEnumValue(&old, field, 2);
        break;
      default:
        reflection.MutableMessage(&old, field);
    }
  }
  old.mutable_point_interval()->set_seconds(1);
  old.mutable_app_point_interval()->set_seconds(2);
  old.mutable_retention_age()->set_seconds(3);
  old.mutable_new_vm()->set_name("web-new");
  old.add_disks()->set_name("/dev/sda");
  schema_1::Assignment in_directory = old;
  in_directory.set_location(storage::v1::DATASTORE_DIRECTORY);
  schema_1::Assignment on_devices = in_directory;
  on_devices.clear_datastore();
  on_devices.clear_directory();
  on_devices.add_block_devices("/dev/sdx");
  schema_1::Assignment in_new_vm = old;
  in_new_vm.clear_datastore();
  in_new_vm.clear_directory();
  EXPECT_EQ(in_new_vm.location(), storage::v1::ALTERNATE_VM);
  for (const schema_1::Assignment& one : {in_directory, on_devices, in_new_vm}) {
    RawRecords records = Schema1();
    schema_1::Machine machine;
    *machine.mutable_assignment() = one;
    Machine known;
    known.set_machine_id("m1");
    records["machine/m1"] = known.SerializeAsString() + machine.SerializeAsString();
    const StoreDirectory directory(records);
    ASSERT_TRUE(directory.Open().ok());
    ExpectSame(one, Parsed<Machine>(directory.Records().at("machine/m1")).assignment());
  }
}

// Only a program that knows no `target` can have made it differ.
TEST(Upgrade, ATargetBesideTheOlderFieldsIsNotRead) {
  RawRecords records = Schema1();
  // More of the assignment, number 6: number 24 is a Target, the directory "old" of "/ds9".
  records["machine/m1"] += "\x32\x10\xc2\x01\x0d\x0a\x0b\x0a\x04/ds9\x12\x03old";
  const StoreDirectory directory(records);
  auto store = directory.Open();
  ASSERT_TRUE(store.ok()) << store.status();
  const storage::v1::Placement placement = (*store)->Get<Machine>("m1")->assignment().placement();
  EXPECT_EQ(placement.target().datastore_directory().datastore(), "/ds1");
  EXPECT_EQ(placement.target().datastore_directory().directory(), "web");
}

TEST(Upgrade, IsOneTransactionAndOnlyOnce) {
  const StoreDirectory directory(Schema1());
  EXPECT_EQ((*directory.Open())->revision(), 1u);
  const RawRecords once = directory.Records();
  EXPECT_EQ((*directory.Open())->revision(), 1u);
  EXPECT_EQ(directory.Records(), once);
}

// Whatever was done of it when the machine died: the next start has all of it.
TEST(Upgrade, ACrashLeavesAllOfOneSchema) {
  constexpr char kStore[] = "/store";
  MemoryDisk disk(1);
  uint64_t revision = 0;
  {
    auto store = OpenStoreOnFiles(disk, kStore);
    ASSERT_TRUE(store.ok()) << store.status();
    Store::Transaction transaction;
    for (const auto& [key, bytes] : Schema1()) {
      const std::pair<std::string, std::string> parts =
          absl::StrSplit(key, absl::MaxSplits('/', 1));
      // A record keeps what it has no field for.
      if (parts.first == "machine") transaction.Put(parts.second, Parsed<Machine>(bytes));
      if (parts.first == "job") transaction.Put(parts.second, Parsed<Job>(bytes));
      if (parts.first == "meta") transaction.Put(parts.second, Parsed<Meta>(bytes));
    }
    ASSERT_TRUE((*store)->Commit(transaction).ok());
    revision = (*store)->revision();
  }
  const MemoryDisk::Snapshot as_left = disk.TakeSnapshot();
  int died = 0;
  for (uint64_t operations = 0;; ++operations) {
    disk.Restore(as_left);
    disk.DieAfter(operations);
    const bool opened = OpenStoreOnFiles(disk, kStore).ok();
    const bool over = !disk.dead();
    died += over ? 0 : 1;
    EXPECT_TRUE(opened || !over);
    disk.Crash();
    auto store = OpenStoreOnFiles(disk, kStore);
    ASSERT_TRUE(store.ok()) << operations << ": " << store.status();
    EXPECT_EQ((*store)->revision(), revision + 1) << operations;
    RawRecords now;
    for (const Machine& machine : (*store)->All<Machine>())
      now[absl::StrCat("machine/", machine.machine_id())] = machine.SerializeAsString();
    for (const Job& job : (*store)->All<Job>())
      now[absl::StrCat("job/", job.id())] = job.SerializeAsString();
    now["meta/only"] = (*store)->Get<Meta>(Store::kOnly)->SerializeAsString();
    RawRecords before = Schema1();
    std::erase_if(before, [&](const auto& record) { return !now.contains(record.first); });
    EXPECT_EQ(before.size(), 10u);
    ExpectConverted(before, now);
    if (over) break;
  }
  EXPECT_GT(died, 5);
}

TEST(Upgrade, AStoreOfNoKnownSchemaIsRefused) {
  RawRecords records = Schema1();
  const auto refused = [&](uint32_t schema_version) {
    Meta meta = Parsed<Meta>(records["meta/only"]);
    meta.set_schema_version(schema_version);
    records["meta/only"] = meta.SerializeAsString();
    const StoreDirectory directory(records);
    const absl::Status status = directory.Open().status();
    EXPECT_EQ(directory.Records(), records) << "nothing was changed";
    return status;
  };
  const absl::Status newer = refused(3);
  EXPECT_EQ(newer.code(), absl::StatusCode::kFailedPrecondition);
  for (const char* said : {"has schema 3", "a newer program wrote it", "reads up to 2",
                           "Start the newer one, or restore the backup"})
    EXPECT_NE(newer.message().find(said), absl::string_view::npos) << newer;
  EXPECT_EQ(refused(0).code(), absl::StatusCode::kDataLoss);
}

TEST(Upgrade, AStoreOfSchema1WithARecordThatCannotBeReadIsRefusedAndLeftAsItIs) {
  const RawRecords whole = Schema1();
  for (const auto& [key, bytes] : whole) {
    if (!absl::StartsWith(key, "machine/") && !absl::StartsWith(key, "job/") && key != "meta/only")
      continue;
    RawRecords records = whole;
    records[key] = "\xff\xff";
    const StoreDirectory directory(records);
    const absl::Status status = directory.Open().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << key;
    EXPECT_NE(status.message().find("restore it from a backup"), absl::string_view::npos)
        << key << ": " << status;
    EXPECT_EQ(directory.Records(), records) << key;
  }
}

// The worked example of docs/formats/config_store.md.
TEST(StoreFormat, AnEventIsStoredAsRecorded) {
  storage::v1::Event event;
  event.mutable_time()->set_seconds(1800000000);
  event.set_name("job.started");
  event.set_machine_id("m1");
  event.set_job_id("00000005");
  event.set_text("resync");
  Store::Transaction transaction;
  transaction.Put("0000000000000012", event);
  const auto& [key, record] = transaction.changes().front();
  testing::ExpectGolden("config_store_event.bin", absl::StrCat(key, *record));
}

}  // namespace
}  // namespace homeward
