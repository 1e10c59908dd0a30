// A keeper that writes on a thread of its own, on real files: groups are written while the next
// ones are taken, and while a point's groups are read.
#include <stdlib.h>

#include <filesystem>
#include <random>

#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"
#include "master_target/keeper/keeper.h"

namespace homeward {
namespace {

constexpr uint64_t kDiskBytes = 48 * kMiB;

class KeeperThreadsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/var/tmp/homeward-keeper-XXXXXX";
    directory_ = ::mkdtemp(pattern);
    auto file = RealFileSystem().Open(directory_ + "/disk", OpenMode::kCreate);
    ASSERT_TRUE(file.ok() && (*file)->Truncate(kDiskBytes).ok());
    std::vector<ReplicaDisk> disks;
    disks.push_back(
        {*RealFileSystem().Open(directory_ + "/disk", OpenMode::kReadWriteBulk), kDiskBytes});
    auto keeper = Keeper::Open(RealFileSystem(), directory_ + "/retention", std::move(disks),
                               {.make_strand = MakeThreadStrand});
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

}  // namespace
}  // namespace homeward
