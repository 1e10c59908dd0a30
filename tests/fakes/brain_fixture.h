// BrainFixture: a brain with a real store, and components that do what is desired of them. For
// tests.
#ifndef HOMEWARD_TESTS_FAKES_BRAIN_FIXTURE_H_
#define HOMEWARD_TESTS_FAKES_BRAIN_FIXTURE_H_

#include <array>
#include <filesystem>
#include <random>
#include <set>

#include "common/rpc/problem_status.h"
#include "common/wire/time_proto.h"
#include "config_server/jobs/brain.h"
#include "config_server/model/health.h"
#include "config_server/model/placement.h"
#include "config_server/model/points.h"
#include "config_server/model/rules.h"
#include "gtest/gtest.h"
#include "tests/fakes/manual_clock.h"

namespace homeward {

inline constexpr char kMachine[] = "11111111111111111111111111111111";
inline constexpr char kServer[] = "22222222222222222222222222222222";
inline constexpr char kOtherServer[] = "44444444444444444444444444444444";
inline constexpr char kTarget[] = "33333333333333333333333333333333";
inline constexpr uint32_t kServerPort = 9444, kTargetPort = 9445;  // of their data channels

class BrainFixture : public ::testing::Test {
 protected:
  explicit BrainFixture(Hypervisor* hypervisor = nullptr, Cloud* cloud = nullptr)
      : hypervisor_(hypervisor), cloud_(cloud) {
    char pattern[] = "/tmp/homeward-brain-XXXXXX";
    directory_ = ::mkdtemp(pattern);
    StartBrain();
  }
  ~BrainFixture() override {
    brain_.reset();
    std::filesystem::remove_all(directory_);
  }

  void StartBrain() {
    brain_.reset();
    sessions_.clear();
    auto store = Store::Open(directory_ + "/store");
    ASSERT_TRUE(store.ok()) << store.status();
    brain_ = std::make_unique<Brain>(clock_, settings_, *std::move(store), hypervisor_, cloud_,
                                     scripts_);
  }

  control::v1::Registration Registration(types::v1::ServerRole role, const std::string& id) {
    control::v1::Registration registration;
    registration.set_role(role);
    registration.set_host_id(id);
    registration.set_name(types::v1::ServerRole_Name(role));
    registration.set_os_type(types::v1::LINUX);
    registration.set_replication_address("10.0.0.1:9443");
    registration.set_data_channel_port(role == types::v1::MASTER_TARGET ? kTargetPort
                                                                        : kServerPort);
    registration.set_encrypts_streams(!older_.contains(id));
    registration.set_compresses_encrypted(!older_.contains(id) &&
                                          !compress_in_the_clear_.contains(id));
    registration.set_ends_unchecked(role == types::v1::PROCESS_SERVER && !older_.contains(id) &&
                                    !ends_checked_.contains(id));
    if (role == types::v1::MASTER_TARGET) registration.set_hardware_uuid(target_uuid_);
    if (role == types::v1::AGENT) {
      registration.set_boot_id(boot_id_);
      registration.set_hardware_uuid(hardware_uuid_);
      types::v1::Disk* const disk = registration.add_disks();
      disk->set_name("/dev/sda");
      disk->set_size_bytes(1 << 20);
    }
    return registration;
  }
  absl::Status Connect(types::v1::ServerRole role, const std::string& id) {
    const absl::StatusOr<uint64_t> session = brain_->Register(
        Registration(role, id), {.send =
                                     [this, id](const control::v1::Down& down) {
                                       if (down.has_desired()) desired_[id] = down.desired();
                                     },
                                 .end = [this, id](const absl::Status&) { sessions_.erase(id); }});
    if (session.ok()) sessions_[id] = *session;
    return session.status();
  }
  void ConnectAll() {
    for (const auto& [server, runs] : servers_run_) {
      if (!runs || sessions_.contains(server)) continue;
      ASSERT_TRUE(Connect(types::v1::PROCESS_SERVER, server).ok());
    }
    if (!sessions_.contains(kTarget)) {
      ASSERT_TRUE(Connect(types::v1::MASTER_TARGET, kTarget).ok());
    }
    if (agent_runs_ && !sessions_.contains(kMachine)) (void)Connect(types::v1::AGENT, kMachine);
  }

