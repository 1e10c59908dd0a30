#include "deploy/lab/link/shaper.h"

#include <algorithm>

#include "absl/numeric/int128.h"
#include "common/base/check.h"

namespace homeward {
namespace {

constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;
constexpr uint64_t kBitsPerByte = 8;

// Rounded up, so that no rounding makes a line faster than its bandwidth.
absl::Duration TimeOfBits(absl::uint128 bits, uint64_t bits_per_second) {
  const absl::uint128 nanoseconds =
      (bits * kNanosecondsPerSecond + bits_per_second - 1) / bits_per_second;
  return absl::Nanoseconds(absl::Uint128Low64(nanoseconds));
}

absl::uint128 BitsOfTime(absl::Duration time, uint64_t bits_per_second) {
  return (absl::uint128(absl::ToInt64Nanoseconds(time)) * bits_per_second + kNanosecondsPerSecond -
          1) /
         kNanosecondsPerSecond;
}

}  // namespace

uint64_t ShaperSettings::QueueBytesMax() const {
  if (queue_bytes_max.has_value()) return *queue_bytes_max;
  return absl::Uint128Low64(BitsOfTime(queue_time_max, bandwidth_bits_per_second) / kBitsPerByte);
}

Shaper::Shaper(const ShaperSettings& settings, const ShaperLimits& limits)
    : packets_max_(limits.packets_max),
      settings_(settings),
      random_(limits.seed),
      waiting_(limits.packets_max),
      line_busy_until_(-absl::InfiniteDuration()),
      last_due_(-absl::InfiniteDuration()) {
  HW_CHECK(limits.packets_max > 0);
  in_flight_.reserve(limits.packets_max);
}

bool Shaper::Later(const InFlight& a, const InFlight& b) {
  return a.due != b.due ? a.due > b.due : a.sequence > b.sequence;
}

absl::Duration Shaper::LineTime(uint32_t size_bytes) const {
  const uint64_t bandwidth = settings_.bandwidth_bits_per_second;
  if (bandwidth == 0) return absl::ZeroDuration();
  return TimeOfBits(uint64_t{size_bytes} * kBitsPerByte, bandwidth);
}

double Shaper::Draw() { return static_cast<double>(random_() >> 11) * 0x1p-53; }

bool Shaper::Enqueue(uint64_t packet, uint32_t size_bytes, absl::Duration now) {
  Advance(now);
  if (settings_.cut) {
    ++counters_.dropped_while_cut;
    return false;
  }
  if (settings_.loss_percent > 0 && Draw() * 100 < settings_.loss_percent) {
    ++counters_.dropped_by_loss;
    return false;
  }
  if (waiting_count_ + in_flight_.size() >= packets_max_) {
    ++counters_.dropped_by_memory;
    return false;
  }
  const Waiting arrived = {packet, size_bytes, now};
  if (waiting_count_ == 0 && settings_.bandwidth_bits_per_second == 0) {
    Fly(arrived, now);
    return true;
  }
  if (waiting_count_ > 0 && counters_.queue_bytes + size_bytes > settings_.QueueBytesMax()) {
    ++counters_.dropped_by_queue;
    return false;
  }
  waiting_[(waiting_first_ + waiting_count_) % packets_max_] = arrived;
  counters_.queue_bytes += size_bytes;
  counters_.queue_bytes_peak = std::max(counters_.queue_bytes_peak, counters_.queue_bytes);
  if (++waiting_count_ == 1) {
    StartLine(now);
    Advance(now);  // within a burst it leaves at once
  }
  return true;
}

void Shaper::StartLine(absl::Duration from) {
  const Waiting& first = waiting_[waiting_first_];
  const absl::Duration burst =
      settings_.burst_bytes == 0 || settings_.bandwidth_bits_per_second == 0
          ? absl::ZeroDuration()
          : TimeOfBits(absl::uint128(settings_.burst_bytes) * kBitsPerByte,
                       settings_.bandwidth_bits_per_second);
  line_busy_until_ = std::max(line_busy_until_, first.arrival - burst) + LineTime(first.size_bytes);
  first_leaves_line_ = std::max(line_busy_until_, from);
}

void Shaper::Advance(absl::Duration now) {
  while (waiting_count_ > 0 && first_leaves_line_ <= now) {
    const Waiting first = waiting_[waiting_first_];
    const absl::Duration left_line = first_leaves_line_;
    waiting_first_ = (waiting_first_ + 1) % packets_max_;
    --waiting_count_;
    counters_.queue_bytes -= first.size_bytes;
    Fly(first, left_line);
    if (waiting_count_ > 0) StartLine(left_line);
  }
}

void Shaper::Fly(const Waiting& waiting, absl::Duration left_line) {
  absl::Duration due = left_line + settings_.latency;
  if (settings_.jitter > absl::ZeroDuration()) due += settings_.jitter * Draw();
  if (!settings_.reorder) due = std::max(due, last_due_);
  last_due_ = std::max(due, last_due_);
  in_flight_.push_back({waiting.packet, next_sequence_++, waiting.size_bytes, due});
  std::push_heap(in_flight_.begin(), in_flight_.end(), Later);
}

std::optional<absl::Duration> Shaper::NextDeparture() const {
  std::optional<absl::Duration> next;
  if (!in_flight_.empty()) next = in_flight_.front().due;
  if (waiting_count_ > 0) {
    absl::Duration earliest = first_leaves_line_ + settings_.latency;
    if (!settings_.reorder) earliest = std::max(earliest, last_due_);
    next = next.has_value() ? std::min(*next, earliest) : earliest;
  }
  return next;
}

std::optional<uint64_t> Shaper::Depart(absl::Duration now) {
  Advance(now);
  if (in_flight_.empty() || in_flight_.front().due > now) return std::nullopt;
  std::pop_heap(in_flight_.begin(), in_flight_.end(), Later);
  const InFlight departed = in_flight_.back();
  in_flight_.pop_back();
  ++counters_.packets;
  counters_.bytes += departed.size_bytes;
  counters_.late_sum += now - departed.due;
  counters_.late_max = std::max(counters_.late_max, now - departed.due);
  return departed.packet;
}

void Shaper::Change(const ShaperSettings& settings, absl::Duration now) {
  Advance(now);
  if (waiting_count_ > 0) {
    const uint64_t before = settings_.bandwidth_bits_per_second;
    const uint64_t after = settings.bandwidth_bits_per_second;
    const absl::uint128 left = BitsOfTime(first_leaves_line_ - now, before);
    first_leaves_line_ = after == 0 ? now : now + TimeOfBits(left, after);
    line_busy_until_ = first_leaves_line_;
  }
  settings_ = settings;
  if (settings_.cut) DropAll();
  Advance(now);
}

void Shaper::DropAll() {
  counters_.dropped_while_cut += waiting_count_ + in_flight_.size();
  counters_.queue_bytes = 0;
  waiting_count_ = 0;
  in_flight_.clear();
  line_busy_until_ = last_due_ = -absl::InfiniteDuration();
}

ShaperCounters Shaper::Counters(absl::Duration now) {
  Advance(now);
  counters_.in_flight_packets = in_flight_.size();
  return counters_;
}

}  // namespace homeward
