// What stands in the simulated fabric: process servers and master targets, machines with their
// copies, and the calls between them.
#ifndef HOMEWARD_TESTS_SIMULATION_FABRIC_COMPONENTS_H_
#define HOMEWARD_TESTS_SIMULATION_FABRIC_COMPONENTS_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/replica/replicas.h"
#include "master_target/host/disk_backends.h"
#include "mobility_agent/host/protection.h"
#include "process_server/azure/page_blob_backend.h"
#include "process_server/host/relays.h"
#include "tests/fakes/azure/model_page_blobs.h"
#include "tests/simulation/parts.h"

namespace homeward::simulation {

// A disk of a machine, lent to its agent.
class LentDisk : public WriteSource {
 public:
  explicit LentDisk(SourceDisk* disk) : disk_(*disk) {}
  uint64_t size_bytes() const override { return disk_.size_bytes(); }
  absl::StatusOr<Collected> Collect(absl::Span<Extent> changed) override {
    return disk_.Collect(changed);
  }
  absl::Status Read(uint64_t offset, MutableBytes out) override { return disk_.Read(offset, out); }
  void BeginWriteBack() override { disk_.BeginWriteBack(); }
  bool WrittenBack() override { return disk_.WrittenBack(); }
  void BeginFreeze() override {}
  absl::Status AwaitFrozen(absl::Duration timeout) override { return disk_.AwaitFrozen(timeout); }
  void Thaw() override {}
  bool LogTo(WriteLog* log, uint32_t disk) override { return disk_.LogTo(log, disk); }
  // Only when the machine stops with its agent is nothing written any more.
  bool KeepForNextOpen() override { return machine_stops; }

  bool machine_stops = false;

 private:
  SourceDisk& disk_;
};

// A component's session with the configuration server.
struct Session {
  bool open = false;
  uint64_t number = 0;
  uint64_t attempt = 0;  // what belongs to an older one is void
  absl::Duration up, down;
  uint64_t revision = 0;  // of what was desired last in it
};

// A process server or a master target.
struct Component {
  Component(uint64_t seed, std::string name) : name(std::move(name)), host(seed) {}
  const std::string name;  // and host id, and address
  bool is_target = false;
  Host host;
  Session session;
  std::vector<std::weak_ptr<Call>> calls;  // to it
  std::unique_ptr<StreamDialer> dialer;
  // Of a process server that keeps replicas in Azure too; null: it does not.
  std::unique_ptr<Containers> containers;
  ModelPageBlobs* blobs = nullptr;     // what it speaks to there
  bool died_there = false;             // at a request; it is buried as soon as that returns
  uint64_t dies_in = 0, fails_in = 0;  // requests; 0: not
  std::unique_ptr<Relays> relays;
  std::unique_ptr<Replicas> replicas;
  std::unique_ptr<Strand> strand;  // ends first

  // Where the machine's stream goes here.
  absl::StatusOr<HostedInbox> Find(const std::string& machine_id) const {
    if (is_target) return replicas->Find(machine_id);
    absl::StatusOr<HostedInbox> relayed = relays->Find(machine_id);
    return relayed.ok() || replicas == nullptr ? std::move(relayed) : replicas->Find(machine_id);
  }
};

// Who can be called, and who calls.
class Switchboard {
 public:
  explicit Switchboard(World* world) : world_(*world) {}

  World& world() { return world_; }
  void Install(Component* component) { components_[component->name] = component; }
  // Null when there is none.
  Component* ComponentAt(const std::string& address) const {
    const auto it = components_.find(address);
    return it == components_.end() ? nullptr : it->second;
  }
  void NoteCaller(Host* host, const std::shared_ptr<Call>& call) {
    auto& calls = callers_[host];
    std::erase_if(calls, [](const auto& old) { return old.expired(); });
    calls.push_back(call);
  }
  // The host is gone with all that ran on it.
  void EndCallsOf(Host* host) {
    for (const auto& held : callers_[host]) {
      if (const auto call = held.lock()) call->CallerDied();
    }
    callers_.erase(host);
  }

 private:
  World& world_;
  std::map<std::string, Component*> components_;
  std::map<Host*, std::vector<std::weak_ptr<Call>>> callers_;
};

// One machine's stream from one host: calls, and calls again.
class Link : public StreamLink {
 public:
  Link(Switchboard* board, Host* host, Strand* strand, StreamSender* sender,
       std::function<replication::v1::Hello()> hello, StreamDialer::Peer peer)
      : state_(std::make_shared<State>(board, host, strand, sender, std::move(hello),
                                       std::move(peer))) {
    Connect(state_);
  }
  ~Link() override {
    state_->closed = true;
    // The call holds the state: here that circle ends.
    if (const auto call = std::exchange(state_->call, nullptr)) call->EndCaller();
  }

