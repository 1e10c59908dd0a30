// A keeper that writes on threads of its own, on real files: groups are written while the next ones
// are taken, while others are synced, and while a point's groups are read.
#include <stdlib.h>

#include <filesystem>
#include <random>

#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"
#include "master_target/keeper/keeper.h"

namespace homeward {
namespace {

constexpr uint64_t kDiskBytes = 48 * kMiB;

// What happened to a disk, and what is to happen.
struct DiskWatch {
  absl::Mutex mutex;
  int writes ABSL_GUARDED_BY(mutex) = 0, syncs ABSL_GUARDED_BY(mutex) = 0;
  // The next sync waits until so many writes are done, and fails.
  int fails_after_writes ABSL_GUARDED_BY(mutex) = 0;
  bool HasWritten() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    return writes >= fails_after_writes;
  }
};

class WatchedFile : public File {
 public:
  WatchedFile(std::unique_ptr<File> below, DiskWatch* watch)
      : below_(std::move(below)), watch_(*watch) {}
  absl::Status Read(uint64_t offset, MutableBytes out) override {
    return below_->Read(offset, out);
  }
  absl::Status ReadMany(absl::Span<const ReadInto> reads) override {
    return below_->ReadMany(reads);
  }
  absl::Status BeginReadMany(absl::Span<const ReadInto> reads) override {
    return below_->BeginReadMany(reads);
  }
  absl::Status AwaitReads() override { return below_->AwaitReads(); }
  absl::Status Write(uint64_t offset, ConstBytes bytes) override {
    return below_->Write(offset, bytes);
  }
  absl::Status WriteMany(absl::Span<const WriteFrom> writes) override {
    absl::Status written = below_->WriteMany(writes);
    absl::MutexLock lock(&watch_.mutex);
    ++watch_.writes;
    return written;
  }
  absl::Status WriteZeroes(uint64_t offset, uint64_t length) override {
    return below_->WriteZeroes(offset, length);
  }
  absl::Status Sync() override {
    {
      absl::MutexLock lock(&watch_.mutex);
      ++watch_.syncs;
      if (watch_.fails_after_writes > 0) {
        EXPECT_TRUE(watch_.mutex.AwaitWithTimeout(absl::Condition(&watch_, &DiskWatch::HasWritten),
                                                  absl::Seconds(20)))
            << "nothing is written while it is synced";
        watch_.fails_after_writes = 0;
        return absl::UnknownError("what was written is lost");
      }
    }
    return below_->Sync();
  }
  absl::StatusOr<uint64_t> Size() override { return below_->Size(); }
  absl::StatusOr<uint64_t> NextData(uint64_t offset) override { return below_->NextData(offset); }
  absl::StatusOr<absl::Time> Modified() override { return below_->Modified(); }
  absl::Status Truncate(uint64_t size_bytes) override { return below_->Truncate(size_bytes); }

