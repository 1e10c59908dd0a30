#include "tests/simulation/blob_cluster.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "common/replica/replica_stream.h"
#include "mobility_agent/pipeline/shipper.h"
#include "process_server/azure/page_blob_store.h"
#include "tests/fakes/azure/model_page_blobs.h"
#include "tests/simulation/meddling.h"
#include "tests/simulation/parts.h"
#include "tests/simulation/scenario.h"

namespace homeward::simulation {
namespace {

constexpr char kMachine[] = "m1";
constexpr char kStatePath[] = "/agent/stream.state";
constexpr uint64_t kGeneration = 3;
constexpr absl::Duration kFaultyTime = absl::Seconds(40);
constexpr absl::Duration kQuietTime = absl::Seconds(60);
constexpr absl::Duration kDeadAfter = absl::Seconds(9);
const DataKey kDataKey = {1, std::string(kDataKeyBytes, 'k')};

class BlobCluster : public Scenario {
 public:
  BlobCluster(uint64_t seed, const RunOptions& options);
  Outcome Run();

 private:
  // A process server, as far as it keeps this replica.
  struct Server {
    explicit Server(ModelContainer* container) : client(container) {}
    Host host{0};
    ModelPageBlobs client;
    PageBlobStore::Claim claim;  // of this process
    std::unique_ptr<PageBlobStore> store;
    std::unique_ptr<ReplicaStream> stream;
    std::vector<std::shared_ptr<Connection>> connections;
    uint64_t incarnation = 0;
    bool dead = false;     // at a request; it is buried as soon as it returns
    uint64_t dies_in = 0;  // requests; 0: not
    ModelPageBlobs::Loss dies = ModelPageBlobs::Loss::kBefore;
    uint64_t fails_in = 0;  // requests; 0: none fails
  };

  bool faulty() const { return world_.Monotonic() < kFaultyTime; }
  Server& owner() { return *servers_[owner_]; }
  std::string Name(size_t server) const { return absl::StrCat("process server ", server); }
  PageBlobStore::Replica ReplicaOn(size_t server) const;

  void WriteSomething();
  void ScheduleWrite();
  void StartAgent();
  void TickAgent(uint64_t incarnation);
  void ConnectAgent(uint64_t incarnation);
  void StopAgent(bool cleanly);
  // What goes beside TLS passes somebody.
  void OnBeside(SealedBatch* batch);
  void OnRefusal(const replication::v1::Refusal& refusal);

  ModelPageBlobs::Loss OnRequest(size_t server);
  void Open(size_t server);
  void OpenLater(size_t server, absl::Duration from, absl::Duration to);
  void Close(size_t server);
  // What its store has begun has arrived.
  void Settle(size_t server);
  void Die(size_t server);
  void KeepShowingLife(size_t server);
  // The other one has it from now on.
  void TakeOver();
  // The other one begins with what it was told long ago, and is gone again soon.
  void Stray();
  void Retain();
  void ScheduleFault();
  void Strike();
  void Look();
  void ScheduleLook();
  // All leases are those under which it was opened.
  bool Holds(const Server& server) const;
  void CheckOpened(const PageBlobStore& store);
  void CheckPoints(const PageBlobStore& store);
  void CheckTheEnd();

  std::vector<std::unique_ptr<SourceDisk>> sources_;
  std::map<std::string, std::vector<std::string>> model_;  // by point
  MemoryDisk agent_disk_;
  std::unique_ptr<Shipper> shipper_;
  uint64_t agent_incarnation_ = 0;
  std::shared_ptr<Connection> connection_;
  bool drained_ = false;

