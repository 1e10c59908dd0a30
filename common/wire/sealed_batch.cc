#include "common/wire/sealed_batch.h"

#include <cstring>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace homeward {

struct SealedBatch::Held {
  Held(std::string head, std::unique_ptr<HeldBytes> payload)
      : head(std::move(head)), payload(std::move(payload)) {}
  const std::string head;
  const std::unique_ptr<HeldBytes> payload;
  absl::Mutex mutex;
  SealedBatch taken ABSL_GUARDED_BY(mutex);
};

SealedBatch::SealedBatch(std::string head, std::unique_ptr<HeldBytes> payload) {
  auto owner = std::make_shared<Held>(std::move(head), std::move(payload));
  held_ = owner.get();
  bytes_ = held_->head;
  owner_ = std::move(owner);
}

const HeldBytes* SealedBatch::held() const {
  return held_ == nullptr ? nullptr : held_->payload.get();
}

absl::string_view SealedBatch::InMemory() const {
  absl::MutexLock lock(&held_->mutex);
  if (held_->taken.empty()) {
    BatchMemory memory(bytes_.size(), size());
    std::memcpy(memory.Part(0, bytes_.size()).data(), bytes_.data(), bytes_.size());
    held_->payload->TakeTo(memory.Part(bytes_.size(), held_->payload->size()));
    held_->taken = memory.Take();
  }
  return held_->taken.view();
}

}  // namespace homeward
