// SealedBatch: the bytes of one change batch. Sealed once, then shared: nobody copies a payload to
// keep it, to send it or to send it again.
#ifndef HOMEWARD_COMMON_WIRE_SEALED_BATCH_H_
#define HOMEWARD_COMMON_WIRE_SEALED_BATCH_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "common/base/aligned_buffer.h"

namespace homeward {

// Immutable; copies share the bytes. Thread-safe as a shared_ptr is.
class SealedBatch {
 public:
  SealedBatch() = default;
  explicit SealedBatch(std::string bytes) {
    auto owner = std::make_shared<const std::string>(std::move(bytes));
    bytes_ = *owner;
    owner_ = std::move(owner);
  }
  // The bytes at [offset, offset + length) of `memory`.
  SealedBatch(AlignedBuffer memory, size_t offset, size_t length) {
    auto owner = std::make_shared<const AlignedBuffer>(std::move(memory));
    const MutableBytes part = owner->Part(offset, length);
    bytes_ = {reinterpret_cast<const char*>(part.data()), part.size()};
    owner_ = std::move(owner);
  }

  absl::string_view view() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  // Whether the connection that it came over vouched that it is what was sent. Only an encrypted
  // batch can do without: who opens it finds out.
  bool checked() const { return checked_; }
  void SetUnchecked() { checked_ = false; }
  // The same bytes, wherever they are.
  friend bool operator==(const SealedBatch& a, const SealedBatch& b) {
    return a.bytes_ == b.bytes_;
  }

 private:
  std::shared_ptr<const void> owner_;  // of every copy
  absl::string_view bytes_;
  bool checked_ = true;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_WIRE_SEALED_BATCH_H_
