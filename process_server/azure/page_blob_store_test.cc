#include "process_server/azure/page_blob_store.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include "absl/strings/match.h"
#include "common/wire/checksum.h"
#include "gtest/gtest.h"
#include "process_server/azure/overlay.h"
#include "process_server/azure/page_blob_doubles.h"
#include "process_server/azure/vhd_footer.h"
#include "tests/fakes/azure/model_page_blobs.h"
#include "tests/fakes/manual_clock.h"
#include "tests/golden/golden.h"

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
        const auto crash_at = [&](ModelPageBlobs* client, uint64_t request) {
          client->loss = [client, request, loss, &crashed](absl::string_view, const std::string&) {
            if (client->requests < request) return Loss::kNone;
            crashed = true;
            return client->requests == request ? loss : Loss::kBefore;
          };
        };
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
        crash_at(&first, at);
        through = run(&first, "h1") && !crashed;
        if (through) break;
        ++crashes;
        if (again > 0) {
          ModelPageBlobs second(&container_);
          crash_at(&second, again);
          if (run(&second, "h1")) break;  // It came through: the others do too.
        }
        ModelPageBlobs last(&container_);
        ASSERT_TRUE(run(&last, at % 2 == 0 ? "h1" : "h2"));
      }
    }
  }
  EXPECT_GT(crashes, 500u);
}

