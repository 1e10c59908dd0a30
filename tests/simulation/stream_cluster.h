// One machine's agent, two process servers and a master target. Faults and oracles: simulation.h.
//
// stream_cluster.cc runs the nodes, stream_faults.cc strikes them, stream_oracles.cc judges.
#ifndef HOMEWARD_TESTS_SIMULATION_STREAM_CLUSTER_H_
#define HOMEWARD_TESTS_SIMULATION_STREAM_CLUSTER_H_

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/replica/replica_stream.h"
#include "master_target/keeper/keeper.h"
#include "mobility_agent/pipeline/shipper.h"
#include "process_server/relay/relay.h"
#include "tests/simulation/parts.h"
#include "tests/simulation/scenario.h"

namespace homeward::simulation {

inline constexpr uint64_t kSpoolBytesMax = 96 * kKiB;

class Cluster : public Scenario {
 public:
  Cluster(uint64_t seed, const RunOptions& options);

  Outcome Run();

 private:
  static constexpr absl::Duration kFaultyTime = absl::Seconds(40);
  static constexpr absl::Duration kQuietTime = absl::Seconds(60);

  struct Copy {
    MemoryDisk disk{1};
    std::vector<std::unique_ptr<SourceDisk>> sources;
    std::unique_ptr<Shipper> shipper;
    std::shared_ptr<Connection> connection;
  };
  struct RelayNode {
    explicit RelayNode(uint64_t seed) : disk(seed) {}
    MemoryDisk disk;
    std::unique_ptr<Relay> relay;
    std::shared_ptr<Connection> to_keeper;
    uint64_t incarnation = 0;
    uint64_t generation = 3;
    uint64_t start_overs = 0;
    absl::Duration still_until;
    MemoryDisk::Snapshot kept;
    bool damaged = false;  // its spool, since it was opened
  };
  struct KeptMachine {
    uint64_t generation = 0;
    MemoryDisk::Snapshot agent_disk;
    std::vector<std::string> content;
  };
  struct KeptTarget {
    MemoryDisk::Snapshot disk;
    StreamPosition durable;
    std::set<std::string> listed;
  };

  bool faulty() const { return world_.Monotonic() < kFaultyTime; }

  // --- the machine

  void WriteSomething();
  void ScheduleWrite();
  // In some runs something writes to the disks that no freeze holds.
  void DisturbSources();

  // --- the agent

  void StartAgent();
  void TickAgent(uint64_t incarnation);
  void ConnectAgent(uint64_t incarnation);
  void StopAgent(bool cleanly);
  void CutAgent();

  // --- a copy of the machine that wakes up at the wrong site

  // The machine changes its role: the master target is fenced first, then the agent goes on in the
  // new generation. A copy of machine and agent stays behind, writes, and streams through the other
  // process server.
  void Split();
  void ConnectCopy();
  void TickCopy();
  void CutCopy();

  // --- process servers

  void StartRelay(size_t index);
  void TickRelay(size_t index, uint64_t incarnation);
  void ConnectRelay(size_t index, uint64_t incarnation);
  void StopRelay(size_t index, bool replace_disk);

  // --- the master target

  static std::string ReplicaPath(size_t disk) { return absl::StrCat("/ds/", disk, "-flat.vmdk"); }
  Keeper::Options KeeperOptions();
  absl::Status OpenKeeper();
  void StartKeeper();
  void StopKeeper();
  // What the keeper has begun has arrived.
  void SettleKeeper();
  // Nothing of it is under way any more, and the senders know; false when that failed.
  bool FinishKeeper();
  bool Settled(const absl::Status& result);

  // --- faults

