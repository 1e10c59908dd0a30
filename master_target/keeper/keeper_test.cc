// Recovery points, crashes, formats of older versions, and what is refused.
#include "common/wire/checksum.h"
#include "master_target/keeper/keeper_fixture.h"
#include "tests/golden/archive.h"

namespace homeward {
namespace {

class KeeperTest : public KeeperFixture {};

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
