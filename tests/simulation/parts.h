// What the daemons' own threads, calls and sessions are replaced by: strands, calls and a store
// under virtual time.
#ifndef HOMEWARD_TESTS_SIMULATION_PARTS_H_
#define HOMEWARD_TESTS_SIMULATION_PARTS_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/replication/stream_runtime.h"
#include "config_server/store/store.h"
#include "tests/fakes/memory_disk.h"
#include "tests/simulation/world.h"

namespace homeward::simulation {

// One host. All that runs on it ends with an incarnation.
struct Host {
  explicit Host(uint64_t seed) : disk(seed) {}
  MemoryDisk disk;
  bool up = false;
  uint64_t incarnation = 0;
  absl::Duration frozen_until;  // its threads get no turn before
};

// Runs callbacks in order, each a little later than the one before.
class SimulatedStrand : public Strand {
 public:
  SimulatedStrand(World* world, Host* host) : queue_(std::make_shared<Queue>(world, host)) {}
  ~SimulatedStrand() override { Stop(); }
  void Stop() override { queue_->alive = false; }

  void Post(std::function<void()> callback) override { Push(queue_, std::move(callback)); }
  void PostAfter(absl::Duration delay, std::function<void()> callback) override {
    queue_->world.After(delay, [queue = queue_, callback = std::move(callback)]() mutable {
      Push(queue, std::move(callback));
    });
  }
  void Run(const std::function<void()>& callback) override {
    const std::shared_ptr<Queue> queue = queue_;
    while (queue->alive && !queue->ready.empty()) RunFirst(queue);
    callback();
  }

 private:
  struct Queue {
    Queue(World* world, Host* host) : world(*world), host(*host) {}
    World& world;
    Host& host;
    bool alive = true;
    std::deque<std::function<void()>> ready;
  };
  static void Push(const std::shared_ptr<Queue>& queue, std::function<void()> callback) {
    if (!queue->alive) return;
    queue->ready.push_back(std::move(callback));
    Turn(queue, queue->world.Between(absl::ZeroDuration(), absl::Milliseconds(1)));
  }
  static void Turn(const std::shared_ptr<Queue>& queue, absl::Duration delay) {
    queue->world.After(delay, [queue] {
      if (!queue->alive || queue->ready.empty()) return;
      const absl::Duration frozen = queue->host.frozen_until - queue->world.Monotonic();
      if (frozen > absl::ZeroDuration()) return Turn(queue, frozen);
      RunFirst(queue);
    });
  }
  static void RunFirst(const std::shared_ptr<Queue>& queue) {
    const std::function<void()> callback = std::move(queue->ready.front());
    queue->ready.pop_front();
    callback();
  }

  const std::shared_ptr<Queue> queue_;
};

// One call of the replication service. What is sent arrives in order, late, or not at all.
class Call : public UpstreamLink, public DownstreamLink, public std::enable_shared_from_this<Call> {
 public:
  // Where the machine's stream is received by the host that is called.
  using Find = std::function<absl::StatusOr<HostedInbox>(const std::string& machine_id)>;
  // `beside_again`: when it may go beside TLS; lives until `on_ended` was called.
  Call(World* world, const StreamDialer::Peer& peer, absl::Duration* beside_again, Strand* strand,
       StreamSender* sender, Find find, std::function<void()> on_ended)
      : world_(*world),
        from_relay_(peer.master_target && peer.beside),
        beside_(peer.beside),
        beside_again_(*beside_again),
        strand_(strand),
        sender_(sender),
        find_(std::move(find)),
        on_ended_(std::move(on_ended)) {}

  // On the caller's strand.
  void Start(const replication::v1::Hello& hello) { sender_->Connect(this, hello); }

