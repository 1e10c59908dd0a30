// A store that another program left behind: a machine that is replicated to its original VM, with a
// job that ran when the server ended. What it was is read, and goes on.
#include <map>
#include <string>

#include "config_server/store/golden_store.h"
#include "config_server/store/records.h"
#include "tests/fakes/brain_fixture.h"

namespace homeward {
namespace {

using testing::kWeb;

constexpr char kItsProcessServer[] = "b56bf43c821aa76787861457ab2afc80";
constexpr char kItsMasterTarget[] = "7dabf8dcf1f332bbcdf74b36d7ab732f";

void ExpectGoesOn(const testing::RawRecords& records) {
  ManualClock clock;
  const testing::StoreDirectory directory(records);
  auto store = directory.Open();
  ASSERT_TRUE(store.ok()) << store.status();
  Brain brain(clock, Settings(), *std::move(store));
  std::map<std::string, control::v1::Desired> desired;
  const auto connect = [&](types::v1::ServerRole role, const std::string& id,
                           const storage::v1::Registration& stored) {
    control::v1::Registration registration;
    EXPECT_TRUE(registration.ParseFromString(stored.SerializeAsString()));
    registration.set_role(role);
    registration.set_host_id(id);
    return brain
        .Register(registration,
                  {.send = [&desired,
                            id](const control::v1::Down& down) { desired[id] = down.desired(); },
                   .end = [](const absl::Status&) {},
                   .address = "127.0.0.1"})
        .status();
  };
  const View view = brain.MakeView();
  const storage::v1::Machine machine = *brain.FindMachine("web-1");
  const std::vector<storage::v1::Server> servers(view.servers.begin(), view.servers.end());
  ASSERT_EQ(servers.size(), 2u);
  EXPECT_EQ(machine.state(), storage::v1::PROTECTED);
  EXPECT_EQ(machine.vm().name(), "web-1");
  ASSERT_TRUE(connect(types::v1::AGENT, machine.machine_id(), machine.registration()).ok());
  for (const storage::v1::Server& server : servers)
    ASSERT_TRUE(connect(server.role(), server.host_id(), server.registration()).ok());
  brain.Step();

  const control::v1::Protection& protection = desired[kWeb].agent().protection();
  EXPECT_EQ(protection.replica_id(), absl::StrCat(kWeb, "-00000004"));
  EXPECT_EQ(protection.generation(), 4u);
  EXPECT_EQ(protection.address(), "127.0.0.1:53545");
  EXPECT_EQ(protection.disks_size(), 2);
  EXPECT_EQ(FromProto(protection.point_interval()), absl::Seconds(2));
  EXPECT_EQ(FromProto(protection.app_point_interval()), absl::Hours(1));
  EXPECT_EQ(protection.resync_token(), 1364625659909u);
  ASSERT_EQ(desired[kItsMasterTarget].master_target().replicas_size(), 1);
  const control::v1::Replica& replica = desired[kItsMasterTarget].master_target().replicas(0);
  EXPECT_EQ(replica.phase(), control::v1::FOLLOW);
  EXPECT_EQ(FromProto(replica.retention_age()), absl::Hours(24));
  ASSERT_EQ(replica.attached_disks_size(), 2);
  EXPECT_EQ(replica.attached_disks(0), "6000c29869ffcc1d2691c078e394688a");
  EXPECT_EQ(replica.disks(1).size_bytes(), 25165824u);
  ASSERT_EQ(desired[kItsProcessServer].process_server().streams_size(), 1);
  const control::v1::RelayedStream& stream = desired[kItsProcessServer].process_server().streams(0);
  EXPECT_EQ(stream.master_target_address(), "127.0.0.1:47319");
  EXPECT_EQ(stream.replica_id(), protection.replica_id());

  // The job that ran then runs on, and is known by its operation.
  EXPECT_EQ(brain.records().running_jobs(), std::set<std::string>({"00000005"}));
  const storage::v1::Job job = *brain.FindJob("00000005");
  EXPECT_EQ(job.operation(), storage::v1::RESYNC);
  EXPECT_EQ(job.subject(), kWeb);
  ASSERT_NE(brain.ProgressOf("00000005"), nullptr);
  EXPECT_TRUE(brain.CancelJob("00000005").ok());
  EXPECT_EQ(brain.FindJob("00000005")->state(), storage::v1::CANCELLED);
  EXPECT_TRUE(brain.FindMachine("web-1")->job_id().empty());
}

TEST(Upgrade, AStoreOfSchema1GoesOn) {
  ExpectGoesOn(testing::ReadGoldenRecords("config_store_v1.txt"));
}

// The same machine, and one in a datastore's directory, on block devices and on a VM's disks; jobs
// with what they wanted.
TEST(Upgrade, AStoreOfSchema2GoesOn) {
  const testing::RawRecords records = testing::ReadGoldenRecords("config_store_v2.txt");
  EXPECT_EQ(records.size(), 15u);
  {
    const testing::StoreDirectory directory(records);
    auto store = directory.Open();
    ASSERT_TRUE(store.ok()) << store.status();
    EXPECT_EQ((*store)->Get<storage::v1::Meta>(Store::kOnly)->schema_version(), 2u);
    EXPECT_EQ(absl::StrCat((*store)->revision()), records.at("revision")) << "as it was";
    const auto placement_of = [&](const char* id) {
      return (*store)->Get<storage::v1::Machine>(id)->assignment().placement();
    };
    EXPECT_EQ(placement_of("m1").target().datastore_directory().directory(), "web");
    EXPECT_EQ(placement_of("m2").target().block_devices().paths_size(), 2);
    EXPECT_EQ(placement_of("m3").location(), storage::v1::ORIGINAL_VM);
    const storage::v1::Assignment wanted = (*store)->Get<storage::v1::Job>("00000001")->wanted();
    EXPECT_EQ(FromProto(wanted.policy().retention_age()), absl::Hours(24));
    EXPECT_EQ(wanted.placement().disks_size(), 2);
    EXPECT_EQ((*store)->All<storage::v1::Event>().front().name(), "machine.registered");
  }
  ExpectGoesOn(records);
}

}  // namespace
}  // namespace homeward
