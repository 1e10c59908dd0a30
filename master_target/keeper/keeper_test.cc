#include "master_target/keeper/keeper.h"

#include <random>

#include "absl/algorithm/container.h"
#include "common/wire/checksum.h"
#include "gtest/gtest.h"
#include "tests/fakes/held_strand.h"
#include "tests/fakes/memory_disk.h"
#include "tests/fakes/point_content.h"
#include "tests/golden/archive.h"

namespace homeward {
namespace {

constexpr uint64_t kDiskBytes = 64 * kKiB;

// A machine with two small disks, its keeper on a disk that crashes, and a model of every point.
class KeeperTest : public ::testing::Test {
 protected:
  void Start(uint64_t seed) {
    keeper_.reset();  // It may still write.
    disk_ = std::make_unique<MemoryDisk>(seed);
    random_.seed(seed);
    ASSERT_TRUE(disk_->MakeDirectories("/ds").ok());
    for (int i = 0; i < 2; ++i) {
      auto file = disk_->Open(PathOf(i), OpenMode::kCreate);
      ASSERT_TRUE((*file)->Truncate(kDiskBytes).ok());
      ASSERT_TRUE((*file)->Sync().ok());
    }
    ASSERT_TRUE(disk_->SyncDirectory("/ds").ok());
    content_.assign(2, std::string(kDiskBytes, '\0'));
    points_.clear();
    position_ = {1, 0};
    ASSERT_TRUE(Open().ok());
    ASSERT_TRUE(Apply(SealEpochBegin({BatchKind::kEpochBegin, position_, 1}, {{}, true})).ok());
    ASSERT_TRUE(Apply(Write()).ok());
    BatchBuilder builder;
    ASSERT_TRUE(Apply(builder.Seal({BatchKind::kSyncEnd, Next(), 1})).ok());
  }
  static std::string PathOf(int i) { return absl::StrCat("/ds/", i, "-flat.vmdk"); }

  absl::Status Open() {
    std::vector<ReplicaDisk> disks;
    for (int i = 0; i < 2; ++i) {
      auto file = disk_->Open(PathOf(i), OpenMode::kReadWrite);
      if (!file.ok()) return file.status();
      disks.push_back({*std::move(file), kDiskBytes});
    }
    writers_.clear();
    auto keeper = Keeper::Open(*disk_, "/retention/m1", std::move(disks), options_);
    if (!keeper.ok()) return keeper.status();
    keeper_ = *std::move(keeper);
    keeper_->SetOnArrival([this] { ++arrivals_; });
    return absl::OkStatus();
  }
  // Keepers that are opened from now on write when RunHeld() says so, or when somebody
  // has to wait for it.
  void HoldWrites() {
    options_.make_strand = [this](const std::string&) {
      auto strand = std::make_unique<HeldStrand>();
      writers_.push_back(strand.get());
      return strand;
    };
  }
  void RunHeld() {
    for (HeldStrand* writer : writers_) writer->RunHeld();
  }

  StreamPosition Next() { return {position_.epoch, ++position_.sequence}; }

  // A sealed batch of random writes, applied to the model too.
  SealedBatch Write() {
    BatchBuilder builder;
    const int extents = 1 + random_() % 4;
    for (int i = 0; i < extents; ++i) {
      const uint32_t disk = random_() % 2;
      const uint64_t length = kSectorBytes * (1 + random_() % 8);
      const uint64_t offset =
          kSectorBytes * (random_() % ((kDiskBytes - length) / kSectorBytes + 1));
      if (random_() % 4 == 0) {
        builder.AddZeroes(disk, {offset, length});
        content_[disk].replace(offset, length, std::string(length, '\0'));
      } else {
        const MutableBytes place = builder.AddData(disk, {offset, length});
        for (uint8_t& byte : place) byte = static_cast<uint8_t>(random_());
        content_[disk].replace(offset, length, std::string(AsText(place)));
      }
    }
    return builder.Seal({BatchKind::kWrites, Next(), 1});
  }
  SealedBatch Fill(uint32_t disk, Extent extent, char byte) {
    BatchBuilder builder;
    std::memset(builder.AddData(disk, extent).data(), byte, extent.length);
    content_[disk].replace(extent.offset, extent.length, extent.length, byte);
    return builder.Seal({BatchKind::kWrites, Next(), 1});
  }
  SealedBatch Mark(Consistency consistency = Consistency::kUnknown) {
    const std::string id = absl::StrCat("p", points_.size());
    points_.push_back({id, content_});
    return SealMarker({BatchKind::kMarker, Next(), 1},
                      {PointKind::kCrashConsistent, absl::FromUnixSeconds(1000 + points_.size()),
                       id, consistency});
  }
  absl::Status Apply(const SealedBatch& batch) { return Apply(std::vector<SealedBatch>{batch}); }
  absl::Status Apply(const std::vector<SealedBatch>& batches) {
    std::vector<absl::string_view> sealed;
    for (const SealedBatch& batch : batches) sealed.push_back(batch.view());
    return keeper_->Apply(sealed);
  }

