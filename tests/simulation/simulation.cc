#include "tests/simulation/simulation.h"

#include <algorithm>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "common/os/memory_disk.h"
#include "master_target/keeper/keeper_stream.h"
#include "mobility_agent/pipeline/shipper.h"
#include "process_server/relay/relay.h"
#include "tests/simulation/world.h"

namespace homeward::simulation {
namespace {

constexpr absl::Duration kFaultyTime = absl::Seconds(40);
constexpr absl::Duration kQuietTime = absl::Seconds(60);
constexpr uint64_t kSpoolBytesMax = 96 * kKiB;
constexpr size_t kStateRecordBytes = 28;
constexpr char kMachine[] = "m1";
constexpr char kStatePath[] = "/agent/stream.state";

class Cluster {
 public:
  Cluster(uint64_t seed, const RunOptions& options)
      : world_(seed), options_(options), agent_disk_(seed * 7 + 1), keeper_disk_(seed * 7 + 2) {
    relays_.reserve(2);
    for (uint64_t i = 0; i < 2; ++i)
      relays_.push_back(std::make_unique<RelayNode>(seed * 7 + 3 + i));
    const uint64_t disks = 1 + world_.Pick(3);
    const bool logs = world_.Chance(0.5);
    memory_bytes_max_ = world_.Chance(0.3) ? 0 : world_.Pick(64 * kKiB);
    log_bytes_max_ = 4 * kKiB + world_.Pick(128 * kKiB);
    for (uint64_t i = 0; i < disks; ++i) {
      sources_.push_back(
          std::make_unique<SourceDisk>(kSectorBytes * (64 + world_.Pick(192)), logs));
      disk_bytes_.push_back(sources_.back()->size_bytes());
    }
    marker_interval_ = world_.Between(absl::Seconds(1), absl::Seconds(5));
    write_gap_max_ = world_.Between(absl::Milliseconds(5), absl::Milliseconds(200));
    fault_gap_max_ = world_.Between(absl::Milliseconds(300), absl::Seconds(12));
    damages_ = world_.Chance(0.2);
    few_kinds_ = world_.Chance(0.5);
  }

  Outcome Run() {
    for (int i = 0; i < 40; ++i) WriteSomething();
    StartKeeper();
    for (size_t i = 0; i < relays_.size(); ++i) StartRelay(i);
    StartAgent();
    ScheduleWrite();
    ScheduleFault();
    ScheduleChecks();
    split_at_ = world_.Between(absl::Seconds(5), kFaultyTime * 2);  // In half of the runs never.
    while (outcome_.ok && !found_ && world_.Monotonic() < kFaultyTime + kQuietTime && world_.Step())
      ReapTheDead();
    if (outcome_.ok && !found_) CheckTheEnd();
    return outcome_;
  }

 private:
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
  void Say(const std::string& what) {
    if (options_.trace)
      std::printf("%12s  %s\n", absl::FormatDuration(world_.Monotonic()).c_str(), what.c_str());
  }
  void Fail(const std::string& why) {
    if (!outcome_.ok) return;
    outcome_.ok = false;
    outcome_.failure = absl::StrCat("at ", absl::FormatDuration(world_.Monotonic()), ": ", why);
    Say("FAILED " + why);
  }

  // --- the machine

  void WriteSomething() {
    SourceDisk& disk = *sources_[world_.Pick(sources_.size())];
    const uint64_t sectors = disk.size_bytes() / kSectorBytes;
    const uint64_t length = 1 + world_.Pick(std::min<uint64_t>(sectors, 16));
    const uint64_t first = world_.Pick(sectors - length + 1);
    std::string bytes(length * kSectorBytes, '\0');
    if (!world_.Chance(0.2)) {
      for (size_t i = 0; i < bytes.size(); i += 64) bytes[i] = static_cast<char>(world_.random());
    }
    disk.Write(first * kSectorBytes, bytes);
  }
  void ScheduleWrite() {
    if (!faulty()) return;
    world_.After(world_.Between(absl::ZeroDuration(), write_gap_max_), [this] {
      WriteSomething();
      ScheduleWrite();
    });
  }

  // --- the agent

