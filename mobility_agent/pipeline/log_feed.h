// LogFeed: the writes to all disks of a machine with their data, from its WriteLog into batches,
// for as long as the log has every one of them. See docs/decisions/0006-writes-with-their-data.md.
#ifndef HOMEWARD_MOBILITY_AGENT_PIPELINE_LOG_FEED_H_
#define HOMEWARD_MOBILITY_AGENT_PIPELINE_LOG_FEED_H_

#include <vector>

#include "absl/types/optional.h"
#include "common/wire/change_batch.h"
#include "mobility_agent/capture/write_log.h"
#include "mobility_agent/capture/write_source.h"
#include "mobility_agent/pipeline/dirty_map.h"

namespace homeward {

// Must run on one strand, that of the sources; what they append comes from anywhere. Bounded by
// `bytes_max` of data. While it runs nothing is dirty: a write that the log did not take closes it,
// and the sources remember where that was.
class LogFeed {
 public:
  // `sources` outlives it.
  LogFeed(const std::vector<WriteSource*>& sources, uint64_t bytes_max);
  ~LogFeed();

  // Before the disks are brought to rest. Requires: !running().
  void Prepare() { log_.Open(); }
  // All writes go to the log from now on, if all sources can: else it does not run. Allocates
  // nothing. Requires: the disks stand still since Prepare() at the latest, and what was written
  // before is known.
  void Start();
  // It takes nothing more. What it holds is still sent in its order.
  void Close() { log_.Close(); }
  // Ends it. What it holds and was not sent is dirty. False: it did not run.
  bool Leave(DirtyMap* dirty);

  // A point behind all that was written. False: the log takes nothing more.
  bool Mark(const Marker& marker) { return log_.Mark(marker); }
  // As of WriteLog.
  uint64_t appended() const { return log_.appended(); }
  bool MarkBehind(uint64_t appended, const Marker& marker) {
    return log_.MarkBehind(appended, marker);
  }
  // Moves the oldest writes into the builder, up to `batch_bytes` of payload. Returns a marker when
  // that is the oldest entry, and the builder is empty then. Requires: the builder is empty.
  absl::optional<Marker> Fill(uint64_t batch_bytes, BatchBuilder* builder);

  bool running() const { return running_; }
  // It runs, and takes all that is written.
  bool TakesWrites() const { return running_ && log_.open(); }
  // It has run: all sources can.
  bool has_run() const { return has_run_; }
  uint64_t bytes() const { return log_.bytes(); }
  bool empty() const { return !part_.has_value() && log_.empty(); }

 private:
  void MovePart(uint64_t batch_bytes, BatchBuilder* builder);
  void Detach(size_t disks);

  // Constant after construction.
  const std::vector<WriteSource*>& sources_;
  // Thread-safe: the sources append to it.
  WriteLog log_;
  // Touched only on the strand.
  bool running_ = false;
  bool has_run_ = false;
  absl::optional<LoggedWrite> part_;  // taken from log_, and not yet handed out whole
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_PIPELINE_LOG_FEED_H_
