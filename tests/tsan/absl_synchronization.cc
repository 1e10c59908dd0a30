// Tells the thread sanitizer what Debian's Abseil does, which is built without it: without this
// every mutex is invisible and every guarded member a race. The linker (--wrap) brings the calls
// here; the names are Abseil's as the compiler makes them.
#include <sanitizer/tsan_interface.h>

#include "absl/time/time.h"

extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);

namespace {

// Inside these calls Abseil looks at conditions, of this thread and of others, while it holds the
// mutex; the sanitizer learns of that only afterwards.
struct LooksAtConditions {
  LooksAtConditions() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~LooksAtConditions() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
};

}  // namespace

#define HOMEWARD_WRAP(result, name, ...) \
  result __real_##name(__VA_ARGS__);     \
  result __wrap_##name(__VA_ARGS__)

extern "C" {

HOMEWARD_WRAP(void, _ZN4absl7debian35Mutex4LockEv, void* mutex) {
  __real__ZN4absl7debian35Mutex4LockEv(mutex);
  __tsan_acquire(mutex);
}
HOMEWARD_WRAP(void, _ZN4absl7debian35Mutex6UnlockEv, void* mutex) {
  __tsan_release(mutex);
  const LooksAtConditions looks;
  __real__ZN4absl7debian35Mutex6UnlockEv(mutex);
}
HOMEWARD_WRAP(void, _ZN4absl7debian35MutexD1Ev, void* mutex) {
  __tsan_acquire(mutex);
  __real__ZN4absl7debian35MutexD1Ev(mutex);
}
HOMEWARD_WRAP(void, _ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE, void* mutex,
              const void* condition) {
  __tsan_release(mutex);
  const LooksAtConditions looks;
  __real__ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE(mutex, condition);
  __tsan_acquire(mutex);
}
HOMEWARD_WRAP(bool, _ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE,
              void* mutex, const void* condition, absl::Duration timeout) {
  __tsan_release(mutex);
  const LooksAtConditions looks;
  const bool held = __real__ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE(
      mutex, condition, timeout);
  __tsan_acquire(mutex);
  return held;
}
HOMEWARD_WRAP(void, _ZN4absl7debian37CondVar4WaitEPNS0_5MutexE, void* variable, void* mutex) {
  __tsan_release(mutex);
  const LooksAtConditions looks;
  __real__ZN4absl7debian37CondVar4WaitEPNS0_5MutexE(variable, mutex);
  __tsan_acquire(mutex);
}
HOMEWARD_WRAP(bool, _ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE,
              void* variable, void* mutex, absl::Duration timeout) {
  __tsan_release(mutex);
  const LooksAtConditions looks;
  const bool timed_out =
      __real__ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE(variable, mutex,
                                                                                  timeout);
  __tsan_acquire(mutex);
  return timed_out;
}
HOMEWARD_WRAP(void, _ZN4absl7debian312Notification6NotifyEv, void* notification) {
  __tsan_release(notification);
  const LooksAtConditions looks;
  __real__ZN4absl7debian312Notification6NotifyEv(notification);
}
HOMEWARD_WRAP(void, _ZNK4absl7debian312Notification19WaitForNotificationEv, void* notification) {
  const LooksAtConditions looks;
  __real__ZNK4absl7debian312Notification19WaitForNotificationEv(notification);
  __tsan_acquire(notification);
}
HOMEWARD_WRAP(bool, _ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE,
              void* notification, absl::Duration timeout) {
  const LooksAtConditions looks;
  const bool notified =
      __real__ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE(
          notification, timeout);
  __tsan_acquire(notification);
  return notified;
}

}  // extern "C"