  void StartAgent() {
    if (shipper_ != nullptr) return;
    const absl::StatusOr<bool> stopped_cleanly = TakeCleanStop(agent_disk_, kStatePath);
    if (!stopped_cleanly.ok()) {
      if (std::exchange(agent_disk_fails_, false)) Die([this] { StopAgent(false); });
      return;
    }
    std::vector<WriteSource*> sources;
    for (auto& source : sources_) {
      // A clean stop ends with the machine, so nothing is written before the tracking is on again.
      source->set_tracked(true);
      sources.push_back(source.get());
    }
    Shipper::Options options;
    options.machine_id = kMachine;
    options.generation = generation_;
    options.state_path = kStatePath;
    options.stopped_cleanly = *stopped_cleanly;
    options.fresh_replica = true;
    options.marker_interval = marker_interval_;
    options.digest_timeout = absl::Seconds(2);
    options.batch_bytes = 8 * kKiB;
    options.frozen_bytes_max = 48 * kKiB;
    options.log_bytes_max = log_bytes_max_;
    options.digest_block_bytes = 4 * kKiB;
    options.digest_blocks_max = 4;
    options.in_flight_max = 200;
    options.epoch_stride = world_.Pick(kMiB);
    auto shipper =
        Shipper::Open(agent_disk_, world_, options, sources, [this](const Marker& marker) {
          std::vector<std::string>& content = model_[marker.id];
          content.clear();
          for (auto& source : sources_) content.push_back(source->content());
          if (faulty()) Say("marker " + marker.id);
        });
    if (!shipper.ok()) {
      if (std::exchange(agent_disk_fails_, false)) return Die([this] { StopAgent(false); });
      if (!agent_disk_.dead()) return Fail(shipper.status().ToString());
      return;
    }
    shipper_ = *std::move(shipper);
    const uint64_t incarnation = ++agent_incarnation_;
    ConnectAgent(incarnation);
    TickAgent(incarnation);
  }
  void TickAgent(uint64_t incarnation) {
    if (incarnation != agent_incarnation_ || shipper_ == nullptr) return;
    const absl::Duration still = agent_still_until_ - world_.Monotonic();
    if (still > absl::ZeroDuration())
      return world_.After(still, [this, incarnation] { TickAgent(incarnation); });
    shipper_->Tick();
    // All is written and the last cut is over: at some instant nothing may be left to do.
    if (world_.Monotonic() > kFaultyTime + kQuietTime / 2 && shipper_->drained()) drained_ = true;
    if (shipper_->tracking() == Shipper::Tracking::kData) ++outcome_.ticks_with_data;
    if (shipper_->degraded()) ++outcome_.ticks_degraded;
    if (!shipper_->refused().ok() && !fence_unknown_ && !agent_disk_.dead()) {
      // One that cannot remember what it does ends, and begins anew.
      if (std::exchange(agent_disk_fails_, false)) return Die([this] { StopAgent(false); });
      return Fail("the agent was refused: " + shipper_->refused().ToString());
    }
    world_.After(absl::Milliseconds(100), [this, incarnation] { TickAgent(incarnation); });
  }
  void ConnectAgent(uint64_t incarnation) {
    if (incarnation != agent_incarnation_ || shipper_ == nullptr) return;
    const auto again = [this, incarnation] {
      world_.After(world_.Between(absl::Milliseconds(10), absl::Seconds(1)),
                   [this, incarnation] { ConnectAgent(incarnation); });
    };
    RelayNode& node = *relays_[current_relay_];
    if (node.relay == nullptr) return again();
    if (agent_connection_ != nullptr && agent_connection_->alive()) return;
    Relay* const relay = node.relay.get();
    auto connection = std::make_shared<Connection>(&world_, &shipper_->sender(), relay, again);
    agent_connection_ = connection;
    relay->AttachReceiver(&connection->receiver());
    connection->Start(shipper_->MakeHello());
  }
  void StopAgent(bool cleanly) {
    Say(cleanly ? "agent stops" : "agent dies");
    ++agent_incarnation_;
    CutAgent();
    const bool stopped = cleanly && shipper_ != nullptr && shipper_->StopCleanly().ok();
    shipper_.reset();
    agent_still_until_ = {};
    if (stopped && world_.Chance(0.5)) KeepMachine();
    if (!cleanly || !stopped) agent_disk_.Crash();
    for (auto& source : sources_) source->set_tracked(false);
    if (stopped) {
      StartAgent();  // The machine restarts; it writes only when the agent runs again.
    } else {
      world_.After(world_.Between(absl::Milliseconds(100), absl::Seconds(3)),
                   [this] { StartAgent(); });
    }
  }
  // A snapshot of the machine while it is off.
  void KeepMachine() {
    kept_machine_ = std::make_unique<KeptMachine>();
    kept_machine_->generation = generation_;
    kept_machine_->agent_disk = agent_disk_.TakeSnapshot();
    for (auto& source : sources_) kept_machine_->content.push_back(source->content());
  }
  // The machine is set back to it: its disks, and all its agent remembers.
  void RevertMachine() {
    if (kept_machine_ == nullptr || kept_machine_->generation != generation_) return;
    Say("the machine is set back to a snapshot");
    ++agent_incarnation_;
    CutAgent();
    shipper_.reset();
    agent_still_until_ = {};
    agent_disk_.Restore(kept_machine_->agent_disk);
    for (size_t i = 0; i < sources_.size(); ++i) {
      sources_[i]->set_tracked(false);
      sources_[i]->Write(0, kept_machine_->content[i]);
    }
    StartAgent();
  }
  void CutAgent() {
    if (agent_connection_ == nullptr) return;
    for (auto& node : relays_) {
      if (node->relay != nullptr) node->relay->DetachReceiver(&agent_connection_->receiver());
    }
    agent_connection_->Cut();
  }