  void ExpectDisks(const std::vector<std::string>& content) {
    for (int i = 0; i < 2; ++i)
      ASSERT_TRUE(disk_->Content(PathOf(i)) == content[i]) << "disk " << i;
  }
  void ExpectView(const std::string& id, const std::vector<std::string>& content) {
    const auto seen = PointContent(*keeper_, id);
    ASSERT_TRUE(seen.ok()) << seen.status();
    for (int i = 0; i < 2; ++i) ASSERT_TRUE((*seen)[i] == content[i]) << id << " disk " << i;
  }

  struct ModelPoint {
    std::string id;
    std::vector<std::string> content;
  };
  std::unique_ptr<MemoryDisk> disk_;
  Keeper::Options options_;
  std::vector<HeldStrand*> writers_;  // of the keeper that was opened last
  int arrivals_ = 0;
  std::mt19937_64 random_;
  std::unique_ptr<Keeper> keeper_;
  std::vector<std::string> content_;
  std::vector<ModelPoint> points_;
  StreamPosition position_;
};

TEST_F(KeeperTest, EveryPointCanBeViewedAndRecoveredInAnyOrder) {
  Start(1);
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(Apply({Write(), Write(), Mark(), Write()}).ok());
  }
  ASSERT_TRUE(Apply(Mark()).ok());
  for (const ModelPoint& point : points_) ExpectView(point.id, point.content);
  for (const int index : {3, 8, 0, 5, 8}) {
    ASSERT_TRUE(keeper_->RecoverTo(points_[index].id).ok());
    ExpectDisks(points_[index].content);
    EXPECT_EQ(keeper_->recovered_point(), points_[index].id);
    for (const ModelPoint& point : points_) ExpectView(point.id, point.content);
  }
}

TEST_F(KeeperTest, WhatEachVersionLeftBehindIsOpenedAndEveryPointIsThere) {
  // Version 1 noted its state in the delta.
  for (const char* const version : {"recovery_journal_v1.bin", "recovery_journal_v2.bin"}) {
    SCOPED_TRACE(version);
    Start(11);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(Apply({Write(), Mark()}).ok());
    ASSERT_TRUE(Apply(Write()).ok());
    testing::ExpectGolden("recovery_journal_v2.bin", testing::Pack(*disk_, "/retention/m1"));

    const std::string journal = testing::ReadGolden(version);
    const std::vector<std::string> replicas = {disk_->Content(PathOf(0)),
                                               disk_->Content(PathOf(1))};
    keeper_.reset();
    disk_ = std::make_unique<MemoryDisk>(12);
    ASSERT_TRUE(disk_->MakeDirectories("/ds").ok());
    for (int i = 0; i < 2; ++i)
      ASSERT_TRUE(WriteFileAtomically(*disk_, PathOf(i), replicas[i]).ok());
    testing::Unpack(journal, *disk_, "/retention/m1");
    ASSERT_TRUE(Open().ok());
    EXPECT_EQ(keeper_->position(), position_);
    ASSERT_EQ(keeper_->points().size(), points_.size());
    for (const ModelPoint& point : points_) ExpectView(point.id, point.content);
    ASSERT_TRUE(Apply(Write()).ok());
    ASSERT_TRUE(Open().ok());
    EXPECT_EQ(keeper_->position(), position_);
    ASSERT_TRUE(keeper_->RecoverTo("p0").ok());
    ASSERT_TRUE(Open().ok());
    EXPECT_EQ(keeper_->recovered_point(), "p0");
    ExpectDisks(points_[0].content);
  }
}

TEST_F(KeeperTest, WhatAnOlderVersionNotedBehindTheStateRecordIsBelieved) {
  Start(12);
  ASSERT_TRUE(Apply({Mark(), Write()}).ok());
  keeper_.reset();
  constexpr uint32_t kState = 3;
  const StreamState state = {.position = {1, position_.sequence + 5}, .generation = 1};
  auto delta =
      RecordLog::Open(*disk_, "/retention/m1/delta-0000000000000002.hwl", LogPurpose::kDelta, 2,
                      [](const LogRecord&) { return absl::OkStatus(); });
  ASSERT_TRUE(delta.ok()) << delta.status();
  ASSERT_TRUE((*delta)->Append(kState, EncodeState(state)).ok());
  ASSERT_TRUE((*delta)->Sync().ok());
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(keeper_->position(), state.position);
}

TEST_F(KeeperTest, AStateThatIsDamagedIsToldFromOneThatWasBeingWritten) {
  Start(13);
  ASSERT_TRUE(Apply({Mark(), Write()}).ok());
  const StreamPosition before = position_;
  ASSERT_TRUE(Apply(Write()).ok());
  keeper_.reset();
  const std::string path = "/retention/m1/state";
  const auto decoded = StateRecord::Decode(disk_->Content(path));
  ASSERT_TRUE(decoded.ok() && decoded->has_value());
  const uint64_t newest = (*decoded)->count % 2 * 4096;
  disk_->FlipByte(path, newest + 30);
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(keeper_->position(), before) << "as after a crash that came while it was written";
  keeper_.reset();
  disk_->FlipByte(path, 4096 - newest + 30);
  const absl::Status damaged = Open();
  EXPECT_TRUE(absl::IsDataLoss(damaged)) << damaged;
  EXPECT_NE(damaged.message().find(path), absl::string_view::npos) << damaged;
}

TEST_F(KeeperTest, ADeltaThatIsShorterThanItWasIsDamaged) {
  Start(14);
  ASSERT_TRUE(Apply({Mark(), Write(), Write()}).ok());
  keeper_.reset();
  const std::string path = "/retention/m1/delta-0000000000000002.hwl";
  disk_->FlipByte(path, disk_->Content(path).size() - 1);
  const absl::Status damaged = Open();
  EXPECT_TRUE(absl::IsDataLoss(damaged)) << damaged;
  EXPECT_NE(damaged.message().find(path), absl::string_view::npos) << damaged;
}

TEST_F(KeeperTest, ARecoveredReplicaFollowsNothingUntilItIsSynchronisedAnew) {
  Start(2);
  ASSERT_TRUE(Apply({Mark(), Write()}).ok());
  ASSERT_TRUE(keeper_->RecoverTo("p0").ok());
  EXPECT_EQ(Apply(Write()).code(), absl::StatusCode::kDataLoss);
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(keeper_->recovered_point(), "p0");
  EXPECT_TRUE(Apply(SealEpochBegin({BatchKind::kEpochBegin, {2, 0}, 2}, {})).ok());
  EXPECT_EQ(keeper_->recovered_point(), "");
  EXPECT_TRUE(keeper_->state().syncing);
}

TEST_F(KeeperTest, APointIsRecoveredOutOfAResynchronisationThatHasNotEnded) {
  Start(3);
  ASSERT_TRUE(Apply({Write(), Mark(), Write(), Mark()}).ok());
  ASSERT_TRUE(Apply(SealEpochBegin({BatchKind::kEpochBegin, {2, 0}, 1}, {})).ok());
  ASSERT_TRUE(keeper_->state().syncing);
  const ModelPoint& point = points_.front();
  ASSERT_TRUE(keeper_->RecoverTo(point.id).ok());
  ExpectView(point.id, point.content);
  EXPECT_EQ(keeper_->recovered_point(), point.id);
}

TEST_F(KeeperTest, ACrashAtAnyOperationLosesNothingAcknowledgedAndNoPoint) {
  Start(100);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Apply({Write(), Mark()}).ok());
  const uint64_t before = disk_->operation_count();
  ASSERT_TRUE(Apply({Write(), Mark(), Write()}).ok());
  ASSERT_TRUE(keeper_->RecoverTo("p1").ok());
  const uint64_t operations = disk_->operation_count() - before;
  ASSERT_GT(operations, 15);
  for (uint64_t die_at = 0; die_at < operations; ++die_at) {
    for (uint64_t seed = 100; seed < 104; ++seed) {
      SCOPED_TRACE(absl::StrCat("seed ", seed, ", dies at operation ", die_at));
      Start(seed);
      for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(Apply({Write(), Mark()}).ok());
      }
      const StreamPosition acknowledged = keeper_->position();
      const std::vector<SealedBatch> batches = {Write(), Mark(), Write()};
      disk_->DieAfter(die_at);
      const absl::Status applied = Apply(batches);
      if (applied.ok()) keeper_->RecoverTo("p1").IgnoreError();
      disk_->Crash();
      ASSERT_TRUE(Open().ok());
      ASSERT_GE(keeper_->position(), applied.ok() ? position_ : acknowledged);
      ASSERT_GE(keeper_->points().size(), applied.ok() ? 4u : 3u);
      if (keeper_->recovered_point().empty()) {
        ASSERT_TRUE(Apply(batches).ok());
        if (!applied.ok()) ExpectDisks(content_);
      }
      for (const ModelPoint& point : points_) ExpectView(point.id, point.content);
      ASSERT_TRUE(keeper_->RecoverTo("p1").ok());
      ExpectDisks(points_[1].content);
      ASSERT_TRUE(keeper_->RecoverTo("p3").ok());
      ExpectDisks(points_[3].content);
    }
  }
}

