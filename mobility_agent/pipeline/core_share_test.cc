#include "mobility_agent/pipeline/core_share.h"

#include "gtest/gtest.h"
#include "tests/fakes/manual_clock.h"

namespace homeward {
namespace {

TEST(CoreShare, WorkTakesItsShareInTheLongRun) {
  ManualClock clock;
  CoreShare share(clock, 0.25);
  absl::Duration worked;
  const absl::Duration begin = clock.now;
  while (clock.now - begin < absl::Seconds(100)) {
    if (share.HasLeft()) {
      share.Spend([&] { clock.now += absl::Milliseconds(30); });
      worked += absl::Milliseconds(30);
    } else {
      clock.now += absl::Milliseconds(10);
    }
  }
  EXPECT_GT(worked, absl::Seconds(24));
  EXPECT_LT(worked, absl::Seconds(26));
}

TEST(CoreShare, WhatWasNotUsedIsSavedForASecondOnly) {
  ManualClock clock;
  CoreShare share(clock, 0.5);
  EXPECT_TRUE(share.HasLeft());
  clock.now += absl::Hours(1);
  EXPECT_TRUE(share.HasLeft());
  EXPECT_DOUBLE_EQ(share.saved(), 1);
  share.Spend([&] { clock.now += absl::Milliseconds(200); });
  EXPECT_TRUE(share.HasLeft());
  EXPECT_DOUBLE_EQ(share.saved(), 0.8) << "200 ms, half of which came back meanwhile, of 500";
  clock.now += absl::Hours(1);
  int pieces = 0;
  for (; share.HasLeft() && pieces < 100; ++pieces)
    share.Spend([&] { clock.now += absl::Milliseconds(100); });
  EXPECT_GT(pieces, 5);
  EXPECT_LT(pieces, 15);
}

TEST(CoreShare, NoShareIsNoWork) {
  ManualClock clock;
  CoreShare share(clock, 0);
  clock.now += absl::Hours(1);
  EXPECT_FALSE(share.HasLeft());
}

}  // namespace
}  // namespace homeward
