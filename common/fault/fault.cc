#include "common/fault/fault.h"

#include <atomic>
#include <new>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace homeward::fault {
namespace {

struct Decider {
  absl::Mutex mutex;
  std::function<bool(absl::string_view)> decide ABSL_GUARDED_BY(mutex);
  std::atomic<bool> installed{false};
};

Decider& TheDecider() {
  // Never destroyed, and not on the heap: it may be asked first where nothing may be allocated.
  alignas(Decider) static unsigned char memory[sizeof(Decider)];
  static Decider* const decider = new (memory) Decider;
  return *decider;
}

}  // namespace

bool Happens(absl::string_view name) {
  Decider& decider = TheDecider();
  if (!decider.installed.load(std::memory_order_acquire)) return false;
  absl::MutexLock lock(&decider.mutex);
  return decider.decide && decider.decide(name);
}

void SetDecider(std::function<bool(absl::string_view name)> decide) {
  Decider& decider = TheDecider();
  absl::MutexLock lock(&decider.mutex);
  decider.installed.store(static_cast<bool>(decide), std::memory_order_release);
  decider.decide = std::move(decide);
}

}  // namespace homeward::fault