  // --- a copy of the machine that wakes up at the wrong site

  // The machine changes its role: the master target is fenced first, then the agent goes on in the
  // new generation. A copy of machine and agent stays behind, writes, and streams through the other
  // process server.
  void Split() {
    if (keeper_ == nullptr) return;
    // A fence that failed may hold all the same: it is tried again until it is known to.
    const absl::Status fenced = keeper_->Fence(generation_ + 1);
    fence_unknown_ = !fenced.ok();
    if (absl::IsUnknown(fenced)) return Die([this] { StopKeeper(); });  // It is opened anew.
    if (fence_unknown_) return;
    ++generation_;
    Say(absl::StrCat("generation ", generation_));
    copy_ = std::make_unique<Copy>();
    copy_->disk.MakeDirectories("/agent").IgnoreError();
    const std::string state = agent_disk_.Content(kStatePath);
    WriteFileAtomically(copy_->disk, kStatePath, state).IgnoreError();
    std::vector<WriteSource*> sources;
    for (auto& source : sources_) {
      copy_->sources.push_back(std::make_unique<SourceDisk>(source->size_bytes(), source->logs()));
      copy_->sources.back()->Write(0, source->content());
      copy_->sources.back()->set_tracked(true);
      sources.push_back(copy_->sources.back().get());
    }
    const absl::StatusOr<bool> stopped_cleanly = TakeCleanStop(copy_->disk, kStatePath);
    Shipper::Options options;
    options.machine_id = kMachine;
    options.stopped_cleanly = stopped_cleanly.ok() && *stopped_cleanly;
    options.generation = generation_ - 1;
    options.state_path = kStatePath;
    options.batch_bytes = 8 * kKiB;  // The bound of a spool allows for one batch.
    options.marker_interval = marker_interval_;
    auto shipper = Shipper::Open(copy_->disk, world_, options, sources, nullptr);
    if (!shipper.ok()) return Fail(shipper.status().ToString());
    copy_->shipper = *std::move(shipper);

    const size_t ours = current_relay_;
    copy_relay_ = 1 - ours;
    StopRelay(ours, false);
    relays_[ours]->generation = generation_;
    spooled_[ours] = {};
    StopAgent(world_.Chance(0.5));
    ConnectCopy();
    TickCopy();
  }
  void ConnectCopy() {
    const auto again = [this] { world_.After(absl::Milliseconds(300), [this] { ConnectCopy(); }); };
    if (!copy_->shipper->refused().ok()) return;  // It has understood.
    Relay* const relay = relays_[copy_relay_]->relay.get();
    if (relay == nullptr) return again();
    auto connection =
        std::make_shared<Connection>(&world_, &copy_->shipper->sender(), relay, again);
    copy_->connection = connection;
    relay->AttachReceiver(&connection->receiver());
    connection->Start(copy_->shipper->MakeHello());
  }
  void TickCopy() {
    SourceDisk& disk = *copy_->sources[world_.Pick(copy_->sources.size())];
    disk.Write(kSectorBytes * world_.Pick(disk.size_bytes() / kSectorBytes),
               std::string(kSectorBytes, 'z'));
    copy_->shipper->Tick();
    world_.After(absl::Milliseconds(100), [this] { TickCopy(); });
  }
  void CutCopy() {
    if (copy_ == nullptr || copy_->connection == nullptr) return;
    if (relays_[copy_relay_]->relay != nullptr) {
      relays_[copy_relay_]->relay->DetachReceiver(&copy_->connection->receiver());
    }
    copy_->connection->Cut();
  }

  // --- process servers

