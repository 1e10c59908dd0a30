#include "process_server/spool/spool.h"

#include <algorithm>

#include "common/wire/change_batch.h"
#include "gtest/gtest.h"
#include "tests/fakes/memory_disk.h"
#include "tests/golden/archive.h"

namespace homeward {
namespace {

SealedBatch Batch(StreamPosition position) {
  if (position.sequence == 0) return SealEpochBegin({BatchKind::kEpochBegin, position, 1}, {});
  BatchBuilder builder;
  const MutableBytes place = builder.AddData(0, {position.sequence * 512, 512});
  std::fill(place.begin(), place.end(), 0);
  return builder.Seal({BatchKind::kWrites, position, 1});
}

class SpoolTest : public ::testing::Test {
 protected:
  std::unique_ptr<Spool> Open() {
    auto spool = Spool::Open(disk_, {"/spool/m1", 2000});
    EXPECT_TRUE(spool.ok()) << spool.status();
    return spool.ok() ? *std::move(spool) : nullptr;
  }
  MemoryDisk disk_{1};
};

TEST_F(SpoolTest, HoldsWhatWasSyncedThroughEveryCrash) {
  for (uint64_t seed = 1; seed < 100; ++seed) {
    disk_ = MemoryDisk(seed);
    auto spool = Open();
    for (uint64_t i = 0; i < 10; ++i) {
      ASSERT_TRUE(spool->Append({1, i}, Batch({1, i})).ok());
      if (i == 6) {
        ASSERT_TRUE(spool->Sync().ok());
      }
    }
    disk_.Crash();
    spool = Open();
    ASSERT_GE(spool->held(), (StreamPosition{1, 6})) << "seed " << seed;
    StreamPosition at;
    for (uint64_t i = 0; i <= spool->held().sequence; ++i) {
      auto sealed = spool->ReadBehind(at);
      ASSERT_TRUE(sealed.ok());
      ASSERT_EQ(*sealed, Batch({1, i})) << "seed " << seed;
      at = {1, i};
    }
    ASSERT_TRUE(spool->Append({1, at.sequence + 1}, Batch({1, at.sequence + 1})).ok());
  }
}

TEST_F(SpoolTest, KeepsItsPositionWhenEverythingWasForwarded) {
  auto spool = Open();
  for (uint64_t i = 0; i < 20; ++i) ASSERT_TRUE(spool->Append({1, i}, Batch({1, i})).ok());
  ASSERT_TRUE(spool->Sync().ok());
  const uint64_t full = spool->disk_bytes();
  ASSERT_TRUE(spool->DropThrough({1, 19}).ok());
  EXPECT_EQ(spool->pending_bytes(), 0);
  EXPECT_LT(spool->disk_bytes(), full / 3);
  spool = Open();
  EXPECT_EQ(spool->held(), (StreamPosition{1, 19}));
  EXPECT_TRUE(spool->CanResumeAfter({1, 19}));
  EXPECT_FALSE(spool->CanResumeAfter({1, 3}));
}

TEST_F(SpoolTest, WhatVersion1LeftBehindIsOpened) {
  auto spool = Open();
  for (uint64_t i = 0; i < 6; ++i) ASSERT_TRUE(spool->Append({9, i}, Batch({9, i})).ok());
  ASSERT_TRUE(spool->Sync().ok());
  ASSERT_TRUE(spool->SkipTo({9, 9}).ok());
  ASSERT_TRUE(spool->Append({9, 10}, Batch({9, 10})).ok());
  ASSERT_TRUE(spool->Sync().ok());
  testing::ExpectGolden("spool_v1.bin", testing::Pack(disk_, "/spool/m1"));

  disk_ = MemoryDisk(2);
  testing::Unpack(testing::ReadGolden("spool_v1.bin"), disk_, "/spool/m1");
  spool = Open();
  ASSERT_NE(spool, nullptr);
  EXPECT_EQ(spool->held(), (StreamPosition{9, 10}));
  EXPECT_EQ(*spool->ReadBehind({9, 9}), Batch({9, 10}));
}

TEST_F(SpoolTest, AStreamGoesOnBehindWhatWasDurableWithoutTheSpool) {
  for (uint64_t seed = 1; seed < 60; ++seed) {
    disk_ = MemoryDisk(seed);
    auto spool = Open();
    for (uint64_t i = 0; i < 12; ++i) ASSERT_TRUE(spool->Append({1, i}, Batch({1, i})).ok());
    ASSERT_TRUE(spool->Sync().ok());
    disk_.DieAfter(seed % 12);
    const bool skipped = spool->SkipTo({1, 30}).ok();
    disk_.Crash();
    spool = Open();
    ASSERT_NE(spool, nullptr) << "seed " << seed;
    ASSERT_TRUE(spool->held() == (StreamPosition{1, 30}) ||
                (!skipped && spool->held() == (StreamPosition{1, 11})))
        << "seed " << seed << ": " << spool->held().ToString();
    EXPECT_TRUE(!skipped || spool->pending_bytes() == 0) << "seed " << seed;
    const uint64_t next = spool->held().sequence + 1;
    ASSERT_TRUE(spool->Append({1, next}, Batch({1, next})).ok());
  }
}

TEST_F(SpoolTest, AFullDiskRefusesAndStaysUsable) {
  auto spool = Open();
  ASSERT_TRUE(spool->Append({1, 0}, Batch({1, 0})).ok());
  disk_.set_capacity_bytes(spool->disk_bytes() + 10);
  EXPECT_EQ(spool->Append({1, 1}, Batch({1, 1})).code(), absl::StatusCode::kResourceExhausted);
  disk_.set_capacity_bytes(UINT64_MAX);
  ASSERT_TRUE(spool->Append({1, 1}, Batch({1, 1})).ok());
  ASSERT_TRUE(spool->Sync().ok());
  EXPECT_EQ(Open()->held(), (StreamPosition{1, 1}));
}

}  // namespace
}  // namespace homeward
