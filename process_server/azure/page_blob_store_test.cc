#include "process_server/azure/page_blob_store.h"

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "process_server/azure/page_blob_doubles.h"
#include "process_server/azure/vhd_footer.h"
#include "tests/fakes/azure/model_page_blobs.h"
#include "tests/fakes/manual_clock.h"

namespace homeward::testing {
namespace {

TEST_F(PageBlobStoreTest, TakesAStreamWithPointsAndIsOpenedAsItWas) {
  const Script script = SomeStream();
  auto store = Open(ReplicaOn("h1"));
  EXPECT_TRUE(fresh_);
  for (const Step& step : script.steps) {
    ASSERT_TRUE(Apply(*store, step).ok());
    ExpectDisks(step.disks);
  }
  EXPECT_EQ(Ids(*store), (std::vector<std::string>{"p1", "p2", "p3"}));
  ExpectPoints(*store, script.points);
  const uint64_t kept = store->journal_bytes();
  // p1 to p2: 512 to 3072 and 4096 to 8192 of disk 0. p2 to p3: 512 and 4096 of disk 1. Then 512.
  EXPECT_EQ(kept, 2560u + 4096 + 512 + 4096 + 512);
  EXPECT_EQ(store->KeptBytes(0), 2560u + 4096);
  EXPECT_EQ(store->KeptBytes(1), 512u + 4096);
  EXPECT_EQ(store->KeptBytes(2), 512u) << "since the newest";

  store = Open(ReplicaOn("h2"));
  EXPECT_FALSE(fresh_);
  EXPECT_EQ(store->position(), script.steps.back().position);
  EXPECT_FALSE(store->state().syncing);
  EXPECT_EQ(store->state().generation, 2u);
  ExpectPoints(*store, script.points);
  EXPECT_EQ(store->journal_bytes(), kept);
  const Marker& marker = store->points()[1].marker;
  EXPECT_EQ(marker.consistency, Consistency::kFrozen);
  EXPECT_EQ(marker.how, "stood still \xc3\xa9");
  EXPECT_LT(absl::UnixEpoch(), marker.time);
}

// Everything that was acknowledged is there after a crash at any request, just before it had its
// effect or just after, and after another crash while it is opened again.
TEST_F(PageBlobStoreTest, KeepsWhatItAcknowledgedThroughACrashAtEachRequest) {
  using Loss = ModelPageBlobs::Loss;
  const Script script = SomeStream();
  const RetentionPolicy small{.bytes_max = 5000};
  uint64_t crashes = 0;
  bool through = false;
  for (uint64_t at = 1; !through; ++at) {
    for (const Loss loss : {Loss::kBefore, Loss::kAfter}) {
      for (uint64_t again = 0; again < 40; again += 1 + at % 3) {
        SCOPED_TRACE(absl::StrCat("request ", at, loss == Loss::kBefore ? " not" : "",
                                  " done, and ", again, " while opening"));
        container_ = ModelContainer();
        StreamPosition acknowledged;
        std::vector<std::string> points;
        bool crashed = false;
        const auto run = [&](ModelPageBlobs* client, const std::string& host) {
          PageBlobStore::Claim claim;
          auto opened = PageBlobStore::Open(*client, clock_, ReplicaOn(host), &claim);
          if (!opened.ok()) return false;
          PageBlobStore& store = *opened->store;
          EXPECT_GE(store.position(), acknowledged);
          for (const std::string& id : points) {
            const std::vector<std::string> ids = Ids(store);
            EXPECT_NE(std::find(ids.begin(), ids.end(), id), ids.end()) << id << " is gone";
          }
          ExpectPoints(store, script.points);
          EXPECT_EQ(SnapshotCount(), kDisks * store.points().size()) << "orphans";
          if (!store.Fence(2).ok()) return false;
          for (const Step& step : script.steps) {
            if (!Apply(store, step).ok()) return false;
            acknowledged = std::max(acknowledged, step.position);
            points = Ids(store);
          }
          points.clear();  // They may be dropped from here on.
          if (!store.Retain(small, absl::UnixEpoch()).ok()) return false;
          EXPECT_EQ(Ids(store), (std::vector<std::string>{"p3"}));
          ExpectPoints(store, script.points);
          ExpectDisks(script.steps.back().disks);
          return true;
        };
        ModelPageBlobs first(&container_);
        DieAt(at, loss, &first, &crashed);
        through = run(&first, "h1") && !crashed;
        if (through) break;
        ++crashes;
        if (again > 0) {
          ModelPageBlobs second(&container_);
          DieAt(again, loss, &second, &crashed);
          if (run(&second, "h1")) break;  // It came through: the others do too.
        }
        ModelPageBlobs last(&container_);
        ASSERT_TRUE(run(&last, at % 2 == 0 ? "h1" : "h2"));
      }
    }
  }
  EXPECT_GT(crashes, 500u);
}

TEST_F(PageBlobStoreTest, GoesOnAfterItWasThrottled) {
  const Script script = SomeStream();
  // At each request in turn.
  uint64_t half_made = 0;
  for (uint64_t at = 1; at < 60; ++at) {
    SCOPED_TRACE(at);
    container_ = ModelContainer();
    PageBlobStore::Claim claim;
    auto store = Open(ReplicaOn("h1"), &claim);
    blobs_.lost = absl::ResourceExhaustedError("ServerBusy");
    const uint64_t from = blobs_.requests;
    blobs_.loss = [&](absl::string_view, const std::string&) {
      return blobs_.requests == from + at ? ModelPageBlobs::Loss::kBefore
                                          : ModelPageBlobs::Loss::kNone;
    };
    for (const Step& step : script.steps) {
      absl::Status applied = Apply(*store, step);
      if (absl::IsResourceExhausted(applied)) applied = Apply(*store, step);
      // It was at a snapshot: one of them is there, and nothing says what became of the others.
      if (absl::IsUnavailable(applied)) {
        ++half_made;
        store = Open(ReplicaOn("h1"), &claim);
        applied = Apply(*store, step);
      }
      ASSERT_TRUE(applied.ok()) << applied;
    }
    blobs_.loss = nullptr;
    EXPECT_EQ(Ids(*store), (std::vector<std::string>{"p1", "p2", "p3"}));
    ExpectPoints(*store, script.points);
    EXPECT_EQ(SnapshotCount(), 3 * kDisks);
    ExpectDisks(script.steps.back().disks);
  }
  EXPECT_EQ(half_made, 3 * kDisks);
}

TEST_F(PageBlobStoreTest, RecoversToAPointAndFollowsAgain) {
  const Script script = SomeStream();
  auto store = Open(ReplicaOn("h1"));
  for (const Step& step : script.steps) ASSERT_TRUE(Apply(*store, step).ok());
  ASSERT_TRUE(store->RecoverTo("p1").ok());
  ASSERT_TRUE(store->RecoverTo("p2").ok()) << "nothing was copied, any can be chosen";
  EXPECT_EQ(store->RecoverTo("p9").code(), absl::StatusCode::kNotFound);
  store = Open(ReplicaOn("h1"));
  EXPECT_EQ(store->recovered_point(), "p2");
  ExpectDisks(script.steps.back().disks);
  ExpectPoints(*store, script.points);
  // A point that somebody removed a part of is not one.
  container_.blobs["m1/d1.vhd"].snapshots.erase(container_.blobs["m1/d1.vhd"].snapshots.begin());
  EXPECT_EQ(store->RecoverTo("p1").code(), absl::StatusCode::kNotFound);

  Step again;
  again.batches.push_back(SealEpochBegin({BatchKind::kEpochBegin, {2, 0}, 2}, {}));
  ASSERT_TRUE(Apply(*store, again).ok());
  EXPECT_EQ(Open(ReplicaOn("h1"))->recovered_point(), "");
}

TEST_F(PageBlobStoreTest, DropsTheOldestPointsByAgeAndByBytes) {
  const Script script = SomeStream();
  auto store = Open(ReplicaOn("h1"));
  for (const Step& step : script.steps) ASSERT_TRUE(Apply(*store, step).ok());
  const absl::Time p2 = store->points()[1].marker.time;
  auto dropped = store->Retain({.age_max = absl::Seconds(1)}, p2 + absl::Seconds(1));
  ASSERT_TRUE(dropped.ok()) << dropped.status();
  ASSERT_EQ(dropped->size(), 1u);
  EXPECT_EQ(store->journal_bytes(), 512u + 4096 + 512);
  EXPECT_EQ(SnapshotCount(), 2 * kDisks);
  // One that is shown to somebody stays.
  ASSERT_TRUE(store->Retain({.bytes_max = 600, .kept_point_id = "p2"}, p2).ok());
  EXPECT_EQ(Ids(*store), (std::vector<std::string>{"p2", "p3"}));
  ASSERT_TRUE(store->Retain({.bytes_max = 600}, p2).ok());
  EXPECT_EQ(Ids(*store), (std::vector<std::string>{"p3"}));
  EXPECT_EQ(store->journal_bytes(), 512u);
  ExpectPoints(*store, script.points);
}

TEST_F(PageBlobStoreTest, WhatCouldNotBeDeletedGoesWithTheNextPoint) {
  const Script script = SomeStream();
  auto store = Open(ReplicaOn("h1"));
  for (const Step& step : script.steps) ASSERT_TRUE(Apply(*store, step).ok());
  blobs_.lost = absl::ResourceExhaustedError("ServerBusy");
  blobs_.loss = [](absl::string_view call, const std::string&) {
    return call == "Delete" ? ModelPageBlobs::Loss::kBefore : ModelPageBlobs::Loss::kNone;
  };
  EXPECT_FALSE(store->Retain({.bytes_max = 5000}, absl::UnixEpoch()).ok());
  EXPECT_EQ(SnapshotCount(), 3 * kDisks);
  blobs_.loss = nullptr;
  ASSERT_TRUE(store->Retain({.bytes_max = 600}, absl::UnixEpoch()).ok());
  EXPECT_EQ(Ids(*store), std::vector<std::string>{"p3"});
  EXPECT_EQ(SnapshotCount(), kDisks);
}

TEST_F(PageBlobStoreTest, ADamagedOrMisalignedBatchChangesNothing) {
  const Script script = SomeStream();
  auto store = Open(ReplicaOn("h1"));
  ASSERT_TRUE(Apply(*store, script.steps[0]).ok());
  BatchBuilder builder;
  builder.AddZeroes(0, {100, 512});
  Step misaligned;
  misaligned.batches.push_back(builder.Seal({BatchKind::kWrites, {1, 2}, 2}));
  EXPECT_TRUE(absl::IsDataLoss(Apply(*store, misaligned)));
  builder.AddZeroes(0, {kDiskBytes, 512});
  Step past_the_end;
  past_the_end.batches.push_back(builder.Seal({BatchKind::kWrites, {1, 2}, 2}));
  EXPECT_TRUE(absl::IsDataLoss(Apply(*store, past_the_end)));
  ExpectDisks(script.steps[0].disks);
  EXPECT_EQ(store->position(), script.steps[0].position);
}

TEST_F(PageBlobStoreTest, IsAFixedVhd) {
  Open(ReplicaOn("h1"));
  const ModelContainer::Blob& blob = container_.blobs["m1/d0.vhd"];
  EXPECT_EQ(blob.bytes, kMiB + 512) << "whole MiB, and the footer";
  const auto footer = blobs_.Read("m1/d0.vhd", "", kMiB, 512);
  ASSERT_TRUE(footer.ok());
  EXPECT_EQ(footer->substr(0, 8), "conectix");
  EXPECT_EQ(*footer, VhdFooter(kMiB, "00000000000000000000000000000001"));
}

}  // namespace
}  // namespace homeward::testing
