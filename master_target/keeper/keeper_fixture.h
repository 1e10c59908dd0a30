// KeeperFixture: for tests of the keeper, on a disk that crashes.
#ifndef HOMEWARD_MASTER_TARGET_KEEPER_KEEPER_FIXTURE_H_
#define HOMEWARD_MASTER_TARGET_KEEPER_KEEPER_FIXTURE_H_

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "master_target/keeper/keeper.h"
#include "tests/fakes/held_strand.h"
#include "tests/fakes/memory_disk.h"
#include "tests/fakes/point_content.h"

namespace homeward {

inline constexpr uint64_t kDiskBytes = 64 * kKiB;

// A machine with two small disks, its keeper on a disk that crashes, and a model of every point.
class KeeperFixture : public ::testing::Test {
 protected:
  void Start(uint64_t seed) {
    keeper_.reset();  // It may still write.
    disk_ = std::make_unique<MemoryDisk>(seed);
    random_.seed(seed);
    ASSERT_TRUE(disk_->MakeDirectories("/ds").ok());
    for (int i = 0; i < 2; ++i) {
      auto file = disk_->Open(PathOf(i), OpenMode::kCreate);
      ASSERT_TRUE((*file)->Truncate(kDiskBytes).ok());
      ASSERT_TRUE((*file)->Sync().ok());
    }
    ASSERT_TRUE(disk_->SyncDirectory("/ds").ok());
    content_.assign(2, std::string(kDiskBytes, '\0'));
    points_.clear();
    position_ = {1, 0};
    ASSERT_TRUE(Open().ok());
    ASSERT_TRUE(Apply(SealEpochBegin({BatchKind::kEpochBegin, position_, 1}, {{}, true})).ok());
    ASSERT_TRUE(Apply(Write()).ok());
    BatchBuilder builder;
    ASSERT_TRUE(Apply(builder.Seal({BatchKind::kSyncEnd, Next(), 1})).ok());
  }
  static std::string PathOf(int i) { return absl::StrCat("/ds/", i, "-flat.vmdk"); }

  absl::Status Open() {
    std::vector<ReplicaDisk> disks;
    for (int i = 0; i < 2; ++i) {
      auto file = disk_->Open(PathOf(i), OpenMode::kReadWrite);
      if (!file.ok()) return file.status();
      disks.push_back({*std::move(file), kDiskBytes});
    }
    writers_.clear();
    auto keeper = Keeper::Open(*disk_, "/retention/m1", std::move(disks), options_);
    if (!keeper.ok()) return keeper.status();
    keeper_ = *std::move(keeper);
    keeper_->SetOnArrival([this] { ++arrivals_; });
    return absl::OkStatus();
  }
  // Keepers that are opened from now on write when RunHeld() says so, or when somebody
  // has to wait for it.
  void HoldWrites() {
    options_.make_strand = [this](const std::string&) {
      auto strand = std::make_unique<HeldStrand>();
      writers_.push_back(strand.get());
      return strand;
    };
  }
  void RunHeld() {
    for (HeldStrand* writer : writers_) writer->RunHeld();
  }

  StreamPosition Next() { return {position_.epoch, ++position_.sequence}; }

  // A sealed batch of random writes, applied to the model too.
  SealedBatch Write() {
    BatchBuilder builder;
    const int extents = 1 + random_() % 4;
    for (int i = 0; i < extents; ++i) {
      const uint32_t disk = random_() % 2;
      const uint64_t length = kSectorBytes * (1 + random_() % 8);
      const uint64_t offset =
          kSectorBytes * (random_() % ((kDiskBytes - length) / kSectorBytes + 1));
      if (random_() % 4 == 0) {
        builder.AddZeroes(disk, {offset, length});
        content_[disk].replace(offset, length, std::string(length, '\0'));
      } else {
        const MutableBytes place = builder.AddData(disk, {offset, length});
        for (uint8_t& byte : place) byte = static_cast<uint8_t>(random_());
        content_[disk].replace(offset, length, std::string(AsText(place)));
      }
    }
    return builder.Seal({BatchKind::kWrites, Next(), 1});
  }
  SealedBatch Fill(uint32_t disk, Extent extent, char byte) {
    BatchBuilder builder;
    std::memset(builder.AddData(disk, extent).data(), byte, extent.length);
    content_[disk].replace(extent.offset, extent.length, extent.length, byte);
    return builder.Seal({BatchKind::kWrites, Next(), 1});
  }
  SealedBatch Mark(Consistency consistency = Consistency::kUnknown) {
    const std::string id = absl::StrCat("p", points_.size());
    points_.push_back({id, content_});
    return SealMarker({BatchKind::kMarker, Next(), 1},
                      {PointKind::kCrashConsistent, absl::FromUnixSeconds(1000 + points_.size()),
                       id, consistency});
  }
  absl::Status Apply(const SealedBatch& batch) { return Apply(std::vector<SealedBatch>{batch}); }
  absl::Status Apply(const std::vector<SealedBatch>& batches) {
    std::vector<absl::string_view> sealed;
    for (const SealedBatch& batch : batches) sealed.push_back(batch.view());
    return keeper_->Apply(sealed);
  }

  void ExpectDisks(const std::vector<std::string>& content) {
    for (int i = 0; i < 2; ++i)
      ASSERT_TRUE(disk_->Content(PathOf(i)) == content[i]) << "disk " << i;
  }
  void ExpectView(const std::string& id, const std::vector<std::string>& content) {
    const auto seen = PointContent(*keeper_, id);
    ASSERT_TRUE(seen.ok()) << seen.status();
    for (int i = 0; i < 2; ++i) ASSERT_TRUE((*seen)[i] == content[i]) << id << " disk " << i;
  }

  struct ModelPoint {
    std::string id;
    std::vector<std::string> content;
  };
  std::unique_ptr<MemoryDisk> disk_;
  Keeper::Options options_;
  std::vector<HeldStrand*> writers_;  // of the keeper that was opened last
  int arrivals_ = 0;
  std::mt19937_64 random_;
  std::unique_ptr<Keeper> keeper_;
  std::vector<std::string> content_;
  std::vector<ModelPoint> points_;
  StreamPosition position_;
};

}  // namespace homeward

#endif  // HOMEWARD_MASTER_TARGET_KEEPER_KEEPER_FIXTURE_H_
