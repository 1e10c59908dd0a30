#include "tests/crash_points/histories.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"
#include "common/wire/change_batch.h"
#include "master_target/keeper/keeper.h"
#include "mobility_agent/pipeline/agent_state.h"
#include "process_server/spool/spool.h"
#include "tests/fakes/point_content.h"
#include "tests/fakes/store_on_files.h"

namespace homeward::crash_points {
namespace {

// OK when `status` is the refusal that damage of `damaged` must give.
bool Names(const absl::Status& status, const std::string& damaged) {
  return !damaged.empty() && absl::IsDataLoss(status) &&
         absl::StrContains(status.message(), damaged);
}

absl::Status Broken(const std::string& promise) { return absl::InternalError(promise); }

// --- a file that is replaced

class AtomicFile : public History {
 public:
  void Run(FileSystem& disk) override {
    if (!disk.MakeDirectories("/state").ok()) return;
    for (int version = 1; version <= 3; ++version) {
      begun_ = version;
      if (!WriteFileAtomically(disk, kPath, Content(version)).ok()) return;
      done_ = version;
    }
  }
  absl::Status Check(FileSystem& disk, const std::string& damaged) override {
    // It has no checksum of its own: whoever stores something in it has one.
    if (!damaged.empty()) return absl::OkStatus();
    const absl::StatusOr<std::string> read = ReadWholeFile(disk, kPath);
    if (absl::IsNotFound(read.status()) && done_ == 0) return absl::OkStatus();
    HW_RETURN_IF_ERROR(read.status());
    for (int version = done_; version <= begun_; ++version) {
      if (version > 0 && *read == Content(version)) return absl::OkStatus();
    }
    return Broken(absl::StrCat("neither version ", done_, " nor ", begun_));
  }

 private:
  static constexpr char kPath[] = "/state/file";
  static std::string Content(int version) {
    return std::string(600 * static_cast<size_t>(version), static_cast<char>('a' + version));
  }
  int begun_ = 0, done_ = 0;
};

// --- an agent's clean stop, which may be believed once

class CleanStop : public History {
 public:
  void Run(FileSystem& disk) override {
    if (!disk.MakeDirectories("/agent").ok()) return;
    AgentState state;
    state.epoch = 7;
    state.durable = {7, 9};
    state.begun = {7};
    state.dirty.resize(2);
    state.dirty[1].Add({512, 4096});
    if (!WriteFileAtomically(disk, kPath, EncodeAgentState(state)).ok()) return;
    state.stopped_cleanly = true;
    may_stop_ = true;
    if (!WriteFileAtomically(disk, kPath, EncodeAgentState(state)).ok()) return;
    const absl::StatusOr<bool> taken = TakeCleanStop(disk, kPath);
    taken_ = taken.ok() && *taken;
  }
  absl::Status Check(FileSystem& disk, const std::string& damaged) override {
    const absl::StatusOr<bool> again = TakeCleanStop(disk, kPath);
    HW_RETURN_IF_ERROR(again.status());
    if (taken_ && *again) return Broken("a clean stop was believed twice");
    if (*again && !may_stop_) return Broken("a clean stop that never was");
    const absl::StatusOr<std::string> bytes = ReadWholeFile(disk, kPath);
    if (absl::IsNotFound(bytes.status())) return absl::OkStatus();
    HW_RETURN_IF_ERROR(bytes.status());
    const absl::StatusOr<AgentState> state = DecodeAgentState(*bytes);
    if (!damaged.empty() && absl::IsDataLoss(state.status())) return absl::OkStatus();
    HW_RETURN_IF_ERROR(state.status());
    if (state->durable != StreamPosition{7, 9} || state->dirty.size() != 2)
      return Broken("another state than was written");
    return absl::OkStatus();
  }

