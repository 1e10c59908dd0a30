// What of a stream is on its way to Azure while what comes next is taken.
#include <random>

#include "gtest/gtest.h"
#include "process_server/azure/page_blob_doubles.h"
#include "tests/fakes/held_strand.h"

namespace homeward::testing {
namespace {

class DeliveriesTest : public PageBlobStoreTest {
 protected:
  absl::StatusOr<std::unique_ptr<PageBlobStore>> OpenFarAway(ModelPageBlobs& blobs,
                                                             const std::string& host) {
    PageBlobStore::Replica replica = ReplicaOn(host);
    replica.delivery_bytes = delivery_bytes_;
    PageBlobStore::Claim claim;
    writers_.clear();
    absl::StatusOr<PageBlobStore::Opened> opened =
        PageBlobStore::Open(blobs, clock_, std::move(replica), &claim, [this](const std::string&) {
          auto writer = std::make_unique<HeldStrand>();
          writers_.push_back(writer.get());
          return writer;
        });
    HW_RETURN_IF_ERROR(opened.status());
    opened->store->SetOnArrival([this] { ++arrivals_; });
    HW_RETURN_IF_ERROR(opened->store->Fence(2));
    return std::move(opened->store);
  }
  std::unique_ptr<PageBlobStore> OpenFarAway(const std::string& host = "h1") {
    return *OpenFarAway(blobs_, host);
  }
  static absl::Status Begin(ReplicaStore& store, const Step& step) {
    return store.Begin(step.batches);
  }

