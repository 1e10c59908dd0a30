// The whole circle, against components that do what is desired of them, with a server that is
// killed at any step.
#include <map>
#include <string>

#include "absl/algorithm/container.h"
#include "config_server/model/health.h"
#include "homeward/storage/v1/schema_1.pb.h"
#include "tests/fakes/brain_fixture.h"

namespace homeward {
namespace {

class BrainTest : public BrainFixture {};

TEST_F(BrainTest, AMachineGoesTheWholeCircle) {
  Obey();
  Obey();
  Run("protect");
  EXPECT_EQ(Machine().state(), storage::v1::PROTECTED);
  EXPECT_EQ(Machine().generation(), 1u);
  Run("failback", "latest");
  EXPECT_EQ(Machine().state(), storage::v1::FAILED_BACK);
  EXPECT_EQ(Machine().assignment().state().point_id(), points_.back())
      << "the point of the quiesced machine";
  EXPECT_EQ(IdOf(Start("reprotect").status()), "NOT_COMMITTED");
  Run("commit");
  EXPECT_EQ(IdOf(Start("reprotect", "", "other").status()), "AGENT_NOT_REGISTERED");
  BootAtHome();
  sessions_.erase(kMachine);
  Obey();
  EXPECT_EQ(IdOf(Start("reprotect").status()), "VM_NAME_EXISTS") << "it runs from that directory";
  Run("reprotect", "", "other");
  EXPECT_EQ(Machine().state(), storage::v1::PROTECTED);
}

TEST_F(BrainTest, WhoSendsAStreamIsToldOfTheDataChannelAhead) {
  Obey();
  Obey();
  Run("protect");
  EXPECT_EQ(desired_[kMachine].agent().protection().data_channel_port(), kServerPort);
  ASSERT_EQ(desired_[kServer].process_server().streams_size(), 1);
  EXPECT_EQ(desired_[kServer].process_server().streams(0).data_channel_port(), kTargetPort);
}

TEST_F(BrainTest, AServerThatIsKilledAtAnyStepGoesOnWhereItWas) {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    random_.seed(seed);
    Obey();
    Obey();
    Run("protect", "", absl::StrCat("a", seed), 3);
    Run("failback", "latest", "", 3);
    Run("commit", "", "", 3);
    Run("remove", "", "", 3);
    // The next round is another incarnation of the machine with the same id.
    std::map<uint64_t, int> copies;
    for (const auto& [generation, boot] : streamed_) ++copies[generation];
    for (const auto& [generation, count] : copies)
      EXPECT_EQ(count, 1) << "generation " << generation;
    boot_id_ = absl::StrCat("boot-", seed + 1);
    hardware_uuid_ = absl::StrCat("hardware-", seed + 1);
    sessions_.erase(kMachine);
    if (HasFatalFailure()) return;
  }
}

TEST_F(BrainTest, WhatIsDesiredIsTheSameAfterARestart) {
  const auto desired = [this] {
    std::map<std::string, std::string> all;
    for (auto [id, wanted] : desired_) {
      wanted.clear_revision();
      all[id] = wanted.SerializeAsString();
    }
    return all;
  };
  for (const char* const operation : {"protect", "create-point", "failback", "commit", "remove"}) {
    Obey();
    Obey();
    const auto job = Start(operation, "latest");
    ASSERT_TRUE(job.ok()) << job.status();
    for (int i = 0; i < 20; ++i) {
      Obey();
      const std::map<std::string, std::string> before = desired();
      StartBrain();
      ConnectAll();
      brain_->Step();
      EXPECT_EQ(desired(), before) << operation << ", step " << i;
    }
  }
}

TEST_F(BrainTest, AJobOfManyMachinesHasOneForEach) {
  Obey();
  Obey();
  Run("protect");
  storage::v1::Job each;
  each.set_operation(storage::v1::RESYNC);
  const storage::v1::Job parent = *brain_->StartForEach(each, {kMachine, kMachine, "unknown"});
  const storage::v1::Job ended = Finish(parent.id(), /*kill_one_in=*/3);
  EXPECT_EQ(ended.state(), storage::v1::FAILED);
  ASSERT_EQ(ended.children_size(), 3);
  std::vector<std::string> ends;
  for (const std::string& id : ended.children()) {
    const storage::v1::Job child = *brain_->FindJob(id);
    EXPECT_EQ(child.parent(), parent.id());
    ends.push_back(child.has_problem() ? child.problem().id()
                                       : storage::v1::TaskState_Name(child.state()));
  }
  EXPECT_EQ(ends, std::vector<std::string>({"SUCCEEDED", "JOB_RUNNING", "NOT_IN_DATABASE"}));
  EXPECT_NE(ended.problem().message().find("2 of 3 machines; job "), std::string::npos)
      << ended.problem().message();
}

TEST_F(BrainTest, AJobOfManyMachinesIsCancelledWithItsChildren) {
  Obey();
  Obey();
  Run("protect");
  agent_runs_ = false;
  storage::v1::Job each;
  each.set_operation(storage::v1::RESYNC);
  const storage::v1::Job parent = *brain_->StartForEach(each, {kMachine});
  ASSERT_EQ(parent.children_size(), 1);
  ASSERT_TRUE(brain_->CancelJob(parent.id()).ok());
  EXPECT_EQ(Finish(parent.id()).state(), storage::v1::CANCELLED);
  EXPECT_EQ(brain_->FindJob(parent.children(0))->state(), storage::v1::CANCELLED);
  EXPECT_EQ(IdOf(brain_->CancelJob(parent.id()).status()), "JOB_NOT_CANCELLABLE");
  EXPECT_TRUE(Machine().job_id().empty());
}

TEST_F(BrainTest, ACancelledJobCancelsItsChildrenAfterARestart) {
  Obey();
  Obey();
  Run("protect");
  agent_runs_ = false;
  storage::v1::Job each;
  each.set_operation(storage::v1::RESYNC);
  storage::v1::Job parent = *brain_->StartForEach(each, {kMachine});
  // The server dies right after this was stored.
  parent.set_cancel_requested(true);
  Store::Transaction transaction;
  transaction.Put(parent.id(), parent);
  ASSERT_TRUE(brain_->store().Commit(transaction).ok());
  StartBrain();
  EXPECT_EQ(Finish(parent.id()).state(), storage::v1::CANCELLED);
  EXPECT_EQ(brain_->FindJob(parent.children(0))->state(), storage::v1::CANCELLED);
}

TEST_F(BrainTest, AJobThatAnOlderServerBeganGoesOn) {
  Obey();
  Obey();
  Run("protect");
  storage::v1::Job job = *Start("resync");
  // It knew no `operation`.
  storage::v1::schema_1::Job named;
  named.set_workflow("resync");
  job.clear_operation();
  ASSERT_TRUE(job.MergeFromString(named.SerializeAsString()));
  storage::v1::Meta meta = *brain_->store().Get<storage::v1::Meta>(Store::kOnly);
  meta.set_schema_version(1);
  Store::Transaction transaction;
  transaction.Put(job.id(), job);
  transaction.Put(Store::kOnly, meta);
  ASSERT_TRUE(brain_->store().Commit(transaction).ok());
  StartBrain();
  EXPECT_EQ(Finish(job.id()).state(), storage::v1::SUCCEEDED);
  EXPECT_EQ(Machine().state(), storage::v1::PROTECTED);
}

TEST_F(BrainTest, AReprotectIsRefusedUntilTheAgentRegisteredSinceTheBoot) {
  Obey();
  Obey();
  Run("protect");
  Run("failback", "latest");
  Run("commit");
  agent_runs_ = false;
  clock_.now += absl::Minutes(3);
  absl::Status refused = Start("reprotect", "", "other").status();
  const auto problem = ProblemOf(refused);
  ASSERT_TRUE(problem.has_value());
  EXPECT_EQ(problem->id(), "AGENT_NOT_REGISTERED");
  EXPECT_TRUE(problem->retryable());
  EXPECT_NE(problem->message().find("3m"), std::string::npos) << problem->message();
  EXPECT_EQ(FromProto(problem->retry_at()) - FromProto(Machine().handed_back_at()),
            absl::Minutes(15));
  clock_.now += absl::Minutes(20);
  refused = Start("reprotect", "", "other").status();
  EXPECT_FALSE(ProblemOf(refused)->has_retry_at()) << "late: look at the machine";
}

TEST_F(BrainTest, AServersNameThatTwoHaveNamesNone) {
  Obey();
  const std::string name = types::v1::ServerRole_Name(types::v1::MASTER_TARGET);
  ASSERT_TRUE(Connect(types::v1::MASTER_TARGET, "another-target").ok());
  const View view = brain_->MakeView();
  const View::MeantServer both = view.ServerCalled(name, {types::v1::MASTER_TARGET});
  ASSERT_TRUE(both.refusal.has_value());
  EXPECT_EQ(both.refusal->id(), "AMBIGUOUS_NAME");
  EXPECT_NE(both.refusal->message().find("another-target"), std::string::npos);
  EXPECT_NE(both.refusal->message().find(kTarget), std::string::npos);
  const View::MeantServer one = view.ServerCalled("another-target", {types::v1::MASTER_TARGET});
  ASSERT_NE(one.server, nullptr);
  EXPECT_EQ(one.server->host_id(), "another-target");
  EXPECT_EQ(view.ServerCalled(name, {types::v1::PROCESS_SERVER}).refusal->id(), "NOT_IN_DATABASE");
  // As tables show it; less of it says nothing.
  EXPECT_EQ(view.ServerCalled("another-", {types::v1::MASTER_TARGET}).server, one.server);
  EXPECT_EQ(view.ServerCalled("another", {types::v1::MASTER_TARGET}).server, nullptr);
}

TEST_F(BrainTest, TheCopyThatAFailbackLeftBehindIsRefused) {
  Obey();
  Obey();
  Run("protect");
  Run("failback", "latest");
  EXPECT_EQ(IdOf(Connect(types::v1::AGENT, kMachine)), "FOREIGN_CONFIG_SERVER") << "the same boot";
  boot_id_ = "boot-2";
  EXPECT_EQ(IdOf(Connect(types::v1::AGENT, kMachine)), "FOREIGN_CONFIG_SERVER")
      << "booted again, on the old hardware";
  BootAtHome();
  EXPECT_TRUE(Connect(types::v1::AGENT, kMachine).ok());
}

TEST_F(BrainTest, ARunningMachineIsNotTakenToAnotherPoint) {
  Obey();
  Obey();
  Run("protect");
  Run("failback", points_.front());
  Run("failback", "latest");
  BootAtHome();
  sessions_.erase(kMachine);
  Obey();
  EXPECT_EQ(IdOf(Start("failback", "latest").status()), "MACHINE_RUNNING");
}

TEST_F(BrainTest, AFailbackWaitsForASourceThatLives) {
  Obey();
  Obey();
  Run("protect");
  agent_runs_ = false;
  brain_->fleet().Disconnect(kMachine, sessions_[kMachine]);
  sessions_.erase(kMachine);
  const auto job = Start("failback", "latest");
  ASSERT_TRUE(job.ok());
  for (int i = 0; i < 20; ++i) Obey();
  EXPECT_EQ(brain_->FindJob(job->id())->state(), storage::v1::RUNNING);
  agent_runs_ = true;
  EXPECT_EQ(Finish(job->id()).state(), storage::v1::SUCCEEDED);
}

TEST_F(BrainTest, AReplicaThatKnowsMoreThanTheServerIsSaidAndGoneOnFromByAnOperator) {
  Obey();
  Obey();
  Run("protect");
  held_generation_ = Machine().generation() + 3;  // the store is an older one again
  Obey();
  EXPECT_EQ(IdOf(Start("failback", "latest").status()), "FORGOTTEN_GENERATION");
  const auto issues = JudgeMachine(brain_->MakeView(), Machine());
  EXPECT_TRUE(absl::c_any_of(issues, [](const types::v1::HealthIssue& issue) {
    return issue.severity() == types::v1::CRITICAL &&
           issue.problem().id() == "FORGOTTEN_GENERATION";
  }));
  Run("resync");
  EXPECT_EQ(Machine().generation(), held_generation_ + 1);
  Run("failback", "latest");
}

TEST_F(BrainTest, AWaitThatLeadsNowhereEndsByName) {
  Obey();
  Obey();
  const auto job = Start("protect");
  ASSERT_TRUE(job.ok()) << job.status();
  agent_runs_ = false;
  brain_->fleet().Disconnect(kMachine, sessions_[kMachine]);
  sessions_.erase(kMachine);
  for (int i = 0; i < 20; ++i) Obey();
  clock_.now += absl::Hours(20);
  for (int i = 0; i < 20; ++i) Obey();
  EXPECT_EQ(brain_->FindJob(job->id())->state(), storage::v1::RUNNING);
  clock_.now += absl::Hours(5);
  const storage::v1::Job ended = Finish(job->id());
  EXPECT_EQ(ended.state(), storage::v1::FAILED);
  EXPECT_EQ(ended.problem().id(), "WAITED_TOO_LONG");
  EXPECT_NE(ended.problem().message().find("Start replication"), std::string::npos)
      << ended.problem().message();
}

TEST_F(BrainTest, ACancelledProtectLeavesNothingBehind) {
  Obey();
  Obey();
  agent_runs_ = false;
  const auto job = Start("protect");
  ASSERT_TRUE(job.ok()) << job.status();
  brain_->fleet().Disconnect(kMachine, sessions_[kMachine]);
  sessions_.erase(kMachine);
  Obey();
  EXPECT_EQ(IdOf(Start("resync").status()), "JOB_RUNNING");
  ASSERT_TRUE(brain_->CancelJob(job->id()).ok());
  const storage::v1::Job ended = Finish(job->id());
  EXPECT_EQ(ended.state(), storage::v1::CANCELLED);
  EXPECT_EQ(ended.problem().id(), "JOB_CANCELLED");
  EXPECT_EQ(Machine().state(), storage::v1::UNPROTECTED);
  EXPECT_FALSE(Machine().has_assignment());
  EXPECT_EQ(IdOf(brain_->CancelJob(job->id()).status()), "JOB_NOT_CANCELLABLE");
}

TEST_F(BrainTest, WhatIsWishedForMustBeThere) {
  Obey();
  Obey();
  View view = brain_->MakeView();
  const auto refusal = [&](PlacementWish wish) {
    const Placed placed = Place(view, Machine(), wish);
    return placed.refusal ? placed.refusal->id() : "none";
  };
  EXPECT_EQ(refusal({}), "none");
  EXPECT_EQ(refusal({.disks = {"/dev/sdz"}}), "DISK_UNKNOWN");
  EXPECT_EQ(refusal({.process_server = "nobody"}), "NOT_IN_DATABASE");
  EXPECT_EQ(refusal({.datastore = "/nowhere"}), "DATASTORE_NOT_ACCESSIBLE");
  for (const char* const name : {"../etc", "a\"b", "a\nb", "a ", "a\\b"})
    EXPECT_EQ(refusal({.directory = name}), "DIRECTORY_UNSUITABLE") << name;
  EXPECT_EQ(refusal({.directory = std::string(80, 'a')}), "none");
  const Placed longer = Place(view, Machine(), {.directory = std::string(81, 'a')});
  EXPECT_NE(longer.refusal->message().find("it has 81 bytes; 80 are allowed"), std::string::npos)
      << longer.refusal->message();
  EXPECT_EQ(refusal({.hyperv = true}), "HYPERV_TARGET");
  std::vector<storage::v1::Server> windows(view.servers.begin(), view.servers.end());
  for (storage::v1::Server& server : windows)
    server.mutable_registration()->set_os_type(types::v1::WINDOWS);
  view.servers = windows;
  EXPECT_EQ(refusal({.master_target = kTarget}), "MASTER_TARGET_OS_MISMATCH");
  EXPECT_EQ(IdOf(brain_->FindMachine("nobody").status()), "NOT_IN_DATABASE");
  EXPECT_EQ(IdOf(Start("failback", "latest").status()), "NOT_PROTECTED");
  EXPECT_EQ(ChoosePoint({}, "").refusal->id(), "POINT_REQUIRED");
  EXPECT_EQ(ChoosePoint({}, "latest").refusal->id(), "NO_RECOVERY_POINT");
  EXPECT_EQ(ChoosePoint({}, "p9").refusal->id(), "POINT_NOT_FOUND");
}

TEST_F(BrainTest, ADiskGoesOnlyWhereItsSectorsAreCountedAlike) {
  Obey();
  Obey();
  control::v1::Heartbeat heartbeat = *brain_->fleet().state().heartbeat(kTarget);
  const std::map<std::string, uint32_t> devices = {{"/dev/old", 0}, {"/dev/4k", 4096}};
  for (const auto& [path, sector_bytes] : devices) {
    types::v1::BlockDevice& device = *heartbeat.mutable_master_target()->add_block_devices();
    device.set_path(path);
    device.set_size_bytes(1 << 20);
    device.set_logical_sector_bytes(sector_bytes);
  }
  brain_->fleet().Hear(kTarget, sessions_[kTarget], heartbeat);
  const View view = brain_->MakeView();
  storage::v1::Machine machine = Machine();
  const auto refusal = [&](uint32_t sector_bytes, const PlacementWish& wish) {
    machine.mutable_registration()->mutable_disks(0)->set_logical_sector_bytes(sector_bytes);
    const Placed placed = Place(view, machine, wish);
    return placed.refusal ? placed.refusal->id() : "none";
  };
  for (const uint32_t usual : {0u, 512u}) {
    EXPECT_EQ(refusal(usual, {}), "none");
    EXPECT_EQ(refusal(usual, {.block_devices = {"/dev/old"}}), "none");
    EXPECT_EQ(refusal(usual, {.block_devices = {"/dev/4k"}}), "SECTOR_SIZE_UNSUPPORTED");
  }
  EXPECT_EQ(refusal(4096, {}), "SECTOR_SIZE_UNSUPPORTED");
  EXPECT_EQ(refusal(4096, {.location = storage::v1::ALTERNATE_VM}), "SECTOR_SIZE_UNSUPPORTED");
  EXPECT_EQ(refusal(4096, {.location = storage::v1::ORIGINAL_VM}), "SECTOR_SIZE_UNSUPPORTED");
  EXPECT_EQ(refusal(4096, {.block_devices = {"/dev/old"}}), "SECTOR_SIZE_UNSUPPORTED");
  EXPECT_EQ(refusal(4096, {.block_devices = {"/dev/4k"}}), "none");
}

TEST_F(BrainTest, ADiskThatCannotBeProtectedIsRefusedWithItsReason) {
  Obey();
  Obey();
  storage::v1::Machine machine = Machine();
  types::v1::UnusableDisk& disk = *machine.mutable_registration()->add_unusable_disks();
  disk.set_name("/dev/sr0");
  disk.set_reason("it is removable");
  const Placed placed = Place(brain_->MakeView(), machine, {.disks = {"/dev/sr0"}});
  ASSERT_TRUE(placed.refusal);
  EXPECT_EQ(placed.refusal->id(), "DISK_UNKNOWN");
  EXPECT_NE(placed.refusal->message().find("it is removable"), std::string::npos);
}

TEST_F(BrainTest, APointThatIsNotOneInstantIsTakenOnlyByWhoAcceptsIt) {
  std::vector<types::v1::RecoveryPoint> points(3);
  for (size_t i = 0; i < points.size(); ++i) points[i].set_id(absl::StrCat("p", i));
  points[1].set_consistency(types::v1::FROZEN);
  points[2].set_consistency(types::v1::NOT_ONE_INSTANT);
  points[2].set_how("/dev/sdb was written to all the time, last by fio (pid 7)");
  EXPECT_EQ(ChoosePoint(points, "latest").point.id(), "p1");
  EXPECT_EQ(ChoosePoint(points, "latest", true).point.id(), "p2");
  const Refusal refused = ChoosePoint(points, "p2").refusal;
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->id(), "POINT_NOT_ONE_INSTANT");
  EXPECT_NE(refused->message().find("fio (pid 7)"), std::string::npos) << refused->message();
  EXPECT_EQ(ChoosePoint(points, "p2", true).point.id(), "p2");
  EXPECT_EQ(ChoosePoint({points[2]}, "latest").refusal->id(), "POINT_NOT_ONE_INSTANT");
  EXPECT_EQ(ChoosePoint({points[2]}, "p7").refusal->id(), "POINT_NOT_FOUND");
}

