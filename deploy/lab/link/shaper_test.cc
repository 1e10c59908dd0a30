#include "deploy/lab/link/shaper.h"

#include <cmath>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

using absl::Microseconds;
using absl::Milliseconds;
using absl::Seconds;
using absl::ZeroDuration;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

constexpr uint64_t kMegabit = 1'000'000;

// A shaper with a clock that jumps from one departure to the next.
class Line {
 public:
  explicit Line(const ShaperSettings& settings, uint64_t seed = 1, uint64_t packets_max = 100'000)
      : shaper_(settings, {.seed = seed, .packets_max = packets_max}) {}

  bool Send(uint32_t size_bytes) { return shaper_.Enqueue(next_packet_++, size_bytes, now_); }

  // Lets time pass until `end` and returns what departed, each exactly when it was due.
  std::vector<std::pair<uint64_t, absl::Duration>> Until(absl::Duration end) {
    std::vector<std::pair<uint64_t, absl::Duration>> departed;
    for (;;) {
      const std::optional<absl::Duration> next = shaper_.NextDeparture();
      if (!next.has_value() || *next > end) break;
      EXPECT_GE(*next, now_);
      now_ = *next;
      while (const std::optional<uint64_t> packet = shaper_.Depart(now_))
        departed.emplace_back(*packet, now_);
    }
    now_ = end;
    EXPECT_EQ(shaper_.Depart(now_), std::nullopt);
    EXPECT_EQ(shaper_.Counters(now_).late_max, ZeroDuration());
    return departed;
  }
  std::vector<std::pair<uint64_t, absl::Duration>> UntilEmpty() {
    return Until(now_ + absl::Hours(1));
  }

  ShaperCounters counters() { return shaper_.Counters(now_); }
  void Change(const ShaperSettings& settings) { shaper_.Change(settings, now_); }
  absl::Duration now() const { return now_; }

 private:
  Shaper shaper_;
  absl::Duration now_ = Seconds(1000);
  uint64_t next_packet_ = 0;
};

absl::Duration At(absl::Duration since_start) { return Seconds(1000) + since_start; }

TEST(ShaperTest, PassesAtOnceWhatNothingIsAskedOf) {
  Line line({});
  EXPECT_TRUE(line.Send(1500));
  EXPECT_TRUE(line.Send(40));
  EXPECT_THAT(line.Until(line.now()),
              ElementsAre(Pair(0, At(ZeroDuration())), Pair(1, At(ZeroDuration()))));
}

TEST(ShaperTest, APacketTakesTheLineForItsBitsAndThenTheLatency) {
  // 1250 bytes are 10,000 bits: 1 ms at 10 Mbit/s.
  Line line({.bandwidth_bits_per_second = 10 * kMegabit, .latency = Milliseconds(40)});
  EXPECT_TRUE(line.Send(1250));
  EXPECT_TRUE(line.Send(1250));
  EXPECT_THAT(line.UntilEmpty(),
              ElementsAre(Pair(0, At(Milliseconds(41))), Pair(1, At(Milliseconds(42)))));
}

TEST(ShaperTest, AnIdleLineSavesNothingUp) {
  Line line({.bandwidth_bits_per_second = 10 * kMegabit});
  EXPECT_TRUE(line.Send(1250));
  EXPECT_THAT(line.Until(At(Seconds(10))), ElementsAre(Pair(0, At(Milliseconds(1)))));
  EXPECT_TRUE(line.Send(1250));
  EXPECT_TRUE(line.Send(1250));
  EXPECT_THAT(line.UntilEmpty(), ElementsAre(Pair(1, At(Seconds(10) + Milliseconds(1))),
                                             Pair(2, At(Seconds(10) + Milliseconds(2)))));
}

TEST(ShaperTest, ABurstPassesAtOnceAndIsPaidBack) {
  Line line({.bandwidth_bits_per_second = 10 * kMegabit, .burst_bytes = 2500});
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(line.Send(1250));
  EXPECT_THAT(line.UntilEmpty(),
              ElementsAre(Pair(0, At(ZeroDuration())), Pair(1, At(ZeroDuration())),
                          Pair(2, At(Milliseconds(1))), Pair(3, At(Milliseconds(2)))));
}

TEST(ShaperTest, KeepsTheBandwidthOverTimeHoweverLateItIsAsked) {
  // Full for 10 s, and asked every 7 ms only: what departed is what the bandwidth allows.
  constexpr uint64_t kBandwidth = 20 * kMegabit;
  Shaper shaper({.bandwidth_bits_per_second = kBandwidth}, {.packets_max = 1000});
  absl::Duration now = Seconds(5);
  uint64_t packet = 0;
  for (; now < Seconds(15); now += Milliseconds(7)) {
    while (shaper.Enqueue(packet, 1500, now)) ++packet;
    while (shaper.Depart(now).has_value()) {
    }
  }
  now -= Milliseconds(7);
  const double bits_allowed = absl::ToDoubleSeconds(now - Seconds(5)) * kBandwidth;
  const auto bits = static_cast<double>(shaper.Counters(now).bytes * 8);
  EXPECT_LE(bits, bits_allowed);
  EXPECT_GT(bits, bits_allowed - 2 * 1500 * 8);
}

TEST(ShaperTest, JitterStaysInItsRangeAndReordersNothing) {
  Line line({.latency = Milliseconds(40), .jitter = Milliseconds(10)});
  std::vector<absl::Duration> sent;
  std::vector<std::pair<uint64_t, absl::Duration>> departed;
  for (int i = 0; i < 1000; ++i) {
    sent.push_back(line.now());
    EXPECT_TRUE(line.Send(100));
    for (const auto& each : line.Until(line.now() + Milliseconds(1))) departed.push_back(each);
  }
  for (const auto& each : line.UntilEmpty()) departed.push_back(each);
  ASSERT_EQ(departed.size(), 1000u);
  absl::Duration least = absl::InfiniteDuration(), most;
  for (size_t i = 0; i < departed.size(); ++i) {
    EXPECT_EQ(departed[i].first, i);
    const absl::Duration took = departed[i].second - sent[i];
    least = std::min(least, took);
    most = std::max(most, took);
  }
  EXPECT_GE(least, Milliseconds(40));
  EXPECT_LE(most, Milliseconds(50));
  EXPECT_GT(most - least, Milliseconds(5));
}

TEST(ShaperTest, WhereItIsAskedForPacketsOvertake) {
  Line line({.latency = Milliseconds(40), .jitter = Milliseconds(10), .reorder = true});
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(line.Send(100));
  const auto departed = line.UntilEmpty();
  ASSERT_EQ(departed.size(), 100u);
  int overtaken = 0;
  for (size_t i = 1; i < departed.size(); ++i) {
    EXPECT_GE(departed[i].second, departed[i - 1].second);
    overtaken += departed[i].first < departed[i - 1].first;
  }
  EXPECT_GT(overtaken, 20);
}

TEST(ShaperTest, LosesTheShareThatIsAskedFor) {
  constexpr int kPackets = 100'000;
  constexpr double kShare = 0.01;
  for (const uint64_t seed : {1, 2, 3}) {
    SCOPED_TRACE(seed);
    Line line({.loss_percent = kShare * 100}, seed);
    for (int i = 0; i < kPackets; ++i) {
      (void)line.Send(100);
      line.Until(line.now() + Microseconds(1));
    }
    const ShaperCounters counters = line.counters();
    EXPECT_EQ(counters.packets + counters.dropped_by_loss, uint64_t{kPackets});
    const double deviation = std::sqrt(kPackets * kShare * (1 - kShare));
    EXPECT_NEAR(static_cast<double>(counters.dropped_by_loss), kPackets * kShare, 4 * deviation);
  }
}

TEST(ShaperTest, LosesAllOrNothingWhereThatIsAskedFor) {
  Line nothing({.loss_percent = 0}), all({.loss_percent = 100});
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(nothing.Send(100));
    EXPECT_FALSE(all.Send(100));
  }
}

