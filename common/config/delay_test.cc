#include "common/config/delay.h"

#include <algorithm>
#include <vector>

#include "common/wire/time_proto.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/memory_disk.h"

namespace homeward {
namespace {

using config::v1::Delay;

class DelayTest : public testing::Test {
 protected:
  absl::Duration Draw(const Delay& delay, uint64_t random_seed) {
    const absl::StatusOr<DelaySource> source = DelaySource::Open(disk_, delay);
    EXPECT_TRUE(source.ok()) << source.status();
    return source.ok() ? source->Draw(random_seed) : absl::InfiniteDuration();
  }
  // Of so many seeds, shortest first.
  std::vector<absl::Duration> DrawMany(const Delay& delay, uint64_t count) {
    std::vector<absl::Duration> drawn;
    for (uint64_t seed = 1; seed <= count; ++seed) drawn.push_back(Draw(delay, seed));
    std::sort(drawn.begin(), drawn.end());
    return drawn;
  }
  Delay TraceOf(const std::string& text) {
    EXPECT_TRUE(WriteFileAtomically(disk_, "/trace", text).ok());
    Delay delay;
    delay.mutable_trace()->set_file("/trace");
    return delay;
  }

  MemoryDisk disk_{1};
};

TEST_F(DelayTest, IsFixedOrDrawnAndTheSameForTheSameSeed) {
  Delay delay;
  EXPECT_EQ(Draw(delay, 1), absl::ZeroDuration());
  *delay.mutable_fixed() = ToProto(absl::Minutes(15));
  EXPECT_EQ(Draw(delay, 1), absl::Minutes(15));
  *delay.mutable_uniform()->mutable_min() = ToProto(absl::Seconds(10));
  *delay.mutable_uniform()->mutable_max() = ToProto(absl::Seconds(20));
  for (uint64_t seed = 1; seed < 100; ++seed) {
    const absl::Duration drawn = Draw(delay, seed);
    EXPECT_GE(drawn, absl::Seconds(10));
    EXPECT_LE(drawn, absl::Seconds(20));
    EXPECT_EQ(Draw(delay, seed), drawn);
  }
  delay.set_seed(7);
  EXPECT_EQ(Draw(delay, 1), Draw(delay, 2));
}

TEST_F(DelayTest, ALogNormalOneHasItsMedianAndItsLimit) {
  Delay delay;
  *delay.mutable_log_normal()->mutable_median() = ToProto(absl::Seconds(100));
  delay.mutable_log_normal()->set_sigma(0.5);
  *delay.mutable_log_normal()->mutable_max() = ToProto(absl::Seconds(200));
  const std::vector<absl::Duration> drawn = DrawMany(delay, 1001);
  EXPECT_GT(drawn[500], absl::Seconds(85));
  EXPECT_LT(drawn[500], absl::Seconds(115));
  EXPECT_EQ(drawn.back(), absl::Seconds(200));
}

TEST_F(DelayTest, AnExponentialOneHasItsMeanAndItsLimit) {
  Delay delay;
  *delay.mutable_exponential()->mutable_mean() = ToProto(absl::Seconds(100));
  std::vector<absl::Duration> drawn = DrawMany(delay, 2001);
  absl::Duration sum;
  for (const absl::Duration one : drawn) sum += one;
  EXPECT_GT(sum / 2001, absl::Seconds(90));
  EXPECT_LT(sum / 2001, absl::Seconds(110));
  // The median is 0.69 of the mean, and one of 150 is five times the mean.
  EXPECT_GT(drawn[1000], absl::Seconds(60));
  EXPECT_LT(drawn[1000], absl::Seconds(78));
  EXPECT_GT(drawn.back(), absl::Seconds(500));
  *delay.mutable_exponential()->mutable_max() = ToProto(absl::Seconds(300));
  EXPECT_EQ(DrawMany(delay, 2001).back(), absl::Seconds(300));
}

TEST_F(DelayTest, ATraceIsTakenLineByLineAndGoesRound) {
  const Delay delay = TraceOf("# measured\n1s\n\n2m30s  # a slow one\n1.5s\n");
  const absl::StatusOr<DelaySource> source = DelaySource::Open(disk_, delay);
  ASSERT_TRUE(source.ok()) << source.status();
  std::vector<absl::Duration> taken;
  for (uint64_t number = 1; number <= 4; ++number) taken.push_back(source->DrawAs(number));
  EXPECT_THAT(taken, testing::ElementsAre(absl::Seconds(1), absl::Seconds(150), absl::Seconds(1.5),
                                          absl::Seconds(1)));
}

TEST_F(DelayTest, ATraceWithASeedIsThatLineAndWithoutOneAnyOfThem) {
  Delay delay = TraceOf("1s\n2s\n3s\n");
  const std::vector<absl::Duration> drawn = DrawMany(delay, 100);
  EXPECT_EQ(drawn.front(), absl::Seconds(1));
  EXPECT_EQ(drawn.back(), absl::Seconds(3));
  delay.set_seed(2);
  EXPECT_EQ(Draw(delay, 1), absl::Seconds(2));
  EXPECT_EQ(Draw(delay, 99), absl::Seconds(2));
}

TEST_F(DelayTest, ABadLineOfATraceIsNamed) {
  for (const std::string bad : {"soon", "-3s", "inf", "12"}) {
    const absl::Status status =
        DelaySource::Open(disk_, TraceOf("1s\n# two\n" + bad + "\n2s\n")).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), testing::StartsWith("/trace:3: \"" + bad + "\""));
  }
  EXPECT_THAT(std::string(DelaySource::Open(disk_, TraceOf("# none\n")).status().message()),
              testing::StartsWith("/trace has no durations"));
}

TEST_F(DelayTest, ATraceFileThatIsNotThereIsNamed) {
  Delay delay;
  delay.mutable_trace()->set_file("/missing");
  const absl::Status status = DelaySource::Open(disk_, delay).status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("/missing"));
}

}  // namespace
}  // namespace homeward
