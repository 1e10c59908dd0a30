#include "mobility_agent/pipeline/synchronisation.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mobility_agent/pipeline/pipeline_doubles.h"

namespace homeward {
namespace {

using replication::v1::DigestQuery;
using ::testing::ElementsAre;

constexpr uint64_t kBlock = 4096;

class SynchronisationTest : public ::testing::Test {
 protected:
  SynchronisationTest() { Start({.first_query = 70}); }
  void Start(Synchronisation::Start start) {
    sync_ = std::make_unique<Synchronisation>(
        clock_,
        Synchronisation::Options{.digest_block_bytes = kBlock,
                                 .digest_blocks_max = 4,
                                 .digest_timeout = absl::Seconds(3)},
        sources_, start, [this](const DigestQuery& query) { asked_.push_back(query); });
    sync_->Begin({5, 0});
  }
  // The extents of the next batch.
  std::vector<Extent> Fill(uint64_t batch_bytes = kMiB) {
    BatchBuilder builder;
    EXPECT_TRUE(sync_->Fill(/*epoch=*/5, batch_bytes, &builder).ok());
    std::vector<Extent> extents;
    for (const BatchExtent& extent : builder.extents()) extents.push_back(extent.extent);
    return extents;
  }
  void Reply(uint64_t query, std::vector<uint32_t> differing) {
    replication::v1::DigestReply reply;
    reply.set_query_id(query);
    for (const uint32_t index : differing) reply.add_differing(index);
    sync_->OnReply(reply);
  }

