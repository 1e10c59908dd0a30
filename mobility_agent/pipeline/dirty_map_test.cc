#include "mobility_agent/pipeline/dirty_map.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mobility_agent/pipeline/pipeline_doubles.h"

namespace homeward {
namespace {

using ::testing::ElementsAre;

class DirtyMapTest : public ::testing::Test {
 protected:
  std::vector<Extent> Of(uint32_t disk) const { return map_.by_disk()[disk].Ranges(); }
  DiskPlace nothing_unread() const { return {sources_.size(), 0}; }

  RamDisk a_{kMiB}, b_{kMiB};
  const std::vector<WriteSource*> sources_{&a_, &b_};
  DirtyMap map_{sources_, /*ranges_max=*/4};
};

TEST_F(DirtyMapTest, WhatIsReadInAnyCaseIsNotCollected) {
  for (RamDisk* disk : {&a_, &b_}) {
    disk->Write(0, std::string(4096, 'x'));
    disk->Write(64 * kKiB, std::string(8192, 'x'));
  }
  ASSERT_TRUE(map_.Collect({0, 64 * kKiB + 4096}).ok());
  EXPECT_THAT(Of(0), ElementsAre(Extent{0, 4096}, Extent{64 * kKiB, 4096}));
  EXPECT_TRUE(Of(1).empty()) << "the whole disk lies behind";
  b_.Write(0, std::string(4096, 'x'));
  ASSERT_TRUE(map_.Collect(nothing_unread()).ok());
  EXPECT_THAT(Of(1), ElementsAre(Extent{0, 4096}));
}

TEST_F(DirtyMapTest, ABatchTakesTheFirstOfItAndCarriesNoZeroes) {
  a_.Write(4096, std::string(8192, 'a'));
  a_.Write(64 * kKiB, std::string(4096, '\0'));
  b_.Write(0, std::string(16 * kKiB, 'b'));
  ASSERT_TRUE(map_.Collect(nothing_unread()).ok());
  EXPECT_EQ(map_.dirtiest_disk(), 1u);
  BatchBuilder builder;
  ASSERT_TRUE(map_.ReadInto(&builder, 16 * kKiB).ok());
  ASSERT_EQ(builder.extents().size(), 3u);
  EXPECT_FALSE(builder.extents()[0].zeroes);
  EXPECT_TRUE(builder.extents()[1].zeroes);
  EXPECT_EQ(builder.extents()[2].extent, (Extent{0, 8192})) << "as much as fits";
  EXPECT_EQ(builder.payload_bytes(), 16 * kKiB);
  EXPECT_THAT(Of(1), ElementsAre(Extent{8192, 8192}));
}

TEST_F(DirtyMapTest, WhatCannotBeReadStaysDirtyWithAllThatWasInTheBatch) {
  a_.Write(0, std::string(4096, 'a'));
  b_.Write(0, std::string(4096, 'b'));
  ASSERT_TRUE(map_.Collect(nothing_unread()).ok());
  b_.reading = absl::DataLossError("a bad sector");
  BatchBuilder builder;
  EXPECT_TRUE(absl::IsDataLoss(map_.ReadInto(&builder, kMiB)));
  EXPECT_THAT(Of(0), ElementsAre(Extent{0, 4096}));
  EXPECT_THAT(Of(1), ElementsAre(Extent{0, 4096}));
}

TEST_F(DirtyMapTest, WhatWasMovedBeforeADiskFailedStays) {
  a_.Write(0, "x");
  b_.collecting = absl::UnavailableError("away");
  EXPECT_TRUE(absl::IsUnavailable(map_.Collect(nothing_unread())));
  EXPECT_EQ(map_.bytes(), 1u);
}

TEST_F(DirtyMapTest, ManyRangesBecomeLargerBlocksUntilItIsEmpty) {
  for (uint64_t i = 0; i < 5; ++i) a_.Write(i * 8192, std::string(512, 'x'));
  ASSERT_TRUE(map_.Collect(nothing_unread()).ok());
  EXPECT_TRUE(map_.coarsened());
  EXPECT_LE(Of(0).size(), 4u);
  ASSERT_TRUE(map_.Collect(nothing_unread()).ok());
  EXPECT_TRUE(map_.coarsened()) << "they are still there";
  map_.Clear();
  ASSERT_TRUE(map_.Collect(nothing_unread()).ok());
  EXPECT_FALSE(map_.coarsened());
}

TEST_F(DirtyMapTest, OfWhatAPeerNamedWholeSectorsOfDisksThatThereAreCount) {
  map_.AddNamed(0, 1000, 100);
  EXPECT_THAT(Of(0), ElementsAre(Extent{512, 1024})) << "it ends at 1100";
  map_.AddNamed(1, kMiB - 100, UINT64_MAX);
  EXPECT_THAT(Of(1), ElementsAre(Extent{kMiB - 512, 512}));
  map_.AddNamed(1, kMiB, 512);
  map_.AddNamed(2, 0, 512);
  EXPECT_EQ(map_.bytes(), 1024u + 512u);
}

}  // namespace
}  // namespace homeward