  void Send(replication::v1::Upstream message) override {
    if (strand_ == nullptr) return;
    Later(&up_, [this, message = std::move(message)]() mutable { Arrive(std::move(message)); });
  }
  void SendBatch(SealedBatch batch) override {
    if (strand_ == nullptr) return;
    world_.on_batch(&batch);
    if (beside_ && takes_unchecked_ && world_.Monotonic() >= beside_again_ &&
        PayloadIsEncrypted(batch)) {
      batch.SetUnchecked();
      world_.on_beside(&batch);
    }
    Later(&up_, [this, batch = std::move(batch)] {
      if (called_ended_ || receiver_ == nullptr) return;
      OnReceiver([batch](Call& call) {
        if (call.receiver_->OnBatch(batch))
          call.OnReceiver([](Call& later) { later.receiver_->Flush(); });
      });
    });
  }
  void Send(replication::v1::Downstream message) override {
    if (message.has_refusal()) world_.on_refusal(from_relay_, message.refusal());
    Later(&down_, [this, message = std::move(message)] {
      if (strand_ == nullptr) return;
      if (message.has_acknowledgement())
        takes_unchecked_ = message.acknowledgement().takes_unchecked();
      if (message.has_refusal()) beside_again_ = world_.Monotonic() + absl::Seconds(30);
      strand_->Post([self = shared_from_this(), message] {
        if (self->strand_ != nullptr) self->sender_->OnMessage(message);
      });
    });
  }
  void Close() override {
    const absl::Duration end = std::max(up_, down_) + absl::Microseconds(1);
    world_.After(std::max(end - world_.Monotonic(), absl::ZeroDuration()),
                 [self = shared_from_this()] { self->Cut(absl::ZeroDuration()); });
  }
  // Nothing arrives one way, or the other, for so long.
  void Hold(bool up, absl::Duration time) {
    absl::Duration& last = up ? up_ : down_;
    last = std::max(last, world_.Monotonic() + time);
  }
  // What is on its way up still arrives within `lingering`.
  void Cut(absl::Duration lingering) {
    if (strand_ != nullptr) {
      strand_->Post([self = shared_from_this()] {
        if (self->strand_ == nullptr) return;
        self->EndCaller();
        self->on_ended_();
      });
    }
    world_.After(lingering, [self = shared_from_this()] { self->EndCalled(); });
  }
  // The caller wants no more; nothing of the call reaches it from now on.
  void EndCaller() {
    if (strand_ == nullptr) return;
    strand_ = nullptr;
    sender_->Disconnect();
    world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(1)),
                 [self = shared_from_this()] { self->EndCalled(); });
  }
  // The caller's host is gone with all that ran on it.
  void CallerDied() {
    strand_ = nullptr;
    world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(5)),
                 [self = shared_from_this()] { self->EndCalled(); });
  }
  // The host that was called is gone with all that ran on it.
  void CalledDied() {
    called_ended_ = true;
    receiver_.reset();
    inbox_ = {};
    Cut(absl::ZeroDuration());
  }

 private:
  void Arrive(replication::v1::Upstream message) {
    if (called_ended_) return;
    if (receiver_ == nullptr) {
      absl::StatusOr<HostedInbox> inbox = find_(message.hello().machine_id());
      if (!inbox.ok()) return Cut(absl::ZeroDuration());
      inbox_ = *std::move(inbox);
      receiver_ = std::make_unique<StreamReceiver>(inbox_.inbox, this);
    }
    OnReceiver([message = std::move(message)](Call& call) {
      const bool greeted = call.receiver_->greeted();
      const bool flush = call.receiver_->OnMessage(message);
      if (call.receiver_->greeted() && !greeted && call.inbox_.attach)
        call.inbox_.attach(call.receiver_.get());
      if (flush) call.OnReceiver([](Call& later) { later.receiver_->Flush(); });
    });
  }
  void OnReceiver(std::function<void(Call&)> callback) {
    inbox_.strand->Post([self = shared_from_this(), callback = std::move(callback)] {
      if (self->receiver_ != nullptr) callback(*self);
    });
  }
  void EndCalled() {
    if (std::exchange(called_ended_, true) || receiver_ == nullptr) return;
    OnReceiver([](Call& call) {
      if (call.inbox_.release) call.inbox_.release(call.receiver_.get());
      call.receiver_.reset();
      // Not here: this may be the last owner of the strand it runs on.
      call.world_.After(absl::ZeroDuration(), [self = call.shared_from_this()] {
        if (self->receiver_ == nullptr) self->inbox_ = {};
      });
    });
    Cut(absl::ZeroDuration());
  }
  void Later(absl::Duration* last, std::function<void()> deliver) {
    *last = std::max(
        *last, world_.Monotonic() + world_.Between(absl::Microseconds(50), absl::Milliseconds(30)));
    world_.After(
        *last - world_.Monotonic(),
        [self = shared_from_this(), deliver = std::move(deliver)]() mutable { deliver(); });
  }

  World& world_;
  const bool from_relay_, beside_;
  absl::Duration& beside_again_;
  bool takes_unchecked_ = false;  // as the receiver said last
  Strand* strand_;                // the caller's; null when it has gone
  StreamSender* const sender_;
  const Find find_;
  const std::function<void()> on_ended_;
  absl::Duration up_, down_;
  bool called_ended_ = false;
  HostedInbox inbox_;
  std::unique_ptr<StreamReceiver> receiver_;
};

// Keeps its records over crashes. A server dies at the n-th commit from now, just before or just
// after it.
struct ServerDied {};
class SimulatedStore : public Store {
 public:
  struct Records {
    std::map<std::string, std::string> by_key;
    uint64_t revision = 0;
    uint64_t commits_left = UINT64_MAX;
    bool dies_before = false;
  };
  explicit SimulatedStore(Records* records) : records_(*records) {
    if (!records_.by_key.empty()) return;
    storage::v1::Meta meta;
    meta.set_schema_version(kSchemaVersion);
    meta.set_config_server_id("simulated");
    meta.set_next_job(1);
    meta.set_next_event(1);
    Transaction transaction;
    transaction.Put(kOnly, meta);
    Apply(transaction);
  }

  uint64_t revision() const override { return records_.revision; }

 private:
  absl::Status Write(const Transaction& transaction, bool) override {
    const bool dies = records_.commits_left-- == 0;
    if (dies && records_.dies_before) throw ServerDied();
    Apply(transaction);
    if (dies) throw ServerDied();
    return absl::OkStatus();
  }
  absl::Status Sync() override { return absl::OkStatus(); }
  void Apply(const Transaction& transaction) {
    for (const auto& [key, value] : transaction.changes()) {
      if (value.has_value()) {
        records_.by_key[key] = *value;
      } else {
        records_.by_key.erase(key);
      }
    }
    ++records_.revision;
  }
  std::optional<std::string> Read(const std::string& key) const override {
    const auto it = records_.by_key.find(key);
    return it == records_.by_key.end() ? std::nullopt : std::optional<std::string>(it->second);
  }
  void Scan(const std::string& prefix, bool backwards,
            const std::function<bool(const std::string&)>& visit) const override {
    auto begin = records_.by_key.lower_bound(prefix);
    auto end = records_.by_key.lower_bound(prefix + "\xff");
    if (!backwards) {
      for (; begin != end; ++begin) {
        if (!visit(begin->second)) return;
      }
      return;
    }
    while (end != begin) {
      if (!visit((--end)->second)) return;
    }
  }

  Records& records_;
};

}  // namespace homeward::simulation

#endif  // HOMEWARD_TESTS_SIMULATION_PARTS_H_