  void StartRelay(size_t index) {
    RelayNode& node = *relays_[index];
    Relay::Options options;
    options.machine_id = kMachine;
    options.generation = node.generation;
    options.disk_bytes = disk_bytes_;
    // A spool belongs to one generation of the machine.
    options.spool = {absl::StrCat("/spool/m1-", node.generation), 20 * kKiB};
    options.spool_bytes_max = kSpoolBytesMax;
    options.window_bytes = 32 * kKiB;
    options.memory_bytes_max = memory_bytes_max_;
    auto relay = Relay::Open(node.disk, options);
    if (!relay.ok()) {
      if (absl::IsUnknown(relay.status())) return StopRelay(index, false);  // Its disk failed.
      if (!node.disk.dead()) Fail("relay: " + relay.status().ToString());
      return;
    }
    node.relay = *std::move(relay);
    node.start_overs = 0;
    if (!std::exchange(node.damaged, false) && node.relay->spooled() < spooled_[index]) {
      Fail(absl::StrCat("process server ", index, " had spooled ", spooled_[index].ToString(),
                        ", came back with ", node.relay->spooled().ToString()));
    }
    spooled_[index] = node.relay->spooled();
    ConnectRelay(index, ++node.incarnation);
    TickRelay(index, node.incarnation);
  }
  void TickRelay(size_t index, uint64_t incarnation) {
    RelayNode& node = *relays_[index];
    if (node.relay == nullptr || node.incarnation != incarnation) return;
    const absl::Duration still = node.still_until - world_.Monotonic();
    if (still > absl::ZeroDuration())
      return world_.After(still, [this, index, incarnation] { TickRelay(index, incarnation); });
    node.relay->Tick();
    world_.After(absl::Milliseconds(100),
                 [this, index, incarnation] { TickRelay(index, incarnation); });
  }
  void ConnectRelay(size_t index, uint64_t incarnation) {
    RelayNode& node = *relays_[index];
    if (node.relay == nullptr || node.incarnation != incarnation) return;
    const auto again = [this, index, incarnation] {
      world_.After(world_.Between(absl::Milliseconds(10), absl::Seconds(1)),
                   [this, index, incarnation] { ConnectRelay(index, incarnation); });
    };
    if (keeper_ == nullptr) return again();
    auto connection =
        std::make_shared<Connection>(&world_, &node.relay->sender(), stream_.get(), again);
    node.to_keeper = connection;
    connection->Start(node.relay->MakeHello());
  }
  void StopRelay(size_t index, bool replace_disk) {
    RelayNode& node = *relays_[index];
    Say(absl::StrCat("process server ", index, " dies", replace_disk ? " with its disk" : ""));
    if (index == current_relay_) CutAgent();
    if (copy_ != nullptr && index == copy_relay_) CutCopy();
    if (node.to_keeper != nullptr) node.to_keeper->Cut();
    node.relay.reset();
    node.still_until = {};
    if (replace_disk) {
      node.disk.Replace();
      spooled_[index] = {};
    } else {
      node.disk.Crash();
    }
    world_.After(world_.Between(absl::Milliseconds(50), absl::Seconds(3)), [this, index] {
      if (relays_[index]->relay == nullptr) StartRelay(index);
    });
  }

  // --- the master target