  ModelContainer container_;
  std::array<std::unique_ptr<Server>, 2> servers_;
  size_t owner_ = 0;
  bool take_over_ = false;  // at some request of the owner
  StreamPosition durable_;
  std::set<std::string> listed_;
  absl::Duration marker_interval_, write_gap_max_, fault_gap_max_;
  const bool encrypts_;
  // Somebody on the wire changes whatever goes beside TLS, also when there are no other faults, or
  // a batch now and then. With random numbers of its own, so that what happens in other seeds
  // stays.
  const bool always_meddles_;
  std::mt19937_64 mischief_;
};

BlobCluster::BlobCluster(uint64_t seed, const RunOptions& options)
    : Scenario(seed, options),
      agent_disk_(seed * 7 + 1),
      encrypts_(seed % 4 == 3),
      always_meddles_(seed % 8 == 7),
      mischief_(seed) {
  world_.on_beside = [this](SealedBatch* batch) { OnBeside(batch); };
  world_.on_refusal = [this](bool, const replication::v1::Refusal& refusal) { OnRefusal(refusal); };
  const bool logs = world_.Chance(0.5);
  for (uint64_t i = 0, disks = 1 + world_.Pick(3); i < disks; ++i)
    sources_.push_back(std::make_unique<SourceDisk>(kSectorBytes * (64 + world_.Pick(192)), logs));
  for (size_t i = 0; i < servers_.size(); ++i) {
    servers_[i] = std::make_unique<Server>(&container_);
    servers_[i]->client.loss = [this, i](absl::string_view, const std::string&) {
      return OnRequest(i);
    };
  }
  marker_interval_ = world_.Between(absl::Seconds(1), absl::Seconds(5));
  write_gap_max_ = world_.Between(absl::Milliseconds(5), absl::Milliseconds(200));
  fault_gap_max_ = world_.Between(absl::Milliseconds(300), absl::Seconds(8));
}

Outcome BlobCluster::Run() {
  for (int i = 0; i < 40; ++i) WriteSomething();
  Open(owner_);
  StartAgent();
  ScheduleWrite();
  ScheduleFault();
  ScheduleLook();
  for (size_t i = 0; i < servers_.size(); ++i) KeepShowingLife(i);
  while (outcome_.ok && world_.Monotonic() < kFaultyTime + kQuietTime && world_.Step()) {
    for (size_t i = 0; i < servers_.size(); ++i) {
      Server& server = *servers_[i];
      if (server.dead) Die(i);
      if (server.stream != nullptr && !server.stream->broken().ok()) {
        Say(absl::StrCat(Name(i), " is broken: ", server.stream->broken().ToString()));
        Close(i);
        OpenLater(i, absl::Milliseconds(10), absl::Seconds(2));
      }
    }
    if (owner().store == nullptr) continue;
    if (owner().store->position().epoch != durable_.epoch) ++outcome_.epochs;
    durable_ = std::max(durable_, owner().store->position());
  }
  if (outcome_.ok) CheckTheEnd();
  return outcome_;
}

PageBlobStore::Replica BlobCluster::ReplicaOn(size_t server) const {
  PageBlobStore::Replica replica{.container_url = "https://a.blob.core.windows.net/c",
                                 .host_id = absl::StrCat("h", server),
                                 .machine_id = kMachine,
                                 .replica_id = "r1",
                                 .generation = kGeneration,
                                 .dead_after = kDeadAfter,
                                 .delivery_bytes = 12 * kKiB};
  for (size_t i = 0; i < sources_.size(); ++i) {
    replica.disks.push_back({absl::StrCat(kMachine, "/", i, ".vhd"), sources_[i]->size_bytes(),
                             absl::StrCat("0000000000000000000000000000000", i)});
  }
  return replica;
}

// --- the machine and its agent

void BlobCluster::WriteSomething() {
  SourceDisk& disk = *sources_[world_.Pick(sources_.size())];
  const uint64_t sectors = disk.size_bytes() / kSectorBytes;
  const uint64_t length = 1 + world_.Pick(std::min<uint64_t>(sectors, 16));
  std::string bytes(length * kSectorBytes, '\0');
  if (!world_.Chance(0.2)) {
    for (size_t i = 0; i < bytes.size(); i += 64) bytes[i] = static_cast<char>(world_.random());
  }
  disk.Write(world_.Pick(sectors - length + 1) * kSectorBytes, bytes);
}

void BlobCluster::ScheduleWrite() {
  if (!faulty()) return;
  world_.After(world_.Between(absl::ZeroDuration(), write_gap_max_), [this] {
    WriteSomething();
    ScheduleWrite();
  });
}

void BlobCluster::StartAgent() {
  const absl::StatusOr<bool> stopped_cleanly = TakeCleanStop(agent_disk_, kStatePath);
  if (!stopped_cleanly.ok()) return Fail(stopped_cleanly.status().ToString());
  std::vector<WriteSource*> sources;
  for (auto& source : sources_) {
    source->set_tracked(true);
    sources.push_back(source.get());
  }
  Shipper::Options options;
  options.machine_id = kMachine;
  options.generation = kGeneration;
  options.state_path = kStatePath;
  options.stopped_cleanly = *stopped_cleanly;
  options.fresh_replica = true;
  options.points.marker_interval = marker_interval_;
  options.points.frozen_bytes_max = 48 * kKiB;
  options.sync.digest_timeout = absl::Seconds(2);
  options.sync.digest_block_bytes = 4 * kKiB;
  options.sync.digest_blocks_max = 4;
  options.batch_bytes = 8 * kKiB;
  options.log_bytes_max = 64 * kKiB;
  options.in_flight_max = 200;
  options.epoch_stride = world_.Pick(kMiB);
  if (encrypts_) options.data_key = kDataKey;
  options.random = [](MutableBytes out) { std::fill(out.begin(), out.end(), 0); };
  auto shipper = Shipper::Open(agent_disk_, world_, options, sources, [this](const Marker& marker) {
    std::vector<std::string>& content = model_[marker.id];
    content.clear();
    for (auto& source : sources_) content.push_back(source->content());
    Say("marker " + marker.id);
  });
  if (!shipper.ok()) return Fail(shipper.status().ToString());
  shipper_ = *std::move(shipper);
  const uint64_t incarnation = ++agent_incarnation_;
  ConnectAgent(incarnation);
  TickAgent(incarnation);
}

void BlobCluster::TickAgent(uint64_t incarnation) {
  if (incarnation != agent_incarnation_ || shipper_ == nullptr) return;
  shipper_->Tick();
  if (world_.Monotonic() > kFaultyTime + kQuietTime / 2 && shipper_->drained()) drained_ = true;
  if (!shipper_->refused().ok())
    return Fail("the agent was refused: " + shipper_->refused().ToString());
  world_.After(absl::Milliseconds(100), [this, incarnation] { TickAgent(incarnation); });
}

void BlobCluster::ConnectAgent(uint64_t incarnation) {
  if (incarnation != agent_incarnation_ || shipper_ == nullptr) return;
  const auto again = [this, incarnation] {
    world_.After(world_.Between(absl::Milliseconds(10), absl::Seconds(1)),
                 [this, incarnation] { ConnectAgent(incarnation); });
  };
  if (owner().stream == nullptr) return again();
  if (connection_ != nullptr && connection_->alive()) return;
  connection_ =
      std::make_shared<Connection>(&world_, &shipper_->sender(), owner().stream.get(), again);
  owner().connections.push_back(connection_);
  connection_->Start(shipper_->MakeHello());
}

void BlobCluster::StopAgent(bool cleanly) {
  Say(cleanly ? "agent stops" : "agent dies");
  ++agent_incarnation_;
  if (connection_ != nullptr) connection_->Cut();
  const bool stopped = cleanly && shipper_->StopCleanly().ok();
  shipper_.reset();
  if (!stopped) agent_disk_.Crash();
  for (auto& source : sources_) source->set_tracked(false);
  if (stopped) return StartAgent();
  world_.After(world_.Between(absl::Milliseconds(100), absl::Seconds(3)), [this] { StartAgent(); });
}

void BlobCluster::OnBeside(SealedBatch* batch) {
  if (batch->size() == *BatchHeadBytes(*batch)) return;
  if (!always_meddles_ && (!faulty() || mischief_() % 20 != 0)) return;
  ++outcome_.forged;
  Say("somebody changes what goes beside TLS");
  *batch = WithAnotherBit(*batch, &mischief_);
}

void BlobCluster::OnRefusal(const replication::v1::Refusal& refusal) {
  const bool compares = refusal.code() == static_cast<uint32_t>(absl::StatusCode::kDataLoss);
  if (compares && absl::StrContains(refusal.message(), "sealed it"))
    Fail(absl::StrCat("what was changed beside TLS costs a comparison: ", refusal.message()));
}

// --- process servers

ModelPageBlobs::Loss BlobCluster::OnRequest(size_t index) {
  using Loss = ModelPageBlobs::Loss;
  Server& server = *servers_[index];
  if (server.dead) return Loss::kBefore;
  // Between two requests of the one that has it, as if it had stood still.
  if (take_over_ && index == owner_ && world_.Chance(0.2)) TakeOver();
  if (server.dies_in > 0 && --server.dies_in == 0) {
    server.client.lost = absl::UnavailableError("dead");
    server.dead = true;
    return server.dies;
  }
  if (server.fails_in > 0 && --server.fails_in == 0) {
    const bool throttled = world_.Chance(0.5);
    server.client.lost = throttled ? absl::ResourceExhaustedError("ServerBusy")
                                   : absl::UnavailableError("not reached");
    return world_.Chance(0.5) ? Loss::kBefore : Loss::kAfter;
  }
  return Loss::kNone;
}

void BlobCluster::Open(size_t index) {
  Server& server = *servers_[index];
  if (server.store != nullptr || server.dead) return;
  absl::StatusOr<PageBlobStore::Opened> opened = PageBlobStore::Open(
      server.client, world_, ReplicaOn(index), &server.claim, [this, &server](const std::string&) {
        return std::make_unique<SimulatedStrand>(&world_, &server.host);
      });
  const absl::Status status = opened.ok() ? opened->store->Fence(kGeneration) : opened.status();
  if (!status.ok()) {
    if (!absl::IsUnavailable(status) && !absl::IsResourceExhausted(status) &&
        !absl::IsCancelled(status))
      return Fail(absl::StrCat(Name(index), " cannot open: ", status.ToString()));
    Say(absl::StrCat(Name(index), " does not get it: ", status.ToString()));
    return OpenLater(index, absl::Milliseconds(100), absl::Seconds(2));
  }
  Say(absl::StrCat(Name(index), " has it at ", opened->store->position().ToString()));
  server.store = std::move(opened->store);
  if (encrypts_)
    server.store->SetKeys({.keys = {kDataKey}, .takes_plain = false, .generation = kGeneration});
  server.store->SetOnArrival([this, index, store = server.store.get()] {
    world_.After(world_.Between(absl::ZeroDuration(), absl::Milliseconds(1)), [this, index, store] {
      if (servers_[index]->store.get() == store) Settle(index);
    });
  });
  if (Holds(server)) CheckOpened(*server.store);
  std::vector<uint64_t> sizes;
  for (auto& source : sources_) sizes.push_back(source->size_bytes());
  server.stream = std::make_unique<ReplicaStream>(
      server.store.get(), ReplicaStream::Options{.machine_id = kMachine,
                                                 .disk_bytes = std::move(sizes),
                                                 .window_bytes = 32 * kKiB,
                                                 .resend_clock = &world_});
}

bool BlobCluster::Holds(const Server& server) const {
  return std::all_of(container_.blobs.begin(), container_.blobs.end(), [&](const auto& blob) {
    return blob.second.lease_id == server.claim.lease_id;
  });
}

void BlobCluster::CheckOpened(const PageBlobStore& store) {
  if (store.position() < durable_) {
    return Fail(absl::StrCat("durable was ", durable_.ToString(), ", and it was opened at ",
                             store.position().ToString()));
  }
  std::set<std::string> found;
  for (const ReplicaPoint& point : store.points()) found.insert(point.marker.id);
  for (const std::string& id : listed_) {
    if (!found.contains(id)) return Fail("point " + id + " is gone");
  }
  size_t snapshots = 0;
  for (const auto& [name, blob] : container_.blobs) snapshots += blob.snapshots.size();
  if (snapshots != found.size() * sources_.size())
    return Fail(absl::StrCat(snapshots, " snapshots for ", found.size(), " points"));
  CheckPoints(store);
}

void BlobCluster::OpenLater(size_t index, absl::Duration from, absl::Duration to) {
  world_.After(world_.Between(from, to), [this, index, now = servers_[index]->incarnation] {
    if (servers_[index]->incarnation == now) Open(index);
  });
}

void BlobCluster::Close(size_t index) {
  Server& server = *servers_[index];
  for (auto& connection : server.connections) connection->Cut();
  server.connections.clear();
  server.stream.reset();
  server.store.reset();
}

void BlobCluster::Settle(size_t index) {
  Server& server = *servers_[index];
  if (server.dead || server.stream == nullptr) return;
  const absl::Status settled = server.stream->Settle();
  for (auto& connection : server.connections) {
    if (!connection->alive()) continue;
    if (settled.ok()) {
      connection->receiver().Acknowledge();
    } else {
      connection->receiver().Refuse(settled);
    }
  }
}

void BlobCluster::Die(size_t index) {
  Say(Name(index) + " dies");
  ++outcome_.crashes;
  Server& server = *servers_[index];
  Close(index);
  ++server.incarnation;
  server.dead = false;
  server.dies_in = server.fails_in = 0;
  // Only who has it is told of it after a start.
  server.claim = {};
  if (index == owner_) OpenLater(index, absl::Milliseconds(50), absl::Seconds(3));
}

void BlobCluster::TakeOver() {
  take_over_ = false;
  const size_t before = owner_;
  owner_ = 1 - owner_;
  Say(absl::StrCat(Name(owner_), " is to have it"));
  Server& next = owner();
  // What it had before is over: it was told in between, or it died.
  Close(owner_);
  ++next.incarnation;
  next.dead = false;
  next.dies_in = next.fails_in = 0;
  next.claim = {};
  // What was sent to the one before still arrives there.
  if (connection_ != nullptr) connection_->Linger();
  if (servers_[before]->store != nullptr)
    durable_ = std::max(durable_, servers_[before]->store->position());
  Open(owner_);
  // The one before is told at last.
  world_.After(world_.Between(absl::Milliseconds(500), absl::Seconds(6)),
               [this, before, now = servers_[before]->incarnation] {
                 Server& told = *servers_[before];
                 if (told.incarnation != now || before == owner_) return;
                 Say(Name(before) + " is told to leave it");
                 if (told.store != nullptr) told.store->Leave();
                 Close(before);
                 ++told.incarnation;
               });
}

void BlobCluster::Stray() {
  const size_t index = 1 - owner_;
  Say(absl::StrCat(Name(index), " begins with what it was told long ago"));
  Close(index);
  Server& stray = *servers_[index];
  ++stray.incarnation;
  stray.dead = false;
  stray.claim = {};
  stray.dies_in = world_.Chance(0.5) ? 1 + world_.Pick(16) : 0;
  stray.fails_in = 0;
  Open(index);
  world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(6)),
               [this, index, now = stray.incarnation] {
                 Server& one = *servers_[index];
                 if (one.incarnation != now || index == owner_) return;
                 Say(Name(index) + " is gone");
                 if (one.store != nullptr && world_.Chance(0.5)) one.store->Leave();
                 Close(index);
                 ++one.incarnation;
               });
}