  // Every component does what is desired and says so.
  void Obey() {
    clock_.now += absl::Milliseconds(100);
    ConnectAll();
    for (const auto& [server, runs] : servers_run_) {
      if (sessions_.contains(server)) ObeyServer(server);
    }
    ObeyAgent();
    ObeyTarget();
    brain_->Step();
  }
  void ObeyServer(const std::string& server) {
    control::v1::Heartbeat heartbeat;
    for (const auto& stream : desired_[server].process_server().streams()) {
      control::v1::RelayObserved* const relay = heartbeat.mutable_process_server()->add_streams();
      relay->set_machine_id(stream.machine_id());
      relay->set_generation(stream.generation());
    }
    for (const control::v1::Replica& wanted : desired_[server].process_server().replicas())
      ObserveReplica(wanted, heartbeat.mutable_process_server()->add_replicas());
    for (const std::string& container : containers_)
      heartbeat.mutable_process_server()->add_page_blob_containers(container);
    heartbeat.mutable_process_server()->set_cache_total_bytes(100);
    heartbeat.mutable_process_server()->set_cache_free_bytes(90);
    heartbeat.set_desired_revision(desired_[server].revision());
    brain_->fleet().Hear(server, sessions_[server], heartbeat);
  }
  // It is gone, and everybody knows.
  void Lose(const std::string& server) {
    servers_run_[server] = false;
    const uint64_t session = sessions_[server];
    sessions_.erase(server);
    brain_->fleet().Disconnect(server, session);
    clock_.now += kHeartbeatTimeoutDefault + absl::Seconds(1);
    Obey();
  }
  void ObeyAgent() {
    if (!sessions_.contains(kMachine)) return;
    control::v1::Heartbeat heartbeat;
    control::v1::AgentObserved& seen = *heartbeat.mutable_agent();
    const control::v1::AgentDesired& wanted = desired_[kMachine].agent();
    if (wanted.has_protection()) {
      const control::v1::Protection& protection = wanted.protection();
      // At most one copy may stream in a generation.
      streamed_.insert({protection.generation(), boot_id_});
      seen.set_machine_id(protection.machine_id());
      seen.set_generation(protection.generation());
      seen.set_replica_id(protection.replica_id());
      seen.set_streaming(true);
      seen.set_resync_token(protection.resync_token());
      seen.set_quiesced_token(protection.quiesce_token());
      seen.set_data_key_id(protection.data_key().id());
      if (protection.has_data_key()) {
        seen.mutable_data_key_from()->set_epoch(1);
        seen.mutable_data_key_from()->set_sequence(data_key_from_);
      }
      seen.set_point_token(protection.point_token());
      const std::array<uint64_t, 3> tokens = {protection.quiesce_token(), protection.point_token(),
                                              protection.resync_token()};
      if (points_.empty() || tokens != tokens_) {
        tokens_ = tokens;
        points_.push_back(absl::StrCat("p", points_.size()));
        times_.push_back(clock_.Now());
      }
      if (protection.quiesce_token() != 0) seen.set_quiesced_point(points_.back());
      if (protection.point_token() != 0) seen.set_requested_point(points_.back());
    }
    heartbeat.set_desired_revision(desired_[kMachine].revision());
    brain_->fleet().Hear(kMachine, sessions_[kMachine], heartbeat);
  }
  void ObeyTarget() {
    if (!sessions_.contains(kTarget)) return;
    control::v1::Heartbeat heartbeat;
    control::v1::MasterTargetObserved& seen = *heartbeat.mutable_master_target();
    types::v1::Datastore* const datastore = seen.add_datastores();
    datastore->set_path("/ds1");
    datastore->set_total_bytes(100);
    datastore->set_free_bytes(50);
    *seen.mutable_retention_volume() = *datastore;
    for (const control::v1::Replica& wanted : desired_[kTarget].master_target().replicas())
      ObserveReplica(wanted, seen.add_replicas());
    heartbeat.set_desired_revision(desired_[kTarget].revision());
    brain_->fleet().Hear(kTarget, sessions_[kTarget], heartbeat);
  }
  void ObserveReplica(const control::v1::Replica& wanted, control::v1::ReplicaObserved* replica) {
    replica->set_replica_id(wanted.replica_id());
    replica->set_machine_id(wanted.machine_id());
    replica->set_generation(wanted.generation());
    replica->set_held_generation(std::max(wanted.generation(), held_generation_));
    const bool at_point = wanted.phase() == control::v1::RECOVER && !opens_nothing_;
    if (!opens_nothing_) replica->set_phase(wanted.phase());
    replica->set_point_id(wanted.point_id());
    replica->set_created_fresh(wanted.attached_disks().empty());
    if (takes_keys_) {
      for (const types::v1::DataKey& key : wanted.data_keys()) replica->add_data_key_ids(key.id());
    }
    replica->mutable_position()->set_epoch(1);
    replica->mutable_position()->set_sequence(written_);
    if (wanted.target().has_page_blobs()) {
      const control::v1::PageBlobs& blobs = wanted.target().page_blobs();
      for (const std::string& blob : blobs.blobs()) {
        replica->add_disk_paths(absl::StrCat(blobs.container_url(), "/", blob,
                                             at_point ? "?snapshot=" + wanted.point_id() : ""));
      }
    } else {
      replica->add_disk_paths(wanted.datastore() + "/" + wanted.directory() + "/d.vmdk");
    }
    if (!wanted.shown_point_id().empty() && shows_points_) {
      replica->set_shown_point_id(wanted.shown_point_id());
      for (const std::string& path : replica->disk_paths())
        replica->add_shown_paths(absl::StrCat(path, "?snapshot=", wanted.shown_point_id()));
    }
    for (size_t i = 0; i < points_.size(); ++i) {
      types::v1::RecoveryPoint* const point = replica->add_points();
      point->set_id(points_[i]);
      *point->mutable_time() = ToProto(times_[i]);
      point->set_kind(types::v1::CRASH_CONSISTENT);
      // Of the newest one.
      if (i + 1 == points_.size()) point->set_consistency(consistency_);
    }
  }

