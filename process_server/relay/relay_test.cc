#include "process_server/relay/bandwidth.h"
#include "process_server/relay/compression_choice.h"

#include "gtest/gtest.h"

namespace homeward {
namespace {

class ManualClock : public Clock {
 public:
  absl::Time Now() const override { return absl::UnixEpoch() + now; }
  absl::Duration Monotonic() const override { return now; }
  absl::Duration now = absl::Seconds(1);
};

TEST(Bandwidth, TheMeanHoldsWhateverTheBatchSize) {
  ManualClock clock;
  Bandwidth bandwidth(clock, 1000);
  uint64_t sent = 0;
  for (int i = 0; i < 100000; ++i) {
    clock.now += absl::Milliseconds(1);
    if (!bandwidth.MaySend()) continue;
    bandwidth.Sent(700);
    sent += 700;
  }
  EXPECT_GE(sent, 99000u);
  EXPECT_LE(sent, 101700u) << "one second's bytes and one batch more at most";
  bandwidth.SetRate(0);
  EXPECT_TRUE(bandwidth.MaySend());
}

TEST(CompressionChoice, CompressesWhereTheLinkLimitsAndLooksAgain) {
  CompressionChoice choice;
  absl::Duration now = absl::Seconds(1);
  const auto run = [&](uint64_t bytes_per_second, int seconds, bool waiting) {
    for (int i = 0; i < seconds * 10; ++i) {
      now += absl::Milliseconds(100);
      choice.Observe(now, bytes_per_second / 10, waiting);
    }
  };
  run(200'000'000, 5, true);
  EXPECT_FALSE(choice.compress()) << "a fast link";
  run(1'000'000, 5, false);
  EXPECT_FALSE(choice.compress()) << "little to send is not a slow link";
  run(10'000'000, 3, true);
  EXPECT_TRUE(choice.compress());
  run(200'000'000, 70, true);
  EXPECT_FALSE(choice.compress()) << "the link has become fast";
}

}  // namespace
}  // namespace homeward
