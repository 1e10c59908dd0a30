#include <gtest/gtest.h>

#include "common/base/bytes.h"
#include "process_server/host/process_server.h"

namespace homeward {
namespace {

control::v1::ProcessServerObserved Seen(uint64_t cache, uint64_t pending, uint64_t volume_free) {
  control::v1::ProcessServerObserved seen;
  seen.set_pending_bytes(pending);
  seen.set_cache_total_bytes(cache);
  seen.set_cache_free_bytes(CacheFreeOf(cache, pending, volume_free));
  return seen;
}

TEST(CacheTest, IsAsLargeAsConfigured) {
  EXPECT_EQ(CacheBytesOf(512 * kMiB, 100 * kGiB, 0), 512 * kMiB);
  EXPECT_EQ(CacheBytesOf(512 * kMiB, kMiB, 0), 512 * kMiB);
}

TEST(CacheTest, IsWhatTheVolumeCanSpareOtherwise) {
  EXPECT_EQ(CacheBytesOf(0, 4 * kGiB, 0), 3 * kGiB);
  EXPECT_EQ(CacheBytesOf(0, 3 * kGiB, kGiB), 3 * kGiB) << "what it holds is its own";
  EXPECT_EQ(CacheBytesOf(0, 100 * kGiB, 0), 8 * kGiB);
  EXPECT_EQ(CacheBytesOf(0, 0, 0), 64 * kMiB) << "one stream's share";
}

// A host's disk may be as full as it likes, while there is the room that the cache is meant to
// have.
TEST(CacheTest, IsWellOnANearlyFullVolumeThatHasItsRoom) {
  EXPECT_TRUE(JudgeProcessServer(Seen(kGiB, 0, kGiB)).empty());
  const auto issues = JudgeProcessServer(Seen(kGiB, 0, 200 * kMiB));
  ASSERT_EQ(issues.size(), 1);
  EXPECT_EQ(issues[0].problem().id(), "CACHE_LOW");
  EXPECT_EQ(issues[0].severity(), types::v1::CRITICAL);
  EXPECT_NE(issues[0].problem().message().find("other data is on its volume"), std::string::npos);
}

TEST(CacheTest, IsLowWhenItIsFullOfWhatWaits) {
  const auto warning = JudgeProcessServer(Seen(kGiB, 730 * kMiB, 500 * kGiB));
  ASSERT_EQ(warning.size(), 1);
  EXPECT_EQ(warning[0].severity(), types::v1::WARNING);
  const auto critical = JudgeProcessServer(Seen(kGiB, 800 * kMiB, 500 * kGiB));
  ASSERT_EQ(critical.size(), 1);
  EXPECT_EQ(critical[0].severity(), types::v1::CRITICAL);
  EXPECT_EQ(critical[0].problem().message().find("other data"), std::string::npos);
}

}  // namespace
}  // namespace homeward
