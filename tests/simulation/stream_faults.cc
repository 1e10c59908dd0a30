#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "master_target/keeper/state_record.h"
#include "tests/simulation/stream_cluster.h"

namespace homeward::simulation {
void Cluster::ScheduleFault() {
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

void Cluster::Strike() {
  const size_t relay = world_.Pick(relays_.size());
  // Half of the runs know only crashes, cuts and full disks, so that these meet more often.
  constexpr uint64_t kOtherServer = 21;
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
      if (world_.Chance(0.3)) return TakeAway(&source);
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
    default: {
      if (copy_ != nullptr) return;  // The other one serves the copy.
      Say(absl::StrCat("agent goes to process server ", relay));
      if (current_relay_ != relay && world_.Chance(0.5)) LeaveBacklog(current_relay_);
      current_relay_ = relay;
      return CutAgent();
    }
  }
}

void Cluster::KeepMachine() {
  kept_machine_ = std::make_unique<KeptMachine>();
  kept_machine_->generation = generation_;
  kept_machine_->agent_disk = agent_disk_.TakeSnapshot();
  for (auto& source : sources_) kept_machine_->content.push_back(source->content());
}

void Cluster::RevertMachine() {
  if (kept_machine_ == nullptr || kept_machine_->generation != generation_) return;
  Say("the machine is reverted to a snapshot");
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

void Cluster::KeepTarget() {
  if (keeper_ == nullptr || keeper_disk_.dead()) return;
  kept_target_ = std::make_unique<KeptTarget>();
  *kept_target_ = {keeper_disk_.TakeSnapshot(), durable_, {}};
  for (const auto& point : keeper_->points()) kept_target_->listed.insert(point.marker.id);
}

void Cluster::RevertTarget() {
  if (kept_target_ == nullptr) return KeepTarget();
  StopKeeper();
  Say("it comes back from a snapshot");
  keeper_disk_.Restore(kept_target_->disk);
  durable_ = kept_target_->durable;
  listed_ = kept_target_->listed;
  kept_target_.reset();
  restored_ = true;
}

void Cluster::ScheduleDamage() {
  world_.After(world_.Between(absl::Seconds(2), kFaultyTime + absl::Seconds(15)), [this] {
    const bool replica = world_.Chance(0.5);
    replica ? DamageReplica() : DamageJournal();
    // There was nothing to damage yet.
    if (damaged_.empty() && world_.Monotonic() < kFaultyTime) ScheduleDamage();
  });
}

void Cluster::DamageJournal() {
  std::vector<std::string> paths = keeper_disk_.Paths();
  std::erase_if(paths, [](const std::string& path) {
    return !absl::StartsWith(path, "/retention") || !absl::EndsWith(path, ".hwl");
  });
  if (paths.empty()) return;
  damaged_ = paths[world_.Pick(paths.size())];
  // Not what nothing vouches for yet: with a crash it looks like a record that was being written
  // (docs/reliability.md).
  uint64_t vouched = 0;
  const bool open = damaged_ == paths.back();
  const absl::string_view digits = absl::string_view(damaged_).substr(damaged_.size() - 20, 16);
  uint64_t number = 0;
  if (!absl::SimpleAtoi(digits, &number)) return damaged_.clear();
  RecordLog::Scan(keeper_disk_, damaged_, LogPurpose::kDelta, number, [&](const LogRecord& record) {
    if (!open) vouched = record.offset;
    return absl::OkStatus();
  }).IgnoreError();
  const auto noted =
      StateRecord::Decode(keeper_disk_.Content(JoinPath(ParentDirectory(damaged_), "state")));
  if (open && noted.ok() && noted->has_value() && (*noted)->delta_number == number)
    vouched = (*noted)->delta_bytes;
  if (vouched == 0) return damaged_.clear();
  const uint64_t at = world_.Pick(vouched);
  const Extent written{at, 1 + world_.Pick(std::min(vouched - at, 4 * kKiB))};
  const uint64_t to = world_.Pick(vouched - written.length + 1);
  const std::string before = keeper_disk_.Content(damaged_);
  if (world_.Chance(0.5)) {
    keeper_disk_.FlipByte(damaged_, at);
    Say(absl::StrCat("byte ", at, " of ", damaged_, " changes"));
  } else {
    keeper_disk_.Misplace(damaged_, written, to);
    Say(absl::StrCat(damaged_, ": a write at ", at, " was misdirected to ", to));
  }
  if (keeper_disk_.Content(damaged_) == before) damaged_.clear();
}

void Cluster::DamageSpool(size_t index) {
  RelayNode& node = *relays_[index];
  if (DamageSomeLog(&node.disk, absl::StrCat("process server ", index))) node.damaged = true;
}

void Cluster::TakeAway(SourceDisk* source) {
  Say("a source disk has no size");
  source->GoAway();
  world_.After(world_.Between(absl::Milliseconds(10), absl::Seconds(10)), [this, source] {
    Say("the source disk is back");
    source->ComeBack(kSectorBytes * world_.Pick(source->size_bytes() / kSectorBytes),
                     std::string(kSectorBytes, 'u'));
  });
}

void Cluster::LeaveBacklog(size_t relay) {
  const auto& connection = relays_[relay]->to_keeper;
  if (connection == nullptr) return;
  Say(absl::StrCat("process server ", relay, " keeps a backlog"));
  connection->Hold(true, world_.Between(absl::Milliseconds(10), absl::Seconds(5)));
  keeper_disk_.DieAfter(world_.Pick(40));
}

void Cluster::StandStill(size_t relay, absl::Duration time) {
  RelayNode& node = *relays_[relay];
  const uint64_t who = world_.Pick(5);
  const bool agent = who < 2, target = who == 4;
  Say(absl::StrCat(agent    ? "the agent"
                   : target ? "the master target"
                            : absl::StrCat("process server ", relay),
                   " stands still for ", absl::FormatDuration(time)));
  time = std::min(time, kFaultyTime + absl::Seconds(5) - world_.Monotonic());
  if (target) {
    keeper_host_.frozen_until = world_.Monotonic() + time;
    for (auto& other : relays_) {
      if (other->to_keeper == nullptr) continue;
      other->to_keeper->Hold(/*up=*/true, time);
      other->to_keeper->Hold(/*up=*/false, time);
    }
    return;
  }
  (agent ? agent_still_until_ : node.still_until) = world_.Monotonic() + time;
  if (agent_connection_ != nullptr && (agent || relay == current_relay_))
    agent_connection_->Hold(/*up=*/!agent, time);
  if (!agent && node.to_keeper != nullptr) node.to_keeper->Hold(/*up=*/false, time);
}

void Cluster::RevertRelay(size_t index) {
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

void Cluster::DamageReplica() {
  if (keeper_ == nullptr || keeper_disk_.dead()) return;
  if (keeper_->state().syncing || keeper_->points().empty()) return;
  ScrubOnce();  // It knows all that is there.
  if (found_ || !outcome_.ok) return;
  const auto disk = static_cast<uint32_t>(world_.Pick(disk_bytes_.size()));
  flipped_ = {disk, world_.Pick(disk_bytes_[disk])};
  damaged_ = absl::StrCat("disk ", disk, " of the replica");
  keeper_disk_.FlipByte(ReplicaPath(disk), flipped_->second);
  Say(absl::StrCat("byte ", flipped_->second, " of ", damaged_, " changes"));
  if (world_.Chance(0.5)) return;
  ScrubOnce();
  if (!found_) Fail(absl::StrCat("the scrub did not find that ", damaged_, " changed"));
}

}  // namespace homeward::simulation
