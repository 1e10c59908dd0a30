#include "mobility_agent/pipeline/epochs.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

using ::testing::ElementsAre;

TEST(LeastEpoch, IsAboveAllThatIsRememberedAndAtTheClock) {
  const absl::Time now = absl::FromUnixMicros(1000);
  EXPECT_EQ(LeastEpoch({}, now), 1000u);
  EXPECT_EQ(LeastEpoch({.remembered = 5000, .stride = 7, .had = 20}, now), 5008u);
  EXPECT_EQ(LeastEpoch({.remembered = 5000, .stride = 7, .had = 9000}, now), 9001u);
}

TEST(Epochs, ALifeBeginsAtItsLeastAndGoesUpByOne) {
  Epochs epochs({}, 100);
  EXPECT_FALSE(epochs.CanContinue()) << "there is nothing to continue from";
  EpochBegin begin = epochs.Begin(/*continues=*/false);
  EXPECT_EQ(epochs.current(), 100u);
  EXPECT_TRUE(begin.continues_from.none());
  EXPECT_TRUE(begin.begun->empty());
  epochs.OnDurable({100, 3});
  ASSERT_TRUE(epochs.CanContinue());
  begin = epochs.Begin(/*continues=*/true);
  EXPECT_EQ(epochs.current(), 101u);
  EXPECT_EQ(begin.continues_from, (StreamPosition{100, 3}));
}

TEST(Epochs, SaysWhichWereBegunSinceWhatIsDurable) {
  Epochs epochs({.current = 9, .durable = {7, 5}, .begun = {8, 9}}, 50);
  EXPECT_THAT(*epochs.Begin(/*continues=*/true).begun, ElementsAre(8, 9));
  EXPECT_THAT(epochs.begun(), ElementsAre(8, 9, 50));
  epochs.OnDurable({9, 1});
  EXPECT_THAT(epochs.begun(), ElementsAre(50));
  epochs.OnDurable({8, 100});
  EXPECT_EQ(epochs.durable(), (StreamPosition{9, 1})) << "older news";
  EXPECT_TRUE(epochs.Begin(/*continues=*/false).begun->empty());
  EXPECT_THAT(epochs.begun(), ElementsAre(51)) << "no older one counts after a new beginning";
}

TEST(Epochs, KnowsTheLifeThatItRemembers) {
  Epochs epochs({.current = 9, .durable = {7, 5}, .begun = {9}}, 50);
  epochs.Begin(/*continues=*/true);
  EXPECT_TRUE(epochs.KnowsOf({7, 5}));
  EXPECT_TRUE(epochs.KnowsOf({7, 6}));
  EXPECT_TRUE(epochs.KnowsOf({3, 1})) << "it is over, whatever it was";
  EXPECT_TRUE(epochs.KnowsOf({9, 2}));
  EXPECT_TRUE(epochs.KnowsOf({50, 0}));
  EXPECT_FALSE(epochs.KnowsOf({8, 0})) << "another incarnation began it";
  EXPECT_FALSE(epochs.KnowsOf({51, 0}));
  epochs.ForgetBelow(80);
  epochs.Begin(/*continues=*/false);
  EXPECT_EQ(epochs.current(), 81u);
  EXPECT_FALSE(epochs.KnowsOf({50, 0}));
}

TEST(Epochs, TooManyWithoutAnythingDurableDoNotContinue) {
  Epochs epochs({.current = 1, .durable = {1, 1}, .begun = {}}, 2);
  for (size_t i = 0; i < kBegunEpochsMax; ++i) {
    ASSERT_TRUE(epochs.CanContinue());
    epochs.Begin(/*continues=*/true);
  }
  EXPECT_FALSE(epochs.CanContinue());
}

TEST(Epochs, AMarkerIsLostWithItsEpochUnlessItIsDurable) {
  Epochs epochs({}, 1);
  epochs.Begin(/*continues=*/false);
  EXPECT_TRUE(epochs.last_marker_durable()) << "there is none";
  epochs.OnMarkerSealed({1, 5}, {.id = "1-1", .number = 1});
  EXPECT_FALSE(epochs.last_marker_durable());
  epochs.OnDurable({1, 5});
  EXPECT_TRUE(epochs.last_marker_durable());
  epochs.Begin(/*continues=*/true);
  EXPECT_EQ(epochs.markers_lost(), 0u);
  epochs.OnMarkerSealed({2, 3}, {.id = "2-2", .number = 2});
  epochs.OnDurable({2, 2});
  epochs.Begin(/*continues=*/true);
  EXPECT_EQ(epochs.markers_lost(), 1u);
  epochs.OnDurable({3, 9});
  EXPECT_FALSE(epochs.last_marker_durable()) << "it never will be";
  EXPECT_EQ(epochs.markers_sealed(), 2u);
  EXPECT_EQ(epochs.last_marker(), "2-2");
}

}  // namespace
}  // namespace homeward
