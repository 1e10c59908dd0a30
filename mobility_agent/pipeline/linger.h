// Linger: whether the little that was written waits for more, to travel together.
#ifndef HOMEWARD_MOBILITY_AGENT_PIPELINE_LINGER_H_
#define HOMEWARD_MOBILITY_AGENT_PIPELINE_LINGER_H_

#include <cstdint>

#include "absl/time/time.h"
#include "absl/types/optional.h"

namespace homeward {

// Each group of writes that arrives costs the master target its syncs. Not thread-safe.
class Linger {
 public:
  // Writes wait for so long, or until there are so many bytes.
  Linger(absl::Duration time, uint64_t bytes) : time_(time), bytes_(bytes) {}

  // Whether `bytes`, all that is to be sent, wait still. Once they do not, none does until all are
  // sent. `urgent`: something else is waiting for them.
  bool Waits(uint64_t bytes, bool urgent, absl::Duration now) {
    if (bytes == 0) {
      since_.reset();
      hurries_ = false;
      return false;
    }
    if (!since_.has_value()) since_ = now;
    hurries_ = hurries_ || urgent || bytes >= bytes_ || now - *since_ >= time_;
    return !hurries_;
  }

 private:
  const absl::Duration time_;
  const uint64_t bytes_;
  absl::optional<absl::Duration> since_;  // there is something to be sent
  bool hurries_ = false;
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_PIPELINE_LINGER_H_