TEST_F(PageBlobStoreTest, OfAServerThatLostItsLeaseNothingLands) {
  const Script script = SomeStream();
  PageBlobStore::Claim claim_1, claim_2;
  auto first = Open(ReplicaOn("h1"), &claim_1);
  for (size_t i = 0; i < 3; ++i) ASSERT_TRUE(Apply(*first, script.steps[i]).ok());
  auto second = Open(ReplicaOn("h2"), &claim_2);
  EXPECT_NE(claim_1.lease_id, claim_2.lease_id);
  EXPECT_EQ(second->position(), first->position());

  const uint64_t changes = container_.changes;
  const size_t snapshots = SnapshotCount();
  EXPECT_FALSE(first->Retain({.bytes_max = 0}, absl::UnixEpoch()).ok());
  EXPECT_EQ(Apply(*first, script.steps[3]).code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(first->RecoverTo("p1").ok());
  first->Leave();
  EXPECT_EQ(container_.changes, changes);
  EXPECT_EQ(SnapshotCount(), snapshots);
  // Nor does it take the replica back.
  EXPECT_EQ(PageBlobStore::Open(blobs_, clock_, ReplicaOn("h1"), &claim_1).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(container_.changes, changes);

  ASSERT_TRUE(Apply(*second, script.steps[3]).ok());
  ExpectDisks(script.steps[3].disks);
  // It does when the other one has left.
  second->Leave();
  first = Open(ReplicaOn("h1"), &claim_1);
  EXPECT_EQ(first->position(), script.steps[3].position);
  ExpectPoints(*first, script.points);
}

TEST_F(PageBlobStoreTest, AnEarlierProcessOfTheSameHostIsAnotherOne) {
  const Script script = SomeStream();
  auto first = Open(ReplicaOn("h1"));
  ASSERT_TRUE(Apply(*first, script.steps[0]).ok());
  std::unique_ptr<PageBlobStore> second;
  // It is opened while the first one's puts are on their way.
  bool once = false;
  ModelPageBlobs client(&container_);
  blobs_.before = [&](absl::string_view call, const std::string&) {
    if (call != "Write" || std::exchange(once, true)) return;
    PageBlobStore::Claim none;
    second = std::move(PageBlobStore::Open(client, clock_, ReplicaOn("h1"), &none)->store);
  };
  EXPECT_EQ(Apply(*first, script.steps[1]).code(), absl::StatusCode::kCancelled);
  ASSERT_NE(second, nullptr);
  ExpectDisks(script.steps[0].disks);
  blobs_.before = nullptr;
  for (size_t i = 1; i < script.steps.size(); ++i)
    ASSERT_TRUE(Apply(*second, script.steps[i]).ok());
  ExpectPoints(*second, script.points);
}

TEST_F(PageBlobStoreTest, OpensAnewUnderALeaseOfItsOwnAfterAnError) {
  const Script script = SomeStream();
  PageBlobStore::Claim claim;
  auto store = Open(ReplicaOn("h1"), &claim);
  ASSERT_TRUE(Apply(*store, script.steps[0]).ok());
  const std::string before = claim.lease_id;
  blobs_.loss = [](absl::string_view call, const std::string&) {
    return call == "Write" ? ModelPageBlobs::Loss::kAfter : ModelPageBlobs::Loss::kNone;
  };
  EXPECT_TRUE(absl::IsUnavailable(Apply(*store, script.steps[1])));
  blobs_.loss = nullptr;
  store = Open(ReplicaOn("h1"), &claim);
  EXPECT_NE(claim.lease_id, before) << "what is under way could still land";
  ASSERT_TRUE(Apply(*store, script.steps[1]).ok());
  ExpectDisks(script.steps[1].disks);
}

TEST_F(PageBlobStoreTest, ANewerGenerationIsNotTakenFromItsServer) {
  auto newer = Open(ReplicaOn("h2", "r2", 3));
  PageBlobStore::Claim claim;
  const absl::Status refused =
      PageBlobStore::Open(blobs_, clock_, ReplicaOn("h1", "r1", 2), &claim).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(absl::StrContains(refused.message(), "generation 3")) << refused;
  EXPECT_TRUE(newer->RecoverTo("none").code() == absl::StatusCode::kNotFound);
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

TEST_F(PageBlobStoreTest, ALaterReplicaOfTheMachineTakesTheBlobsAsTheyAre) {
  const Script script = SomeStream();
  {
    auto store = Open(ReplicaOn("h1"));
    for (const Step& step : script.steps) ASSERT_TRUE(Apply(*store, step).ok());
  }
  auto next = Open(ReplicaOn("h2", "r2", 3));
  EXPECT_FALSE(fresh_);
  EXPECT_TRUE(next->position().none());
  EXPECT_EQ(next->state().generation, 3u);
  EXPECT_TRUE(next->points().empty());
  EXPECT_EQ(SnapshotCount(), 0u) << "the earlier one's";
  ExpectDisks(script.steps.back().disks);
  // Only what differs is asked for.
  std::string machine = script.steps.back().disks[0];
  machine.replace(8192, 512, 512, 'z');
  std::vector<std::string> digests;
  for (uint64_t at = 0; at < kDiskBytes; at += 4096)
    digests.push_back(Digest128(AsBytes(machine).subspan(at, 4096)));
  const auto differing = next->Differing(0, 0, 4096, digests);
  ASSERT_TRUE(differing.ok()) << differing.status();
  EXPECT_EQ(*differing, std::vector<uint32_t>{2});
  EXPECT_FALSE(next->Differing(0, kDiskBytes, 4096, digests).ok());
  EXPECT_FALSE(next->Differing(2, 0, 4096, digests).ok());
}

TEST_F(PageBlobStoreTest, WhatIsNotItsOwnIsLeftAlone) {
  PageBlobStore::Claim claim;
  ASSERT_TRUE(blobs_
                  .Create("m1/d1.vhd", kMiB + 512,
                          {{"hw_format", "1"}, {"hw_machine", "m9"}, {"hw_disk", "x"}})
                  .ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(
      PageBlobStore::Open(blobs_, clock_, ReplicaOn("h1"), &claim).status()));
  container_ = ModelContainer();
  ASSERT_TRUE(blobs_.Create("m1/d0.vhd", kMiB + 512, {}).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(
      PageBlobStore::Open(blobs_, clock_, ReplicaOn("h1"), &claim).status()));
  container_ = ModelContainer();
  Open(ReplicaOn("h1"));
  container_.blobs["m1/d1.vhd"].bytes = 2 * kMiB + 512;
  const absl::Status resized =
      PageBlobStore::Open(blobs_, clock_, ReplicaOn("h1"), &claim).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(resized));
  EXPECT_TRUE(absl::StrContains(resized.message(), "m1/d1.vhd")) << resized;
  container_ = ModelContainer();
  Open(ReplicaOn("h1"));
  container_.blobs["m1/d0.vhd"].metadata["hw_sequence"] = "many";
  EXPECT_TRUE(
      absl::IsDataLoss(PageBlobStore::Open(blobs_, clock_, ReplicaOn("h1"), &claim).status()));
}

TEST_F(PageBlobStoreTest, ADiskWhoseBlobWasDeletedIsNotTakenForZeroes) {
  const Script script = SomeStream();
  auto store = Open(ReplicaOn("h1"));
  for (const Step& step : script.steps) ASSERT_TRUE(Apply(*store, step).ok());
  container_.blobs.erase("m1/d1.vhd");
  // It dies when the blob is made, before or after, and is started again.
  int requests = 2;
  blobs_.loss = [&](absl::string_view, const std::string&) {
    return --requests < 0 ? ModelPageBlobs::Loss::kBefore : ModelPageBlobs::Loss::kNone;
  };
  for (; requests < 12; requests += 2) {
    const int allowed = requests;
    PageBlobStore::Claim claim;
    const bool opened = PageBlobStore::Open(blobs_, clock_, ReplicaOn("h1"), &claim).ok();
    requests = allowed;
    if (opened) break;
  }
  blobs_.loss = nullptr;
  store = Open(ReplicaOn("h1"));
  EXPECT_TRUE(store->position().none()) << "all is to be compared";
  EXPECT_EQ(store->state().generation, 2u);
  EXPECT_TRUE(store->points().empty()) << "none is whole";
  EXPECT_FALSE(fresh_) << "the other disk has what it had";
}

// The next epoch of SomeStream(): all is compared, and sent where it differs.
Script AllAnew() {
  Author author({2, 0});
  author.EpochBegin(false);
  author.EndGroup();
  author.Data(0, 0, 4096, 'A');
  author.Data(1, 0, 4096, 'B');
  author.Writes();
  author.EndGroup();
  author.SyncEnd();
  author.Point("p3");  // An id that there was before.
  author.EndGroup();
  return author.Take();
}

// A blob was deleted, and with it its part of each point. What is left of them is nobody else's
// copy of the other disk: it stays until a point is whole, whoever dies at which request.
TEST_F(PageBlobStoreTest, WhatIsLeftOfThePointsOfADeletedBlobStaysUntilTheNextPointIsWhole) {
  using Loss = ModelPageBlobs::Loss;
  const Script script = SomeStream();
  const Script anew = AllAnew();
  for (const size_t deleted : {size_t{1}, size_t{0}}) {
    const size_t other = 1 - deleted;
    const std::string blob = ReplicaOn("").disks[other].blob;
    bool through = false;
    uint64_t crashes = 0, half_made = 0;
    for (uint64_t at = 1; !through; ++at) {
      for (const Loss loss : {Loss::kBefore, Loss::kAfter}) {
        SCOPED_TRACE(absl::StrCat("disk ", deleted, ", request ", at,
                                  loss == Loss::kBefore ? " not done" : " done"));
        container_ = ModelContainer();
        {
          auto store = Open(ReplicaOn("h1"));
          for (const Step& step : script.steps) ASSERT_TRUE(Apply(*store, step).ok());
        }
        container_.blobs.erase(ReplicaOn("").disks[deleted].blob);
        std::set<std::string> left;
        for (const auto& [id, snapshot] : container_.blobs[blob].snapshots) left.insert(id);
        ASSERT_EQ(left.size(), 3u);
        const auto run = [&](ModelPageBlobs* client, const std::string& host) {
          PageBlobStore::Claim claim;
          auto opened = PageBlobStore::Open(*client, clock_, ReplicaOn(host), &claim);
          EXPECT_TRUE(opened.ok() || client->loss) << opened.status();
          if (!opened.ok()) return false;
          PageBlobStore& store = *opened->store;
          const size_t points = store.points().size();
          EXPECT_LE(points, 1u);
          EXPECT_EQ(SnapshotCount(), points == 0 ? left.size() : kDisks);
          if (!store.Fence(2).ok()) return false;
          for (const Step& step : anew.steps) {
            const absl::Status applied = Apply(store, step);
            EXPECT_TRUE(applied.ok() || client->loss) << applied;
            if (!applied.ok()) return false;
          }
          EXPECT_EQ(Ids(store), (std::vector<std::string>{"p3"}));
          EXPECT_GT(store.points()[0].number, 3u) << "no part of it is taken for one of before";
          for (size_t i = 0; i < kDisks; ++i) {
            const std::string url = store.PathsAt("p3")[i];
            EXPECT_EQ(ContentOf(i, url.substr(url.find("?snapshot=") + 10))[0], "AB"[i]);
          }
          EXPECT_TRUE(client->loss || SnapshotCount() == kDisks) << "the point alone";
          return true;
        };
        ModelPageBlobs first(&container_);
        bool crashed = false;
        first.loss = [&](absl::string_view, const std::string&) {
          if (first.requests < at) return Loss::kNone;
          crashed = true;
          return first.requests == at ? loss : Loss::kBefore;
        };
        through = run(&first, "h1") && !crashed;
        if (through) break;
        ++crashes;
        const auto& snapshots = container_.blobs[blob].snapshots;
        const auto again = container_.blobs.find(ReplicaOn("").disks[deleted].blob);
        const bool whole = again != container_.blobs.end() && !again->second.snapshots.empty() &&
                           snapshots.rbegin()->second.metadata.at("hw_number") != "3";
        for (const std::string& id : left)
          EXPECT_TRUE(whole || snapshots.contains(id)) << id << " is gone";
        half_made += SnapshotCount() == left.size() + 1;
        ModelPageBlobs last(&container_);
        ASSERT_TRUE(run(&last, "h2"));
      }
    }
    EXPECT_GT(crashes, 20u);
    EXPECT_GT(half_made, 0u);
  }
}

TEST_F(PageBlobStoreTest, WhatIsLeftOfThePointsOfADeletedBlobGoesWithTheReplica) {
  const Script script = SomeStream();
  for (const bool blobs_too : {false, true}) {
    container_ = ModelContainer();
    auto store = Open(ReplicaOn("h1"));
    for (const Step& step : script.steps) ASSERT_TRUE(Apply(*store, step).ok());
    container_.blobs.erase("m1/d1.vhd");
    store = Open(ReplicaOn("h1"));
    EXPECT_EQ(SnapshotCount(), 3u);
    const auto remove = blobs_too ? PageBlobStore::Remove : PageBlobStore::RemovePoints;
    const absl::Status removed = remove(blobs_, ReplicaOn("h1"));
    EXPECT_TRUE(removed.ok()) << removed;
    EXPECT_EQ(SnapshotCount(), 0u);
  }
}

TEST_F(PageBlobStoreTest, WhatIsLeftOfThePointsOfADeletedBlobIsNothingToALaterReplica) {
  const Script script = SomeStream();
  auto store = Open(ReplicaOn("h1"));
  for (const Step& step : script.steps) ASSERT_TRUE(Apply(*store, step).ok());
  container_.blobs.erase("m1/d1.vhd");
  store = Open(ReplicaOn("h1"));
  EXPECT_EQ(SnapshotCount(), 3u);
  store = Open(ReplicaOn("h1", "r2", 3));
  EXPECT_EQ(SnapshotCount(), 0u);
}

TEST_F(PageBlobStoreTest, SomebodysSnapshotIsNoneOfOurs) {
  const Script script = SomeStream();
  auto store = Open(ReplicaOn("h1"));
  for (const Step& step : script.steps) ASSERT_TRUE(Apply(*store, step).ok());
  // As Azure does: without metadata of its own it has the blob's.
  ModelContainer::Blob& first = container_.blobs["m1/d0.vhd"];
  first.snapshots["2999-01-01T00:00:00.0000000Z"] = first.snapshots.rbegin()->second;
  first.snapshots.rbegin()->second.metadata = first.metadata;
  const size_t count = SnapshotCount();
  store = Open(ReplicaOn("h1"));
  ExpectPoints(*store, script.points);
  EXPECT_EQ(Ids(*store), (std::vector<std::string>{"p1", "p2", "p3"}));
  EXPECT_EQ(SnapshotCount(), count) << "it is left alone";
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

// A snapshot needs no lease to be deleted: whoever lost the replica can still do it.
TEST_F(PageBlobStoreTest, WhatAServerDropsAfterItLostTheReplicaNobodyBelievesIn) {
  const Script script = SomeStream();
  // Another one takes the replica between any two requests of the one that drops a point.
  for (uint64_t at = 1;; ++at) {
    SCOPED_TRACE(at);
    container_ = ModelContainer();
    ModelPageBlobs client(&container_);
    auto first = Open(ReplicaOn("h1"));
    for (const Step& step : script.steps) ASSERT_TRUE(Apply(*first, step).ok());
    std::unique_ptr<PageBlobStore> second;
    std::vector<std::string> listed;
    uint64_t requests = 0;
    blobs_.before = [&](absl::string_view, const std::string&) {
      if (++requests != at) return;
      PageBlobStore::Claim none;
      second = std::move(PageBlobStore::Open(client, clock_, ReplicaOn("h2"), &none)->store);
      listed = Ids(*second);
    };
    (void)first->Retain({.bytes_max = 600}, absl::UnixEpoch());
    blobs_.before = nullptr;
    if (second == nullptr) {
      EXPECT_EQ(at, 1 + 2 * (1 + kDisks)) << "two points: each is told, and its snapshots deleted";
      return;
    }
    EXPECT_EQ(Ids(*second), listed);
    ExpectPoints(*second, script.points);
    EXPECT_EQ(SnapshotCount(), kDisks * listed.size());
    PageBlobStore::Claim none;
    second = std::move(PageBlobStore::Open(client, clock_, ReplicaOn("h3"), &none)->store);
    EXPECT_EQ(Ids(*second), listed);
  }
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

// Whoever has the first blob's lease gets the others; whoever has not, lets go of them.
TEST_F(PageBlobStoreTest, OfTwoThatOpenItAtOnceOneHasAllLeasesInTheEnd) {
  const Script script = SomeStream();
  ModelPageBlobs client(&container_);
  for (uint64_t at = 1; at < 40; ++at) {
    SCOPED_TRACE(at);
    container_ = ModelContainer();
    PageBlobStore::Claim claim_1, claim_2;
    std::unique_ptr<PageBlobStore> first, second;
    uint64_t requests = 0;
    blobs_.before = [&](absl::string_view, const std::string&) {
      if (++requests != at) return;
      auto opened = PageBlobStore::Open(client, clock_, ReplicaOn("h2"), &claim_2);
      ASSERT_TRUE(opened.ok()) << opened.status();
      second = std::move(opened->store);
    };
    auto opened = PageBlobStore::Open(blobs_, clock_, ReplicaOn("h1"), &claim_1);
    blobs_.before = nullptr;
    if (!opened.ok()) {
      EXPECT_NE(container_.blobs["m1/d1.vhd"].lease_id, claim_1.lease_id);
    }
    // As often as they are tried again.
    for (int round = 0; round < 4; ++round) {
      first = opened.ok() ? std::move(opened->store) : nullptr;
      const bool first_has_it = first != nullptr && Apply(*first, script.steps[0]).ok();
      const bool second_has_it = second != nullptr && Apply(*second, script.steps[0]).ok();
      EXPECT_FALSE(first_has_it && second_has_it);
      if (first_has_it) break;
      first = nullptr;
      if (second_has_it) break;
      auto again = PageBlobStore::Open(client, clock_, ReplicaOn("h2"), &claim_2);
      second = again.ok() ? std::move(again->store) : nullptr;
      if (second == nullptr)
        opened = PageBlobStore::Open(blobs_, clock_, ReplicaOn("h1"), &claim_1);
    }
    const std::string owner = container_.blobs["m1/d0.vhd"].lease_id;
    EXPECT_FALSE(owner.empty());
    EXPECT_EQ(container_.blobs["m1/d1.vhd"].lease_id, owner);
    if (second == nullptr && requests < at) return;
  }
}

TEST_F(PageBlobStoreTest, IsTakenFromOneThatChangesNothingAnyMore) {
  const Script script = SomeStream();
  PageBlobStore::Claim claim_1, claim_2;
  auto first = Open(ReplicaOn("h1"), &claim_1);
  ASSERT_TRUE(Apply(*first, script.steps[0]).ok());
  auto second = Open(ReplicaOn("h2"), &claim_2);
  EXPECT_FALSE(Apply(*first, script.steps[1]).ok());
  const auto try_again = [&] {
    return PageBlobStore::Open(blobs_, clock_, ReplicaOn("h1"), &claim_1).status().code();
  };
  // It lives, and has nothing to write.
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(try_again(), absl::StatusCode::kCancelled);
    clock_.now += absl::Seconds(20);
    ASSERT_TRUE(second->ShowLife().ok());
  }
  // It is dead from here on.
  const absl::Duration died = clock_.Monotonic();
  absl::Duration taken;
  for (int i = 0; i < 30 && taken == absl::ZeroDuration(); ++i) {
    if (try_again() == absl::StatusCode::kOk) taken = clock_.Monotonic();
    clock_.now += absl::Seconds(20);
  }
  EXPECT_GE(taken - died, absl::Minutes(2) - absl::Seconds(40));
  EXPECT_LE(taken - died, absl::Minutes(2) + absl::Seconds(20));
  // It was not, it stood still: nothing of it lands, and it does not take it back at once.
  EXPECT_TRUE(absl::IsCancelled(Apply(*second, script.steps[1])));
  EXPECT_TRUE(
      absl::IsCancelled(PageBlobStore::Open(blobs_, clock_, ReplicaOn("h2"), &claim_2).status()));
  ExpectDisks(script.steps[0].disks);
}

// Its disks are made of a point, while it is closed: nobody may drop that meanwhile.
TEST_F(PageBlobStoreTest, OneThatWasRecoveredIsNotTakenByWhoWaitsForIt) {
  const Script script = SomeStream();
  PageBlobStore::Claim claim_1, claim_2;
  auto first = Open(ReplicaOn("h1"), &claim_1);
  for (const Step& step : script.steps) ASSERT_TRUE(Apply(*first, step).ok());
  auto second = Open(ReplicaOn("h2"), &claim_2);
  ASSERT_TRUE(second->RecoverTo("p1").ok());
  second.reset();
  for (int i = 0; i < 30; ++i) {
    EXPECT_TRUE(
        absl::IsCancelled(PageBlobStore::Open(blobs_, clock_, ReplicaOn("h1"), &claim_1).status()));
    clock_.now += absl::Seconds(60);
  }
}

TEST_F(PageBlobStoreTest, WhoIsToRemoveItsPointsLeavesThoseOfALaterReplica) {
  const Script script = SomeStream();
  {
    auto store = Open(ReplicaOn("h1"));
    ASSERT_TRUE(Apply(*store, script.steps[0]).ok());
  }
  std::unique_ptr<PageBlobStore> later;
  ModelPageBlobs client(&container_);
  blobs_.before = [&](absl::string_view call, const std::string&) {
    if (call != "BreakLease" || later != nullptr) return;
    PageBlobStore::Claim none;
    later = std::move(PageBlobStore::Open(client, clock_, ReplicaOn("h2", "r2"), &none)->store);
    for (const Step& step : script.steps) ASSERT_TRUE(Apply(*later, step).ok());
  };
  EXPECT_TRUE(PageBlobStore::RemovePoints(blobs_, ReplicaOn("h1")).ok());
  blobs_.before = nullptr;
  ASSERT_NE(later, nullptr);
  EXPECT_EQ(SnapshotCount(), 3 * kDisks);
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

// What others make of it. Skipped where there is no qemu-img.
TEST(PageBlobFormat, QemuReadsItWithTheRightSizeAndContent) {
  if (std::system("qemu-img --version > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "needs qemu-img, to read the disks as VHDs";
  char pattern[] = "/tmp/homeward-vhd-XXXXXX";
  const std::string directory = ::mkdtemp(pattern);
  for (const uint64_t bytes : {kMiB, 37 * kMiB, 130 * kMiB, 520 * kMiB}) {
    const std::string vhd = directory + "/disk.vhd", raw = directory + "/disk.raw";
    for (const std::string& path : {vhd, raw}) {
      std::ofstream file(path, std::ios::binary);
      file.seekp(static_cast<std::streamoff>(bytes - 512));
      file << std::string(512, 'x');
      if (path == vhd) file << VhdFooter(bytes, "00000000000000000000000000000001");
    }
    const std::string back = directory + "/back.raw";
    const std::string convert =
        absl::StrCat("qemu-img convert -f vpc -O raw ", vhd, " ", back, " && cmp ", raw, " ", back);
    EXPECT_EQ(std::system(convert.c_str()), 0) << bytes;
  }
  std::filesystem::remove_all(directory);
}

TEST(PageBlobFormat, IsAsItWasRecorded) {
  const DiskTag disk{"m1", "00000000000000000000000000000001"};
  const StreamState at_point{{1, 3}, 2, false};
  const azure::Metadata blob = Encode(disk, ReplicaTag{.replica_id = "r1",
                                                       .state = {{1, 4}, 2, false},
                                                       .opened = 1,
                                                       .written_bytes = 4096,
                                                       .oldest = 1});
  const azure::Metadata snapshot =
      Encode(disk, PointTag{.replica_id = "r1",
                            .point = {{.time = absl::FromUnixSeconds(3),
                                       .id = "p1",
                                       .consistency = Consistency::kFrozen,
                                       .how = "stood still"},
                                      1},
                            .state = at_point});
  std::string text = "blob\n";
  for (const auto& [name, value] : blob) absl::StrAppend(&text, name, " ", value, "\n");
  text += "snapshot\n";
  for (const auto& [name, value] : snapshot) absl::StrAppend(&text, name, " ", value, "\n");
  testing::ExpectGolden("page_blob_replica_v1.txt", text);
  testing::ExpectGolden("vhd_footer_v1.bin", VhdFooter(kMiB, disk.disk_uuid));
}

TEST(PageBlobFormat, AnIdOfAnyBytesIsReadAsItWasWritten) {
  for (const std::string& id :
       {std::string("p1"), std::string("\x01\xff y"), std::string("base64:x"), std::string()}) {
    PointTag tag{.replica_id = id, .point = {{.id = id}, 1}};
    const azure::Metadata metadata = Encode(DiskTag{"m", "d"}, tag);
    EXPECT_TRUE(azure::CheckMetadata(metadata).ok());
    const auto read = DecodePoint(metadata);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->point.marker.id, id);
    EXPECT_EQ(read->replica_id, id);
  }
}

TEST(Overlay, IsWhatTheWritesComeToInOrder) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(round);
    constexpr uint64_t kPages = 24;
    std::deque<std::string> contents;
    std::vector<DiskWrite> writes;
    Disks wanted(2, std::string(kPages * 512, '?'));
    Disks got = wanted;
    for (uint64_t i = random() % 12; i > 0; --i) {
      const uint32_t disk = random() % 2;
      const uint64_t from = random() % kPages, pages = 1 + random() % (kPages - from);
      const Extent extent{from * 512, pages * 512};
      if (random() % 3 == 0) {
        writes.push_back({disk, extent, {}});
        wanted[disk].replace(extent.offset, extent.length, extent.length, '\0');
        continue;
      }
      contents.emplace_back(extent.length, static_cast<char>('a' + random() % 26));
      for (size_t at = 0; at < extent.length; at += 512)
        contents.back()[at] = static_cast<char>(random());
      writes.push_back({disk, extent, contents.back()});
      wanted[disk].replace(extent.offset, extent.length, contents.back());
    }
    const std::vector<DiskWrite> overlay = Overlay(writes, 2048);
    std::vector<ExtentSet> seen(2);
    for (const DiskWrite& write : overlay) {
      EXPECT_EQ(seen[write.disk].Missing(write.extent), std::vector<Extent>{write.extent})
          << "twice";
      seen[write.disk].Add(write.extent);
      if (write.content.empty()) {
        got[write.disk].replace(write.extent.offset, write.extent.length, write.extent.length,
                                '\0');
        continue;
      }
      EXPECT_LE(write.extent.length, 2048u);
      ASSERT_EQ(write.content.size(), write.extent.length);
      got[write.disk].replace(write.extent.offset, write.extent.length, write.content.Joined());
    }
    EXPECT_TRUE(got == wanted);
  }
}

TEST(Overlay, JoinsWhatLiesSideBySide) {
  const std::string page(512, 'x');
  const std::vector<DiskWrite> overlay = Overlay({{0, {1024, 512}, page},
                                                  {0, {512, 512}, page},
                                                  {0, {0, 512}, page},
                                                  {1, {0, 512}, {}},
                                                  {1, {512, 512}, {}}},
                                                 1024);
  ASSERT_EQ(overlay.size(), 3u);
  EXPECT_EQ(overlay[0].extent, (Extent{0, 1024}));
  EXPECT_EQ(overlay[2].extent, (Extent{0, 1024}));
}

}  // namespace
}  // namespace homeward::testing
