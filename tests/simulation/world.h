// The replaced environment: virtual time, links that can be cut, and disks of a machine.
#ifndef HOMEWARD_TESTS_SIMULATION_WORLD_H_
#define HOMEWARD_TESTS_SIMULATION_WORLD_H_

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "common/clock/clock.h"
#include "common/replication/stream_receiver.h"
#include "common/replication/stream_sender.h"
#include "mobility_agent/capture/write_source.h"

namespace homeward::simulation {

// Virtual time and what is to happen in it.
class World : public Clock {
 public:
  explicit World(uint64_t seed) : random(seed) {}

  absl::Time Now() const override { return absl::FromUnixSeconds(1700000000) + skew + now_; }
  absl::Duration Monotonic() const override { return now_; }
  void After(absl::Duration delay, std::function<void()> happens) {
    events_.emplace(std::make_pair(now_ + delay, ++order_), std::move(happens));
  }
  // False when there is nothing left.
  bool Step() {
    if (events_.empty()) return false;
    auto event = events_.extract(events_.begin());
    now_ = event.key().first;
    event.mapped()();
    return true;
  }
  uint64_t Pick(uint64_t bound) { return random() % bound; }
  bool Chance(double probability) { return random() % 1000000 < probability * 1000000; }
  absl::Duration Between(absl::Duration low, absl::Duration high) {
    return low + (high - low) * (static_cast<double>(random() % 10000) / 10000);
  }

  std::mt19937_64 random;
  absl::Duration skew;
  uint64_t flips_in_flight = 0;  // so many of the next batches arrive with another byte
  std::function<void(SealedBatch*)> on_batch = [](SealedBatch*) {};  // whoever is on the way
  // What comes beside TLS, where somebody on the wire reaches it.
  std::function<void(SealedBatch*)> on_beside = [](SealedBatch*) {};
  // `to_relay`: a process server is refused, otherwise an agent.
  std::function<void(bool to_relay, const replication::v1::Refusal&)> on_refusal =
      [](bool, const replication::v1::Refusal&) {};

 private:
  absl::Duration now_;
  uint64_t order_ = 0;
  std::map<std::pair<absl::Duration, uint64_t>, std::function<void()>> events_;
};

// One call between a sender and an inbox. Delivers in order, late; a cut loses what is on its way.
class Connection : public UpstreamLink,
                   public DownstreamLink,
                   public std::enable_shared_from_this<Connection> {
 public:
  Connection(World* world, StreamSender* sender, Inbox* inbox, std::function<void()> on_closed)
      : world_(*world), sender_(sender), on_closed_(std::move(on_closed)), receiver_(inbox, this) {}

  void Start(const replication::v1::Hello& hello) { sender_->Connect(this, hello); }
  StreamReceiver& receiver() { return receiver_; }
  bool alive() const { return alive_; }

  void Send(replication::v1::Upstream message) override {
    Later(&up_, [this, message] {
      if (receiver_.OnMessage(message)) Later(&up_, [this] { receiver_.Flush(); });
    });
  }
  void SendBatch(SealedBatch batch) override {
    if (world_.flips_in_flight > 0) {
      --world_.flips_in_flight;
      std::string bytes(batch.view());
      char& byte = bytes[world_.Pick(bytes.size())];
      byte = static_cast<char>(byte ^ (1 << world_.Pick(8)));
      batch = SealedBatch(std::move(bytes));
    }
    if (takes_unchecked_ && PayloadIsEncrypted(batch)) {
      batch.SetUnchecked();
      world_.on_beside(&batch);
    }
    Later(&up_, [this, batch] {
      if (receiver_.OnBatch(batch)) Later(&up_, [this] { receiver_.Flush(); });
    });
  }
  void Send(replication::v1::Downstream message) override {
    if (lingers_) return;
    if (message.has_refusal()) world_.on_refusal(/*to_relay=*/false, message.refusal());
    Later(&down_, [this, message] {
      if (message.has_hello_reply())
        takes_unchecked_ = message.hello_reply().acknowledgement().takes_unchecked();
      if (message.has_acknowledgement())
        takes_unchecked_ = message.acknowledgement().takes_unchecked();
      sender_->OnMessage(message);
    });
  }
  void Close() override {
    // What was sent before the end still arrives, as with TCP.
    if (closing_ || lingers_) return;
    closing_ = true;
    const absl::Duration end = std::max(up_, down_) + absl::Microseconds(1);
    world_.After(std::max(end - world_.Monotonic(), absl::ZeroDuration()),
                 [self = shared_from_this()] { self->Cut(); });
  }
  // Nothing arrives one way, or the other, for so long: a partition that has a direction, or an end
  // that stands still.
  void Hold(bool up, absl::Duration time) {
    absl::Duration& last = up ? up_ : down_;
    last = std::max(last, world_.Monotonic() + time);
  }
  // At once, losing everything. Safe at any time, also when an end is about to be destroyed.
  void Cut() {
    lingers_ = false;
    Disconnect();
  }
  // The sender knows that it is over, the receiver does not: what was sent arrives, late, beside
  // what the next connection brings. Until Cut(), which must come before the receiver's end.
  void Linger() {
    lingers_ = alive_;
    Disconnect();
  }

 private:
  void Disconnect() {
    if (!alive_) return;
    alive_ = false;
    if (sender_ != nullptr) sender_->Disconnect();
    on_closed_();
  }
  void Later(absl::Duration* last, std::function<void()> deliver) {
    if (closing_ && last == &up_) return;
    const absl::Duration due = std::max(
        *last, world_.Monotonic() + world_.Between(absl::Microseconds(50), absl::Milliseconds(30)));
    *last = due;
    const bool up = last == &up_;
    world_.After(
        due - world_.Monotonic(), [self = shared_from_this(), up, deliver = std::move(deliver)] {
          if (self->alive_) return deliver();
          // Of a lingering connection only the way up is left, and that is slow.
          if (self->lingers_ && up) {
            self->world_.After(self->world_.Between(absl::Milliseconds(1), absl::Seconds(4)),
                               [self, deliver] {
                                 if (self->lingers_) deliver();
                               });
          }
        });
  }

  World& world_;
  StreamSender* sender_;
  std::function<void()> on_closed_;
  StreamReceiver receiver_;
  absl::Duration up_, down_;
  bool alive_ = true;
  bool lingers_ = false;
  bool closing_ = false;
  bool takes_unchecked_ = false;  // as the receiver said last
};

// A disk of the protected machine. It outlives its agent.
class SourceDisk : public WriteSource {
 public:
  // `logs`: knows writes with their data, as a tap does.
  SourceDisk(uint64_t bytes, bool logs) : content_(bytes, '\0'), logs_(logs) {}

