// WriteSource: one disk of the machine, and what was written to it.
#ifndef HOMEWARD_MOBILITY_AGENT_CAPTURE_WRITE_SOURCE_H_
#define HOMEWARD_MOBILITY_AGENT_CAPTURE_WRITE_SOURCE_H_

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/bytes.h"
#include "common/base/extent_set.h"

namespace homeward {

// Must run on one strand; the writes themselves come from anywhere.
class WriteSource {
 public:
  virtual ~WriteSource() = default;
  virtual uint64_t size_bytes() const = 0;
  // Adds everything written since the last call to `changed` and forgets it. A write that is still
  // under way is reported now or by a later call that follows its end. DATA_LOSS: a change may have
  // been missed, the disk must be synchronised. FAILED_PRECONDITION: the disk is not the one it
  // was.
  virtual absl::Status Collect(ExtentSet* changed) = 0;
  // What the disk holds now, coherent with all writes that have ended.
  virtual absl::Status Read(uint64_t offset, MutableBytes out) = 0;
  // From OK until Thaw() no write reaches the disk, and what is there is consistent after a crash.
  // DEADLINE_EXCEEDED: not frozen within `timeout`. Allocates nothing between Freeze() and Thaw().
  virtual absl::Status Freeze(absl::Duration timeout) = 0;
  virtual void Thaw() = 0;
  // Ends all writing until the source is opened anew, and makes what was written durable. False:
  // this source cannot promise that, so what it tracked is worth nothing once it is closed.
  virtual bool EndWrites() { return false; }
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_CAPTURE_WRITE_SOURCE_H_
