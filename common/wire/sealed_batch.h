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
#include "common/base/held_bytes.h"

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
    part_ = owner->Part(offset, length);
    bytes_ = AsText(part_);
    owner_ = std::move(owner);
  }
  // All before its payload, and the payload.
  SealedBatch(std::string head, std::unique_ptr<HeldBytes> payload);

  // All of it, in memory from then on.
  absl::string_view view() const { return held_ == nullptr ? bytes_ : InMemory(); }
  // As much of it as has ever been in memory: all, or all before its payload, which is held().
  absl::string_view head() const { return bytes_; }
  // Null: the payload was never held. What view() took is not held any more.
  const HeldBytes* held() const;
  size_t size() const { return bytes_.size() + (held_ == nullptr ? 0 : held()->size()); }
  bool empty() const { return bytes_.empty(); }
  // Its bytes, to be written over by who needs the batch no more: this is the only copy. Empty: it
  // may not be.
  MutableBytes Sole() { return owner_.use_count() == 1 ? part_ : MutableBytes(); }
  // Whether the connection that it came over vouched that it is what was sent. Only an encrypted
  // batch can do without: who opens it finds out.
  bool checked() const { return checked_; }
  void SetUnchecked() { checked_ = false; }
  // The same bytes, wherever they are.
  friend bool operator==(const SealedBatch& a, const SealedBatch& b) {
    return a.view() == b.view();
  }

 private:
  struct Held;
  absl::string_view InMemory() const;

  std::shared_ptr<const void> owner_;  // of every copy
  Held* held_ = nullptr;               // of owner_
  absl::string_view bytes_;
  MutableBytes part_;  // the same, of an AlignedBuffer
  bool checked_ = true;
};

// Room for a batch whose payload begins where direct I/O can take it.
struct BatchMemory {
  BatchMemory(size_t head_bytes, size_t bytes)
      : offset(AlignedBuffer::RoundUp(head_bytes) - head_bytes),
        size(bytes),
        memory(AlignedBuffer::Unwritten(AlignedBuffer::RoundUp(offset + bytes))) {}
  MutableBytes Part(size_t from, size_t bytes) { return memory.Part(offset + from, bytes); }
  SealedBatch Take() { return SealedBatch(std::move(memory), offset, size); }

  const uint64_t offset;
  const size_t size;
  AlignedBuffer memory;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_WIRE_SEALED_BATCH_H_
