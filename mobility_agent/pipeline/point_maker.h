// PointMaker: makes the markers of a machine's stream at instants that all its disks share. With a
// log of writes a marker is a place in it. Without one it copies what is dirty until little is
// left, brings the disks to rest, copies the rest, and checks that nothing was written meanwhile.
// See docs/decisions/0013-an-instant-is-checked.md.
#ifndef HOMEWARD_MOBILITY_AGENT_PIPELINE_POINT_MAKER_H_
#define HOMEWARD_MOBILITY_AGENT_PIPELINE_POINT_MAKER_H_

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "common/clock/clock.h"
#include "common/wire/change_batch.h"
#include "mobility_agent/capture/write_source.h"
#include "mobility_agent/pipeline/dirty_map.h"
#include "mobility_agent/pipeline/log_feed.h"
#include "mobility_agent/pipeline/point_pacing.h"
#include "mobility_agent/pipeline/rendezvous.h"
#include "mobility_agent/pipeline/still_copy.h"

namespace homeward {

// Must run on one strand, that of the sources. Between freeze and thaw it allocates nothing, logs
// nothing and waits for nothing but the disks, as long as no call fails: what needs memory is in
// StillCopy, made before.
class PointMaker {
 public:
  // Called at the instant of a marker: what the disks hold now is what the point has, unless its
  // consistency is kNotOneInstant. For tests.
  using MarkerTaken = std::function<void(const Marker&)>;

  // `clock` and `sources` outlive it. Of the stream `batch_bytes` is sent at once.
  PointMaker(const Clock& clock, const PointOptions& options, uint64_t batch_bytes,
             const std::vector<WriteSource*>& sources, MarkerTaken marker_taken);

  // Asks for a marker as soon as possible; of the kind that was asked for before, if there is none
  // given.
  void Request() { requested_ = true; }
  void Request(PointKind kind);
  // Asks for one that the members of a replication group take together. Where they do not meet, it
  // becomes one of this machine's own.
  void RequestCommon(CommonPointRequest request);
  // They will not meet any more.
  void CancelCommon(absl::string_view why) { Miss(why); }
  bool requested() const { return requested_; }
  // The least number that a marker taken from now on can have.
  uint64_t next_number() const { return markers_ + 1; }
  // How old the last one may be, from now on.
  void SetInterval(absl::Duration interval) { interval_ = interval; }
  // It is as old as it may be.
  bool Due() const;

  // The marker that was asked for, behind all that is in the log. Nothing when the log is closed,
  // or when a common point is not due yet. `epoch`: of the stream, for its id.
  void MarkIn(LogFeed* log, uint64_t epoch);
  // A step towards the marker that was asked for, without a log. Returns it when it is taken: then
  // all of copy() is to be sent in front of it, and what is dirty still belongs behind it. Starts
  // `log` at that instant, if it can. Errors as WriteSource::Collect(), and what was read is dirty
  // again. Requires: `log` does not run, and everything that was collected and not sent is in
  // `dirty`.
  absl::StatusOr<absl::optional<Marker>> Approach(uint64_t epoch, DirtyMap* dirty, LogFeed* log);
  StillCopy& copy() { return copy_; }

  // From when the first of a machine was told to stand still to the thaw, of the last markers; zero
  // for one that needed none.
  const std::deque<absl::Duration>& freezes() const { return freezes_; }
  // Why the newest marker is of no one instant: who wrote to what. Empty: it is of one.
  const std::string& not_one_instant() const { return not_one_instant_; }

 private:
  Marker NewMarker(uint64_t epoch);
  void OnMade();
  // Whether what the machine held in memory is written back, and how long that took.
  absl::optional<absl::Duration> WriteBackTook();
  // Whether all is written back, as often as is needed.
  absl::StatusOr<bool> WrittenBack(DirtyMap* dirty);
  // Ends the common point that was asked for, if there is one. Allocates.
  void Miss(absl::string_view why);
  // The common point, behind all that is in the log: all members stand still. Says why not.
  absl::Status MarkTogetherIn(LogFeed* log, uint64_t epoch);
  absl::StatusOr<absl::optional<Marker>> Take(uint64_t epoch, DirtyMap* dirty, LogFeed* log);
  // A marker of no one instant, between what was sent and what is dirty still.
  Marker MarkAsItIs(uint64_t epoch, const DirtyMap& dirty);

  // What CopyAtRest() saw.
  struct AtRest {
    absl::Status frozen;  // not OK: it was copied while the machine went on
    absl::StatusOr<StillCopy::Seen> seen = StillCopy::Seen::kTooMuch;
    // Of a common point: why it was missed; null: it was not.
    const char* missed = nullptr;
  };
  // Freezes, copies and thaws. Sets the marker's time, and starts `log` at the instant, if there is
  // one.
  AtRest CopyAtRest(Marker* marker, LogFeed* log);
  // The copy is of one instant. If all members stand still at a moment of this call, and this one
  // until its end, the marker becomes the common one. Allocates nothing.
  void MeetOthers(Marker* marker, AtRest* rest);
  // OK: all disks are at rest, the first since `since`. Otherwise nothing is frozen.
  absl::Status Freeze(absl::Duration* since);
  absl::Status AwaitFrozen(absl::Duration asked, absl::Duration* since);
  void Thaw(absl::Duration since);
  absl::StatusOr<StillCopy::Seen> Passes(absl::Duration time);
  void NoteFreeze(absl::Duration lasted);

  // Says in `marker` how its content was found to be of one instant, or that it was not.
  void Describe(const absl::Status& frozen, bool instant, Marker* marker) const;
  std::string DiskName(uint32_t disk) const;
  // ", last by fio (pid 7)"; empty when nobody knows.
  std::string LastWriter(uint32_t disk) const;

  // Constant after construction.
  const Clock& clock_;
  const PointOptions options_;
  const std::vector<WriteSource*>& sources_;
  const MarkerTaken marker_taken_;
  // Touched only on the strand: what was asked for and made.
  bool requested_ = false;
  absl::Duration interval_;
  PointKind kind_ = PointKind::kCrashConsistent;
  absl::Duration last_made_;
  uint64_t markers_ = 0;  // tried
  absl::optional<CommonPointRequest> common_;
  bool meets_ = false;  // the marker that is being taken is to be that one
  std::string not_one_instant_;
  std::deque<absl::Duration> freezes_;
  // Touched only on the strand: on the way to the next one.
  Chase chase_;
  absl::optional<absl::Duration> write_back_begun_;
  WriteBackRounds write_backs_;
  FreezePause freeze_pause_;
  InstantSearch search_;
  StillCopy copy_;
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_PIPELINE_POINT_MAKER_H_
