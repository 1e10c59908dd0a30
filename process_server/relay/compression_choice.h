// CompressionChoice: whether compressing pays on a stream's way to the master target.
#ifndef HOMEWARD_PROCESS_SERVER_RELAY_COMPRESSION_CHOICE_H_
#define HOMEWARD_PROCESS_SERVER_RELAY_COMPRESSION_CHOICE_H_

#include <cstdint>

#include "absl/time/time.h"

namespace homeward {

// Compression pays where the link is what limits: then fewer bytes are a faster stream. Where the
// processors limit, it only costs. A stream that had data waiting all the time and still moved less
// than kLinkBound a second is limited by its link. Not thread-safe.
class CompressionChoice {
 public:
  // Half a gigabit: below it one core compresses faster than the link carries; measured, see
  // docs/performance.md.
  static constexpr double kLinkBoundBytesPerSecond = 64e6;
  static constexpr absl::Duration kWindow = absl::Seconds(1);
  static constexpr absl::Duration kTryAgainAfter = absl::Seconds(60);

  // Tells what became durable, and whether more was waiting at that moment.
  void Observe(absl::Duration now, uint64_t durable_bytes, bool more_waiting) {
    if (!more_waiting || window_begin_ == absl::ZeroDuration()) {
      window_begin_ = now;
      window_bytes_ = 0;
      return;
    }
    window_bytes_ += durable_bytes;
    const absl::Duration length = now - window_begin_;
    if (length < kWindow) return;
    const double rate = static_cast<double>(window_bytes_) / absl::ToDoubleSeconds(length);
    if (!compress_ && rate < kLinkBoundBytesPerSecond) {
      compress_ = true;
      since_ = now;
    } else if (compress_ && now - since_ > kTryAgainAfter) {
      compress_ = false;  // Links change: look again without.
    }
    window_begin_ = now;
    window_bytes_ = 0;
  }
  bool compress() const { return compress_; }

 private:
  bool compress_ = false;
  absl::Duration since_;
  absl::Duration window_begin_;
  uint64_t window_bytes_ = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_RELAY_COMPRESSION_CHOICE_H_