 private:
  static constexpr char kPath[] = "/agent/stream.state";
  bool may_stop_ = false, taken_ = false;
};

// --- a process server's spool

class SpoolHistory : public History {
 public:
  explicit SpoolHistory(bool skips) : skips_(skips) {}
  void Run(FileSystem& disk) override {
    auto opened = Spool::Open(disk, kOptions);
    if (!opened.ok()) return;
    Spool& spool = **opened;
    for (uint64_t sequence = 0; sequence < 12; ++sequence) {
      if (!spool.Append({1, sequence}, Batch(sequence)).ok()) return;
      if (sequence % 3 != 2) continue;
      if (!spool.Sync().ok()) return;
      held_ = spool.held();
      if (sequence == 5) {
        dropped_ = {1, 3};
        if (!spool.DropThrough(dropped_).ok()) return;
      }
    }
    if (!skips_) return;
    skipping_ = true;
    if (!spool.SkipTo({2, 5}).ok()) return;
    held_ = dropped_ = {2, 5};
  }
  absl::Status Check(FileSystem& disk, const std::string& damaged) override {
    auto opened = Spool::Open(disk, kOptions);
    if (Names(opened.status(), damaged)) return absl::OkStatus();
    // A segment that is missing between its neighbours is seen in the one behind.
    if (!damaged.empty() && absl::IsDataLoss(opened.status())) return absl::OkStatus();
    HW_RETURN_IF_ERROR(opened.status());
    Spool& spool = **opened;
    // Less than was held is said in the hello, and sent again: it is a loss only without a cause.
    if (spool.held() < held_ && damaged.empty())
      return Broken(
          absl::StrCat("held ", held_.ToString(), ", came back with ", spool.held().ToString()));
    if (spool.held() > StreamPosition{1, 11} && !skipping_ && !gone_on_)
      return Broken("never appended");
    StreamPosition at = dropped_;
    for (;;) {
      const absl::StatusOr<SealedBatch> next = spool.ReadBehind(at);
      if (Names(next.status(), damaged)) return absl::OkStatus();
      HW_RETURN_IF_ERROR(next.status());
      if (next->empty()) break;
      ParsedBatch batch;
      HW_RETURN_IF_ERROR(ParseBatch(next->view(), true, &batch));
      if (gone_on_ && batch.header.position.epoch > 1) break;
      if (!(*next == Batch(batch.header.position.sequence)))
        return Broken("another batch than was appended");
      if (damaged.empty() && !at.none() && !at.MayPrecede(batch.header.position))
        return Broken("a gap");
      at = batch.header.position;
    }
    if (damaged.empty() && at < spool.held() && spool.held().epoch == 1)
      return Broken(absl::StrCat("holds ", spool.held().ToString(), ", ends at ", at.ToString()));
    // It can be gone on with.
    gone_on_ = true;
    const StreamPosition next{spool.appended().epoch + 1, 0};
    HW_RETURN_IF_ERROR(spool.Append(next, SealEpochBegin({BatchKind::kEpochBegin, next, 1}, {})));
    return spool.Sync();
  }

 private:
  static inline const Spool::Options kOptions = {"/spool/m1", 1800};
  static SealedBatch Batch(uint64_t sequence) {
    const BatchHeader header{BatchKind::kWrites, {1, sequence}, 1};
    if (sequence == 0) return SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 1}, {});
    BatchBuilder builder;
    const MutableBytes place = builder.AddData(0, {sequence * kSectorBytes, kSectorBytes});
    for (size_t i = 0; i < place.size(); ++i) place[i] = static_cast<uint8_t>(i * sequence);
    return builder.Seal(header);
  }
  const bool skips_;
  StreamPosition held_, dropped_;
  bool skipping_ = false, gone_on_ = false;
};

// --- a replica and its recovery journal