  std::vector<HeldStrand*> writers_;  // of the store that was opened last
  int arrivals_ = 0;
  uint64_t delivery_bytes_ = 1;  // each group is enough for one
};

// Four groups of one write each, behind the beginning of the stream, and a point.
Script FourWrites() {
  Author author;
  author.EpochBegin(true);
  author.SyncEnd();
  author.EndGroup();
  author.Data(0, 0, 4096, 'a');
  author.Writes();
  author.EndGroup();
  author.Data(1, 8192, 512, 'b');
  author.Writes();
  author.EndGroup();
  author.Data(0, 8192, 512, 'c');
  author.Writes();
  author.EndGroup();
  author.Data(0, 512, 1024, 'd');
  author.Writes();
  author.EndGroup();
  author.Point("p1");
  author.EndGroup();
  return author.Take();
}

TEST_F(DeliveriesTest, TellsAPositionWhenAllBeforeItHasArrived) {
  const std::vector<Step> steps = FourWrites().steps;
  auto store = OpenFarAway();
  ASSERT_TRUE(Begin(*store, steps[0]).ok());
  EXPECT_EQ(store->position(), steps[0].position);
  ASSERT_TRUE(Begin(*store, steps[1]).ok());
  ASSERT_TRUE(Begin(*store, steps[2]).ok());
  EXPECT_EQ(store->position(), steps[0].position);
  EXPECT_GT(store->under_way_bytes(), 4096u + 512);
  EXPECT_EQ(blobs_.puts, 2u) << "the footers alone";

  writers_[1]->RunHeld();
  EXPECT_EQ(arrivals_, 1);
  ASSERT_TRUE(store->Settle().ok());
  EXPECT_EQ(store->position(), steps[0].position) << "the one before is not there";
  EXPECT_EQ(ContentOf(1)[8192], 'b');
  EXPECT_EQ(ContentOf(0)[0], '\0');

  writers_[0]->RunHeld();
  EXPECT_EQ(arrivals_, 2);
  ASSERT_TRUE(store->Settle().ok());
  EXPECT_EQ(store->position(), steps[2].position);
  EXPECT_EQ(store->under_way_bytes(), 0u);
  ExpectDisks(steps[2].disks);
}

TEST_F(DeliveriesTest, TellsAPositionOnceForSeveralThatHaveArrived) {
  Author author;
  author.EpochBegin(true);
  author.EndGroup();
  for (uint64_t i = 0; i < 6; ++i) {
    author.Data(0, i * 512, 512, 'a');
    author.Writes();
    author.EndGroup();
  }
  const std::vector<Step> steps = author.Take().steps;
  auto store = OpenFarAway();
  for (const Step& step : steps) ASSERT_TRUE(Begin(*store, step).ok());
  for (size_t i = 0; i < 3; ++i) writers_[i]->RunHeld();
  ASSERT_TRUE(store->Settle().ok());
  EXPECT_EQ(store->position(), steps[0].position) << "others are on their way";
  writers_[3]->RunHeld();
  ASSERT_TRUE(store->Settle().ok());
  EXPECT_EQ(store->position(), steps[4].position);
  for (size_t i = 4; i < 6; ++i) writers_[i]->RunHeld();
  ASSERT_TRUE(store->Settle().ok());
  EXPECT_EQ(store->position(), steps[6].position) << "nothing else is to come";
}

TEST_F(DeliveriesTest, WaitsForWhatItWouldWriteOver) {
  Author author;
  author.EpochBegin(true);
  author.EndGroup();
  author.Data(0, 0, 4096, 'a');
  author.Writes();
  author.EndGroup();
  author.Data(0, 512, 1024, 'b');
  author.Writes();
  author.EndGroup();
  const std::vector<Step> steps = author.Take().steps;
  auto store = OpenFarAway();
  for (const Step& step : steps) ASSERT_TRUE(Begin(*store, step).ok());
  EXPECT_EQ(store->position(), steps[1].position);
  writers_[1]->RunHeld();
  writers_[0]->RunHeld();
  ASSERT_TRUE(store->Settle().ok());
  EXPECT_EQ(store->position(), steps[2].position);
  ExpectDisks(steps[2].disks);
}

TEST_F(DeliveriesTest, WaitsForTheOldestWhereTooManyAreUnderWay) {
  Author author;
  author.EpochBegin(true);
  author.EndGroup();
  for (uint64_t i = 0; i < 40; ++i) {
    author.Data(0, i * 512, 512, 'a');
    author.Writes();
    author.EndGroup();
  }
  const std::vector<Step> steps = author.Take().steps;
  auto store = OpenFarAway();
  size_t begun = 0;
  while (begun < steps.size() && store->position() <= steps[0].position)
    ASSERT_TRUE(Begin(*store, steps[begun++]).ok());
  EXPECT_GT(begun, writers_.size());
  EXPECT_LT(begun, steps.size());
  EXPECT_EQ(store->position(), steps[1].position);
  EXPECT_EQ(blobs_.puts, 3u);
}

TEST_F(DeliveriesTest, KeepsLittleBackWhileSomethingIsUnderWay) {
  const std::vector<Step> steps = FourWrites().steps;
  delivery_bytes_ = kMiB;
  auto store = OpenFarAway();
  for (size_t i = 0; i < 4; ++i) ASSERT_TRUE(Begin(*store, steps[i]).ok());
  for (HeldStrand* writer : writers_) writer->RunHeld();
  EXPECT_EQ(blobs_.puts, 3u) << "the first, beside the footers";
  EXPECT_EQ(arrivals_, 1);
  ASSERT_TRUE(store->Settle().ok());
  EXPECT_EQ(store->position(), steps[1].position);
  EXPECT_GT(store->under_way_bytes(), 1024u);
  for (HeldStrand* writer : writers_) writer->RunHeld();
  ASSERT_TRUE(store->Settle().ok());
  EXPECT_EQ(store->position(), steps[3].position);
  EXPECT_EQ(store->under_way_bytes(), 0u);
  ExpectDisks(steps[3].disks);
}

TEST_F(DeliveriesTest, MakesAPointOfAllThatCameBeforeIt) {
  const Script script = FourWrites();
  auto store = OpenFarAway();
  for (const Step& step : script.steps) ASSERT_TRUE(Begin(*store, step).ok());
  EXPECT_EQ(store->position(), script.steps.back().position);
  EXPECT_EQ(Ids(*store), std::vector<std::string>{"p1"});
  ExpectPoints(*store, script.points);
}

TEST_F(DeliveriesTest, TakesAgainWhatFollowsAFailure) {
  const std::vector<Step> steps = FourWrites().steps;
  auto store = OpenFarAway();
  ASSERT_TRUE(Begin(*store, steps[0]).ok());
  ASSERT_TRUE(Begin(*store, steps[1]).ok());
  ASSERT_TRUE(Begin(*store, steps[2]).ok());
  blobs_.lost = absl::ResourceExhaustedError("ServerBusy");
  blobs_.loss = [](absl::string_view, const std::string& blob) {
    return blob == "m1/d0.vhd" ? ModelPageBlobs::Loss::kBefore : ModelPageBlobs::Loss::kNone;
  };
  for (HeldStrand* writer : writers_) writer->RunHeld();
  EXPECT_TRUE(absl::IsResourceExhausted(store->Settle()));
  EXPECT_EQ(store->under_way_bytes(), 0u);
  EXPECT_EQ(store->position(), steps[0].position);
  EXPECT_TRUE(absl::IsOutOfRange(Begin(*store, steps[3]))) << "from what was lost on";

  blobs_.loss = nullptr;
  for (size_t i = 1; i < steps.size(); ++i) ASSERT_TRUE(Begin(*store, steps[i]).ok());
  ASSERT_TRUE(store->Finish().ok());
  ExpectDisks(steps.back().disks);
}

TEST_F(DeliveriesTest, IsRefusedOnceAnotherHasTheReplica) {
  const std::vector<Step> steps = FourWrites().steps;
  auto store = OpenFarAway();
  std::vector<HeldStrand*> writers = writers_;
  ASSERT_TRUE(Begin(*store, steps[0]).ok());
  ASSERT_TRUE(Begin(*store, steps[1]).ok());
  ASSERT_TRUE(Begin(*store, steps[2]).ok());
  auto other = OpenFarAway("h2");
  ASSERT_EQ(other->position(), steps[0].position);
  ASSERT_TRUE(Apply(*other, steps[1]).ok());
  for (HeldStrand* writer : writers) writer->RunHeld();
  EXPECT_TRUE(absl::IsCancelled(store->Settle()));
  EXPECT_EQ(ContentOf(1)[8192], '\0') << "what was on its way did not arrive";
  EXPECT_TRUE(absl::IsCancelled(Begin(*store, steps[1])));
}

TEST_F(DeliveriesTest, NothingArrivesAfterItLeft) {
  const std::vector<Step> steps = FourWrites().steps;
  auto store = OpenFarAway();
  ASSERT_TRUE(Begin(*store, steps[0]).ok());
  ASSERT_TRUE(Begin(*store, steps[1]).ok());
  store->Leave();
  for (HeldStrand* writer : writers_) writer->RunHeld();
  EXPECT_EQ(blobs_.puts, 2u);
  EXPECT_EQ(arrivals_, 0);
}

// With threads, as a process server has it: one strand takes and settles, others put.
TEST_F(DeliveriesTest, PutsOnThreadsComeToTheSameDisks) {
  std::mt19937 random(11);
  Author author;
  author.EpochBegin(true);
  author.SyncEnd();
  author.EndGroup();
  for (int i = 0; i < 300; ++i) {
    const uint64_t sector = random() % 120;
    author.Data(random() % 2, sector * 512, (1 + random() % 8) * 512,
                static_cast<char>(1 + random() % 100));
    author.Writes();
    if (i % 50 == 49) author.Point(absl::StrCat("p", i));
    author.EndGroup();
  }
  const Script script = author.Take();
  PageBlobStore::Replica replica = ReplicaOn("h1");
  replica.delivery_bytes = 1024;
  PageBlobStore::Claim claim;
  auto strand = MakeThreadStrand("replica");
  auto opened = PageBlobStore::Open(blobs_, clock_, replica, &claim, MakeThreadStrand);
  ASSERT_TRUE(opened.ok()) << opened.status();
  std::unique_ptr<PageBlobStore> store = std::move(opened->store);
  absl::Status settled;
  store->SetOnArrival([&] { strand->Post([&] { settled.Update(store->Settle()); }); });
  strand->Run([&] { EXPECT_TRUE(store->Fence(2).ok()); });
  for (const Step& step : script.steps) strand->Run([&] { EXPECT_TRUE(Begin(*store, step).ok()); });
  strand->Run([&] { EXPECT_TRUE(store->Finish().ok()); });
  strand->Run([&] { EXPECT_TRUE(settled.ok()) << settled; });
  EXPECT_EQ(store->position(), script.steps.back().position);
  strand->Stop();
  store.reset();
  ExpectDisks(script.steps.back().disks);
  ExpectPoints(*OpenFarAway("h2"), script.points);
}

// As the same of Apply(), with whatever happens to be under way.
TEST_F(DeliveriesTest, KeepsWhatItAcknowledgedThroughACrashAtEachRequest) {
  using Loss = ModelPageBlobs::Loss;
  Author author;
  author.EpochBegin(true);
  author.SyncEnd();
  author.Point("p1");
  author.EndGroup();
  for (int i = 0; i < 6; ++i) {
    author.Data(0, static_cast<uint64_t>(i) * 4096, 4096, static_cast<char>('a' + i));
    author.Data(1, 8192 + static_cast<uint64_t>(i % 3) * 512, 512, static_cast<char>('A' + i));
    author.Writes();
    author.EndGroup();
  }
  author.Point("p2");
  author.EndGroup();
  const Script script = author.Take();
  std::mt19937 random(7);
  uint64_t crashes = 0;
  bool through = false;
  for (uint64_t at = 1; !through; ++at) {
    for (int round = 0; round < 8; ++round) {
      const Loss loss = round % 2 == 0 ? Loss::kBefore : Loss::kAfter;
      SCOPED_TRACE(absl::StrCat("request ", at, ", round ", round));
      container_ = ModelContainer();
      StreamPosition acknowledged;
      ModelPageBlobs first(&container_);
      bool crashed = false;
      DieAt(at, loss, &first, &crashed);
      {
        auto opened = OpenFarAway(first, "h1");
        for (const Step& step : script.steps) {
          if (crashed || !opened.ok() || !Begin(**opened, step).ok()) break;
          if (random() % 2 == 0) writers_[random() % writers_.size()]->RunHeld();
          if (random() % 2 == 0 && !(*opened)->Settle().ok()) break;
          acknowledged = (*opened)->position();
        }
        if (!crashed && opened.ok() && (*opened)->Finish().ok())
          acknowledged = (*opened)->position();
      }
      through = !crashed;
      crashes += crashed ? 1 : 0;
      auto store = OpenFarAway("h2");
      ASSERT_GE(store->position(), acknowledged);
      ExpectPoints(*store, script.points);
      for (const Step& step : script.steps) ASSERT_TRUE(Begin(*store, step).ok());
      ASSERT_TRUE(store->Finish().ok());
      ExpectPoints(*store, script.points);
      ExpectDisks(script.steps.back().disks);
      EXPECT_EQ(Ids(*store), (std::vector<std::string>{"p1", "p2"}));
      if (HasFailure()) return;
    }
  }
  EXPECT_GT(crashes, 150u);
}

}  // namespace
}  // namespace homeward::testing