void BlobCluster::KeepShowingLife(size_t index) {
  world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(2)), [this, index] {
    Server& server = *servers_[index];
    if (server.store != nullptr) {
      const absl::Status shown = server.store->ShowLife();
      if (!shown.ok() && !absl::IsResourceExhausted(shown)) {
        Close(index);
        OpenLater(index, absl::Milliseconds(10), absl::Seconds(2));
      }
    }
    KeepShowingLife(index);
  });
}

void BlobCluster::Retain() {
  // What is being dropped may be gone for another server that takes over meanwhile; and what was to
  // be dropped and was not may come back or not.
  listed_.clear();
  for (size_t i = 0; i < servers_.size(); ++i) {
    Server& server = *servers_[i];
    if (server.store == nullptr) continue;
    const auto dropped = server.store->Retain(
        {.age_max = absl::InfiniteDuration(), .bytes_max = 32 * kKiB + world_.Pick(128 * kKiB)},
        world_.Now());
    if (!dropped.ok() && !absl::IsResourceExhausted(dropped.status())) {
      Close(i);
      OpenLater(i, absl::Milliseconds(10), absl::Seconds(2));
    }
  }
  listed_.clear();
}

// --- faults and oracles

void BlobCluster::ScheduleFault() {
  world_.After(world_.Between(absl::ZeroDuration(), fault_gap_max_), [this] {
    if (!faulty()) return;
    if (!options_.without_faults.contains(outcome_.faults++)) Strike();
    ScheduleFault();
  });
}

