#include "common/journal/record_log.h"

#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/fakes/memory_disk.h"
#include "tests/golden/golden.h"

namespace homeward {
namespace {

constexpr char kPath[] = "/logs/1.log";

class RecordLogTest : public ::testing::Test {
 protected:
  RecordLogTest() { EXPECT_TRUE(disk_.MakeDirectories("/logs").ok()); }

  std::unique_ptr<RecordLog> Create() {
    auto log = RecordLog::Create(disk_, kPath, LogPurpose::kDelta, 1);
    EXPECT_TRUE(log.ok()) << log.status();
    EXPECT_TRUE((*log)->Sync().ok());
    EXPECT_TRUE(disk_.SyncDirectory("/logs").ok());
    return *std::move(log);
  }
  absl::StatusOr<std::unique_ptr<RecordLog>> Reopen(std::vector<std::string>* bodies) {
    bodies->clear();
    return RecordLog::Open(disk_, kPath, LogPurpose::kDelta, 1, [&](const LogRecord& record) {
      bodies->emplace_back(record.body);
      return absl::OkStatus();
    });
  }

  MemoryDisk disk_{1};
};

TEST_F(RecordLogTest, HasTheGoldenBytes) {
  auto log = Create();
  ASSERT_TRUE(log->Append(1, "first").ok());
  ASSERT_TRUE(log->Sync().ok());
  ASSERT_TRUE(log->Append(2, "second").ok());
  testing::ExpectGolden("record_log_v1.bin", disk_.Content(kPath));
}

TEST_F(RecordLogTest, ReplayStopsAtTheLastWholeRecordAfterATornWrite) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    disk_ = MemoryDisk(seed);
    ASSERT_TRUE(disk_.MakeDirectories("/logs").ok());
    std::mt19937_64 random(seed);
    auto log = Create();
    std::vector<std::string> written;
    size_t synced = 0;
    for (int i = 0; i < 12; ++i) {
      written.push_back(std::string(1 + random() % 3000, static_cast<char>('a' + i)));
      ASSERT_TRUE(log->Append(1, written.back()).ok());
      if (random() % 3 == 0) {
        ASSERT_TRUE(log->Sync().ok());
        synced = written.size();
      }
    }
    disk_.Crash();
    std::vector<std::string> bodies;
    auto reopened = Reopen(&bodies);
    ASSERT_TRUE(reopened.ok()) << "seed " << seed << ": " << reopened.status();
    ASSERT_GE(bodies.size(), synced) << "seed " << seed;
    for (size_t i = 0; i < bodies.size(); ++i) ASSERT_EQ(bodies[i], written[i]) << "seed " << seed;
    ASSERT_TRUE((*reopened)->Append(1, "after").ok());
    ASSERT_TRUE((*reopened)->Sync().ok());
    bodies.clear();
    ASSERT_TRUE(Reopen(&bodies).ok());
    ASSERT_EQ(bodies.back(), "after");
  }
}

TEST_F(RecordLogTest, DamageBeforeTheLastSyncIsRefusedWithFileAndOffset) {
  auto log = Create();
  const absl::StatusOr<uint64_t> offset = log->Append(1, std::string(100, 'x'));
  ASSERT_TRUE(offset.ok());
  ASSERT_TRUE(log->Sync().ok());
  ASSERT_TRUE(log->Append(1, "later").ok());
  ASSERT_TRUE(log->Sync().ok());
  disk_.FlipByte(kPath, *offset + 60);
  std::vector<std::string> bodies;
  const absl::Status status = Reopen(&bodies).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(status.message().find("/logs/1.log: no whole record at offset 24"),
            absl::string_view::npos)
      << status;
}

TEST_F(RecordLogTest, AFullDiskLeavesTheLogUsable) {
  auto log = Create();
  ASSERT_TRUE(log->Append(1, "kept").ok());
  disk_.set_capacity_bytes(200);
  EXPECT_EQ(log->Append(1, std::string(1000, 'x')).status().code(),
            absl::StatusCode::kResourceExhausted);
  ASSERT_TRUE(log->Append(1, "small").ok());
  ASSERT_TRUE(log->Sync().ok());
  std::vector<std::string> bodies;
  ASSERT_TRUE(Reopen(&bodies).ok());
  EXPECT_EQ(bodies, (std::vector<std::string>{"kept", "small"}));
}

TEST_F(RecordLogTest, AFailedSyncIsFinal) {
  auto log = Create();
  ASSERT_TRUE(log->Append(1, "x").ok());
  disk_.FailSyncs(1);
  EXPECT_FALSE(log->Sync().ok());
  EXPECT_FALSE(log->Sync().ok()) << "the second sync would claim what the first lost";
  EXPECT_FALSE(log->Append(1, "y").ok());
}

TEST_F(RecordLogTest, ASyncThatFindsTheDiskFullIsNothingToGoOnAfter) {
  auto log = Create();
  ASSERT_TRUE(log->Append(1, "x").ok());
  disk_.FailSyncs(1, absl::ResourceExhaustedError("the disk is full"));
  const absl::Status failed = log->Sync();
  EXPECT_TRUE(absl::IsUnavailable(failed)) << failed;
  EXPECT_NE(failed.message().find("the disk is full"), absl::string_view::npos) << failed;
  EXPECT_TRUE(absl::IsUnavailable(log->Append(1, "y").status()));
}

TEST_F(RecordLogTest, AFileThatIsUsedAgainHoldsOnlyWhatWasWrittenSince) {
  const std::string old = "/log-1", path = "/log-2";
  auto first = *RecordLog::Create(disk_, old, LogPurpose::kDelta, 1);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(first->Append(1, std::string(100, 'a')).ok());
  ASSERT_TRUE(first->Sync().ok());
  const uint64_t bytes = first->size_bytes();
  first.reset();
  auto log = *RecordLog::Reuse(disk_, old, LogPurpose::kDelta, 2);
  ASSERT_TRUE(log->Append(1, std::string(100, 'b')).ok());
  ASSERT_TRUE(log->Sync().ok());
  ASSERT_TRUE(log->Rename(disk_, path).ok());
  EXPECT_EQ(log->file_bytes(), bytes);
  const auto read = [&] {
    std::string all;
    EXPECT_TRUE(RecordLog::Scan(disk_, path, LogPurpose::kDelta, 2, [&](const LogRecord& record) {
                  all += record.body.front();
                  return absl::OkStatus();
                }).ok());
    return all;
  };
  EXPECT_EQ(read(), "b") << "what was there before is of another number";
  ASSERT_TRUE(log->Append(1, "c").ok());
  ASSERT_TRUE(log->Trim().ok());
  EXPECT_EQ(disk_.Content(path).size(), log->size_bytes());
  EXPECT_EQ(read(), "bc");
}

}  // namespace
}  // namespace homeward
