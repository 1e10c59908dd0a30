// WriteSource: one disk of the machine, and what was written to it.
#ifndef HOMEWARD_MOBILITY_AGENT_CAPTURE_WRITE_SOURCE_H_
#define HOMEWARD_MOBILITY_AGENT_CAPTURE_WRITE_SOURCE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "common/base/bytes.h"
#include "common/base/extent_set.h"
#include "mobility_agent/capture/write_log.h"

namespace homeward {

// Must run on one strand; the writes themselves come from anywhere.
class WriteSource {
 public:
  virtual ~WriteSource() = default;
  virtual uint64_t size_bytes() const = 0;
  // UNAVAILABLE: the disk has no size now, as one that is away for a while. FAILED_PRECONDITION: it
  // has another size than it had. Either may be over later. Allocates nothing while it is OK.
  virtual absl::Status Present() { return absl::OkStatus(); }
  struct Collected {
    size_t count = 0;   // extents moved
    bool more = false;  // there was no room for all
  };
  // Moves extents written since they were last collected into `changed`, which has room for 8 at
  // least. A write that is still under way is reported now or by a later call that follows its end.
  // Allocates nothing. DATA_LOSS: a change may have been missed, the disk must be synchronised.
  // UNAVAILABLE, FAILED_PRECONDITION: as Present(); nothing was moved.
  virtual absl::StatusOr<Collected> Collect(absl::Span<Extent> changed) = 0;
  // What the disk holds now, coherent with all writes that have ended. Allocates nothing.
  virtual absl::Status Read(uint64_t offset, MutableBytes out) = 0;
  struct Part {
    uint64_t offset = 0;
    MutableBytes out;
  };
  // As Read() of each part, in any order or all at once.
  virtual absl::Status ReadParts(absl::Span<const Part> parts) {
    for (const Part& part : parts) {
      const absl::Status read = Read(part.offset, part.out);
      if (!read.ok()) return read;
    }
    return absl::OkStatus();
  }
  // Where the first content at or after `offset` may be that is not zeroes; size_bytes() when there
  // is none. A write that ends meanwhile is also reported as changed.
  virtual uint64_t NextData(uint64_t offset) { return offset; }

  // Begins to write back what the machine holds in memory for this disk, so that a freeze that
  // follows is short. Goes on in the background until WrittenBack().
  virtual void BeginWriteBack() {}
  virtual bool WrittenBack() { return true; }
  // Begins to bring the disk to rest, in the background, so that all disks of a machine come to it
  // together.
  virtual void BeginFreeze() = 0;
  // From OK until Thaw() all that can be brought to rest is at rest, and what is there is
  // consistent after a crash. Whether anything wrote all the same is seen with Collect(), never
  // assumed. DEADLINE_EXCEEDED: not frozen within `timeout`.
  virtual absl::Status AwaitFrozen(absl::Duration timeout) = 0;
  // How the disk came to rest, for people.
  struct Rest {
    std::vector<std::string> still;   // "ext4 on /srv", "service db.service"
    std::vector<std::string> moving;  // what may go on writing: "swap on /dev/sda2"
    // How long before AwaitFrozen() returned the first of it was told to stand still. Not given:
    // BeginFreeze() told it.
    absl::optional<absl::Duration> stood_for = absl::nullopt;
  };
  // Of the last AwaitFrozen() that was OK; as long as it is not asked to freeze again. Allocates
  // nothing.
  virtual const Rest& rest() const {
    static const Rest nothing;
    return nothing;
  }
  // Who was seen to write last, as "fio (pid 4711)"; empty when nobody knows. Allocates: not
  // between freeze and thaw.
  virtual std::string LastWriter() const { return ""; }
  // What keeps the disk from being brought to rest as it should, for its health: "the file system
  // on /mnt/nfs does not answer". Never waits.
  virtual std::vector<std::string> Troubles() const { return {}; }
  // Ends what BeginFreeze() began, whether or not it was reached.
  virtual void Thaw() = 0;

  // From now on every write goes to `log` with its data, as disk `disk`, when it has ended and
  // before it is acknowledged; Collect() reports only what the log refuses. Null ends it, and no
  // write is under way to the old log when it returns. `log` outlives it. False: this source only
  // knows where was written. Allocates nothing.
  virtual bool LogTo(WriteLog* log, uint32_t disk) {
    static_cast<void>(log);
    static_cast<void>(disk);
    return false;
  }

  // Nothing that is written after this is lost to whoever opens the source next: either nothing is
  // written any more, or the tracking goes on without this process. False: it cannot promise that,
  // so what it tracked is worth nothing once it is closed.
  virtual bool KeepForNextOpen() { return false; }
  // Knows of all that was written since a KeepForNextOpen() that said so.
  virtual bool continues() const { return true; }
};

// What Present() returns of a disk that had `was_bytes` and has `now_bytes`, another number.
inline absl::Status NotPresent(uint64_t was_bytes, uint64_t now_bytes) {
  if (now_bytes == 0)
    return absl::UnavailableError(absl::StrCat("it had ", was_bytes, " bytes and has no size now"));
  return absl::FailedPreconditionError(
      absl::StrCat("it had ", was_bytes, " bytes and has ", now_bytes, " now"));
}

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_CAPTURE_WRITE_SOURCE_H_