void BlobCluster::Strike() {
  Server& server = owner();
  switch (world_.Pick(8)) {
    case 0:
      server.dies_in = 1 + world_.Pick(12);
      server.dies =
          world_.Chance(0.5) ? ModelPageBlobs::Loss::kBefore : ModelPageBlobs::Loss::kAfter;
      break;
    case 1:
      take_over_ = true;
      break;
    case 2:
      TakeOver();
      break;
    case 3:
      server.fails_in = 1 + world_.Pick(12);
      break;
    case 4:
      if (connection_ == nullptr) break;
      ++outcome_.cuts;
      Say("a connection is cut");
      connection_->Cut();
      break;
    case 5:
      if (shipper_ != nullptr) StopAgent(world_.Chance(0.5));
      break;
    case 6:
      Stray();
      break;
    default:
      Retain();
  }
}

void BlobCluster::ScheduleLook() {
  world_.After(world_.Between(absl::Milliseconds(100), absl::Seconds(2)), [this] {
    Look();
    ScheduleLook();
  });
}

void BlobCluster::Look() {
  if (owner().store == nullptr || owner().dead || !Holds(owner())) return;
  CheckPoints(*owner().store);
  listed_.clear();
  for (const ReplicaPoint& point : owner().store->points()) listed_.insert(point.marker.id);
}