  storage::v1::Machine Machine() { return *brain_->FindMachine(kMachine); }
  absl::StatusOr<storage::v1::Job> Start(const std::string& workflow, const std::string& point = "",
                                         const std::string& directory = "") {
    storage::v1::Job job;
    job.set_operation(OperationCalled(workflow));
    job.set_subject(kMachine);
    job.set_point(point);
    if (workflow == "protect" || workflow == "reprotect") {
      if (Refusal refusal = CheckOperation(brain_->MakeView(), Machine(), job.operation()))
        return Refused(*refusal);
      PlacementWish wish = wish_;
      if (!wish.location.has_value()) wish.directory = directory;
      wish.vm = said_vm_;
      const Placed placed = Place(brain_->MakeView(), Machine(), wish);
      if (placed.refusal) return Refused(*placed.refusal);
      const absl::Status follows =
          brain_->policies().Begin(Machine(), policy_name_, own_policy_, &job);
      if (!follows.ok()) return follows;
      *job.mutable_wanted()->mutable_placement() = placed.placement;
      return brain_->StartJob(std::move(job), placed.chosen_vm);
    }
    return brain_->StartJob(std::move(job));
  }
  // Until the job has ended. Kills the server with the chance of one in `kill_one_in` at each step.
  storage::v1::Job Finish(const std::string& job_id, int kill_one_in = 0) {
    uint64_t generation = 0;
    for (int i = 0; i < 500; ++i) {
      if (kill_one_in > 0 && static_cast<int>(random_() % static_cast<unsigned>(kill_one_in)) == 0)
        StartBrain();
      Obey();
      EXPECT_GE(Machine().generation(), generation) << "a generation never goes back";
      generation = Machine().generation();
      storage::v1::Job job = *brain_->FindJob(job_id);
      if (job.state() != storage::v1::RUNNING) return job;
    }
    ADD_FAILURE() << "job " << job_id << " does not end: " << brain_->ProgressOf(job_id)->detail;
    return {};
  }
  void Run(const std::string& workflow, const std::string& point = "",
           const std::string& directory = "", int kill_one_in = 0) {
    const auto job = Start(workflow, point, directory);
    ASSERT_TRUE(job.ok()) << workflow << ": " << job.status();
    const storage::v1::Job ended = Finish(job->id(), kill_one_in);
    ASSERT_EQ(ended.state(), storage::v1::SUCCEEDED)
        << workflow << ": " << ended.problem().ShortDebugString();
  }
  static std::string IdOf(const absl::Status& status) {
    const auto problem = ProblemOf(status);
    return problem.has_value() ? problem->id() : status.ToString();
  }
  void BootAtHome() {
    boot_id_ = "boot-at-home";
    hardware_uuid_ = "hardware-at-home";
    agent_runs_ = true;
  }

  ManualClock clock_;
  Settings settings_;
  std::set<std::string> older_;                  // hosts that know no encrypted batches
  std::set<std::string> compress_in_the_clear_;  // hosts that know no compressed ones among them
  std::set<std::string> ends_checked_;           // where a stream ends, they come over TLS alone
  // In the stream: what the agent encrypted first with its key, and what is written.
  uint64_t data_key_from_ = 10, written_ = 10;
  bool takes_keys_ = true;  // the end of the stream hears of new ones
  std::string directory_;
  std::mt19937 random_{7};
  std::unique_ptr<Brain> brain_;
  std::map<std::string, uint64_t> sessions_;
  std::map<std::string, control::v1::Desired> desired_;
  std::vector<std::string> points_;
  std::vector<absl::Time> times_;
  types::v1::Consistency consistency_ = types::v1::FROZEN;
  std::array<uint64_t, 3> tokens_ = {};  // those for which a point was made
  std::string boot_id_ = "boot-1", hardware_uuid_ = "hardware-1";
  std::string target_uuid_;
  std::string said_vm_;      // --vm
  std::string policy_name_;  // --policy
  storage::v1::Policy own_policy_;
  PlacementWish wish_;  // of a protect and a reprotect; with a location, no directory is wished for
  bool shows_points_ = true;             // the process server knows of test failovers
  uint64_t held_generation_ = 0;         // that replicas know of at least
  bool opens_nothing_ = false;           // receivers were started again, and no replica is open yet
  std::vector<std::string> containers_;  // that the process server can write
  bool agent_runs_ = true;
  std::map<std::string, bool> servers_run_ = {{kServer, true}};
  Hypervisor* const hypervisor_;
  Cloud* const cloud_;
  ScriptRunner* scripts_ = nullptr;  // of a brain that is started from now on
  std::set<std::pair<uint64_t, std::string>> streamed_;
};

}  // namespace homeward

#endif  // HOMEWARD_TESTS_FAKES_BRAIN_FIXTURE_H_