TEST_F(KeeperTest, WhatIsUnderWayIsDurableWhenItIsSettledAndNotBefore) {
  HoldWrites();
  Start(21);
  for (const bool protecting : {false, true}) {
    if (protecting) ASSERT_TRUE(Apply(Mark()).ok());
    const StreamPosition before = keeper_->position();
    const SealedBatch batch = Write();
    ASSERT_TRUE(keeper_->Begin({batch}).ok());
    EXPECT_EQ(keeper_->position(), before);
    EXPECT_EQ(keeper_->under_way_bytes(), batch.size());
    disk_->Crash();
    ASSERT_TRUE(Open().ok());
    EXPECT_EQ(keeper_->position(), before);
    ASSERT_TRUE(keeper_->Begin({batch}).ok());
    const int arrivals = arrivals_;
    RunHeld();
    EXPECT_EQ(arrivals_, arrivals + 1);
    EXPECT_EQ(keeper_->position(), before) << "it is on the disks, and nobody said so";
    ASSERT_TRUE(keeper_->Settle().ok());
    EXPECT_EQ(keeper_->position(), position_);
    EXPECT_EQ(keeper_->under_way_bytes(), 0u);
    disk_->Crash();
    ASSERT_TRUE(Open().ok());
    EXPECT_EQ(keeper_->position(), position_);
    ExpectDisks(content_);
  }
  ExpectView("p0", points_[0].content);
}