void BlobCluster::CheckPoints(const PageBlobStore& store) {
  ModelPageBlobs reader(&container_);
  const PageBlobStore::Replica replica = ReplicaOn(0);
  for (const ReplicaPoint& point : store.points()) {
    if (point.marker.consistency == Consistency::kNotOneInstant) continue;
    const auto model = model_.find(point.marker.id);
    if (model == model_.end()) return Fail("a point that nobody made: " + point.marker.id);
    const std::vector<std::string> urls = store.PathsAt(point.marker.id);
    for (size_t i = 0; i < sources_.size(); ++i) {
      const std::string snapshot = urls[i].substr(urls[i].find('=') + 1);
      const auto content =
          reader.Read(replica.disks[i].blob, snapshot, 0, sources_[i]->size_bytes());
      if (!content.ok()) return Fail(content.status().ToString());
      if (*content != model->second[i])
        return Fail(absl::StrCat("point ", point.marker.id, " differs on disk ", i));
    }
    ++outcome_.views_checked;
  }
}

void BlobCluster::CheckTheEnd() {
  if (shipper_ == nullptr || owner().store == nullptr) return Fail("a node did not come back");
  outcome_.points = owner().store->points().size();
  if (!drained_) {
    return Fail(absl::StrCat("not drained after ", absl::FormatDuration(kQuietTime),
                             " without faults, at ", owner().store->position().ToString()));
  }
  if (owner().store->points().empty()) return Fail("no recovery point");
  CheckPoints(*owner().store);
  ModelPageBlobs reader(&container_);
  const PageBlobStore::Replica replica = ReplicaOn(0);
  for (size_t i = 0; i < sources_.size(); ++i) {
    const auto content = reader.Read(replica.disks[i].blob, "", 0, sources_[i]->size_bytes());
    if (!content.ok() || *content != sources_[i]->content())
      return Fail(absl::StrCat("blob ", i, " is not the source, which stood still"));
  }
}

}  // namespace

Outcome RunBlobs(uint64_t seed, const RunOptions& options) {
  return BlobCluster(seed, options).Run();
}

}  // namespace homeward::simulation