TEST_F(BrainTest, ALastPointThatIsNotOneInstantEndsAFailbackToLatestBeforeAnythingIsTurnedOff) {
  Obey();
  ASSERT_EQ(Finish(Start("protect")->id()).state(), storage::v1::SUCCEEDED);
  consistency_ = types::v1::NOT_ONE_INSTANT;
  const storage::v1::Job refused = Finish(Start("failback", "latest")->id());
  EXPECT_EQ(refused.state(), storage::v1::FAILED);
  EXPECT_EQ(refused.problem().id(), "POINT_NOT_ONE_INSTANT");
  EXPECT_EQ(Machine().state(), storage::v1::PROTECTED);
  EXPECT_EQ(Machine().assignment().state().quiesce_token(), 0u) << "the machine goes on";
  storage::v1::Job accepted;
  accepted.set_operation(storage::v1::FAILBACK);
  accepted.set_subject(kMachine);
  accepted.set_point("latest");
  accepted.set_accept_not_one_instant(true);
  EXPECT_EQ(Finish(brain_->StartJob(std::move(accepted))->id()).state(), storage::v1::SUCCEEDED);
}

TEST(StoreTest, ANewerSchemaIsRefusedAndATransactionIsAllOrNothing) {
  char pattern[] = "/tmp/homeward-store-XXXXXX";
  const std::string directory = ::mkdtemp(pattern);
  {
    auto store = *Store::Open(directory);
    const uint64_t revision = store->revision();
    Store::Transaction transaction;
    storage::v1::Machine machine;
    machine.set_machine_id("m");
    transaction.Put("m", machine);
    storage::v1::Meta meta = *store->Get<storage::v1::Meta>(Store::kOnly);
    meta.set_schema_version(Store::kSchemaVersion + 1);
    transaction.Put(Store::kOnly, meta);
    size_t watched = 0;
    store->Watch([&](const Store::Transaction& seen) { watched = seen.changes().size(); });
    ASSERT_TRUE(store->Commit(transaction).ok());
    EXPECT_EQ(watched, 2u);
    EXPECT_EQ(store->revision(), revision + 1);
    EXPECT_TRUE(store->Get<storage::v1::Machine>("m").has_value());
    EXPECT_EQ(Store::Open(directory).status().code(), absl::StatusCode::kFailedPrecondition)
        << "in use";
  }
  const absl::Status newer = Store::Open(directory).status();
  EXPECT_EQ(newer.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(newer.message().find("schema 3"), absl::string_view::npos) << newer;
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace homeward