class KeeperHistory : public History {
 public:
  void Run(FileSystem& disk) override {
    if (!Open(disk).ok()) return;
    if (!Apply(SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 1}, {{}, true, {}}))) return;
    if (!Apply(Write(0, 8)) || !Apply(End())) return;
    for (int point = 0; point < 3; ++point) {
      if (!Apply(Mark()) || !Apply(Write(point, 3)) || !Apply(Zero(point + 2))) return;
    }
    if (!Apply(Mark())) return;
    // The file of the first point is used again, that of the second one is not.
    if (!Drop({.age_max = absl::Seconds(2)}) || !Apply(Mark()) || !Apply(Write(2, 3))) return;
    if (!Drop({.bytes_max = keeper_->journal_bytes() - 1})) return;
    if (!Apply(Write(1, 2))) return;
    if (!keeper_->RecoverTo("p2").ok()) return;
    recovered_ = true;
  }

  absl::Status Check(FileSystem& disk, const std::string& damaged) override {
    // What was written last may look torn.
    const bool newest =
        damaged.empty() || damaged == NewestDelta(disk) || damaged == JoinPath(kRetention, "state");
    const absl::Status opened = Open(disk);
    if (Names(opened, damaged)) return absl::OkStatus();
    HW_RETURN_IF_ERROR(opened);
    const bool tail = !damaged.empty() && newest;
    if (keeper_->position() < promised_ && !tail)
      return Broken(absl::StrCat("durable was ", promised_.ToString(), ", came back with ",
                                 keeper_->position().ToString()));
    std::vector<std::string> listed;
    for (const auto& point : keeper_->points()) listed.push_back(point.marker.id);
    for (const std::string& id : promised_points_) {
      const bool dropping = may_drop_ && id == promised_points_.front();
      const bool lost = tail && id == promised_points_.back();
      if (std::find(listed.begin(), listed.end(), id) == listed.end() && !dropping && !lost)
        return Broken(absl::StrCat("point ", id, " is gone"));
    }
    for (const std::string& id : listed) {
      const absl::Status seen = CheckView(id);
      if (!seen.ok() && !Names(seen, damaged)) return seen;
    }
    if (recovered_ && damaged.empty() && !gone_on_) {
      if (keeper_->recovered_point() != "p2") return Broken("the recovery is forgotten");
      for (uint32_t i = 0; i < kDisks; ++i) {
        HW_ASSIGN_OR_RETURN(const std::string content, ReadWholeFile(disk, PathOf(i)));
        if (content != model_["p2"][i]) return Broken("recovered, and differs");
      }
    }
    if (tail || !damaged.empty()) return absl::OkStatus();
    return GoOn(disk);
  }

 private:
  static constexpr uint32_t kDisks = 2;
  static constexpr uint64_t kBytes = 16 * kKiB;
  static constexpr char kRetention[] = "/retention/m1";
  static std::string PathOf(uint32_t i) { return absl::StrCat("/ds/", i, "-flat.vmdk"); }
  static std::string NewestDelta(FileSystem& disk) {
    std::string newest;
    const auto names = disk.List(kRetention);
    for (size_t i = 0; names.ok() && i < names->size(); ++i) {
      if (absl::EndsWith((*names)[i], ".hwl")) newest = JoinPath(kRetention, (*names)[i]);
    }
    return newest;
  }
  absl::Status Open(FileSystem& disk) {
    HW_RETURN_IF_ERROR(disk.MakeDirectories("/ds"));
    std::vector<ReplicaDisk> disks;
    for (uint32_t i = 0; i < kDisks; ++i) {
      HW_ASSIGN_OR_RETURN(std::unique_ptr<File> file, disk.Open(PathOf(i), OpenMode::kCreate));
      HW_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
      if (size < kBytes) {
        HW_RETURN_IF_ERROR(file->Truncate(kBytes));
        HW_RETURN_IF_ERROR(file->Sync());
      }
      disks.push_back({std::move(file), kBytes});
    }
    HW_RETURN_IF_ERROR(disk.SyncDirectory("/ds"));
    HW_ASSIGN_OR_RETURN(keeper_, Keeper::Open(disk, kRetention, std::move(disks)));
    return absl::OkStatus();
  }
  bool Drop(const RetentionPolicy& policy) {
    may_drop_ = true;
    if (!keeper_->Retain(policy, absl::FromUnixSeconds(1000) + absl::Seconds(2.5)).ok())
      return false;
    may_drop_ = false;
    promised_points_.erase(promised_points_.begin());
    return true;
  }
  bool Apply(const SealedBatch& batch) {
    if (!keeper_->Apply({batch.view()}).ok()) return false;
    promised_ = keeper_->position();
    promised_points_.clear();
    for (const auto& point : keeper_->points()) promised_points_.push_back(point.marker.id);
    return true;
  }
  StreamPosition Next() { return {1, ++sequence_}; }
  SealedBatch Write(int what, uint64_t sectors) {
    BatchBuilder builder;
    for (uint32_t disk = 0; disk < kDisks; ++disk) {
      const uint64_t offset = static_cast<uint64_t>(what) * 2 * kSectorBytes;
      const MutableBytes place = builder.AddData(disk, {offset, sectors * kSectorBytes});
      for (uint8_t& byte : place) byte = static_cast<uint8_t>(1 + ++fill_ % 255);
      content_[disk].replace(offset, place.size(), std::string(AsText(place)));
    }
    return builder.Seal({BatchKind::kWrites, Next(), 1});
  }
  SealedBatch Zero(int what) {
    BatchBuilder builder;
    const uint64_t offset = static_cast<uint64_t>(what) * kSectorBytes;
    builder.AddZeroes(1, {offset, 2 * kSectorBytes});
    content_[1].replace(offset, 2 * kSectorBytes, std::string(2 * kSectorBytes, '\0'));
    return builder.Seal({BatchKind::kWrites, Next(), 1});
  }
  SealedBatch End() {
    BatchBuilder builder;
    return builder.Seal({BatchKind::kSyncEnd, Next(), 1});
  }
  SealedBatch Mark() {
    const std::string id = absl::StrCat("p", model_.size());
    const absl::Time time = absl::FromUnixSeconds(1000 + static_cast<int64_t>(model_.size()));
    model_[id] = content_;
    return SealMarker({BatchKind::kMarker, Next(), 1}, {PointKind::kCrashConsistent, time, id});
  }
  absl::Status CheckView(const std::string& id) {
    HW_ASSIGN_OR_RETURN(const std::vector<std::string> seen, PointContent(*keeper_, id));
    for (uint32_t i = 0; i < kDisks; ++i) {
      if (seen[i] != model_[id][i]) return Broken(absl::StrCat("point ", id, " differs"));
    }
    return absl::OkStatus();
  }
  // A machine that synchronises anew can be followed, and every point stays as it was.
  absl::Status GoOn(FileSystem& disk) {
    gone_on_ = true;
    const uint64_t epoch = keeper_->position().epoch + 1;
    const SealedBatch begin =
        SealEpochBegin({BatchKind::kEpochBegin, {epoch, 0}, 1}, {{}, false, {}});
    HW_RETURN_IF_ERROR(keeper_->Apply({begin.view()}));
    BatchBuilder builder;
    for (uint32_t i = 0; i < kDisks; ++i) {
      const MutableBytes place = builder.AddData(i, {0, kBytes});
      std::fill(place.begin(), place.end(), static_cast<uint8_t>(0xEE));
    }
    const SealedBatch all = builder.Seal({BatchKind::kSyncChunk, {epoch, 1}, 1});
    HW_RETURN_IF_ERROR(keeper_->Apply({all.view()}));
    for (uint32_t i = 0; i < kDisks; ++i) {
      HW_ASSIGN_OR_RETURN(const std::string content, ReadWholeFile(disk, PathOf(i)));
      if (content != std::string(kBytes, '\xEE')) return Broken("not written");
    }
    for (const auto& point : keeper_->points()) HW_RETURN_IF_ERROR(CheckView(point.marker.id));
    return absl::OkStatus();
  }

  std::unique_ptr<Keeper> keeper_;
  std::vector<std::string> content_ = std::vector<std::string>(kDisks, std::string(kBytes, '\0'));
  std::map<std::string, std::vector<std::string>> model_;
  uint64_t sequence_ = 0, fill_ = 0;
  StreamPosition promised_;
  std::vector<std::string> promised_points_;
  bool may_drop_ = false, recovered_ = false, gone_on_ = false;
};