TEST_F(KeeperTest, WhoWritesWhatHeWaitsForTellsOfItToo) {
  HoldWrites();
  Start(22);
  ASSERT_TRUE(keeper_->Begin({Write()}).ok());
  const int arrivals = arrivals_;
  ASSERT_TRUE(keeper_->Finish().ok());
  EXPECT_EQ(arrivals_, arrivals + 1);
  RunHeld();
  EXPECT_EQ(arrivals_, arrivals + 1);
}

TEST_F(KeeperTest, AGroupWaitsForTheOneItWritesOver) {
  HoldWrites();
  options_.delivery_bytes = kSectorBytes;
  Start(23);
  ASSERT_TRUE(Apply(Mark()).ok());
  const StreamPosition before = position_;
  ASSERT_TRUE(keeper_->Begin({Fill(0, {0, 4096}, 'a')}).ok());
  ASSERT_TRUE(keeper_->Begin({Fill(0, {4096, 4096}, 'b')}).ok());
  EXPECT_EQ(keeper_->position(), before) << "beside it nobody has to wait";
  const StreamPosition waited_for = position_;
  ASSERT_TRUE(keeper_->Begin({Fill(0, {2048, 4096}, 'c')}).ok());
  EXPECT_EQ(keeper_->position(), waited_for);
  RunHeld();
  ASSERT_TRUE(keeper_->Settle().ok());
  EXPECT_EQ(keeper_->position(), position_);
  ExpectDisks(content_);
  ExpectView("p0", points_[0].content);
}

TEST_F(KeeperTest, WhatFollowsAGroupThatFindsTheDiskFullIsTakenAgain) {
  HoldWrites();
  options_.delivery_bytes = kSectorBytes;
  enum class Told { kWhenSettling, kWhenFinishing, kByWhatFollows };
  for (const Told told : {Told::kWhenSettling, Told::kWhenFinishing, Told::kByWhatFollows}) {
    SCOPED_TRACE(static_cast<int>(told));
    Start(24);
    ASSERT_TRUE(Apply({Fill(0, {0, 8192}, 'a'), Mark()}).ok());
    const StreamPosition before = position_;
    const std::vector<SealedBatch> batches = {Fill(0, {0, 8192}, 'b'), Fill(1, {0, 512}, 'c'),
                                              Fill(0, {4096, 512}, 'd')};
    ASSERT_TRUE(keeper_->Begin({batches[0]}).ok());
    ASSERT_TRUE(keeper_->Begin({batches[1]}).ok());
    // What the first one writes over does not fit into the journal, what the second one does fits.
    const auto space = disk_->Space("/");
    disk_->set_capacity_bytes(space->total_bytes - space->free_bytes + 2048);
    const int arrivals = arrivals_;
    RunHeld();
    EXPECT_EQ(arrivals_, arrivals + 2);
    const absl::Status status = told == Told::kWhenSettling    ? keeper_->Settle()
                                : told == Told::kWhenFinishing ? keeper_->Finish()
                                                               : keeper_->Begin({batches[2]});
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_EQ(keeper_->position(), before) << "the second one is written, and follows nothing";
    EXPECT_EQ(keeper_->under_way_bytes(), 0u);
    EXPECT_EQ(disk_->Content(PathOf(0))[0], 'a') << "what is not saved is not written over";
    EXPECT_EQ(disk_->Content(PathOf(1))[0], 'c');
    ExpectView("p0", points_[0].content);
    EXPECT_TRUE(absl::IsOutOfRange(keeper_->Begin({batches[1]}))) << "from what was lost on";

    disk_->set_capacity_bytes(UINT64_MAX);
    for (const SealedBatch& batch : batches) ASSERT_TRUE(keeper_->Begin({batch}).ok());
    RunHeld();
    ASSERT_TRUE(keeper_->Finish().ok());
    disk_->Crash();
    ASSERT_TRUE(Open().ok());
    EXPECT_EQ(keeper_->position(), position_);
    ExpectDisks(content_);
    ExpectView("p0", points_[0].content);
  }
}