TEST(ShaperTest, TheSameSeedHasTheSameFateAndAnotherHasAnother) {
  const auto fate = [](uint64_t seed) {
    Line line({.latency = Milliseconds(1), .jitter = Milliseconds(5), .loss_percent = 10}, seed);
    for (int i = 0; i < 200; ++i) (void)line.Send(100);
    return line.UntilEmpty();
  };
  EXPECT_EQ(fate(7), fate(7));
  EXPECT_NE(fate(7), fate(8));
}

TEST(ShaperTest, TheQueueHasItsBoundInBytes) {
  ShaperSettings settings = {.bandwidth_bits_per_second = 10 * kMegabit};
  settings.queue_bytes_max = 3000;
  Line line(settings);
  // 1250 on the line, 1250 that wait: a third one would be 3750.
  EXPECT_TRUE(line.Send(1250));
  EXPECT_TRUE(line.Send(1250));
  EXPECT_FALSE(line.Send(1250));
  EXPECT_TRUE(line.Send(500));
  EXPECT_FALSE(line.Send(1));
  EXPECT_EQ(line.counters().dropped_by_queue, 2u);
  EXPECT_EQ(line.counters().queue_bytes, 3000u);
  // The first one leaves.
  line.Until(At(Milliseconds(1)));
  EXPECT_EQ(line.counters().queue_bytes, 1750u);
  EXPECT_TRUE(line.Send(1250));
  EXPECT_FALSE(line.Send(1));
  EXPECT_EQ(line.counters().queue_bytes_peak, 3000u);
}

