#include "tests/simulation/stream_cluster.h"

#include <algorithm>
#include <utility>

namespace homeward::simulation {
namespace {

constexpr char kMachine[] = "m1";
constexpr char kStatePath[] = "/agent/stream.state";

}  // namespace

Cluster::Cluster(uint64_t seed, const RunOptions& options)
    : Scenario(seed, options),
      agent_disk_(seed * 7 + 1),
      beside_(seed % 2 == 0),
      drops_by_age_(seed % 4 == 0),
      keeper_disk_(seed * 7 + 2) {
  relays_.reserve(2);
  for (uint64_t i = 0; i < 2; ++i) relays_.push_back(std::make_unique<RelayNode>(seed * 7 + 3 + i));
  const uint64_t disks = 1 + world_.Pick(3);
  const bool logs = world_.Chance(0.5);
  memory_bytes_max_ = world_.Chance(0.3) ? 0 : world_.Pick(64 * kKiB);
  log_bytes_max_ = 4 * kKiB + world_.Pick(128 * kKiB);
  for (uint64_t i = 0; i < disks; ++i) {
    sources_.push_back(std::make_unique<SourceDisk>(kSectorBytes * (64 + world_.Pick(192)), logs));
    disk_bytes_.push_back(sources_.back()->size_bytes());
  }
  marker_interval_ = world_.Between(absl::Seconds(1), absl::Seconds(5));
  write_gap_max_ = world_.Between(absl::Milliseconds(5), absl::Milliseconds(200));
  fault_gap_max_ = world_.Between(absl::Milliseconds(300), absl::Seconds(12));
  damages_ = world_.Chance(0.2);
  few_kinds_ = world_.Chance(0.5);
  if (!logs && world_.Chance(0.3)) restless_ = world_.Chance(0.2) ? 1 : world_.Pick(90) / 100.0;
  if (restless_ > 0) DisturbSources();
}

Outcome Cluster::Run() {
  for (int i = 0; i < 40; ++i) WriteSomething();
  StartKeeper();
  for (size_t i = 0; i < relays_.size(); ++i) StartRelay(i);
  StartAgent();
  ScheduleWrite();
  ScheduleFault();
  if (damages_) ScheduleDamage();
  ScheduleChecks();
  split_at_ = world_.Between(absl::Seconds(5), kFaultyTime * 2);  // In half of the runs never.
  while (!over() && world_.Monotonic() < kFaultyTime + kQuietTime && world_.Step()) ReapTheDead();
  if (!over()) CheckTheEnd();
  return outcome_;
}

// --- the machine

void Cluster::WriteSomething() {
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

void Cluster::DisturbSources() {
  for (auto& source : sources_) {
    // The instant of a point is when the changes of the first disk are collected: what is written
    // to it while those of the others are is not in the point, and would be in the model.
    source->set_restless(
        [this] {
          if (faulty() && world_.Chance(restless_)) WriteSomething();
        },
        /*at_collect=*/source == sources_.front());
  }
}

void Cluster::ScheduleWrite() {
  if (!faulty()) return;
  world_.After(world_.Between(absl::ZeroDuration(), write_gap_max_), [this] {
    WriteSomething();
    ScheduleWrite();
  });
}

// --- the agent

void Cluster::StartAgent() {
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
  options.points.marker_interval = marker_interval_;
  options.sync.digest_timeout = absl::Seconds(2);
  options.batch_bytes = 8 * kKiB;
  options.points.frozen_bytes_max = 48 * kKiB;
  options.points.passes_max = 1 + world_.Pick(8);  // Time stands still in them.
  options.points.instant_patience = world_.Between(absl::ZeroDuration(), absl::Seconds(10));
  options.log_bytes_max = log_bytes_max_;
  options.sync.digest_block_bytes = 4 * kKiB;
  options.sync.digest_blocks_max = 4;
  options.in_flight_max = 200;
  options.epoch_stride = world_.Pick(kMiB);
  options.linger = world_.Chance(0.5) ? absl::ZeroDuration()
                                      : world_.Between(absl::ZeroDuration(), absl::Seconds(1));
  options.linger_bytes = world_.Pick(64 * kKiB);
  auto shipper = Shipper::Open(agent_disk_, world_, options, sources, [this](const Marker& marker) {
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

void Cluster::TickAgent(uint64_t incarnation) {
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

void Cluster::ConnectAgent(uint64_t incarnation) {
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

void Cluster::StopAgent(bool cleanly) {
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

void Cluster::CutAgent() {
  if (agent_connection_ == nullptr) return;
  for (auto& node : relays_) {
    if (node->relay != nullptr) node->relay->DetachReceiver(&agent_connection_->receiver());
  }
  agent_connection_->Cut();
}

// --- a copy of the machine that wakes up at the wrong site

void Cluster::Split() {
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
  options.points.marker_interval = marker_interval_;
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

void Cluster::ConnectCopy() {
  const auto again = [this] { world_.After(absl::Milliseconds(300), [this] { ConnectCopy(); }); };
  if (!copy_->shipper->refused().ok()) return;  // It has understood.
  Relay* const relay = relays_[copy_relay_]->relay.get();
  if (relay == nullptr) return again();
  auto connection = std::make_shared<Connection>(&world_, &copy_->shipper->sender(), relay, again);
  copy_->connection = connection;
  relay->AttachReceiver(&connection->receiver());
  connection->Start(copy_->shipper->MakeHello());
}

void Cluster::TickCopy() {
  SourceDisk& disk = *copy_->sources[world_.Pick(copy_->sources.size())];
  disk.Write(kSectorBytes * world_.Pick(disk.size_bytes() / kSectorBytes),
             std::string(kSectorBytes, 'z'));
  copy_->shipper->Tick();
  world_.After(absl::Milliseconds(100), [this] { TickCopy(); });
}

void Cluster::CutCopy() {
  if (copy_ == nullptr || copy_->connection == nullptr) return;
  if (relays_[copy_relay_]->relay != nullptr) {
    relays_[copy_relay_]->relay->DetachReceiver(&copy_->connection->receiver());
  }
  copy_->connection->Cut();
}

// --- process servers

void Cluster::StartRelay(size_t index) {
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
  options.spool_after_ticks = 1 + world_.Pick(10);
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

void Cluster::TickRelay(size_t index, uint64_t incarnation) {
  RelayNode& node = *relays_[index];
  if (node.relay == nullptr || node.incarnation != incarnation) return;
  const absl::Duration still = node.still_until - world_.Monotonic();
  if (still > absl::ZeroDuration())
    return world_.After(still, [this, index, incarnation] { TickRelay(index, incarnation); });
  node.relay->Tick();
  world_.After(absl::Milliseconds(100),
               [this, index, incarnation] { TickRelay(index, incarnation); });
}

void Cluster::ConnectRelay(size_t index, uint64_t incarnation) {
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

void Cluster::StopRelay(size_t index, bool replace_disk) {
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

Keeper::Options Cluster::KeeperOptions() {
  if (!beside_) return {};
  return {.make_strand =
              [this](const std::string&) {
                return std::make_unique<SimulatedStrand>(&world_, &keeper_host_);
              },
          .delivery_bytes = 12 * kKiB,
          .recover_ranges_max = 4};
}

absl::Status Cluster::OpenKeeper() {
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
  auto keeper = Keeper::Open(keeper_disk_, "/retention/m1", std::move(disks), KeeperOptions());
  if (!keeper.ok()) return keeper.status();
  keeper_ = *std::move(keeper);
  keeper_->SetOnArrival([this, keeper = keeper_.get()] {
    world_.After(world_.Between(absl::ZeroDuration(), absl::Milliseconds(1)), [this, keeper] {
      if (keeper_.get() == keeper) SettleKeeper();
    });
  });
  // What was restored from a copy may not know the fence; the configuration server says it again.
  if (restored_) status = keeper_->Fence(generation_);
  if (!status.ok()) {
    keeper_.reset();
    return status;
  }
  stream_ = std::make_unique<ReplicaStream>(
      keeper_.get(),
      ReplicaStream::Options{
          .machine_id = kMachine, .disk_bytes = disk_bytes_, .window_bytes = 32 * kKiB});
  return absl::OkStatus();
}

void Cluster::StartKeeper() {
  const absl::Status opened = OpenKeeper();
  if (!opened.ok()) {
    if (keeper_disk_.dead()) return;
    if (Found(opened)) return;
    // A disk that failed or was full is tried again.
    if (!absl::IsUnknown(opened) && !absl::IsResourceExhausted(opened))
      return Fail("keeper: " + opened.ToString());
    return StopKeeper();
  }
  if (flipped_.has_value()) found_ = false;  // What the scrub knew is forgotten.
  repaired_after_.clear();
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

void Cluster::StopKeeper() {
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

void Cluster::SettleKeeper() {
  if (stream_ != nullptr && !keeper_disk_.dead()) Settled(stream_->Settle());
}

bool Cluster::FinishKeeper() {
  return keeper_->under_way_bytes() == 0 || Settled(stream_->Finish());
}

bool Cluster::Settled(const absl::Status& result) {
  for (auto& node : relays_) {
    if (node->to_keeper == nullptr || !node->to_keeper->alive()) continue;
    if (result.ok()) {
      node->to_keeper->receiver().Acknowledge();
    } else {
      node->to_keeper->receiver().Refuse(result);
    }
  }
  return result.ok();
}

// --- faults

void Cluster::Die(const std::function<void()>& stop) {
  ++outcome_.crashes;
  stop();
}

void Cluster::ReapTheDead() {
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

Outcome Run(uint64_t seed, const RunOptions& options) { return Cluster(seed, options).Run(); }

}  // namespace homeward::simulation