TEST_F(KeeperTest, WhatFollowsAGroupThatFailedIsTakenAgainOnceItIsOpenedAnew) {
  HoldWrites();
  options_.delivery_bytes = kSectorBytes;
  enum class Fails { kReadOfOld, kSyncOfJournal, kSyncOfDisk };
  for (const Fails fails : {Fails::kReadOfOld, Fails::kSyncOfJournal, Fails::kSyncOfDisk}) {
    for (uint64_t seed = 30; seed < 50; ++seed) {
      SCOPED_TRACE(absl::StrCat("seed ", seed, ", fails ", static_cast<int>(fails)));
      Start(seed);
      ASSERT_TRUE(Apply(Fill(0, {0, 8192}, 'a')).ok());
      // Without a point nothing is saved, and the first sync is that of a disk.
      if (fails != Fails::kSyncOfDisk) ASSERT_TRUE(Apply(Mark()).ok());
      const StreamPosition before = position_;
      const std::vector<SealedBatch> batches = {Fill(0, {0, 8192}, 'b'), Fill(1, {0, 8192}, 'c')};
      for (const SealedBatch& batch : batches) ASSERT_TRUE(keeper_->Begin({batch}).ok());
      fails == Fails::kReadOfOld ? disk_->FailReads(1) : disk_->FailSyncs(1);
      RunHeld();
      const absl::Status settled = keeper_->Settle();
      EXPECT_EQ(settled.code(), absl::StatusCode::kUnknown) << settled;
      EXPECT_EQ(keeper_->position(), before);
      EXPECT_EQ(keeper_->under_way_bytes(), 0u);

      keeper_.reset();
      ASSERT_TRUE(Open().ok());
      EXPECT_EQ(keeper_->position(), before);
      for (const ModelPoint& point : points_) ExpectView(point.id, point.content);
      for (const SealedBatch& batch : batches) ASSERT_TRUE(keeper_->Begin({batch}).ok());
      RunHeld();
      ASSERT_TRUE(keeper_->Settle().ok());
      disk_->Crash();
      ASSERT_TRUE(Open().ok());
      EXPECT_EQ(keeper_->position(), position_);
      ExpectDisks(content_);
      for (const ModelPoint& point : points_) ExpectView(point.id, point.content);
    }
  }
}

TEST_F(KeeperTest, ACrashBetweenTheGroupsOfAPointLeavesItToBeReachedAnew) {
  const auto start = [this](uint64_t seed) {
    Start(seed);
    ASSERT_TRUE(Apply(Mark()).ok());
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(Apply({Write(), Write(), Mark()}).ok());
    ASSERT_TRUE(Apply(Write()).ok());
  };
  const auto operations_to_p0 = [&](uint64_t seed) {
    start(seed);
    const uint64_t before = disk_->operation_count();
    EXPECT_TRUE(keeper_->RecoverTo("p0").ok());
    return disk_->operation_count() - before;
  };
  for (const bool beside : {false, true}) {
    if (beside) HoldWrites();
    for (uint64_t seed = 60; seed < 62; ++seed) {
      options_.recover_ranges_max = 4096;
      const uint64_t in_one_group = operations_to_p0(seed);
      options_.recover_ranges_max = 2;
      const uint64_t operations = operations_to_p0(seed);
      ASSERT_GT(operations, in_one_group + 8) << "there are several groups";
      for (uint64_t die_at = 0; die_at < operations; ++die_at) {
        SCOPED_TRACE(absl::StrCat("seed ", seed, ", dies at operation ", die_at));
        start(seed);
        disk_->DieAfter(die_at);
        ASSERT_FALSE(keeper_->RecoverTo("p0").ok());
        disk_->Crash();
        ASSERT_TRUE(Open().ok());
        EXPECT_EQ(keeper_->position(), position_);
        if (keeper_->recovered_point() == "p0") ExpectDisks(points_[0].content);
        for (const ModelPoint& point : points_) ExpectView(point.id, point.content);
        ASSERT_TRUE(keeper_->RecoverTo("p0").ok());
        ExpectDisks(points_[0].content);
        EXPECT_EQ(keeper_->recovered_point(), "p0");
        ASSERT_TRUE(keeper_->RecoverTo("p2").ok());
        ExpectDisks(points_[2].content);
      }
    }
  }
}

TEST_F(KeeperTest, EveryPointIsReachedByWayOfWhatIsUnderWay) {
  HoldWrites();
  for (uint64_t seed = 40; seed < 60; ++seed) {
    Start(seed);
    for (int i = 0; i < 8; ++i) {
      std::vector<SealedBatch> batches = {Write(), Write(), Mark(), Write()};
      ASSERT_TRUE(keeper_->Begin(std::move(batches)).ok());
    }
    ASSERT_TRUE(keeper_->Finish().ok());
    ExpectDisks(content_);
    for (const int index : {3, 7, 0, 5}) {
      ASSERT_TRUE(keeper_->RecoverTo(points_[index].id).ok());
      ExpectDisks(points_[index].content);
    }
    for (const ModelPoint& point : points_) ExpectView(point.id, point.content);
  }
}

