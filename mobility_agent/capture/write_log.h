// WriteLog: the writes to all disks of a machine with their data, in the one order in which they
// ended. Any place in it is a crash-consistent instant, so a point made there needs no freeze.
#ifndef HOMEWARD_MOBILITY_AGENT_CAPTURE_WRITE_LOG_H_
#define HOMEWARD_MOBILITY_AGENT_CAPTURE_WRITE_LOG_H_

#include <deque>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/optional.h"
#include "absl/types/variant.h"
#include "common/base/bytes.h"
#include "common/base/extent_set.h"
#include "common/wire/change_batch.h"

namespace homeward {

struct LoggedWrite {
  uint32_t disk = 0;
  Extent extent;
  std::string data;  // empty: zeroes
};

// Thread-safe. Bounded by `bytes_max`; when that is reached it takes nothing more until Open(), so
// that what it holds is never a sequence with a hole.
class WriteLog {
 public:
  using Entry = absl::variant<LoggedWrite, Marker>;

  explicit WriteLog(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  // Empties it and takes writes from now on.
  void Open();
  // Takes nothing more; what it holds stays.
  void Close();
  // Empty `data` stands for zeroes. False: not taken, the source remembers the extent itself.
  bool Append(uint32_t disk, Extent extent, ConstBytes data);
  // A point behind all that was appended. False: the log takes nothing more.
  bool Mark(const Marker& marker);
  // How many writes it took. The same number later: none since.
  uint64_t appended() const;
  // As Mark(), unless it has taken more than so many writes.
  bool MarkBehind(uint64_t appended, const Marker& marker);
  // The oldest entry, which is no longer in the log; nothing when it is empty.
  absl::optional<Entry> Next();

  bool MarkerIsNext() const;
  bool empty() const;
  // It takes writes: neither full nor closed since Open().
  bool open() const;
  // Data held.
  uint64_t bytes() const;

 private:
  const uint64_t bytes_max_;
  mutable absl::Mutex mutex_;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t appended_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_CAPTURE_WRITE_LOG_H_