  static std::string ReplicaPath(size_t disk) { return absl::StrCat("/ds/", disk, "-flat.vmdk"); }
  absl::Status OpenKeeper() {
    std::vector<ReplicaDisk> disks;
    absl::Status status = keeper_disk_.MakeDirectories("/ds");
    for (size_t i = 0; i < disk_bytes_.size() && status.ok(); ++i) {
      auto file = keeper_disk_.Open(ReplicaPath(i), OpenMode::kCreate);
      if (!file.ok()) return file.status();
      auto size = (*file)->Size();
      if (size.ok() && *size < disk_bytes_[i]) {
        status = (*file)->Truncate(disk_bytes_[i]);
        if (status.ok()) status = (*file)->Sync();
      }
      disks.push_back({*std::move(file), disk_bytes_[i]});
    }
    if (status.ok()) status = keeper_disk_.SyncDirectory("/ds");
    if (!status.ok()) return status;
    auto keeper = Keeper::Open(keeper_disk_, "/retention/m1", std::move(disks));
    if (!keeper.ok()) return keeper.status();
    keeper_ = *std::move(keeper);
    // What was restored from a copy may not know the fence; the configuration server says it again.
    if (restored_) status = keeper_->Fence(generation_);
    if (!status.ok()) {
      keeper_.reset();
      return status;
    }
    stream_ = std::make_unique<KeeperStream>(
        keeper_.get(),
        KeeperStream::Options{
            .machine_id = kMachine, .disk_bytes = disk_bytes_, .window_bytes = 32 * kKiB});
    return absl::OkStatus();
  }
  void StartKeeper() {
    const absl::Status opened = OpenKeeper();
    if (!opened.ok()) {
      if (keeper_disk_.dead()) return;
      if (Found(opened)) return;
      // A disk that failed or was full is tried again.
      if (!absl::IsUnknown(opened) && !absl::IsResourceExhausted(opened))
        return Fail("keeper: " + opened.ToString());
      return StopKeeper();
    }
    if (!damaged_.empty()) {
      // The damaged record may be the last one, and looks like one that was being written.
      durable_ = std::min(durable_, keeper_->position());
      listed_.clear();
    }
    if (keeper_->position() < durable_) {
      Fail(absl::StrCat("durable was ", durable_.ToString(), ", the keeper came back with ",
                        keeper_->position().ToString()));
    }
    std::set<std::string> listed;
    for (const auto& point : keeper_->points()) listed.insert(point.marker.id);
    for (const std::string& id : listed_) {
      if (listed.count(id) == 0) Fail("point " + id + " is gone after a crash");
    }
  }
  // Damage that was made is found, and named: nothing more can be asked of this run.
  bool Found(const absl::Status& status) {
    if (damaged_.empty() || !absl::IsDataLoss(status)) return false;
    if (!absl::StrContains(status.message(), damaged_))
      Fail(absl::StrCat("damage of ", damaged_, " was found as: ", status.ToString()));
    Say("found: " + status.ToString());
    found_ = true;
    return true;
  }
  void KeepTarget() {
    if (keeper_ == nullptr || keeper_disk_.dead()) return;
    kept_target_ = std::make_unique<KeptTarget>();
    *kept_target_ = {keeper_disk_.TakeSnapshot(), durable_, {}};
    for (const auto& point : keeper_->points()) kept_target_->listed.insert(point.marker.id);
  }
  // The master target comes back with an old copy of its disk.
  void RevertTarget() {
    if (kept_target_ == nullptr) return KeepTarget();
    StopKeeper();
    Say("it comes back from a snapshot");
    keeper_disk_.Restore(kept_target_->disk);
    durable_ = kept_target_->durable;
    listed_ = kept_target_->listed;
    kept_target_.reset();
    restored_ = true;
  }
  void DamageJournal() {
    std::vector<std::string> paths = keeper_disk_.Paths();
    std::erase_if(paths, [](const std::string& path) {
      return !absl::StartsWith(path, "/retention") || !absl::EndsWith(path, ".hwl");
    });
    if (paths.empty() || !damaged_.empty()) return;
    damaged_ = paths[world_.Pick(paths.size())];
    // Not what no later record vouches for: with a crash before the next one it looks like a record
    // that was being written (docs/reliability.md).
    uint64_t vouched = 0;
    const bool open = damaged_ == paths.back();
    const absl::string_view digits = absl::string_view(damaged_).substr(damaged_.size() - 20, 16);
    uint64_t number = 0;
    if (!absl::SimpleAtoi(digits, &number)) return damaged_.clear();
    RecordLog::Scan(keeper_disk_, damaged_, LogPurpose::kDelta, number,
                    [&](const LogRecord& record) {
                      if (!open || record.body.size() == kStateRecordBytes) vouched = record.offset;
                      return absl::OkStatus();
                    })
        .IgnoreError();
    if (vouched == 0) return damaged_.clear();
    const uint64_t at = world_.Pick(vouched);
    keeper_disk_.FlipByte(damaged_, at);
    Say(absl::StrCat("byte ", at, " of ", damaged_, " changes"));
  }
  void DamageSpool(size_t index) {
    RelayNode& node = *relays_[index];
    std::vector<std::string> paths = node.disk.Paths();
    std::erase_if(paths, [](const std::string& path) { return !absl::EndsWith(path, ".hwl"); });
    if (paths.empty()) return;
    const std::string& path = paths[world_.Pick(paths.size())];
    const uint64_t bytes = node.disk.Content(path).size();
    if (bytes == 0) return;
    node.disk.FlipByte(path, world_.Pick(bytes));
    node.damaged = true;
    Say(absl::StrCat("a byte of ", path, " of process server ", index, " changes"));
  }
  void StopKeeper() {
    Say("master target dies");
    for (auto& connection : lingering_) connection->Cut();
    lingering_.clear();
    stream_.reset();
    keeper_.reset();
    for (auto& node : relays_) {
      if (node->to_keeper != nullptr) node->to_keeper->Cut();
    }
    keeper_disk_.Crash();
    world_.After(world_.Between(absl::Milliseconds(50), absl::Seconds(3)), [this] {
      if (keeper_ == nullptr) StartKeeper();
    });
  }

  // --- faults