TEST_F(KeeperTest, ACrashWhileWritesAreUnderWayLosesNothingAcknowledgedAndNoPoint) {
  HoldWrites();
  for (uint64_t seed = 300; seed < 400; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Start(seed);
    if (seed % 4 != 0) ASSERT_TRUE(Apply(Mark()).ok());
    std::vector<SealedBatch> batches;
    const uint64_t dies_at = random_() % 40;
    StreamPosition acknowledged = keeper_->position();
    size_t points = keeper_->points().size();
    absl::Status status;
    for (uint64_t step = 0; step < 60 && status.ok(); ++step) {
      if (step == dies_at) disk_->DieAfter(random_() % 12);
      switch (random_() % 8) {
        case 0:
          RunHeld();
          break;
        case 1:
          RunHeld();
          status = keeper_->Settle();
          break;
        case 2:
          batches.push_back(Mark());
          status = keeper_->Begin({batches.back()});
          break;
        default:
          batches.push_back(Write());
          status = keeper_->Begin({batches.back()});
      }
      if (!status.ok()) break;
      acknowledged = keeper_->position();
      points = keeper_->points().size();
    }
    disk_->Crash();
    ASSERT_TRUE(Open().ok());
    ASSERT_GE(keeper_->position(), acknowledged);
    ASSERT_GE(keeper_->points().size(), points);
    ASSERT_TRUE(Apply(batches).ok());
    ExpectDisks(content_);
    for (const ModelPoint& point : points_) ExpectView(point.id, point.content);
  }
}

TEST_F(KeeperTest, AFullJournalDiskRefusesAndGoesOnWhenThereIsRoom) {
  Start(3);
  ASSERT_TRUE(Apply(Mark()).ok());
  const uint64_t kept = keeper_->KeptBytes(0);
  EXPECT_LE(kept, keeper_->journal_bytes());
  const uint64_t used = 2 * kDiskBytes + keeper_->journal_bytes();
  disk_->set_capacity_bytes(used + 20);
  const SealedBatch batch = Write();
  absl::Status status = Apply(batch);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  ExpectView("p0", points_[0].content);
  disk_->set_capacity_bytes(UINT64_MAX);
  ASSERT_TRUE(Apply(batch).ok());
  EXPECT_GT(keeper_->KeptBytes(0), kept) << "the write's undo";
  ExpectDisks(content_);
  ExpectView("p0", points_[0].content);
}

TEST_F(KeeperTest, TheScrubFindsWhatChangedByItselfAndNothingElse) {
  const auto pass = [this] {
    for (int steps = 0; steps < 1000; ++steps) {
      const absl::StatusOr<bool> through = keeper_->ScrubStep(1);
      ASSERT_TRUE(through.ok()) << through.status();
      if (*through) return;
    }
    FAIL() << "a pass does not end";
  };
  for (uint64_t seed = 1; seed < 40; ++seed) {
    if (seed == 20) HoldWrites();
    Start(seed);
    // Whatever the keeper writes between two looks, also in the middle of a pass, is no damage.
    for (int round = 0; round < 12; ++round) {
      ASSERT_TRUE(Apply(random_() % 3 == 0 ? Mark() : Write()).ok());
      ASSERT_TRUE(keeper_->ScrubStep(random_() % (16 * kKiB)).ok());
      ASSERT_TRUE(keeper_->damage().ok()) << "seed " << seed << ": " << keeper_->damage();
    }
    ASSERT_TRUE(Apply({Mark(), Write(), Mark()}).ok());
    ASSERT_TRUE(keeper_->RecoverTo(points_[0].id).ok());
    pass();
    pass();
    ASSERT_TRUE(keeper_->damage().ok()) << keeper_->damage();
    const uint32_t disk = random_() % 2;
    disk_->FlipByte(PathOf(static_cast<int>(disk)), random_() % kDiskBytes);
    pass();
    EXPECT_TRUE(absl::IsDataLoss(keeper_->damage()));
    EXPECT_NE(keeper_->damage().message().find(absl::StrCat("disk ", disk)), std::string::npos)
        << keeper_->damage();
  }
}

