// What a keeper does for its replica by itself: retention, room on its disk, the scrub.
#include "absl/algorithm/container.h"
#include "master_target/keeper/keeper_fixture.h"

namespace homeward {
namespace {

class KeeperUpkeepTest : public KeeperFixture {};

TEST_F(KeeperUpkeepTest, AFullJournalDiskRefusesAndGoesOnWhenThereIsRoom) {
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

TEST_F(KeeperUpkeepTest, TheScrubFindsWhatChangedByItselfAndNothingElse) {
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

TEST_F(KeeperUpkeepTest, DamageIsOverWhenItIsWrittenAnewAndTheJournalIsScrubbedToo) {
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

TEST_F(KeeperUpkeepTest, RetentionDropsTheOldestAndKeepsTheNewest) {
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

TEST_F(KeeperUpkeepTest, RetentionBySpaceDropsNoMoreThanItMustAndNeverTheNewest) {
  Start(16);
  ASSERT_TRUE(Apply(Fill(0, {0, 16 * kKiB}, 'z')).ok());
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(Apply({Mark(), Fill(0, {0, 16 * kKiB}, 'a')}).ok());
  ASSERT_TRUE(Apply(Mark()).ok());
  ASSERT_EQ(keeper_->points().size(), 7u);
  const auto at = absl::FromUnixSeconds(1000);
  for (uint64_t bytes_max = keeper_->journal_bytes(); bytes_max > 0; bytes_max -= bytes_max / 6) {
    const std::vector<ReplicaPoint> before = keeper_->points();
    const uint64_t taken = keeper_->journal_bytes();
    const uint64_t oldest = keeper_->KeptBytes(0);
    const auto dropped = keeper_->Retain({.bytes_max = bytes_max}, at);
    ASSERT_TRUE(dropped.ok()) << dropped.status();
    const size_t kept = keeper_->points().size();
    ASSERT_GE(kept, 1u);
    EXPECT_EQ(kept + dropped->size(), before.size());
    EXPECT_EQ(keeper_->points().back().marker.id, before.back().marker.id);
    EXPECT_TRUE(keeper_->journal_bytes() <= bytes_max || kept == 1) << bytes_max;
    EXPECT_EQ(dropped->empty(), taken <= bytes_max);
    if (dropped->size() > 1) {
      EXPECT_GT(taken - oldest, bytes_max) << "one would have done";
    }
    if (kept == 1) break;
  }
  EXPECT_EQ(keeper_->points().size(), 1u);
  ASSERT_TRUE(Open().ok());
  ExpectView(points_.back().id, points_.back().content);
}

TEST_F(KeeperUpkeepTest, TheFileOfAPointThatIsTooOldIsUsedAgain) {
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

TEST_F(KeeperUpkeepTest, WhatIsKeptToBeUsedAgainGoesBeforeAnythingElseDoes) {
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

TEST_F(KeeperUpkeepTest, RetentionKeepsTheNewestPointThatIsOneInstantWhateverItsAge) {
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

}  // namespace
}  // namespace homeward