  void ScheduleFault() {
    world_.After(world_.Between(absl::ZeroDuration(), fault_gap_max_), [this] {
      if (!faulty()) {
        keeper_disk_.set_capacity_bytes(UINT64_MAX);
        keeper_disk_.FailReads(0);
        keeper_disk_.FailSyncs(0);
        if (fence_unknown_) {
          Split();
          ScheduleFault();
        }
        return;
      }
      if (copy_ == nullptr && world_.Monotonic() > split_at_) Split();
      if (options_.without_faults.count(outcome_.faults++) == 0) Strike();
      ScheduleFault();
    });
  }
  void Strike() {
    const size_t relay = world_.Pick(relays_.size());
    // Half of the runs know only crashes, cuts and full disks, so that these meet more often.
    constexpr uint64_t kOtherServer = 22;
    uint64_t kind = world_.Pick(few_kinds_ ? 14 : kOtherServer + 1);
    if (few_kinds_ && kind == 13) kind = kOtherServer;
    switch (kind) {
      case 0:
        return agent_disk_.DieAfter(world_.Pick(6));
      case 1:
      case 2:
        return relays_[relay]->disk.DieAfter(world_.Pick(30));
      case 3:
      case 4:
      case 5:
        return keeper_disk_.DieAfter(world_.Pick(60));
      case 6:
        return Die([this] { StopAgent(true); });
      case 7:
        return Die([this, relay] { StopRelay(relay, true); });
      case 8:
        return Die([this] { StopKeeper(); });
      case 9: {
        ++outcome_.cuts;
        Say("cut agent");
        return CutAgent();
      }
      case 10: {
        ++outcome_.cuts;
        Say("cut process server");
        if (relays_[relay]->to_keeper == nullptr) return;
        if (world_.Chance(0.5)) return relays_[relay]->to_keeper->Cut();
        lingering_.push_back(relays_[relay]->to_keeper);
        return lingering_.back()->Linger();
      }
      case 11: {
        world_.skew = world_.Chance(0.5) ? absl::Hours(1) : -absl::Hours(1);
        const bool full = world_.Chance(0.5);
        const auto space = keeper_disk_.Space("/");
        keeper_disk_.set_capacity_bytes(
            full ? space->total_bytes - space->free_bytes + world_.Pick(4096) : UINT64_MAX);
        return;
      }
      case 12: {
        SourceDisk& source = *sources_[world_.Pick(sources_.size())];
        if (world_.Chance(0.5)) {
          Say("writes to a source disk fail");
          return source.FailWrites(1 + world_.Pick(3));
        }
        Say("reads of a source disk fail");
        return source.FailReads(1 + world_.Pick(5));
      }
      case 13: {
        Say("syncs fail");
        if (world_.Chance(0.4)) return keeper_disk_.FailSyncs(1);
        if (world_.Chance(0.7)) return relays_[relay]->disk.FailSyncs(1);
        agent_disk_fails_ = true;
        return agent_disk_.FailSyncs(1);
      }
      case 14: {
        Say("reads fail");
        MemoryDisk& disk = world_.Chance(0.5) ? keeper_disk_ : relays_[relay]->disk;
        return disk.FailReads(1 + world_.Pick(3));
      }
      case 15: {
        Say("a partition with a direction");
        const auto& connection = world_.Chance(0.5) ? agent_connection_ : relays_[relay]->to_keeper;
        if (connection == nullptr) return;
        return connection->Hold(world_.Chance(0.5),
                                world_.Between(absl::Milliseconds(100), absl::Seconds(15)));
      }
      case 16:
        return StandStill(relay, world_.Between(absl::Milliseconds(100), absl::Minutes(3)));
      case 17:
        return DamageSpool(relay);
      case 18:
        world_.flips_in_flight = 1;
        return;
      case 19:
        return world_.Chance(0.3) ? RevertTarget() : RevertRelay(relay);
      case 20:
        return world_.Chance(0.5) ? RevertMachine() : Die([this] { StopAgent(true); });
      case 21:
        return damages_ ? DamageJournal() : void();
      default: {
        if (copy_ != nullptr) return;  // The other one serves the copy.
        Say(absl::StrCat("agent goes to process server ", relay));
        if (current_relay_ != relay && world_.Chance(0.5)) LeaveBacklog(current_relay_);
        current_relay_ = relay;
        return CutAgent();
      }
    }
  }
  // What it forwards comes after the first of the epoch that the other process server carries, to
  // a master target that may have died in between.
  void LeaveBacklog(size_t relay) {
    const auto& connection = relays_[relay]->to_keeper;
    if (connection == nullptr) return;
    Say(absl::StrCat("process server ", relay, " keeps a backlog"));
    connection->Hold(true, world_.Between(absl::Milliseconds(10), absl::Seconds(5)));
    keeper_disk_.DieAfter(world_.Pick(40));
  }
  // All of a process server, or of the agent.
  void StandStill(size_t relay, absl::Duration time) {
    RelayNode& node = *relays_[relay];
    const bool agent = world_.Chance(0.4);
    Say(absl::StrCat(agent ? "the agent" : absl::StrCat("process server ", relay),
                     " stands still for ", absl::FormatDuration(time)));
    time = std::min(time, kFaultyTime + absl::Seconds(5) - world_.Monotonic());
    (agent ? agent_still_until_ : node.still_until) = world_.Monotonic() + time;
    if (agent_connection_ != nullptr && (agent || relay == current_relay_))
      agent_connection_->Hold(/*up=*/!agent, time);
    if (!agent && node.to_keeper != nullptr) node.to_keeper->Hold(/*up=*/false, time);
  }
  // A process server comes back with an old copy of its disk.
  void RevertRelay(size_t index) {
    RelayNode& node = *relays_[index];
    if (node.kept.files.empty()) {
      node.kept = node.disk.TakeSnapshot();
      return;
    }
    StopRelay(index, false);
    Say("it comes back from a snapshot");
    node.disk.Restore(std::exchange(node.kept, {}));
    spooled_[index] = {};
  }
  void Die(const std::function<void()>& stop) {
    ++outcome_.crashes;
    stop();
  }
  void ReapTheDead() {
    if (agent_disk_.dead()) Die([this] { StopAgent(false); });
    for (size_t i = 0; i < relays_.size(); ++i) {
      RelayNode& node = *relays_[i];
      const bool broken = node.relay != nullptr && !node.relay->broken().ok();
      // What a process server throws away on purpose, it does not lose.
      if (node.relay != nullptr && node.relay->start_over_count() != node.start_overs) {
        node.start_overs = node.relay->start_over_count();
        spooled_[i] = {};
      }
      if (node.disk.dead() || broken) {
        Die([this, i] { StopRelay(i, false); });
      } else if (node.relay != nullptr) {
        spooled_[i] = std::max(spooled_[i], node.relay->spooled());
      }
    }
    if (keeper_disk_.dead() || (stream_ != nullptr && !stream_->broken().ok())) {
      Die([this] { StopKeeper(); });
    } else if (keeper_ != nullptr) {
      if (keeper_->position().epoch != durable_.epoch) ++outcome_.epochs;
      durable_ = std::max(durable_, keeper_->position());
      // A replay looks after every event, so that it stops at the one that did the damage.
      if (options_.trace) CheckEveryView();
    }
  }

