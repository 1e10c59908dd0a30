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

// The others, as this member meets them.
class Others : public Rendezvous {
 public:
  bool MayHold() override { return ready; }
  bool AwaitAll() override {
    ++meetings;
    if (meanwhile) meanwhile();
    return stand_still;
  }
  void OnTaken() override { ++taken; }
  void OnMissed(absl::string_view why) override { missed.emplace_back(why); }

  bool ready = true, stand_still = true;
  std::function<void()> meanwhile;
  int meetings = 0, taken = 0;
  std::vector<std::string> missed;
};

class CommonPointTest : public PointMakerTest {
 protected:
  CommonPointTest() { RequestCommon("common-7"); }
  void RequestCommon(const std::string& id, PointKind kind = PointKind::kApplicationConsistent) {
    points_.RequestCommon({.id = id, .kind = kind, .rendezvous = &others_});
  }
  Others others_;
};

TEST_F(CommonPointTest, IsTakenWhileAllStandStillAndHasTheIdOfAll) {
  others_.ready = false;
  EXPECT_FALSE(Approach().has_value());
  EXPECT_EQ(a_.freezes, 0) << "the others are not so far";
  others_.ready = true;
  others_.meanwhile = [&] { EXPECT_TRUE(a_.frozen && b_.frozen); };
  const absl::optional<Marker> marker = Approach();
  ASSERT_TRUE(marker.has_value());
  EXPECT_EQ(marker->id, "common-7");
  EXPECT_EQ(marker->kind, PointKind::kApplicationConsistent);
  EXPECT_FALSE(a_.frozen || b_.frozen);
  EXPECT_EQ(others_.taken, 1);
  EXPECT_EQ(Copied(), Sectors(2, 'a'));
  points_.Request();
  EXPECT_EQ(Approach()->id, "9-2") << "the next one is its own again";
  EXPECT_EQ(others_.meetings, 1);
}

TEST_F(CommonPointTest, PointsOfItsOwnAreMadeWhileItWaitsForTheOthers) {
  others_.ready = false;
  EXPECT_FALSE(Approach().has_value());
  clock_.now += absl::Minutes(5);
  EXPECT_EQ(Approach()->id, "9-1") << "one is due";
  EXPECT_TRUE(points_.requested());
  EXPECT_FALSE(Approach().has_value());
  others_.ready = true;
  EXPECT_EQ(Approach()->id, "common-7");
  EXPECT_EQ(others_.meetings, 1);
  EXPECT_THAT(others_.missed, ElementsAre());
  EXPECT_FALSE(points_.requested());
}

TEST_F(CommonPointTest, WhereTheOthersDoNotStandStillItIsOneOfItsOwn) {
  others_.stand_still = false;
  const absl::optional<Marker> marker = Approach();
  ASSERT_TRUE(marker.has_value());
  EXPECT_EQ(marker->id, "9-1");
  EXPECT_EQ(marker->consistency, Consistency::kFrozen);
  EXPECT_EQ(Copied(), Sectors(2, 'a'));
  EXPECT_EQ(others_.taken, 0);
  EXPECT_THAT(others_.missed, ElementsAre("not all members stood still in time"));
}

TEST_F(CommonPointTest, WhatIsWrittenWhileItStandsStillMakesItOneOfItsOwn) {
  others_.meanwhile = [&] { b_.Write(4096, Sectors(1, 'w')); };
  const absl::optional<Marker> marker = Approach();
  ASSERT_TRUE(marker.has_value());
  EXPECT_EQ(marker->id, "9-1");
  EXPECT_EQ(Copied(), Sectors(2, 'a')) << "it is as it was before";
  EXPECT_EQ(dirty_.bytes(), kSectorBytes) << "and what was written is sent behind it";
  EXPECT_THAT(others_.missed, ElementsAre("something was written while it stood still"));
  EXPECT_EQ(others_.taken, 0);
}

TEST_F(CommonPointTest, WhatCannotBeLookedAtEndsIt) {
  others_.meanwhile = [&] { b_.collecting = absl::DataLossError("a change was missed"); };
  EXPECT_TRUE(absl::IsDataLoss(points_.Approach(9, &dirty_, &log_).status()));
  EXPECT_EQ(others_.missed.size(), 1u);
  b_.collecting = absl::OkStatus();
  clock_.now += absl::Seconds(1);
  EXPECT_EQ(Approach()->id, "9-2");
  EXPECT_EQ(others_.meetings, 1) << "the others went on long ago";
}

TEST_F(CommonPointTest, WhatCannotBeFrozenTakesNoPart) {
  b_.freezing = absl::DeadlineExceededError("/srv does not stand still");
  const absl::optional<Marker> marker = Approach();
  ASSERT_TRUE(marker.has_value());
  EXPECT_EQ(marker->id, "9-1");
  EXPECT_EQ(others_.meetings, 0);
  EXPECT_THAT(others_.missed, ElementsAre("/srv does not stand still"));
}

TEST_F(CommonPointTest, OneThatIsCancelledIsOneOfItsOwn) {
  points_.CancelCommon("it was given up");
  EXPECT_EQ(others_.missed.size(), 1u);
  EXPECT_EQ(Approach()->id, "9-1");
}

TEST_F(CommonPointTest, InALogItIsAPlaceBehindWhichNothingWasWritten) {
  a_.logs = b_.logs = true;
  ASSERT_TRUE(Approach().has_value());
  ASSERT_TRUE(log_.running());
  for (const bool writes : {false, true}) {
    others_.missed.clear();
    others_.meanwhile = [&] {
      EXPECT_TRUE(a_.frozen && b_.frozen);
      if (writes) b_.Write(0, Sectors(1, 'w'));
    };
    b_.Write(0, Sectors(1, 'l'));
    RequestCommon(writes ? "common-9" : "common-8", PointKind::kCrashConsistent);
    points_.MarkIn(&log_, 9);
    EXPECT_FALSE(points_.requested());
    EXPECT_FALSE(a_.frozen || b_.frozen);
    absl::optional<Marker> marker;
    std::string before;
    while (!marker.has_value()) {
      BatchBuilder builder;
      marker = log_.Fill(kMiB, &builder);
      if (builder.empty()) continue;
      ParsedBatch batch;
      const SealedBatch sealed = builder.Seal({BatchKind::kWrites, {1, 1}, 1});
      ASSERT_TRUE(ParseBatch(sealed.view(), /*decode=*/true, &batch).ok());
      before += std::string(batch.payload);
    }
    EXPECT_EQ(before, writes ? Sectors(1, 'l') + Sectors(1, 'w') : Sectors(1, 'l'));
    EXPECT_EQ(marker->id, writes ? "9-4" : "common-8");
    EXPECT_EQ(others_.missed.size(), writes ? 1u : 0u);
  }
}

}  // namespace
}  // namespace homeward