 private:
  const std::unique_ptr<File> below_;
  DiskWatch& watch_;
};

class KeeperThreadsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/var/tmp/homeward-keeper-XXXXXX";
    directory_ = ::mkdtemp(pattern);
    auto file = RealFileSystem().Open(directory_ + "/disk", OpenMode::kCreate);
    ASSERT_TRUE(file.ok() && (*file)->Truncate(kDiskBytes).ok());
    std::vector<ReplicaDisk> disks;
    disks.push_back(
        {std::make_unique<WatchedFile>(
             *RealFileSystem().Open(directory_ + "/disk", OpenMode::kReadWriteBulk), &watch_),
         kDiskBytes});
    auto keeper = Keeper::Open(RealFileSystem(), directory_ + "/retention", std::move(disks),
                               {.make_strand = MakeThreadStrand, .delivery_bytes = kMiB});
    ASSERT_TRUE(keeper.ok()) << keeper.status();
    keeper_ = *std::move(keeper);
    keeper_->SetOnArrival([this] {
      absl::MutexLock lock(&mutex_);
      ++arrivals_;
    });
    content_.resize(kDiskBytes);
    ASSERT_TRUE(
        keeper_->Begin({SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 1}, {{}, true})}).ok());
    BatchBuilder end;
    ASSERT_TRUE(keeper_->Begin({end.Seal({BatchKind::kSyncEnd, {1, ++sequence_}, 1})}).ok());
  }
  void TearDown() override {
    keeper_.reset();
    std::filesystem::remove_all(directory_);
  }

  // So many writes of 256 KiB, in batches of four, wherever they fall.
  void Write(int writes) {
    for (int batch = 0; batch < writes / 4; ++batch) {
      BatchBuilder builder;
      for (int i = 0; i < 4; ++i) {
        const uint64_t length = 256 * kKiB;
        const uint64_t at = random_() % ((kDiskBytes - length) / kSectorBytes) * kSectorBytes;
        const MutableBytes place = builder.AddData(0, {at, length});
        std::memset(place.data(), static_cast<int>(random_() % 255) + 1, length);
        content_.replace(at, length, std::string(AsText(place)));
      }
      const BatchHeader header{BatchKind::kWrites, {1, ++sequence_}, 1};
      ASSERT_TRUE(keeper_->Begin({builder.Seal(header)}).ok());
      if (batch % 3 == 0) ASSERT_TRUE(keeper_->Settle().ok());
    }
  }
  void Mark(const std::string& id) {
    const BatchHeader header{BatchKind::kMarker, {1, ++sequence_}, 1};
    const Marker marker{PointKind::kCrashConsistent, absl::FromUnixSeconds(1), id};
    ASSERT_TRUE(keeper_->Begin({SealMarker(header, marker)}).ok());
  }
  std::string OnDisk() {
    return *ReadWholeFile(RealFileSystem(), directory_ + "/disk", kDiskBytes);
  }

  DiskWatch watch_;
  std::string directory_, content_;
  std::mt19937_64 random_{1};
  uint64_t sequence_ = 0;
  absl::Mutex mutex_;
  int arrivals_ = 0;
  std::unique_ptr<Keeper> keeper_;
};

TEST_F(KeeperThreadsTest, WhatIsWrittenBesideIsAllThereAndEveryPointIsReached) {
  Write(128);
  Mark("first");
  const std::string first = content_;
  Write(240);
  Mark("second");
  const std::string second = content_;
  Write(100);
  ASSERT_TRUE(keeper_->Finish().ok());
  EXPECT_EQ(keeper_->position(), (StreamPosition{1, sequence_}));
  EXPECT_TRUE(OnDisk() == content_);
  {
    absl::MutexLock lock(&mutex_);
    EXPECT_GT(arrivals_, 0);
  }
  for (const bool older : {true, false, true}) {
    ASSERT_TRUE(keeper_->RecoverTo(older ? "first" : "second").ok());
    EXPECT_TRUE(OnDisk() == (older ? first : second));
  }
}

// A later sync of the same file would find nothing wrong: the kernel tells of a failure once.
TEST_F(KeeperThreadsTest, ASyncThatFailsIsOfAllThatWasWrittenUntilThen) {
  const StreamPosition before = keeper_->position();
  {
    absl::MutexLock lock(&watch_.mutex);
    watch_.writes = watch_.syncs = 0;
    watch_.fails_after_writes = 2;
  }
  for (uint64_t at : {0, 4}) {
    BatchBuilder builder;
    const MutableBytes place = builder.AddData(0, {at * kMiB, kMiB});
    std::memset(place.data(), 1, place.size());
    const BatchHeader header{BatchKind::kWrites, {1, ++sequence_}, 1};
    ASSERT_TRUE(keeper_->Begin({builder.Seal(header)}).ok());
  }
  EXPECT_EQ(keeper_->Finish().code(), absl::StatusCode::kUnknown);
  EXPECT_EQ(keeper_->position(), before);
  EXPECT_EQ(keeper_->under_way_bytes(), 0u);
  absl::MutexLock lock(&watch_.mutex);
  EXPECT_EQ(watch_.writes, 2);
  EXPECT_EQ(watch_.syncs, 1) << "of the second group nobody may say that it is there";
}

}  // namespace
}  // namespace homeward
