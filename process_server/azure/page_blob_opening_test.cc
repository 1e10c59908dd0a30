#include "process_server/azure/page_blob_opening.h"

#include <set>

#include "absl/strings/match.h"
#include "common/wire/checksum.h"
#include "gtest/gtest.h"
#include "process_server/azure/page_blob_doubles.h"
#include "tests/fakes/azure/model_page_blobs.h"
#include "tests/fakes/manual_clock.h"

namespace homeward::testing {
namespace {

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
        DieAt(at, loss, &first, &crashed);
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

}  // namespace
}  // namespace homeward::testing
