// The bytes were recorded from a configuration server that knew no Target.
#include "common/replication/target.h"

#include "gtest/gtest.h"
#include "tests/golden/golden.h"

namespace homeward {
namespace {

using control::v1::Replica;
using control::v1::Target;

control::v1::MasterTargetDesired Recorded() {
  control::v1::Down down;
  EXPECT_TRUE(down.ParseFromString(testing::ReadGolden("control_desired_replicas_v1.bin")));
  EXPECT_EQ(down.desired().master_target().replicas_size(), 3);
  return down.desired().master_target();
}

TEST(Target, WhatAnOlderConfigurationServerSendsIsOneOfThree) {
  const control::v1::MasterTargetDesired desired = Recorded();
  const Target directory = TargetOf(desired.replicas(0));
  EXPECT_EQ(directory.datastore_directory().datastore(), "/ds1");
  EXPECT_EQ(directory.datastore_directory().directory(), "web");
  const Target devices = TargetOf(desired.replicas(1));
  ASSERT_EQ(devices.block_devices().paths_size(), 2);
  EXPECT_EQ(devices.block_devices().paths(1), "/dev/sdy");
  const Target attached = TargetOf(desired.replicas(2));
  ASSERT_EQ(attached.attached_disks().uuids_size(), 1);
  EXPECT_EQ(attached.attached_disks().uuids(0), "6000c29000000000000000000000a004");
  EXPECT_TRUE(attached.attached_disks().fresh());
}

TEST(Target, AnOlderMasterTargetIsSentWhatItAlwaysWas) {
  const control::v1::MasterTargetDesired desired = Recorded();
  for (const Replica& recorded : desired.replicas()) {
    Replica replica;
    SetTarget(TargetOf(recorded), &replica);
    EXPECT_EQ(TargetOf(replica).SerializeAsString(), TargetOf(recorded).SerializeAsString());
    // What it does not know, it does not see.
    replica.clear_target();
    Replica others = recorded;
    others.clear_datastore();
    others.clear_directory();
    others.clear_block_devices();
    others.clear_attached_disks();
    others.clear_attached_fresh();
    others.MergeFrom(replica);
    EXPECT_EQ(others.SerializeAsString(), recorded.SerializeAsString());
  }
}

TEST(Target, WhatAnOlderProgramWroteSinceCounts) {
  Target web, device;
  web.mutable_datastore_directory()->set_datastore("/ds1");
  web.mutable_datastore_directory()->set_directory("web");
  device.mutable_block_devices()->add_paths("/dev/sdx");
  const struct {
    Target was;
    void (*older_program)(Replica*);
    Target::KindCase kind;
  } cases[] = {
      {web, [](Replica* replica) { replica->set_phase(control::v1::RECOVER); },
       Target::kDatastoreDirectory},
      {web, [](Replica* replica) { replica->set_directory("other"); }, Target::kDatastoreDirectory},
      {web, [](Replica* replica) { replica->add_block_devices("/dev/sdx"); },
       Target::kBlockDevices},
      {device,
       [](Replica* replica) {
         replica->clear_block_devices();
         replica->set_datastore("/ds1");
       },
       Target::kDatastoreDirectory},
  };
  for (const auto& one : cases) {
    Replica replica;
    SetTarget(one.was, &replica);
    one.older_program(&replica);
    const Target target = TargetOf(replica);
    EXPECT_EQ(target.kind_case(), one.kind);
    if (one.kind == Target::kDatastoreDirectory) {
      EXPECT_EQ(target.datastore_directory().directory(), replica.directory());
    }
  }
}

TEST(Target, PageBlobsHaveNoOlderFields) {
  Target blobs;
  blobs.mutable_page_blobs()->set_container_url("https://a.blob.core.windows.net/c");
  blobs.mutable_page_blobs()->add_blobs("m1/d1.vhd");
  Replica replica;
  SetTarget(blobs, &replica);
  EXPECT_EQ(TargetOf(replica).page_blobs().blobs(0), "m1/d1.vhd");
  EXPECT_TRUE(replica.datastore().empty());
}

TEST(Target, AKindOfANewerPartIsNotTakenForAnother) {
  Replica replica;
  Target target;
  target.GetReflection()->MutableUnknownFields(&target)->AddLengthDelimited(900, "");
  SetTarget(target, &replica);
  Replica received;
  ASSERT_TRUE(received.ParseFromString(replica.SerializeAsString()));
  EXPECT_EQ(TargetOf(received).kind_case(), Target::KIND_NOT_SET);
}

}  // namespace
}  // namespace homeward