  ManualClock clock_;
  RamDisk a_{6 * kBlock}, b_{2 * kBlock + 512};
  const std::vector<WriteSource*> sources_{&a_, &b_};
  std::vector<DigestQuery> asked_;
  std::unique_ptr<Synchronisation> sync_;
};

TEST_F(SynchronisationTest, AllIsAskedForAndWhatDiffersIsHandedOut) {
  EXPECT_TRUE(Fill().empty());
  ASSERT_EQ(asked_.size(), 3u) << "four blocks, two, and the other disk";
  EXPECT_EQ(asked_[0].query_id(), 70u);
  EXPECT_EQ(asked_[0].digests_size(), 4);
  EXPECT_EQ(asked_[1].offset_bytes(), 4 * kBlock);
  EXPECT_EQ(asked_[2].disk(), 1u);
  EXPECT_EQ(asked_[2].digests_size(), 3);
  Reply(70, {});
  Reply(72, {0, 2, 9});
  Reply(99, {0});
  EXPECT_FALSE(sync_->Finished()) << "a reply is missing";
  EXPECT_EQ(sync_->differing_bytes(), kBlock + 512) << "the last block is short, there is no ninth";
  EXPECT_THAT(Fill(), ElementsAre(Extent{0, kBlock}, Extent{2 * kBlock, 512}));
  Reply(71, {1});
  EXPECT_FALSE(sync_->Finished()) << "what differs was not handed out";
  EXPECT_THAT(Fill(), ElementsAre(Extent{5 * kBlock, kBlock}));
  EXPECT_TRUE(sync_->Finished());
}

TEST_F(SynchronisationTest, TheSameContentHasTheSameDigestAndAnotherHasNot) {
  a_.Write(0, std::string(kBlock, 'x'));
  a_.Write(2 * kBlock, std::string(kBlock, 'x'));
  Fill();
  EXPECT_EQ(asked_[0].digests(0), asked_[0].digests(2));
  EXPECT_EQ(asked_[0].digests(1), asked_[0].digests(3));
  EXPECT_NE(asked_[0].digests(0), asked_[0].digests(1));
}

TEST_F(SynchronisationTest, WhatIsNotAnsweredIsAskedAgainInTheEpochOfThen) {
  Fill();
  asked_.clear();
  clock_.now += absl::Seconds(2);
  sync_->AskAgain(6);
  EXPECT_TRUE(asked_.empty()) << "it may still come";
  Reply(70, {});
  clock_.now += absl::Seconds(5);
  sync_->AskAgain(6);
  EXPECT_TRUE(asked_.empty()) << "one reply took two seconds, so another may take six";
  clock_.now += absl::Seconds(1);
  sync_->AskAgain(6);
  ASSERT_EQ(asked_.size(), 1u) << "one finds out";
  EXPECT_EQ(asked_[0].query_id(), 71u);
  EXPECT_EQ(asked_[0].epoch(), 6u);
  sync_->AskAgain(6);
  EXPECT_EQ(asked_.size(), 1u) << "the time begins anew";
  Reply(71, {});
  clock_.now += absl::Seconds(10);
  sync_->AskAgain(6);
  ASSERT_EQ(asked_.size(), 2u);
  EXPECT_EQ(asked_[1].query_id(), 72u) << "only that was answered, so the others are lost";
  sync_->OnConnected();
  sync_->AskAgain(6);
  EXPECT_EQ(asked_.size(), 3u) << "at once on a new connection";
}

TEST_F(SynchronisationTest, AReplicaThatAnswersSlowlyIsNotAskedTheSameAgain) {
  // Each reply takes longer than the time after which a silent replica is asked again.
  Fill();
  clock_.now += absl::Seconds(4);
  sync_->AskAgain(5);
  EXPECT_EQ(asked_.size(), 4u) << "nothing is known of it yet";
  for (const uint64_t query : {70, 71}) {
    Reply(query, {});
    clock_.now += absl::Seconds(4);
    sync_->AskAgain(5);
  }
  EXPECT_EQ(asked_.size(), 4u) << "it only takes its time";
}

TEST_F(SynchronisationTest, AnAgentThatSleptTakesNoReplicaForSlow) {
  Fill();
  asked_.clear();
  clock_.now += absl::Seconds(27);  // in which nobody looked
  Reply(70, {});
  clock_.now += absl::Seconds(3);
  sync_->AskAgain(5);
  EXPECT_EQ(asked_.size(), 1u) << "it is as impatient as it was before";
}

TEST_F(SynchronisationTest, WhatALaterReplyHasOvertakenIsAskedAgainAtOnce) {
  Fill();
  asked_.clear();
  Reply(71, {});
  sync_->AskAgain(5);
  ASSERT_EQ(asked_.size(), 1u) << "the first is lost; the third waits its turn";
  EXPECT_EQ(asked_[0].query_id(), 70u);
  sync_->AskAgain(5);
  EXPECT_EQ(asked_.size(), 1u);
}

TEST_F(SynchronisationTest, ASilentReplicaIsAskedLessAndLessOften) {
  Fill();
  asked_.clear();
  std::vector<int> seconds;
  for (int second = 1; second < 49; ++second) {
    clock_.now += absl::Seconds(1);
    sync_->AskAgain(5);
    if (!asked_.empty()) seconds.push_back(second);
    asked_.clear();
  }
  EXPECT_THAT(seconds, ElementsAre(3, 9, 19, 29, 39));
}

TEST_F(SynchronisationTest, AFreshReplicaIsSentAllThatIsNotZeroAndAskedNothing) {
  a_.Write(kBlock + 512, "x");
  a_.Write(3 * kBlock, std::string(2 * kBlock, 'y'));
  Start({.fresh = true});
  EXPECT_THAT(Fill(4 * kBlock), ElementsAre(Extent{kBlock, kBlock}, Extent{3 * kBlock, kBlock}));
  EXPECT_EQ(sync_->unread().offset, 4 * kBlock);
  EXPECT_EQ(sync_->progress().done_bytes, 4 * kBlock);
  EXPECT_EQ(sync_->progress().total_bytes, 8 * kBlock + 512);
  EXPECT_THAT(Fill(4 * kBlock), ElementsAre(Extent{4 * kBlock, kBlock}));
  EXPECT_TRUE(Fill(4 * kBlock).empty());
  EXPECT_TRUE(sync_->Finished());
  EXPECT_EQ(sync_->progress().done_bytes, sync_->progress().total_bytes);
  EXPECT_TRUE(asked_.empty());
}

TEST_F(SynchronisationTest, AFreshReplicaGetsTheBytesThatAreOnTheDisk) {
  a_.Write(kBlock, std::string(kBlock, 'p') + std::string(kBlock, '\0') + std::string(kBlock, 'q'));
  Start({.fresh = true});
  BatchBuilder builder;
  ASSERT_TRUE(sync_->Fill(5, kMiB, &builder).ok());
  const SealedBatch sealed = builder.Seal({BatchKind::kSyncChunk, {5, 1}, 1});
  ParsedBatch batch;
  ASSERT_TRUE(ParseBatch(sealed.view(), /*decode=*/true, &batch).ok());
  EXPECT_EQ(batch.payload, std::string(kBlock, 'p') + std::string(kBlock, 'q'));
}

TEST_F(SynchronisationTest, ADoubtedReplicaIsCompared) {
  Start({.fresh = true});
  sync_->DoubtFresh();
  sync_->Begin({6, 0});
  Fill();
  EXPECT_EQ(asked_.size(), 3u);
}

TEST_F(SynchronisationTest, ANewBeginningForgetsWhatWasAsked) {
  Fill();
  Reply(70, {0});
  sync_->Begin({6, 0});
  Reply(71, {0});
  EXPECT_EQ(sync_->differing_bytes(), 0u) << "an answer about content of before";
  asked_.clear();
  Fill();
  ASSERT_EQ(asked_.size(), 3u);
  EXPECT_EQ(asked_[0].query_id(), 73u) << "no number is used twice";
}

TEST_F(SynchronisationTest, ItsBeginningIsSaidAgainUntilItIsDurable) {
  EXPECT_TRUE(sync_->NeverArrived({4, 100}));
  EXPECT_FALSE(sync_->NeverArrived({5, 0}));
  sync_->End();
  EXPECT_FALSE(sync_->NeverArrived({4, 100}));
  EXPECT_EQ(sync_->unread().disk, 2u) << "nothing is read any more";
  sync_->Reopen();
  EXPECT_TRUE(sync_->running());
}

TEST_F(SynchronisationTest, AReadThatFailsIsTriedAgainFromThere) {
  a_.reading = absl::DataLossError("a bad sector");
  BatchBuilder builder;
  EXPECT_TRUE(absl::IsDataLoss(sync_->Fill(5, kMiB, &builder)));
  EXPECT_TRUE(asked_.empty());
  a_.reading = absl::OkStatus();
  Fill();
  ASSERT_EQ(asked_.size(), 3u);
  EXPECT_EQ(asked_[0].offset_bytes(), 0u);
}

}  // namespace
}  // namespace homeward
