#include "common/base/extent_set.h"

#include <bitset>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

using ::testing::ElementsAre;

TEST(ExtentSet, TouchingRangesMerge) {
  ExtentSet set;
  set.Add({0, 512});
  set.Add({1024, 512});
  set.Add({512, 512});
  EXPECT_THAT(set.Ranges(), ElementsAre(Extent{0, 1536}));
  EXPECT_EQ(set.bytes(), 1536);
}

TEST(ExtentSet, MissingNamesTheGapsInOrder) {
  ExtentSet set;
  set.Add({10, 10});
  set.Add({40, 10});
  EXPECT_THAT(set.Missing({0, 60}), ElementsAre(Extent{0, 10}, Extent{20, 20}, Extent{50, 10}));
  EXPECT_THAT(set.Missing({12, 4}), ElementsAre());
}

TEST(ExtentSet, CoarsenOnlyGrowsAndStaysOnTheDisk) {
  ExtentSet set;
  for (uint64_t i = 0; i < 1000; ++i) set.Add({i * 8192, 512});
  const uint64_t disk_bytes = 999 * 8192 + 512;
  set.Coarsen(10, disk_bytes);
  EXPECT_LE(set.range_count(), 10u);
  for (uint64_t i = 0; i < 1000; ++i) EXPECT_THAT(set.Missing({i * 8192, 512}), ElementsAre());
  EXPECT_LE(set.Ranges().back().end(), disk_bytes);
}

TEST(ExtentSet, AgreesWithABitmapOverRandomOperations) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  std::bitset<256> model;
  ExtentSet set;
  for (int step = 0; step < 5000; ++step) {
    const uint64_t offset = random() % 250;
    const uint64_t length = random() % (256 - offset);
    const bool add = random() % 2;
    for (uint64_t i = offset; i < offset + length; ++i) model[i] = add;
    add ? set.Add({offset, length}) : set.Remove({offset, length});
    ASSERT_EQ(set.bytes(), model.count());
    uint64_t missing = 0;
    for (const Extent& gap : set.Missing({0, 256})) {
      for (uint64_t i = gap.offset; i < gap.end(); ++i) ASSERT_FALSE(model[i]);
      missing += gap.length;
    }
    ASSERT_EQ(missing, 256 - model.count());
    const Extent some{random() % 250, random() % 6};
    bool touches = false;
    for (uint64_t i = some.offset; i < some.end(); ++i) touches |= model[i];
    ASSERT_EQ(set.Touches(some), touches);
  }
}

}  // namespace
}  // namespace homeward