TEST_F(KeeperTest, DamageIsOverWhenItIsWrittenAnewAndTheJournalIsScrubbedToo) {
  HoldWrites();
  Start(3);
  ASSERT_TRUE(Apply({Mark(), Write(), Write(), Mark(), Write()}).ok());
  const auto pass = [this] {
    while (!*keeper_->ScrubStep(kMiB)) continue;
  };
  pass();
  disk_->FlipByte(PathOf(1), 700);
  pass();
  ASSERT_TRUE(absl::IsDataLoss(keeper_->damage()));
  // What a resynchronisation sends.
  const auto write = [this](Extent extent) {
    BatchBuilder builder;
    std::memset(builder.AddData(1, extent).data(), 7, extent.length);
    return Apply(builder.Seal({BatchKind::kWrites, Next(), 1}));
  };
  ASSERT_TRUE(write({1024, 512}).ok());
  EXPECT_TRUE(absl::IsDataLoss(keeper_->damage())) << "only a part was written";
  EXPECT_EQ(keeper_->damaged()[1].Ranges(),
            (std::vector<Extent>{{0, 1024}, {1536, kDiskBytes - 1536}}));
  const StreamPosition before = position_;
  disk_->set_capacity_bytes(1);
  EXPECT_TRUE(absl::IsResourceExhausted(write({0, 1024})));
  disk_->set_capacity_bytes(UINT64_MAX);
  position_ = before;
  EXPECT_EQ(keeper_->damaged()[1].Ranges()[0], (Extent{0, 1024})) << "what failed mends nothing";
  ASSERT_TRUE(write({0, 1024}).ok());
  ASSERT_TRUE(write({1536, kDiskBytes - 1536}).ok());
  EXPECT_TRUE(keeper_->damage().ok()) << keeper_->damage();

  const std::string delta = "/retention/m1/delta-0000000000000002.hwl";
  disk_->FlipByte(delta, disk_->Content(delta).size() - 3);
  pass();
  EXPECT_NE(keeper_->damage().message().find(delta), std::string::npos) << keeper_->damage();
  disk_->FlipByte(delta, disk_->Content(delta).size() - 3);
  pass();
  EXPECT_TRUE(keeper_->damage().ok()) << "as it was again: " << keeper_->damage();

  disk_->FailReads(UINT64_MAX);
  pass();
  disk_->FailReads(0);
  EXPECT_TRUE(absl::IsDataLoss(keeper_->damage())) << "what cannot be read is no better";
}

TEST_F(KeeperTest, AnAgentThatWasRevertedIsNotBelieved) {
  Start(5);
  const StreamPosition snapshot = position_;
  // The incarnation that is undone later: an epoch of its own.
  ASSERT_TRUE(
      Apply(SealEpochBegin({BatchKind::kEpochBegin, {7, 0}, 1}, {snapshot, false, {{}}})).ok());
  position_ = {7, 0};
  ASSERT_TRUE(Apply(Write()).ok());
  // The incarnation after the snapshot knows nothing of epoch 7, however far its own numbers are.
  const EpochBegin begin{snapshot, false, {{5, 8}}};
  const absl::Status refused = Apply(SealEpochBegin({BatchKind::kEpochBegin, {9, 0}, 1}, begin));
  EXPECT_TRUE(absl::IsDataLoss(refused)) << refused;
  // One whose epoch 7 it was goes on, whether or not it heard that it is durable.
  EXPECT_TRUE(
      Apply(SealEpochBegin({BatchKind::kEpochBegin, {9, 0}, 1}, {snapshot, false, {{7, 8}}})).ok());
}