TEST(ShaperTest, TheQueueHasItsBoundInTime) {
  ShaperSettings settings = {.bandwidth_bits_per_second = 10 * kMegabit};
  settings.queue_time_max = Milliseconds(5);
  EXPECT_EQ(settings.QueueBytesMax(), 6250u);
  Line line(settings);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(line.Send(1250));
  EXPECT_FALSE(line.Send(1250));
  const auto departed = line.UntilEmpty();
  EXPECT_EQ(departed.back(), (std::pair<uint64_t, absl::Duration>(4, At(Milliseconds(5)))));
}

TEST(ShaperTest, OnePacketMayAlwaysUseAnIdleLine) {
  ShaperSettings settings = {.bandwidth_bits_per_second = 10 * kMegabit};
  settings.queue_bytes_max = 0;
  Line line(settings);
  EXPECT_TRUE(line.Send(1250));
  EXPECT_FALSE(line.Send(1250));
  line.Until(At(Milliseconds(1)));
  EXPECT_TRUE(line.Send(1250));
}

TEST(ShaperTest, WhatIsInFlightHasABoundToo) {
  Line line({.latency = Seconds(1)}, 1, 3);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(line.Send(100));
  EXPECT_FALSE(line.Send(100));
  EXPECT_EQ(line.counters().dropped_by_memory, 1u);
  EXPECT_EQ(line.counters().in_flight_packets, 3u);
  EXPECT_EQ(line.UntilEmpty().size(), 3u);
  EXPECT_TRUE(line.Send(100));
}

TEST(ShaperTest, ANewBandwidthHoldsForTheRestOfThePacketOnTheLine) {
  ShaperSettings settings = {.bandwidth_bits_per_second = 10 * kMegabit};
  Line line(settings);
  EXPECT_TRUE(line.Send(1250));
  EXPECT_TRUE(line.Send(1250));
  EXPECT_THAT(line.Until(At(Microseconds(400))), IsEmpty());
  // 6,000 bits are left of the first: 3 ms at 2 Mbit/s; the second takes 5 ms.
  settings.bandwidth_bits_per_second = 2 * kMegabit;
  line.Change(settings);
  EXPECT_THAT(line.UntilEmpty(),
              ElementsAre(Pair(0, At(Microseconds(3400))), Pair(1, At(Microseconds(8400)))));
}

