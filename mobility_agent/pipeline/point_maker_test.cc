#include "mobility_agent/pipeline/point_maker.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mobility_agent/pipeline/pipeline_doubles.h"

namespace homeward {
namespace {

using ::testing::ElementsAre;

class PointMakerTest : public ::testing::Test {
 protected:
  PointMakerTest() {
    a_.Write(0, Sectors(2, 'a'));
    EXPECT_TRUE(dirty_.Collect({2, 0}).ok());
    points_.Request(PointKind::kApplicationConsistent);
  }
  absl::optional<Marker> Approach() {
    const auto taken = points_.Approach(/*epoch=*/9, &dirty_, &log_);
    EXPECT_TRUE(taken.ok()) << taken.status();
    return taken.value_or(absl::nullopt);
  }
  std::string Copied() {
    BatchBuilder builder;
    std::string all;
    while (points_.copy().Fill(kMiB, &builder)) {
      const SealedBatch sealed = builder.Seal({BatchKind::kWrites, {1, 1}, 1});
      ParsedBatch batch;
      EXPECT_TRUE(ParseBatch(sealed.view(), /*decode=*/true, &batch).ok());
      all += std::string(batch.payload);
    }
    return all;
  }

  ManualClock clock_;
  RamDisk a_{kMiB}, b_{kMiB};
  const std::vector<WriteSource*> sources_{&a_, &b_};
  DirtyMap dirty_{sources_, 100};
  LogFeed log_{sources_, kMiB};
  // What was frozen at the instant of each marker.
  std::vector<std::pair<bool, bool>> frozen_;
  PointMaker points_{clock_,
                     {.marker_interval = absl::Minutes(5),
                      .disk_names = {"/dev/sda"},
                      .chase_patience = absl::ZeroDuration(),
                      .frozen_bytes_max = 4 * kKiB},
                     /*batch_bytes=*/kMiB,
                     sources_,
                     [this](const Marker&) { frozen_.emplace_back(a_.frozen, b_.frozen); }};
};

TEST_F(PointMakerTest, AllDisksAreAtRestAtItsInstantAndOnlyThen) {
  const absl::optional<Marker> marker = Approach();
  ASSERT_TRUE(marker.has_value());
  EXPECT_THAT(frozen_, ElementsAre(std::make_pair(true, true)));
  EXPECT_FALSE(a_.frozen || b_.frozen);
  EXPECT_EQ(marker->id, "9-1");
  EXPECT_EQ(marker->kind, PointKind::kApplicationConsistent);
  EXPECT_EQ(marker->consistency, Consistency::kFrozen);
  EXPECT_EQ(Copied(), Sectors(2, 'a'));
  EXPECT_TRUE(dirty_.empty());
  EXPECT_FALSE(points_.requested());
  points_.Request();
  EXPECT_EQ(Approach()->kind, PointKind::kCrashConsistent) << "that was for one point";
}

TEST_F(PointMakerTest, IsDueAfterItsInterval) {
  clock_.now += absl::Minutes(4);
  EXPECT_FALSE(points_.Due());
  ASSERT_TRUE(Approach().has_value());
  clock_.now += absl::Minutes(4);
  EXPECT_FALSE(points_.Due()) << "since the last one";
  clock_.now += absl::Minutes(1);
  EXPECT_TRUE(points_.Due());
  // Which can be changed while it passes.
  points_.SetInterval(absl::Minutes(7));
  EXPECT_FALSE(points_.Due());
  points_.SetInterval(absl::Seconds(5));
  EXPECT_TRUE(points_.Due());
}

TEST_F(PointMakerTest, WhatCannotBeFrozenInTimeIsThawedAndCopiedAsItIs) {
  b_.freezing = absl::DeadlineExceededError("/srv does not stand still");
  const absl::optional<Marker> marker = Approach();
  ASSERT_TRUE(marker.has_value());
  EXPECT_THAT(frozen_, ElementsAre(std::make_pair(false, false)));
  EXPECT_EQ(marker->consistency, Consistency::kUndisturbed);
  points_.Request();
  ASSERT_TRUE(Approach().has_value());
  EXPECT_EQ(a_.freezes, 1) << "the next freeze is not due";
}

TEST_F(PointMakerTest, NothingIsFrozenForMoreThanCouldBeReadAndAChaseInVainIsNotOneInstant) {
  a_.Write(8192, std::string(64 * kKiB, 'x'));
  ASSERT_TRUE(dirty_.Collect({2, 0}).ok());
  absl::optional<Marker> marker;
  for (int round = 0; round < 100 && !marker.has_value(); ++round) marker = Approach();
  ASSERT_TRUE(marker.has_value());
  EXPECT_EQ(a_.freezes, 0);
  EXPECT_EQ(marker->consistency, Consistency::kNotOneInstant);
  EXPECT_EQ(marker->kind, PointKind::kCrashConsistent);
  EXPECT_EQ(marker->how, "/dev/sda is written to faster than it can be copied");
  EXPECT_EQ(points_.not_one_instant(), marker->how);
  EXPECT_EQ(Copied(), "") << "nothing was read for it";
  EXPECT_EQ(dirty_.bytes(), 2 * kSectorBytes + 64 * kKiB);
}

TEST_F(PointMakerTest, AReadThatFailsLeavesAllDirtyAndIsTriedAgainAfterAPause) {
  a_.reading = absl::DataLossError("a bad sector");
  const auto taken = points_.Approach(9, &dirty_, &log_);
  EXPECT_TRUE(absl::IsDataLoss(taken.status()));
  EXPECT_FALSE(a_.frozen);
  EXPECT_EQ(dirty_.bytes(), 2 * kSectorBytes);
  a_.reading = absl::OkStatus();
  EXPECT_FALSE(Approach().has_value());
  clock_.now += absl::Seconds(1);
  EXPECT_TRUE(Approach().has_value());
}

TEST_F(PointMakerTest, AWriterThatNeverPausesIsNamedAndWhatItWroteLastIsSentBehind) {
  a_.during_read = [&] { a_.Write(8192, Sectors(1, 'z')), clock_.now += absl::Milliseconds(1); };
  absl::optional<Marker> marker;
  const absl::Duration end = clock_.now + absl::Minutes(1);
  for (; !marker.has_value() && clock_.now < end; clock_.now += absl::Milliseconds(100))
    marker = Approach();
  ASSERT_TRUE(marker.has_value());
  EXPECT_EQ(marker->consistency, Consistency::kNotOneInstant);
  EXPECT_EQ(marker->how, "/dev/sda was written to all the time");
  EXPECT_EQ(dirty_.bytes(), kSectorBytes);
  EXPECT_TRUE(frozen_.empty()) << "there was no instant";
  EXPECT_FALSE(log_.running());
}

TEST_F(PointMakerTest, ALogBeginsAtItsInstantAndTheNextPointIsAPlaceInIt) {
  a_.logs = b_.logs = true;
  ASSERT_TRUE(Approach().has_value());
  ASSERT_TRUE(log_.running());
  b_.Write(0, Sectors(1, 'l'));
  points_.Request();
  points_.MarkIn(&log_, 9);
  EXPECT_FALSE(points_.requested());
  EXPECT_EQ(a_.freezes, 1);
  EXPECT_EQ(points_.freezes().back(), absl::ZeroDuration());
  BatchBuilder builder;
  EXPECT_FALSE(log_.Fill(kMiB, &builder).has_value()) << "what was written before it";
  builder.Seal({});
  const absl::optional<Marker> marker = log_.Fill(kMiB, &builder);
  ASSERT_TRUE(marker.has_value());
  EXPECT_EQ(marker->id, "9-2");
  EXPECT_EQ(marker->consistency, Consistency::kWriteOrder);
  log_.Close();
  points_.Request();
  points_.MarkIn(&log_, 9);
  EXPECT_TRUE(points_.requested()) << "a log that is closed has no such place";
}

}  // namespace
}  // namespace homeward
