// AlignedBuffer: memory that direct I/O accepts.
#ifndef HOMEWARD_COMMON_BASE_ALIGNED_BUFFER_H_
#define HOMEWARD_COMMON_BASE_ALIGNED_BUFFER_H_

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "common/base/bytes.h"
#include "common/base/check.h"

namespace homeward {

// One owner. Every page is written to at construction, so that using it later allocates nothing.
class AlignedBuffer {
 public:
  static constexpr uint64_t kAlignment = 4096;

  AlignedBuffer() = default;
  // Requires: `bytes` is a multiple of kAlignment.
  explicit AlignedBuffer(size_t bytes)
      : memory_(static_cast<uint8_t*>(std::aligned_alloc(kAlignment, bytes))), bytes_(bytes) {
    HW_CHECK(memory_ != nullptr);
    std::memset(memory_.get(), 0, bytes);
  }
  uint8_t* data() const { return memory_.get(); }
  size_t size() const { return bytes_; }
  MutableBytes Part(uint64_t offset, uint64_t length) const {
    HW_CHECK(offset <= bytes_ && length <= bytes_ - offset);
    return {memory_.get() + offset, length};
  }

 private:
  struct Freed {
    void operator()(uint8_t* memory) const { std::free(memory); }
  };
  std::unique_ptr<uint8_t, Freed> memory_;
  size_t bytes_ = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_BASE_ALIGNED_BUFFER_H_
