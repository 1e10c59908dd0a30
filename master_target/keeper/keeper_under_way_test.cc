// A keeper that writes on strands of its own, while what follows is taken.
#include "master_target/keeper/keeper_fixture.h"

namespace homeward {
namespace {

class KeeperUnderWayTest : public KeeperFixture {};

TEST_F(KeeperUnderWayTest, WhatIsUnderWayIsDurableWhenItIsSettledAndNotBefore) {
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

TEST_F(KeeperUnderWayTest, WhoWritesWhatHeWaitsForTellsOfItToo) {
  HoldWrites();
  Start(22);
  ASSERT_TRUE(keeper_->Begin({Write()}).ok());
  const int arrivals = arrivals_;
  ASSERT_TRUE(keeper_->Finish().ok());
  EXPECT_EQ(arrivals_, arrivals + 1);
  RunHeld();
  EXPECT_EQ(arrivals_, arrivals + 1);
}

TEST_F(KeeperUnderWayTest, AGroupWaitsForTheOneItWritesOver) {
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

TEST_F(KeeperUnderWayTest, WhatFollowsAGroupThatFindsTheDiskFullIsTakenAgain) {
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

TEST_F(KeeperUnderWayTest, WhatFollowsAGroupThatFailedIsTakenAgainOnceItIsOpenedAnew) {
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

TEST_F(KeeperUnderWayTest, ACrashBetweenTheGroupsOfAPointLeavesItToBeReachedAnew) {
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

TEST_F(KeeperUnderWayTest, EveryPointIsReachedByWayOfWhatIsUnderWay) {
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

TEST_F(KeeperUnderWayTest, ACrashWhileWritesAreUnderWayLosesNothingAcknowledgedAndNoPoint) {
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

}  // namespace
}  // namespace homeward