// --- the configuration server's records, over three starts

class StoreHistory : public History {
 public:
  void Run(FileSystem& disk) override {
    for (int start = 0; start < 3; ++start) {
      const absl::StatusOr<std::unique_ptr<Store>> store = OpenStoreOnFiles(disk, kDirectory);
      if (!store.ok()) return;
      promised_ = (*store)->revision();
      if (states_.empty()) states_[promised_] = {};
      for (int i = 0; i < 3; ++i) {
        if (!Commit(store->get(), promised_, {promised_ % 5, promised_ % 3 + 5}).ok()) return;
        ++promised_;
      }
      // Each of these is promised when all are.
      absl::Status committed;
      uint64_t revision = promised_;
      const absl::Status together = (*store)->Together([&] {
        for (int i = 0; i < 2 && committed.ok(); ++i, ++revision)
          committed = Commit(store->get(), revision, {revision % 5});
      });
      if (!committed.ok() || !together.ok()) return;
      promised_ = revision;
    }
  }
  absl::Status Check(FileSystem& disk, const std::string&) override {
    HW_ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, OpenStoreOnFiles(disk, kDirectory));
    const uint64_t revision = store->revision();
    if (revision < promised_)
      return Broken(absl::StrCat("revision ", promised_, " was promised, ", revision, " is there"));
    Records there;
    for (const auto& machine : store->All<storage::v1::Machine>())
      there[machine.machine_id()] = machine.generation();
    const auto state = states_.find(revision);
    // Nothing was asked of it before its first opening was over.
    const Records expected = state == states_.end() ? Records() : state->second;
    if (state == states_.end() && !states_.empty() && revision > states_.rbegin()->first)
      return Broken(absl::StrCat("revision ", revision, " was never written"));
    return there == expected ? absl::OkStatus()
                             : Broken(absl::StrCat("a part of revision ", revision));
  }

 private:
  static constexpr char kDirectory[] = "/store";
  using Records = std::map<std::string, uint64_t>;

  absl::Status Commit(Store* store, uint64_t revision, const std::vector<uint64_t>& keys) {
    Records next = states_[revision];
    Store::Transaction transaction;
    for (const uint64_t key : keys) {
      // Now and then one goes away.
      const std::string name = absl::StrCat("machine-", key);
      storage::v1::Machine machine;
      machine.set_machine_id(name);
      machine.set_generation(revision + 1);
      if (revision % 4 == 3 && key < 5) {
        transaction.Remove<storage::v1::Machine>(name);
        next.erase(name);
      } else {
        transaction.Put(name, machine);
        next[name] = machine.generation();
      }
    }
    states_[revision + 1] = next;
    return store->Commit(transaction);
  }

  std::map<uint64_t, Records> states_;  // by revision
  uint64_t promised_ = 0;
};

}  // namespace

const std::vector<Scripted>& AllHistories() {
  static const auto& histories = *new std::vector<Scripted>{
      {"atomic_file", [] { return std::make_unique<AtomicFile>(); }},
      {"clean_stop", [] { return std::make_unique<CleanStop>(); }, "mutation.keep_clean_stop"},
      {"spool_forwarded", [] { return std::make_unique<SpoolHistory>(/*skips=*/true); }},
      {"spool_waiting", [] { return std::make_unique<SpoolHistory>(/*skips=*/false); },
       "mutation.skip_spool_sync"},
      {"recovery_journal", [] { return std::make_unique<KeeperHistory>(); },
       "mutation.skip_undo_sync"},
      {"store", [] { return std::make_unique<StoreHistory>(); }, "mutation.store_without_sync",
       /*slow=*/true, /*names_in_order=*/true},
  };
  return histories;
}

std::vector<size_t> HistoriesWhere(const std::function<bool(const Scripted&)>& chosen) {
  std::vector<size_t> indexes;
  for (size_t i = 0; i < AllHistories().size(); ++i) {
    if (chosen(AllHistories()[i])) indexes.push_back(i);
  }
  return indexes;
}

}  // namespace homeward::crash_points
