// A store of an earlier version: a machine that is replicated to its original VM, with a job that
// ran when the server ended. What it was is read, and goes on.
#include <map>
#include <sstream>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "config_server/jobs/brain_fixture.h"
#include "config_server/store/records.h"
#include "tests/golden/golden.h"

namespace homeward {
namespace {

constexpr char kWeb[] = "55a754328cf76188fe77b0a1776063c1";
constexpr char kItsProcessServer[] = "b56bf43c821aa76787861457ab2afc80";
constexpr char kItsMasterTarget[] = "7dabf8dcf1f332bbcdf74b36d7ab732f";

template <typename Record>
bool PutIf(const std::string& key, const std::string& bytes, Store::Transaction* transaction) {
  const std::string prefix = absl::StrCat(RecordKind<Record>::kPrefix, "/");
  if (!absl::StartsWith(key, prefix)) return false;
  Record record;
  EXPECT_TRUE(record.ParseFromString(bytes)) << key;
  transaction->Put(key.substr(prefix.size()), record);
  return true;
}

// Lines of key and record in hex, as scanned from a store that the program of schema 1 wrote.
std::unique_ptr<Store> OpenGolden(const std::string& name) {
  std::unique_ptr<Store> store = *Store::Open("");
  Store::Transaction transaction;
  std::istringstream lines(testing::ReadGolden(name));
  std::string key, hex;
  int records = 0;
  while (lines >> key >> hex) {
    const std::string bytes = absl::HexStringToBytes(hex);
    const bool known = PutIf<storage::v1::Meta>(key, bytes, &transaction) ||
                       PutIf<storage::v1::Server>(key, bytes, &transaction) ||
                       PutIf<storage::v1::Machine>(key, bytes, &transaction) ||
                       PutIf<storage::v1::Job>(key, bytes, &transaction) ||
                       PutIf<storage::v1::Vcenter>(key, bytes, &transaction);
    EXPECT_TRUE(known) << key;
    ++records;
  }
  EXPECT_EQ(records, 10);
  EXPECT_TRUE(store->Commit(transaction).ok());
  return store;
}

TEST(Upgrade, AStoreOfSchema1GoesOn) {
  ManualClock clock;
  Brain brain(clock, Settings(), OpenGolden("config_store_v1.txt"));
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
  ASSERT_EQ(view.machines.size(), 1u);
  const storage::v1::Machine machine = view.machines.front();
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
  EXPECT_EQ(OperationOf(job), storage::v1::RESYNC);
  EXPECT_EQ(job.subject(), kWeb);
  ASSERT_NE(brain.ProgressOf("00000005"), nullptr);
  EXPECT_TRUE(brain.CancelJob("00000005").ok());
  EXPECT_EQ(brain.FindJob("00000005")->state(), storage::v1::CANCELLED);
  EXPECT_TRUE(brain.FindMachine("web-1")->job_id().empty());
}

}  // namespace
}  // namespace homeward
