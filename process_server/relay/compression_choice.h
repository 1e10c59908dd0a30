// CompressionChoice: whether compressing pays on a stream's way to the master target.
#ifndef HOMEWARD_PROCESS_SERVER_RELAY_COMPRESSION_CHOICE_H_
#define HOMEWARD_PROCESS_SERVER_RELAY_COMPRESSION_CHOICE_H_

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"
#include "common/wire/change_batch.h"

namespace homeward {

// What all streams of one process server to one master target made durable there.
struct LinkMeter {
  std::atomic<uint64_t> durable_bytes{0};
};

// Compression pays where the link is what limits: then fewer bytes are a faster stream. Where the
// processors limit, it only costs. When a stream had data waiting all the time, and all streams to
// its master target together moved less than kLinkBound a second, the link limits. One that is
// clearly slower leaves time to compress better. Not thread-safe.
class CompressionChoice {
 public:
  // Half a gigabit: below it one core compresses faster than the link carries; measured, see
  // docs/performance.md.
  static constexpr double kLinkBoundBytesPerSecond = 64e6;
  static constexpr absl::Duration kWindow = absl::Milliseconds(500);
  static constexpr absl::Duration kClearWindow = absl::Milliseconds(200);  // clearly slower
  static constexpr absl::Duration kTryAgainAfter = absl::Seconds(60);

  // Tells what became durable over the link since it exists, and whether more of this stream was
  // waiting at that moment.
  void Observe(absl::Duration now, uint64_t durable_bytes, bool more_waiting) {
    if (!more_waiting || window_begin_ == absl::ZeroDuration()) {
      window_begin_ = now;
      bytes_before_ = durable_bytes;
      return;
    }
    const absl::Duration length = now - window_begin_;
    if (length < kClearWindow) return;
    const double rate =
        static_cast<double>(durable_bytes - bytes_before_) / absl::ToDoubleSeconds(length);
    const bool clearly = rate < kLinkBoundBytesPerSecond / 2;
    if (length < kWindow && (compress_ || !clearly)) return;
    if (!compress_ && rate < kLinkBoundBytesPerSecond) {
      compress_ = true;
      effort_ = clearly ? CompressionEffort::kThorough : CompressionEffort::kQuick;
      since_ = now;
    } else if (compress_ && now - since_ > kTryAgainAfter) {
      compress_ = false;  // Links change: look again without.
    }
    window_begin_ = now;
    bytes_before_ = durable_bytes;
  }
  bool compress() const { return compress_; }
  CompressionEffort effort() const { return effort_; }

 private:
  bool compress_ = false;
  CompressionEffort effort_ = CompressionEffort::kQuick;
  absl::Duration since_;
  absl::Duration window_begin_;
  uint64_t bytes_before_ = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_RELAY_COMPRESSION_CHOICE_H_
