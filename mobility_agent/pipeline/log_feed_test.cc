#include "mobility_agent/pipeline/log_feed.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mobility_agent/pipeline/pipeline_doubles.h"

namespace homeward {
namespace {

using ::testing::ElementsAre;

class LogFeedTest : public ::testing::Test {
 protected:
  LogFeedTest() { a_.logs = b_.logs = true; }
  void Start() {
    feed_.Prepare();
    feed_.Start();
  }

  RamDisk a_{kMiB}, b_{kMiB};
  const std::vector<WriteSource*> sources_{&a_, &b_};
  DirtyMap dirty_{sources_, 100};
  LogFeed feed_{sources_, /*bytes_max=*/64 * kKiB};
};

TEST_F(LogFeedTest, WritesComeInTheirOrderAndAMarkerAlone) {
  Start();
  ASSERT_TRUE(feed_.running());
  b_.Write(0, "first");
  a_.Write(512, "second");
  ASSERT_TRUE(feed_.Mark({.id = "1-1"}));
  a_.Write(0, "third");
  BatchBuilder builder;
  EXPECT_FALSE(feed_.Fill(kMiB, &builder).has_value());
  ASSERT_EQ(builder.extents().size(), 2u) << "it ends before the marker";
  EXPECT_EQ(builder.extents()[0].disk, 1u);
  EXPECT_EQ(builder.extents()[1].extent, (Extent{512, 6}));
  builder.Seal({});
  const absl::optional<Marker> marker = feed_.Fill(kMiB, &builder);
  ASSERT_TRUE(marker.has_value());
  EXPECT_EQ(marker->id, "1-1");
  EXPECT_TRUE(builder.empty());
  EXPECT_FALSE(feed_.Fill(kMiB, &builder).has_value());
  EXPECT_EQ(builder.payload_bytes(), 5u);
  EXPECT_TRUE(feed_.empty());
}

TEST_F(LogFeedTest, AWriteThatDoesNotFitGoesOnInTheNextBatch) {
  Start();
  a_.Write(0, std::string(1000, 'x') + std::string(1000, 'y'));
  BatchBuilder builder;
  feed_.Fill(1500, &builder);
  EXPECT_EQ(builder.payload_bytes(), 1500u);
  EXPECT_FALSE(feed_.empty()) << "the rest of it";
  builder.Seal({});
  feed_.Fill(1500, &builder);
  ASSERT_EQ(builder.extents().size(), 1u);
  EXPECT_EQ(builder.extents()[0].extent, (Extent{1500, 500}));
  EXPECT_TRUE(feed_.empty());
}

TEST_F(LogFeedTest, WhereOneSourceHasNoDataItDoesNotRun) {
  b_.logs = false;
  Start();
  EXPECT_FALSE(feed_.running());
  EXPECT_FALSE(feed_.has_run());
  a_.Write(0, "x");
  EXPECT_TRUE(feed_.empty()) << "the other one was let go again";
  ASSERT_TRUE(dirty_.Collect({2, 0}).ok());
  EXPECT_EQ(dirty_.bytes(), 1u);
  EXPECT_FALSE(feed_.Leave(&dirty_));
}

TEST_F(LogFeedTest, AFullOneIsSentAndThenNothingOfItIsLost) {
  Start();
  a_.Write(0, std::string(60 * kKiB, 'x'));
  EXPECT_TRUE(feed_.TakesWrites());
  b_.Write(0, std::string(8 * kKiB, 'y'));
  EXPECT_FALSE(feed_.TakesWrites());
  EXPECT_FALSE(feed_.Mark({.id = "1-1"})) << "there is a hole";
  BatchBuilder builder;
  feed_.Fill(32 * kKiB, &builder);
  EXPECT_EQ(builder.payload_bytes(), 32 * kKiB);
  ASSERT_TRUE(feed_.Leave(&dirty_));
  ASSERT_TRUE(dirty_.Collect({2, 0}).ok());
  EXPECT_THAT(dirty_.by_disk()[0].Ranges(), ElementsAre(Extent{32 * kKiB, 28 * kKiB}))
      << "what was not handed out of it";
  EXPECT_THAT(dirty_.by_disk()[1].Ranges(), ElementsAre(Extent{0, 8 * kKiB}));
  EXPECT_FALSE(feed_.running());
  EXPECT_TRUE(feed_.has_run());
  EXPECT_TRUE(feed_.empty());
}

TEST_F(LogFeedTest, WhatWasWrittenBeforeItWasLeftIsDirtyAndWhatComesThenIsCollected) {
  Start();
  a_.Write(0, "one");
  feed_.Mark({.id = "1-1"});
  b_.Write(4096, "two");
  ASSERT_TRUE(feed_.Leave(&dirty_));
  EXPECT_THAT(dirty_.by_disk()[0].Ranges(), ElementsAre(Extent{0, 3}));
  EXPECT_THAT(dirty_.by_disk()[1].Ranges(), ElementsAre(Extent{4096, 3}));
  a_.Write(100, "three");
  EXPECT_TRUE(feed_.empty());
  ASSERT_TRUE(dirty_.Collect({2, 0}).ok());
  EXPECT_EQ(dirty_.bytes(), 3u + 3u + 5u);
}

}  // namespace
}  // namespace homeward