TEST_F(KeeperTest, RefusesWhatItMustNotApply) {
  Start(4);
  ASSERT_TRUE(Apply(Mark()).ok());
  BatchBuilder builder;
  builder.AddZeroes(0, {kDiskBytes, 512});
  EXPECT_EQ(Apply(builder.Seal({BatchKind::kWrites, {1, position_.sequence + 1}, 1})).code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(Apply(builder.Seal({BatchKind::kWrites, {1, position_.sequence + 2}, 1})).code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(Apply(SealEpochBegin({BatchKind::kEpochBegin, {2, 0}, 1}, {{1, 99}, false})).code(),
            absl::StatusCode::kDataLoss);
  ASSERT_TRUE(keeper_->Fence(5).ok());
  EXPECT_EQ(Apply(builder.Seal({BatchKind::kWrites, {1, position_.sequence + 1}, 4})).code(),
            absl::StatusCode::kAborted);
  ExpectDisks(content_);
}

TEST_F(KeeperTest, RetentionDropsTheOldestAndKeepsTheNewest) {
  Start(5);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(Apply({Write(), Mark()}).ok());
  auto dropped = keeper_->Retain({.age_max = absl::Seconds(3)}, absl::FromUnixSeconds(1006));
  ASSERT_TRUE(dropped.ok());
  EXPECT_EQ(dropped->size(), 2);
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(keeper_->points().front().marker.id, "p2");
  for (size_t i = 2; i < points_.size(); ++i) ExpectView(points_[i].id, points_[i].content);
  ASSERT_TRUE(keeper_->Retain({.bytes_max = 0}, absl::FromUnixSeconds(1006)).ok());
  ASSERT_EQ(keeper_->points().size(), 1);
  ASSERT_TRUE(keeper_->RecoverTo("p5").ok());
  ExpectDisks(points_[5].content);
}

TEST_F(KeeperTest, TheFileOfAPointThatIsTooOldIsUsedAgain) {
  const std::string spare = "/retention/m1/spare";
  const auto is_there = [&] { return absl::c_linear_search(disk_->Paths(), spare); };
  const auto drop_p0 = [&] {
    return keeper_->Retain({.age_max = points_.size() * absl::Seconds(1) - absl::Seconds(1.5)},
                           absl::FromUnixSeconds(1000) + points_.size() * absl::Seconds(1));
  };
  const auto start = [&](uint64_t seed) {
    Start(seed);
    ASSERT_TRUE(Apply(Mark()).ok());
    // The delta that is used again is longer than those that follow.
    for (int i = 0; i < 8; ++i) ASSERT_TRUE(Apply(Fill(i % 2, {i * 4096ull, 4096}, 'a')).ok());
    ASSERT_TRUE(Apply({Mark(), Write(), Mark()}).ok());
  };
  const auto go_on = [&]() -> absl::Status {
    const auto dropped = drop_p0();
    if (!dropped.ok()) return dropped.status();
    EXPECT_EQ(dropped->size(), 1u);
    for (const SealedBatch& batch : {Mark(), Write(), Write(), Mark(), Write()}) {
      const absl::Status applied = Apply(batch);
      if (!applied.ok()) return applied;
    }
    return absl::OkStatus();
  };
  start(70);
  ASSERT_TRUE(drop_p0().ok());
  EXPECT_TRUE(is_there());
  ASSERT_TRUE(Apply(Mark()).ok());
  EXPECT_FALSE(is_there());
  for (uint64_t seed = 70; seed < 74; ++seed) {
    bool done = false;
    for (uint64_t die_at = 0; !done; ++die_at) {
      SCOPED_TRACE(absl::StrCat("seed ", seed, ", dies at operation ", die_at));
      start(seed);
      disk_->DieAfter(die_at);
      done = go_on().ok();
      disk_->Crash();
      ASSERT_TRUE(Open().ok());
      EXPECT_FALSE(is_there());
      EXPECT_LE(keeper_->points().front().number, 3u) << "p1 is kept";
      for (const ReplicaPoint& listed : keeper_->points()) {
        for (const ModelPoint& point : points_)
          if (point.id == listed.marker.id) ExpectView(point.id, point.content);
      }
      ASSERT_TRUE(Apply(SealEpochBegin({BatchKind::kEpochBegin, {2, 0}, 1}, {})).ok());
    }
  }
}

TEST_F(KeeperTest, WhatIsKeptToBeUsedAgainGoesBeforeAnythingElseDoes) {
  Start(15);
  ASSERT_TRUE(Apply(Fill(0, {0, 16 * kKiB}, 'z')).ok());
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Apply({Mark(), Fill(0, {0, 16 * kKiB}, 'a')}).ok());
  const auto at = absl::FromUnixSeconds(1004);
  ASSERT_EQ(keeper_->Retain({.age_max = absl::Seconds(2.5)}, at)->size(), 1u);
  const uint64_t kept = keeper_->journal_bytes();
  ASSERT_TRUE(keeper_->Retain({.bytes_max = kept - 1}, at)->empty()) << "no point is lost by it";
  EXPECT_LE(keeper_->journal_bytes(), kept - 16 * kKiB);
  // The same where the disk is full.
  ASSERT_EQ(keeper_->Retain({.age_max = absl::Seconds(1.5)}, at)->size(), 1u);
  const auto space = disk_->Space("/");
  disk_->set_capacity_bytes(space->total_bytes - space->free_bytes + 100);
  ASSERT_TRUE(Apply(Fill(1, {0, 8 * kKiB}, 'b')).ok());
  ExpectDisks(content_);
  for (size_t i = 2; i < points_.size(); ++i) ExpectView(points_[i].id, points_[i].content);
}

TEST_F(KeeperTest, RetentionKeepsTheNewestPointThatIsOneInstantWhateverItsAge) {
  Start(5);
  for (const Consistency consistency : {Consistency::kFrozen, Consistency::kFrozen,
                                        Consistency::kNotOneInstant, Consistency::kNotOneInstant}) {
    ASSERT_TRUE(Apply({Write(), Mark(consistency)}).ok());
  }
  ASSERT_TRUE(keeper_->Retain({.age_max = absl::Seconds(1)}, absl::FromUnixSeconds(2000)).ok());
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(keeper_->points().front().marker.id, "p1");
  EXPECT_EQ(keeper_->points().front().marker.consistency, Consistency::kFrozen);
  ExpectView("p1", points_[1].content);
  ASSERT_TRUE(Apply({Write(), Mark(Consistency::kUndisturbed)}).ok());
  ASSERT_TRUE(keeper_->Retain({.age_max = absl::Seconds(1)}, absl::FromUnixSeconds(2000)).ok());
  EXPECT_EQ(keeper_->points().front().marker.id, "p4");
}

TEST_F(KeeperTest, DifferingNamesTheBlocksThatDiffer) {
  Start(6);
  std::vector<std::string> digests;
  for (uint64_t at = 0; at < kDiskBytes; at += 4096) {
    digests.push_back(Digest128(AsBytes(absl::string_view(content_[0]).substr(at, 4096))));
  }
  digests[3][0] ^= 1;
  auto differing = keeper_->Differing(0, 0, 4096, digests);
  ASSERT_TRUE(differing.ok());
  EXPECT_EQ(*differing, (std::vector<uint32_t>{3}));
}

}  // namespace
}  // namespace homeward
