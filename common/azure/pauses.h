// Pauses: how a client of Azure waits between two tries. A test gives one that does not.
#ifndef HOMEWARD_COMMON_AZURE_PAUSES_H_
#define HOMEWARD_COMMON_AZURE_PAUSES_H_

#include <atomic>

#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace homeward::azure {

// Thread-safe.
class Pauses {
 public:
  virtual ~Pauses() = default;
  // Returns after `time`, or with CANCELLED soon after `*stop` becomes true, which may be null.
  virtual absl::Status Wait(absl::Duration time, const std::atomic<bool>* stop) = 0;
  // Of [0, 1): for jitter.
  virtual double Fraction() = 0;
};

class RealPauses : public Pauses {
 public:
  absl::Status Wait(absl::Duration time, const std::atomic<bool>* stop) override;
  double Fraction() override;

 private:
  absl::Mutex mutex_;
  absl::BitGen random_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace homeward::azure

#endif  // HOMEWARD_COMMON_AZURE_PAUSES_H_
