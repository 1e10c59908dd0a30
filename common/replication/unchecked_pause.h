// UncheckedPause: for how long a receiver takes nothing unchecked, after some of it had to be sent
// again.
#ifndef HOMEWARD_COMMON_REPLICATION_UNCHECKED_PAUSE_H_
#define HOMEWARD_COMMON_REPLICATION_UNCHECKED_PAUSE_H_

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace homeward {

// A value. Longer each time, until nothing had to be sent again for a minute.
class UncheckedPause {
 public:
  bool over(absl::Duration now) const { return now >= until_; }
  void Begin(absl::Duration now) {
    if (now > until_ + kWorks) length_ = absl::ZeroDuration();
    length_ = std::clamp(2 * length_, kLengthMin, kLengthMax);
    until_ = now + length_;
  }

 private:
  static constexpr absl::Duration kLengthMin = absl::Seconds(30), kLengthMax = absl::Minutes(30);
  static constexpr absl::Duration kWorks = absl::Minutes(1);
  absl::Duration until_, length_;
};

// What the sender is told then. It keeps what is not acknowledged.
inline absl::Status SendAgainOverTls(absl::string_view why) {
  return absl::UnavailableError(absl::StrCat("what came beside TLS is to be sent again: ", why));
}

}  // namespace homeward

#endif  // HOMEWARD_COMMON_REPLICATION_UNCHECKED_PAUSE_H_
