// The bytes are records of a configuration server that knew no Target.
#include "config_server/model/target.h"

#include "common/replication/target.h"
#include "config_server/model/location_rules.h"
#include "gtest/gtest.h"
#include "tests/golden/golden.h"

namespace homeward {
namespace {

storage::v1::Machine Recorded(const std::string& kind) {
  storage::v1::Machine machine;
  EXPECT_TRUE(machine.ParseFromString(testing::ReadGolden("storage_machine_" + kind + "_v1.bin")));
  return machine;
}

// As the master target is told.
control::v1::Target TargetRecorded(const std::string& kind) {
  const storage::v1::Machine machine = Recorded(kind);
  return RulesOf(machine).TargetFor(machine);
}

TEST(StoredTarget, RecordsOfAnOlderProgramSayTheirTarget) {
  const control::v1::Target directory = TargetRecorded("directory");
  EXPECT_EQ(directory.datastore_directory().datastore(), "/ds1");
  EXPECT_EQ(directory.datastore_directory().directory(), "web");
  const control::v1::Target devices = TargetRecorded("block_devices");
  ASSERT_EQ(devices.block_devices().paths_size(), 2);
  EXPECT_EQ(devices.block_devices().paths(0), "/dev/sdx");
  const control::v1::Target attached = TargetRecorded("original_vm");
  ASSERT_EQ(attached.attached_disks().uuids_size(), 1);
  EXPECT_EQ(attached.attached_disks().uuids(0), "6000c29000000000000000000000a004");
  EXPECT_TRUE(attached.attached_disks().fresh());
}

TEST(StoredTarget, AnOlderProgramReadsWhatIsWrittenNow) {
  for (const char* kind : {"directory", "block_devices"}) {
    const storage::v1::Machine recorded = Recorded(kind);
    storage::v1::Machine machine = recorded;
    SetTarget(TargetOf(recorded.assignment()), machine.mutable_assignment());
    EXPECT_TRUE(machine.assignment().has_target());
    machine.mutable_assignment()->clear_target();  // It does not see that.
    EXPECT_EQ(machine.SerializeAsString(), recorded.SerializeAsString()) << kind;
  }
}

TEST(StoredTarget, WhatAnOlderProgramWroteSinceCounts) {
  storage::v1::Assignment assignment;
  SetTarget(TargetOf(Recorded("directory").assignment()), &assignment);
  assignment.set_directory("elsewhere");
  EXPECT_EQ(TargetOf(assignment).datastore_directory().directory(), "elsewhere");
  assignment.add_block_devices("/dev/sdx");
  EXPECT_EQ(TargetOf(assignment).block_devices().paths_size(), 1);
}

}  // namespace
}  // namespace homeward