 private:
  struct State {
    State(Switchboard* board, Host* host, Strand* strand, StreamSender* sender,
          std::function<replication::v1::Hello()> hello, StreamDialer::Peer peer)
        : board(*board),
          host(*host),
          incarnation(host->incarnation),
          strand(strand),
          sender(sender),
          hello(std::move(hello)),
          peer(std::move(peer)) {}
    bool over() const { return closed || host.incarnation != incarnation; }
    Switchboard& board;
    Host& host;
    const uint64_t incarnation;
    Strand* const strand;
    StreamSender* const sender;
    const std::function<replication::v1::Hello()> hello;
    const StreamDialer::Peer peer;
    absl::Duration beside_again;  // not before, since it was refused
    bool closed = false;
    std::shared_ptr<Call> call;
  };
  static void Connect(const std::shared_ptr<State>& state) {
    if (state->over()) return;
    state->strand->Post([state] {
      if (state->over()) return;
      Component* const called = state->board.ComponentAt(state->peer.address);
      if (called == nullptr || !called->host.up) return Again(state);
      state->call = std::make_shared<Call>(
          &state->board.world(), state->peer, &state->beside_again, state->strand, state->sender,
          [called](const std::string& machine_id) { return called->Find(machine_id); },
          [state] { Again(state); });
      std::erase_if(called->calls, [](const auto& call) { return call.expired(); });
      called->calls.push_back(state->call);
      state->board.NoteCaller(&state->host, state->call);
      state->call->Start(state->hello());
    });
  }
  static void Again(const std::shared_ptr<State>& state) {
    World& world = state->board.world();
    world.After(world.Between(absl::Milliseconds(50), absl::Seconds(1)),
                [state] { Connect(state); });
  }
  const std::shared_ptr<State> state_;
};

class Dialer : public StreamDialer {
 public:
  Dialer(Switchboard* board, Host* host) : board_(*board), host_(*host) {}
  std::unique_ptr<StreamLink> Dial(Strand* strand, StreamSender* sender,
                                   std::function<replication::v1::Hello()> hello,
                                   const Peer& peer) override {
    return std::make_unique<Link>(&board_, &host_, strand, sender, std::move(hello), peer);
  }

 private:
  Switchboard& board_;
  Host& host_;
};

inline constexpr size_t kClones = 1000;  // their numbers begin here
struct Guest;
// A machine at one site: its disks, its agent.
struct Copy {
  Copy(Guest* machine, size_t number, uint64_t seed)
      : machine(*machine), number(number), host(seed) {}
  Guest& machine;
  const size_t number;
  Host host;  // the agent's state
  uint64_t boot = 0;
  bool running = false;      // it writes
  bool left_behind = false;  // a failback ended its time
  bool is_clone = false;     // of a copy that runs on, with its agent's state
  bool refused = false;      // of a clone: it was told so
  absl::Duration started;    // its agent, the last time
  control::v1::AgentDesired told;
  std::string hardware_uuid;
  std::vector<std::string> mac_addresses;
  // Of one that runs in a VM of the vCenter: its instance UUID, those of its disks, and whether the
  // VM was not turned off yet.
  std::string in_vm;
  std::vector<std::string> disk_uuids;
  bool vm_on = false;
  std::string in_azure;  // of one that runs in a VM there: its name; vm_on is that VM's
  absl::Duration registration_delay;
  std::vector<std::unique_ptr<SourceDisk>> disks;
  Session session;
  std::unique_ptr<StreamDialer> dialer;
  std::vector<CapturedDisk> captured;
  std::unique_ptr<Protection> protection;
};
struct Made {
  size_t copy = 0;
  uint64_t order = 0;
  std::vector<std::string> content;
};
struct Guest {
  std::string id;
  bool logs = false;
  std::vector<uint64_t> disk_bytes;
  absl::Duration point_interval;
  uint64_t retention_bytes = 0;               // 0: no limit
  std::vector<std::unique_ptr<Copy>> copies;  // the last one counts
  std::vector<std::unique_ptr<Copy>> clones;  // none of them does
  // In Azure: started by a failover that has not ended; by those that were undone, and by tests.
  std::unique_ptr<Copy> early;
  std::vector<std::unique_ptr<Copy>> in_vain;
  bool source_lost = false;  // of the failback that runs, or that ended last
  // Stood still, failed over to Azure, and was compared; and came home since.
  bool was_there = false, was_home_again = false;
  std::map<std::string, Made> points;
  uint64_t circles = 0;              // how often it came home
  bool boots = false;                // it came home and has not been started yet
  bool has_double = false;           // another VM is alike in all that can be known
  bool vm_home = false;              // it came to a VM, not to a directory
  bool resting = false;              // writes no more
  bool home = false;                 // brought home at the end, and compared
  uint64_t streamed_generation = 0;  // the newest that a copy was told to stream in
  // Of the failback that runs: markers made before it began, and whether the machine was there.
  uint64_t order_at_start = 0;
  bool could_stop = false;
  std::string wish;
};

}  // namespace homeward::simulation

#endif  // HOMEWARD_TESTS_SIMULATION_FABRIC_COMPONENTS_H_
