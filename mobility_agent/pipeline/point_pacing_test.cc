#include "mobility_agent/pipeline/point_pacing.h"

#include "gtest/gtest.h"
#include "mobility_agent/pipeline/linger.h"

namespace homeward {
namespace {

constexpr absl::Duration kStart = absl::Seconds(1);

TEST(Chase, AfterALongOneMoreIsReadAtRest) {
  const PointOptions options{.precopy_rounds_max = 2, .frozen_bytes_max = 400};
  Chase chase(options, /*progress_bytes=*/10);
  EXPECT_TRUE(chase.SmallEnough(100));
  EXPECT_FALSE(chase.SmallEnough(101));
  for (int round = 0; round < 2; ++round) chase.InVain(150, kStart);
  EXPECT_FALSE(chase.SmallEnough(150));
  chase.InVain(150, kStart);
  EXPECT_TRUE(chase.SmallEnough(200));
  EXPECT_FALSE(chase.SmallEnough(201)) << "a freeze would be in vain";
  chase.End();
  EXPECT_FALSE(chase.SmallEnough(150)) << "the next one begins anew";
}

TEST(Chase, IsInVainWhenItGainsNothingForLongAndWasCopyingAllTheWhile) {
  const PointOptions options{.chase_patience = absl::Minutes(5)};
  Chase chase(options, /*progress_bytes=*/10);
  EXPECT_FALSE(chase.InVain(1000, kStart));
  EXPECT_FALSE(chase.InVain(1000, kStart + absl::Minutes(6))) << "the link stood still";
  for (int round = 0; round < 62; ++round)
    EXPECT_FALSE(chase.InVain(991, kStart + absl::Minutes(6))) << round;
  EXPECT_FALSE(chase.InVain(1000, kStart + absl::Minutes(6)));
  EXPECT_TRUE(chase.InVain(1000, kStart + absl::Minutes(6)));
}

TEST(Chase, ThatGainsIsNotInVain) {
  const PointOptions options{.chase_patience = absl::Minutes(5)};
  Chase chase(options, /*progress_bytes=*/10);
  absl::Duration now = kStart;
  for (uint64_t dirty = 100000; dirty > 1000; dirty -= 10) {
    ASSERT_FALSE(chase.InVain(dirty, now += absl::Seconds(10))) << dirty;
  }
  for (int round = 0; round < 100; ++round) chase.InVain(1010, now);
  EXPECT_FALSE(chase.InVain(1010, now + absl::Minutes(4)));
  EXPECT_TRUE(chase.InVain(1010, now + absl::Minutes(5)));
}

TEST(WriteBackRounds, ALongOneIsFollowedByAnotherButNotForEver) {
  const PointOptions options{.write_back_short = absl::Milliseconds(100),
                             .long_write_backs_max = 3};
  WriteBackRounds rounds(options);
  EXPECT_FALSE(rounds.Again(absl::Milliseconds(100)));
  EXPECT_TRUE(rounds.Again(absl::Milliseconds(101)));
  EXPECT_TRUE(rounds.Again(absl::Seconds(1)));
  EXPECT_FALSE(rounds.Again(absl::Seconds(1)));
  rounds.End();
  EXPECT_TRUE(rounds.Again(absl::Seconds(1)));
}

TEST(FreezePause, IsTwiceAsLongAfterEachThatTookTooLong) {
  const PointOptions options{.freeze_pause_min = absl::Minutes(1),
                             .freeze_pause_max = absl::Minutes(3)};
  FreezePause pause(options);
  absl::Duration now = kStart;
  EXPECT_TRUE(pause.Over(now));
  for (const absl::Duration expected :
       {absl::Minutes(1), absl::Minutes(2), absl::Minutes(3), absl::Minutes(3)}) {
    pause.OnTried(/*took_too_long=*/true, now);
    EXPECT_FALSE(pause.Over(now + expected - absl::Milliseconds(1)));
    EXPECT_TRUE(pause.Over(now += expected));
  }
  pause.OnTried(/*took_too_long=*/false, now);
  EXPECT_TRUE(pause.Over(now));
  pause.OnTried(/*took_too_long=*/true, now);
  EXPECT_TRUE(pause.Over(now + absl::Minutes(1))) << "as the first time";
}

TEST(InstantSearch, WaitsLongerEachTimeAndGivesUp) {
  const PointOptions options{.instant_retry = absl::Milliseconds(250),
                             .instant_patience = absl::Seconds(2)};
  InstantSearch search(options);
  absl::Duration now = kStart;
  for (const absl::Duration expected :
       {absl::Milliseconds(250), absl::Milliseconds(500), absl::Seconds(1)}) {
    ASSERT_TRUE(search.Due(now));
    EXPECT_FALSE(search.GivesUp(now));
    search.Pause(now);
    EXPECT_FALSE(search.Due(now + expected - absl::Milliseconds(1)));
    now += expected;
  }
  EXPECT_TRUE(search.Due(now));
  EXPECT_FALSE(search.GivesUp(now)) << "1.75 s";
  EXPECT_TRUE(search.GivesUp(kStart + absl::Seconds(2)));
  search.Pause(now);
  search.End();
  EXPECT_TRUE(search.Due(now)) << "the next point is sought at once";
  EXPECT_FALSE(search.GivesUp(now + absl::Hours(1)));
}

TEST(Linger, LittleWaitsUntilItIsOldOrMuchAndThenAllIsSent) {
  Linger linger(absl::Milliseconds(500), /*bytes=*/1000);
  EXPECT_FALSE(linger.Waits(0, false, kStart)) << "there is nothing that could";
  EXPECT_TRUE(linger.Waits(10, false, kStart));
  EXPECT_TRUE(linger.Waits(20, false, kStart + absl::Milliseconds(499)));
  EXPECT_FALSE(linger.Waits(20, false, kStart + absl::Milliseconds(500)));
  EXPECT_FALSE(linger.Waits(5, false, kStart + absl::Milliseconds(500))) << "until all is sent";
  linger.Waits(0, false, kStart + absl::Milliseconds(500));
  EXPECT_TRUE(linger.Waits(5, false, kStart + absl::Milliseconds(600))) << "it is new";
  EXPECT_FALSE(linger.Waits(1000, false, kStart + absl::Milliseconds(600)));
}

TEST(Linger, NothingWaitsWhereSomethingElseDoes) {
  Linger linger(absl::Milliseconds(500), /*bytes=*/1000);
  EXPECT_FALSE(linger.Waits(10, /*urgent=*/true, kStart));
  EXPECT_FALSE(linger.Waits(10, /*urgent=*/false, kStart)) << "the rest of it";
}

}  // namespace
}  // namespace homeward