  // --- oracles

  void ScheduleChecks() {
    world_.After(world_.Between(absl::Milliseconds(100), absl::Seconds(2)), [this] {
      if (keeper_ != nullptr && !keeper_disk_.dead()) {
        CheckSomeView();
        Scrub();
        if (world_.Chance(0.2)) RetainSome();
        // A drop that the machine did not survive may or may not have happened.
        listed_.clear();
        if (!keeper_disk_.dead()) {
          for (const auto& point : keeper_->points()) listed_.insert(point.marker.id);
        }
      }
      CheckBounds();
      ScheduleChecks();
    });
  }
  void Scrub() {
    if (keeper_->state().syncing || keeper_->points().empty()) return;
    // It takes part in nothing either.
    const uint64_t failing = keeper_disk_.failing_reads();
    keeper_disk_.FailReads(0);
    keeper_->ScrubStep(world_.Pick(128 * kKiB)).IgnoreError();
    keeper_disk_.FailReads(failing);
    const absl::Status damage = keeper_->damage();
    if (!damage.ok() && !Found(damage)) Fail("the scrub: " + damage.ToString());
  }
  // By size, so that what must stay can be told from the sizes of the files.
  void RetainSome() {
    const uint64_t bytes_max = 64 * kKiB + world_.Pick(256 * kKiB);
    std::deque<RecoveryJournal::Point> stay(keeper_->points().begin(), keeper_->points().end());
    std::deque<std::string> deltas;
    for (const std::string& path : keeper_disk_.Paths()) {
      if (absl::EndsWith(path, ".hwl")) deltas.push_back(path);
    }
    uint64_t bytes = keeper_->journal_bytes();
    while (stay.size() > 1 && bytes > bytes_max) {
      const std::string last = absl::StrFormat("delta-%016d.hwl", stay.front().delta_number);
      for (bool more = true; more; deltas.pop_front()) {
        bytes -= keeper_disk_.Content(deltas.front()).size();
        more = !absl::EndsWith(deltas.front(), last);
      }
      stay.pop_front();
    }
    const auto dropped = keeper_->Retain(
        {.age_max = absl::InfiniteDuration(), .bytes_max = bytes_max}, world_.Now());
    if (dropped.ok() && keeper_->points().size() != stay.size())
      Fail(absl::StrCat("retention kept ", keeper_->points().size(), " points, the policy keeps ",
                        stay.size()));
  }
  void CheckSomeView() {
    const auto& points = keeper_->points();
    if (points.empty()) return;
    CheckView(points[world_.Pick(points.size())].marker.id);
  }
  void CheckEveryView() {
    for (const auto& point : keeper_->points()) CheckView(point.marker.id);
  }
  // Looking takes part in nothing: no fault is used up by it.
  void CheckView(const std::string& id) {
    const uint64_t failing = keeper_disk_.failing_reads();
    keeper_disk_.FailReads(0);
    CompareView(id);
    keeper_disk_.FailReads(failing);
  }
  void CompareView(const std::string& id) {
    const auto view = keeper_->View(id);
    if (Found(view.status())) return;
    if (!view.ok()) return Fail(absl::StrCat("view of ", id, ": ", view.status().ToString()));
    const auto model = model_.find(id);
    if (model == model_.end()) return Fail("a point that nobody made: " + id);
    for (uint32_t disk = 0; disk < disk_bytes_.size(); ++disk) {
      std::string seen(disk_bytes_[disk], '\0');
      const absl::Status read =
          view->Read(disk, 0, {reinterpret_cast<uint8_t*>(seen.data()), seen.size()});
      if (Found(read)) return;
      if (!read.ok()) return Fail(absl::StrCat("view of ", id, ": ", read.ToString()));
      const auto differs =
          std::mismatch(seen.begin(), seen.end(), model->second[disk].begin()).first - seen.begin();
      if (static_cast<size_t>(differs) == seen.size()) continue;
      return Fail(absl::StrCat("point ", id, " differs from the source on disk ", disk, " at byte ",
                               differs, "; the keeper is at ", keeper_->position().ToString()));
    }
    ++outcome_.views_checked;
  }
  void CheckBounds() {
    for (auto& node : relays_) {
      if (node->relay != nullptr && node->relay->pending_bytes() > kSpoolBytesMax + 64 * kKiB) {
        Fail(absl::StrCat("a spool passed its bound: ", node->relay->pending_bytes(),
                          " bytes pend"));
      }
    }
  }
  void CheckTheEnd() {
    if (shipper_ == nullptr || keeper_ == nullptr) return Fail("a node did not come back");
    outcome_.points = keeper_->points().size();
    if (!drained_) {
      return Fail(absl::StrCat("not drained after ", absl::FormatDuration(kQuietTime),
                               " without faults: durable ", shipper_->durable().ToString(),
                               ", keeper at ", keeper_->position().ToString(),
                               shipper_->syncing() ? ", synchronising" : ""));
    }
    if (keeper_->points().empty()) return Fail("no recovery point");
    std::vector<std::string> ids;
    for (const auto& point : keeper_->points()) ids.push_back(point.marker.id);
    for (const std::string& id : ids) CheckView(id);
    for (const std::string& id : {ids[world_.Pick(ids.size())], ids.back()}) {
      const absl::Status recovered = keeper_->RecoverTo(id);
      if (!recovered.ok()) return Fail(recovered.ToString());
      for (size_t disk = 0; disk < disk_bytes_.size(); ++disk) {
        if (keeper_disk_.Content(ReplicaPath(disk)) != model_[id][disk]) {
          return Fail(absl::StrCat("recovered to ", id, ": disk ", disk, " differs"));
        }
      }
    }
    for (size_t disk = 0; disk < disk_bytes_.size(); ++disk) {
      if (keeper_disk_.Content(ReplicaPath(disk)) != sources_[disk]->content()) {
        return Fail("the newest point is not the source, which stood still");
      }
    }
  }

  World world_;
  const RunOptions& options_;
  Outcome outcome_;
  std::vector<std::unique_ptr<SourceDisk>> sources_;
  std::vector<uint64_t> disk_bytes_;
  uint64_t log_bytes_max_ = 0, memory_bytes_max_ = 0;
  absl::Duration marker_interval_, write_gap_max_, fault_gap_max_;
  std::map<std::string, std::vector<std::string>> model_;  // marker id -> disks
  std::set<std::string> listed_;                           // points that must survive a crash
  StreamPosition durable_;
  bool drained_ = false;
  bool few_kinds_ = false;  // of faults
  bool damages_ = false;    // this run may damage the recovery journal
  std::string damaged_;     // a file of it
  bool found_ = false;      // the damage, by the keeper
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
  MemoryDisk keeper_disk_;
  std::unique_ptr<KeptTarget> kept_target_;
  bool restored_ = false;
  std::unique_ptr<Keeper> keeper_;
  std::unique_ptr<KeeperStream> stream_;
  std::vector<std::shared_ptr<Connection>> lingering_;  // to stream_
};

}  // namespace

Outcome Run(uint64_t seed, const RunOptions& options) { return Cluster(seed, options).Run(); }

}  // namespace homeward::simulation