  void ScheduleFault();
  void Strike();
  // What it forwards comes after the first of the epoch that the other process server carries, to
  // a master target that may have died in between.
  void LeaveBacklog(size_t relay);
  // A disk of the machine, for some time.
  void TakeAway(SourceDisk* source);
  // All of a process server, of the agent or of the master target, as with a disk that is slow.
  void StandStill(size_t relay, absl::Duration time);
  // A snapshot of the machine while it is off.
  void KeepMachine();
  // The machine is reverted to it: its disks, and all its agent remembers.
  void RevertMachine();
  void KeepTarget();
  // The master target comes back with an old copy of its disk.
  void RevertTarget();
  // A process server comes back with an old copy of its disk.
  void RevertRelay(size_t index);
  void DamageSpool(size_t index);
  // Of the recovery journal or the replica, once.
  void ScheduleDamage();
  // A byte changes, or a write went to another place than its own.
  void DamageJournal();
  // A byte changes: the scrub finds it, or, once the place was written again, need not; what it
  // found is repaired.
  void DamageReplica();
  void Die(const std::function<void()>& stop);
  void ReapTheDead();

  // --- oracles

  void ScheduleChecks();
  // Damage that was made is found, and named. Of the journal: nothing more can be asked of this
  // run. Of the replica: the agent is asked to repair it.
  bool Found(const absl::Status& status);
  bool over() const { return !outcome_.ok || (found_ && !flipped_.has_value()); }
  void Repair();
  // Whether the replica and its newest point must be right again where they were damaged.
  bool MustBeRepaired();
  void Scrub(uint64_t bytes);
  // All of journal and replica.
  void ScrubOnce();
  // By size, so that what must stay can be told from the sizes of the files.
  void RetainSome();
  void CheckSomeView();
  void CheckEveryView();
  // Looking takes part in nothing: no fault is used up by it.
  void CheckView(const std::string& id);
  void CompareView(const std::string& id);
  // The agent says that the point is of no one instant, so nothing is asked of its content.
  bool IsNoInstant(const std::string& id) const;
  // Sets the byte that was made to change, if it is on `disk`, to what it should be.
  void ForgiveFlipped(size_t disk, const std::string& expected, std::string* seen) const;
  std::string ReplicaContent(size_t disk, const std::string& expected) const;
  void CheckBounds();
  void CheckTheEnd();

  std::vector<std::unique_ptr<SourceDisk>> sources_;
  std::vector<uint64_t> disk_bytes_;
  uint64_t log_bytes_max_ = 0, memory_bytes_max_ = 0;
  absl::Duration marker_interval_, write_gap_max_, fault_gap_max_;
  std::map<std::string, std::vector<std::string>> model_;  // marker id -> disks
  std::set<std::string> listed_;                           // points that must survive a crash
  StreamPosition durable_;
  bool drained_ = false;
  bool few_kinds_ = false;  // of faults
  double restless_ = 0;     // how likely a look at a disk is disturbed by a write
  bool damages_ = false;    // this run may damage the recovery journal or the replica
  std::string damaged_;     // a file of the one, or a disk of the other
  std::optional<std::pair<uint32_t, uint64_t>> flipped_;  // disk and byte of the replica
  bool found_ = false;                                    // the damage, by the keeper
  absl::Duration found_at_;
  std::string repaired_after_;  // the newest point then; empty: it is not
  std::map<size_t, StreamPosition> spooled_;

  uint64_t generation_ = 3;
  absl::Duration split_at_;
  bool fence_unknown_ = false;
  std::unique_ptr<Copy> copy_;
  size_t copy_relay_ = 0;

  MemoryDisk agent_disk_;
  bool agent_disk_fails_ = false;
  absl::Duration agent_still_until_;
  std::unique_ptr<KeptMachine> kept_machine_;
  std::unique_ptr<Shipper> shipper_;
  uint64_t agent_incarnation_ = 0;
  std::shared_ptr<Connection> agent_connection_;
  std::vector<std::unique_ptr<RelayNode>> relays_;
  size_t current_relay_ = 0;
  // The keeper writes on a strand of its own, in small groups: every other seed.
  const bool beside_;
  const bool drops_by_age_;  // points: every fourth seed
  Host keeper_host_{0};
  MemoryDisk keeper_disk_;
  std::unique_ptr<KeptTarget> kept_target_;
  bool restored_ = false;
  std::unique_ptr<Keeper> keeper_;
  std::unique_ptr<ReplicaStream> stream_;
  std::vector<std::shared_ptr<Connection>> lingering_;  // to stream_
};

}  // namespace homeward::simulation

#endif  // HOMEWARD_TESTS_SIMULATION_STREAM_CLUSTER_H_