TEST(ShaperTest, WithoutALimitTheQueueLeavesAtOnce) {
  ShaperSettings settings = {.bandwidth_bits_per_second = 10 * kMegabit,
                             .latency = Milliseconds(2)};
  Line line(settings);
  EXPECT_TRUE(line.Send(1250));
  EXPECT_TRUE(line.Send(1250));
  EXPECT_THAT(line.Until(At(Microseconds(400))), IsEmpty());
  settings.bandwidth_bits_per_second = 0;
  line.Change(settings);
  EXPECT_EQ(line.counters().queue_bytes, 0u);
  EXPECT_THAT(line.UntilEmpty(),
              ElementsAre(Pair(0, At(Microseconds(2400))), Pair(1, At(Microseconds(2400)))));
}

TEST(ShaperTest, AShorterLatencyLetsNobodyOvertake) {
  ShaperSettings settings = {.latency = Milliseconds(40)};
  Line line(settings);
  EXPECT_TRUE(line.Send(100));
  settings.latency = Milliseconds(10);
  line.Change(settings);
  EXPECT_TRUE(line.Send(100));
  EXPECT_THAT(line.UntilEmpty(),
              ElementsAre(Pair(0, At(Milliseconds(40))), Pair(1, At(Milliseconds(40)))));
}

TEST(ShaperTest, AShorterQueueKeepsWhatIsInIt) {
  ShaperSettings settings = {.bandwidth_bits_per_second = 10 * kMegabit};
  Line line(settings);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(line.Send(1250));
  settings.queue_bytes_max = 1250;
  line.Change(settings);
  EXPECT_FALSE(line.Send(1250));
  EXPECT_EQ(line.UntilEmpty().size(), 4u);
}

TEST(ShaperTest, ACutDropsWhatIsOnItsWayAndAllThatComes) {
  ShaperSettings settings = {.bandwidth_bits_per_second = 10 * kMegabit,
                             .latency = Milliseconds(40)};
  Line line(settings);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(line.Send(1250));
  EXPECT_THAT(line.Until(At(Microseconds(2500))), IsEmpty());
  settings.cut = true;
  line.Change(settings);
  EXPECT_FALSE(line.Send(1250));
  EXPECT_EQ(line.counters().dropped_while_cut, 6u);
  EXPECT_EQ(line.counters().queue_bytes, 0u);
  EXPECT_EQ(line.counters().in_flight_packets, 0u);
  EXPECT_THAT(line.Until(At(Seconds(1))), IsEmpty());
  // Mended, the line is free: nothing of before is paid for.
  settings.cut = false;
  line.Change(settings);
  EXPECT_TRUE(line.Send(1250));
  EXPECT_THAT(line.UntilEmpty(), ElementsAre(Pair(6, At(Seconds(1) + Milliseconds(41)))));
}

TEST(ShaperTest, SaysHowLateItWasAsked) {
  Shaper shaper({.latency = Milliseconds(1)}, {.packets_max = 10});
  EXPECT_TRUE(shaper.Enqueue(0, 100, Seconds(1)));
  EXPECT_TRUE(shaper.Enqueue(1, 100, Seconds(1)));
  EXPECT_EQ(shaper.Depart(Seconds(1) + Milliseconds(1)), 0u);
  EXPECT_EQ(shaper.Depart(Seconds(1) + Milliseconds(4)), 1u);
  const ShaperCounters counters = shaper.Counters(Seconds(2));
  EXPECT_EQ(counters.late_max, Milliseconds(3));
  EXPECT_EQ(counters.late_sum, Milliseconds(3));
}

}  // namespace
}  // namespace homeward