  void Write(uint64_t offset, const std::string& bytes) {
    if (away_) return;  // It fails.
    content_.replace(offset, bytes.size(), bytes);
    if (!tracked_) return;
    const ConstBytes data = IsZero(AsBytes(bytes)) ? ConstBytes() : AsBytes(bytes);
    if (log_ != nullptr && failing_writes_ > 0) {
      --failing_writes_;
      log_->Close();
    }
    if (log_ != nullptr && log_->Append(disk_, {offset, bytes.size()}, data)) return;
    changed_.Add({offset, bytes.size()});
  }
  void set_tracked(bool tracked) {
    tracked_ = tracked;
    seen_away_ = false;
    changed_.Clear();
  }
  // Whoever writes although the disk should be at rest: gets a turn after each read of the disk,
  // and, if so wanted, before its changes are collected.
  void set_restless(std::function<void()> writes, bool at_collect) {
    restless_ = std::move(writes);
    restless_at_collect_ = at_collect;
  }
  const std::string& content() const { return content_; }
  bool logs() const { return logs_; }
  void FailReads(uint64_t count) { failing_reads_ = count; }
  // Writes that are told of, and not with their data.
  void FailWrites(uint64_t count) { failing_writes_ = count; }

  // It has no size for a while. Where its agent saw that, something writes to it meanwhile.
  void GoAway() { away_ = true; }
  void ComeBack(uint64_t written_at, const std::string& bytes) {
    away_ = false;
    if (std::exchange(seen_away_, false)) content_.replace(written_at, bytes.size(), bytes);
  }

  uint64_t size_bytes() const override { return content_.size(); }
  absl::Status Present() override {
    if (!away_) return absl::OkStatus();
    seen_away_ = true;
    return NotPresent(content_.size(), 0);
  }
  absl::StatusOr<Collected> Collect(absl::Span<Extent> changed) override {
    if (away_) return Present();
    if (restless_ && restless_at_collect_) restless_();
    const size_t count = changed_.TakeInto(changed);
    return Collected{count, !changed_.empty()};
  }
  absl::Status Read(uint64_t offset, MutableBytes out) override {
    if (away_) return absl::UnavailableError("the simulated disk is away");
    if (failing_reads_ > 0) {
      --failing_reads_;
      return absl::UnavailableError("the simulated disk cannot be read");
    }
    std::memcpy(out.data(), content_.data() + offset, out.size());
    if (restless_) restless_();
    return absl::OkStatus();
  }
  // Takes a few looks.
  void BeginWriteBack() override { write_back_ = 3; }
  bool WrittenBack() override { return write_back_ == 0 || --write_back_ == 0; }
  void BeginFreeze() override {}
  absl::Status AwaitFrozen(absl::Duration) override { return absl::OkStatus(); }
  void Thaw() override {}
  const Rest& rest() const override { return restless_ ? moving_ : still_; }
  bool LogTo(WriteLog* log, uint32_t disk) override {
    log_ = logs_ ? log : nullptr;
    disk_ = disk;
    return logs_;
  }

 private:
  std::string content_;
  const bool logs_;
  WriteLog* log_ = nullptr;
  uint32_t disk_ = 0;
  ExtentSet changed_;
  bool tracked_ = false;
  bool away_ = false;
  bool seen_away_ = false;  // by the agent that runs
  uint64_t failing_reads_ = 0;
  uint64_t failing_writes_ = 0;
  int write_back_ = 0;
  std::function<void()> restless_;
  bool restless_at_collect_ = false;
  const Rest still_{.still = {"a simulated file system"}, .moving = {}};
  const Rest moving_{.still = {"a simulated file system"}, .moving = {"what is restless"}};
};

}  // namespace homeward::simulation

#endif  // HOMEWARD_TESTS_SIMULATION_WORLD_H_
