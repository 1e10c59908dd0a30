// AlignedBuffer: memory that direct I/O accepts.
#ifndef HOMEWARD_COMMON_BASE_ALIGNED_BUFFER_H_
#define HOMEWARD_COMMON_BASE_ALIGNED_BUFFER_H_

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "common/base/bytes.h"
#include "common/base/check.h"

namespace homeward {

// One owner.
class AlignedBuffer {
 public:
  static constexpr uint64_t kAlignment = 4096;
  static constexpr uint64_t RoundUp(uint64_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }

  AlignedBuffer() = default;
  // Every page is written to, so that using it later allocates nothing.
  // Requires: `bytes` is a multiple of kAlignment.
  explicit AlignedBuffer(size_t bytes) : AlignedBuffer(Unwritten(bytes)) {
    std::memset(data_, 0, bytes);
  }
  // Without content: whoever reads it wrote it. Requires: as above.
  static AlignedBuffer Unwritten(size_t bytes) {
    HW_CHECK(bytes % kAlignment == 0);
    // Aligned here and not by the allocator: glibc before 2.38 cannot use an aligned piece again
    // for another of its size, and the heap grows with every batch.
    AlignedBuffer out;
    out.memory_.reset(static_cast<uint8_t*>(std::malloc(bytes + kAlignment)));
    HW_CHECK(out.memory_ != nullptr);
    const auto at = reinterpret_cast<uintptr_t>(out.memory_.get());
    out.data_ = out.memory_.get() + (RoundUp(at) - at);
    out.bytes_ = bytes;
    return out;
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : memory_(std::move(other.memory_)),
        data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    memory_ = std::move(other.memory_);
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    return *this;
  }
  uint8_t* data() const { return data_; }
  size_t size() const { return bytes_; }
  MutableBytes Part(uint64_t offset, uint64_t length) const {
    HW_CHECK(offset <= bytes_ && length <= bytes_ - offset);
    return {data_ + offset, length};
  }

 private:
  struct Freed {
    void operator()(uint8_t* memory) const { std::free(memory); }
  };
  std::unique_ptr<uint8_t, Freed> memory_;
  uint8_t* data_ = nullptr;  // in memory_
  size_t bytes_ = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_BASE_ALIGNED_BUFFER_H_
