#include "mobility_agent/pipeline/send_window.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mobility_agent/pipeline/pipeline_doubles.h"

namespace homeward {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Has sealed the beginning of epoch 7, 7.0, and a write of 4 KiB each as 7.1 to 7.3.
class SendWindowTest : public ::testing::Test {
 protected:
  SendWindowTest() {
    window_.BeginEpoch(7);
    window_.SealBegin({.continues_from = {6, 2}});
    for (uint64_t i = 0; i < 3; ++i) Write(i * 8192);
  }
  void Write(uint64_t offset) {
    const std::string content(4096, 'x');
    builder_.AddContent(0, {offset, content.size()}, AsBytes(content));
    window_.Seal(BatchKind::kWrites, &builder_);
  }
  // The sequences of what goes next.
  std::vector<uint64_t> Rest() {
    std::vector<uint64_t> sequences;
    while (window_.HasNext()) {
      const SealedBatch sealed = window_.Next();
      const BatchHeader header = *PeekBatchHeader(sealed.view());
      EXPECT_EQ(header.position.epoch, 7u);
      EXPECT_EQ(header.generation, 3u);
      sequences.push_back(header.position.sequence);
    }
    return sequences;
  }

  RamDisk disk_{kMiB};
  const std::vector<WriteSource*> sources_{&disk_};
  DirtyMap dirty_{sources_, 100};
  BatchBuilder builder_;
  SendWindow window_{/*generation=*/3, /*entries_max=*/5};
};

TEST_F(SendWindowTest, WhatIsSealedGoesOnceInItsOrder) {
  EXPECT_THAT(Rest(), ElementsAre(0, 1, 2, 3));
  EXPECT_TRUE(window_.Next().empty());
  EXPECT_EQ(window_.SealMarker({.id = "7-1"}), (StreamPosition{7, 4}));
  EXPECT_THAT(Rest(), ElementsAre(4));
  EXPECT_TRUE(window_.full());
  EXPECT_GT(window_.sealed_bytes(), 3u * 4096);
}

TEST_F(SendWindowTest, ANewConnectionGoesOnBehindWhatIsHeld) {
  Rest();
  EXPECT_TRUE(window_.ResumeAfter({7, 1}));
  EXPECT_THAT(Rest(), ElementsAre(2, 3));
  EXPECT_TRUE(window_.ResumeAfter({7, 3}));
  EXPECT_THAT(Rest(), IsEmpty());
  EXPECT_TRUE(window_.ResumeAfter({6, 2})) << "the first of an epoch follows the last one";
  EXPECT_THAT(Rest(), ElementsAre(0, 1, 2, 3));
}

TEST_F(SendWindowTest, TheEpochIsOverWhereAPayloadIsGone) {
  Rest();
  window_.OnSpooled({7, 2});
  EXPECT_EQ(window_.bytes(), 3u * 4096) << "where it was is remembered";
  EXPECT_FALSE(window_.ResumeAfter({7, 1})) << "the process server lost its disk";
  EXPECT_TRUE(window_.ResumeAfter({7, 2}));
  EXPECT_THAT(Rest(), ElementsAre(3));
}

TEST_F(SendWindowTest, TheEpochIsOverWhereWhatIsAskedForWasDurable) {
  Rest();
  window_.OnSpooled({7, 3});
  window_.OnDurable({7, 3});
  EXPECT_TRUE(window_.empty());
  EXPECT_TRUE(window_.ResumeAfter({7, 3}));
  EXPECT_FALSE(window_.ResumeAfter({7, 2}));
  EXPECT_FALSE(window_.ResumeAfter({7, 4})) << "nobody sealed that";
}

TEST_F(SendWindowTest, TheEpochIsOverWhereTheOtherSideHoldsLessThanItSaid) {
  Rest();
  window_.OnSpooled({7, 9});
  EXPECT_FALSE(window_.ResumeAfter({7, 3}));
}

TEST_F(SendWindowTest, WhatIsDurableIsForgottenAndTheRestGoesOn) {
  window_.Next();
  window_.Next();
  window_.OnDurable({7, 0});
  EXPECT_EQ(window_.bytes(), 3u * 4096);
  window_.OnDurable({7, 1});
  EXPECT_EQ(window_.bytes(), 2u * 4096);
  EXPECT_THAT(Rest(), ElementsAre(2, 3));
}

TEST_F(SendWindowTest, ASpooledPositionOfAnotherEpochSaysNothing) {
  Rest();
  window_.OnSpooled({8, 9});
  EXPECT_TRUE(window_.spooled().none());
  EXPECT_TRUE(window_.ResumeAfter({7, 0})) << "all payloads are there";
}

TEST_F(SendWindowTest, AllThatIsNotDurableIsDirtyAgain) {
  window_.OnSpooled({7, 2});
  window_.OnDurable({7, 1});
  EXPECT_FALSE(window_.GiveBack(&dirty_));
  EXPECT_THAT(dirty_.by_disk()[0].Ranges(), ElementsAre(Extent{8192, 4096}, Extent{16384, 4096}));
  EXPECT_FALSE(window_.HasNext());
  EXPECT_TRUE(window_.empty());
  window_.Seal(BatchKind::kSyncEnd, &builder_);
  EXPECT_TRUE(window_.GiveBack(&dirty_)) << "it may never have arrived";
}

}  // namespace
}  // namespace homeward
