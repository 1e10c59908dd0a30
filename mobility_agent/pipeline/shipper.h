// Shipper: turns what was written to a machine's disks into its one ordered stream. It decides what
// is read when, seals batches, makes markers at instants that all disks share, synchronises, and
// remembers every extent until the master target has it.
#ifndef HOMEWARD_MOBILITY_AGENT_PIPELINE_SHIPPER_H_
#define HOMEWARD_MOBILITY_AGENT_PIPELINE_SHIPPER_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/optional.h"
#include "common/clock/clock.h"
#include "common/os/file_system.h"
#include "common/replication/stream_sender.h"
#include "common/wire/change_batch.h"
#include "mobility_agent/capture/write_log.h"
#include "mobility_agent/capture/write_source.h"
#include "mobility_agent/pipeline/agent_state.h"
#include "mobility_agent/pipeline/still_copy.h"

namespace homeward {

// Must run on one strand. Bounded: payload in flight by the receiver's credit, remembered writes,
// entries and ranges by Options. When the log of writes is full it remembers where was written
// instead of what; when that is too much, in larger blocks.
class Shipper : public Outbox {
 public:
  struct Options {
    std::string machine_id;
    uint64_t generation = 0;
    std::string state_path;
    bool stopped_cleanly = false;  // as TakeCleanStop() said before the sources were opened
    uint64_t epoch_min = 0;        // where there is no state: this machine's epochs so far
    // Random: how far this life begins above the last epoch it remembers, so that a machine that
    // was set back to a snapshot repeats no epoch of the life it lost.
    uint64_t epoch_stride = 0;
    bool fresh_replica =
        false;  // the replica reads as zeroes: send what is not zero, compare nothing
    absl::Duration marker_interval = absl::Minutes(5);
    absl::Duration freeze_timeout = absl::Seconds(5);
    // After a freeze that took too long none is tried for so long; twice as long after each.
    absl::Duration freeze_pause_min = absl::Minutes(1);
    absl::Duration freeze_pause_max = absl::Minutes(10);
    // What the disks are called in a point's `how`, in stream order. Missing ones: by number.
    std::vector<std::string> disk_names = {};
    // Where something writes although the disks should be at rest, what it wrote is read again
    // until nothing was written meanwhile: for so long while file systems are frozen, for so long
    // while they are not, and so often at the most.
    absl::Duration frozen_passes_time = absl::Milliseconds(40);
    absl::Duration passes_time = absl::Milliseconds(200);
    size_t passes_max = 1000;
    // Then tried again, after ever longer pauses, for so long. A point that is made after that is
    // said to be of no one instant.
    absl::Duration instant_patience = absl::Seconds(15);
    // So long what is dirty may not become less, before a marker is made without the rest of it.
    absl::Duration chase_patience = absl::Minutes(5);
    absl::Duration instant_retry = absl::Milliseconds(250);
    absl::Duration digest_timeout = absl::Seconds(3);
    uint64_t batch_bytes = kMiB;
    // Writes wait so long, or until there are so many bytes, to travel together: each group that
    // arrives costs the master target its syncs. Not when a point is due.
    absl::Duration linger = absl::Milliseconds(500);
    uint64_t linger_bytes = 4 * kMiB;
    uint64_t frozen_bytes_max = 16 * kMiB;  // read between freeze and thaw at most; held in memory
    size_t frozen_extents_max = 16384;
    uint64_t log_bytes_max = 32 * kMiB;  // writes kept with their data, where sources can
    uint64_t digest_block_bytes = 16 * kKiB;
    uint32_t digest_blocks_max = 256;
    size_t in_flight_max = 65536;
    size_t ranges_max = 65536;  // by disk; beyond it dirty ranges are coarsened
    int precopy_rounds_max = 8;
    // A write-back that takes longer leaves much behind, and is followed by another before the
    // freeze; by so many at the most.
    absl::Duration write_back_short = absl::Milliseconds(100);
    int long_write_backs_max = 4;
  };
  // Called at the instant of a marker: what the disks hold now is what the point has, unless its
  // consistency is kNotOneInstant. For tests.
  using MarkerTaken = std::function<void(const Marker&)>;
  // What the agent remembers of writes that it has not sent.
  enum class Tracking { kData, kExtents, kBitmap };

  // Reads the state. `sources` and `clock` outlive it.
  static absl::StatusOr<std::unique_ptr<Shipper>> Open(FileSystem& files, const Clock& clock,
                                                       Options options,
                                                       std::vector<WriteSource*> sources,
                                                       MarkerTaken marker_taken);
  ~Shipper() override;

  // Call often (every 100 ms): what was written, what is due.
  void Tick();
  // Asks for a marker as soon as possible.
  void RequestMarker(PointKind kind);
  // Begins a new epoch that synchronises all disks.
  absl::Status Resync();
  // Keeps the map of changes for the next start. The shipper is of no use afterwards.
  // Requires: nothing writes to the disks until the next Open(), or the sources go on tracking
  // meanwhile. Where the caller cannot promise that, it must not call this: without it the next
  // start compares all disks.
  absl::Status StopCleanly();

  StreamSender& sender() { return sender_; }
  replication::v1::Hello MakeHello() const;
  bool syncing() const { return syncing_; }
  StreamPosition durable() const { return durable_; }
  StreamPosition spooled() const { return spooled_; }
  // Written or found to differ, and not durable on the master target.
  uint64_t pending_bytes() const;
  // Batch bytes sealed since Open().
  uint64_t sent_bytes() const { return sent_bytes_; }
  // How far the synchronisation has read.
  struct Progress {
    uint64_t done_bytes = 0;
    uint64_t total_bytes = 0;
  };
  Progress progress() const;
  // From when the first of a machine was told to stand still to the thaw, of the last markers; zero
  // for one that needed none.
  const std::deque<absl::Duration>& freezes() const { return freezes_; }
  // Less than what the sources can: they can data, and it came faster than it left; or more ranges
  // were written than are kept apart, and they are remembered in larger blocks.
  bool degraded() const;
  Tracking tracking() const;
  // Markers sealed since Open(), and the newest one's id.
  uint64_t markers_sealed() const { return markers_sealed_; }
  const std::string& last_point() const { return last_point_; }
  // Why the newest marker is of no one instant: who wrote to what. Empty: it is of one.
  const std::string& not_one_instant() const { return not_one_instant_; }
  // The newest marker is a recovery point now.
  bool last_marker_durable() const { return durable_ >= last_marker_position_; }
  // Markers that will not become one: their epoch ended before they were durable.
  uint64_t markers_lost() const { return markers_lost_; }
  // Everything that was written is durable on the master target.
  bool drained() const;
  // Not OK: the stream was refused in a way that a new assignment or an operator must change
  // (ABORTED, FAILED_PRECONDITION), or the state could not be written. Nothing is sent. The first
  // is over when the other side has taken the stream again for some time; after the other, open a
  // new Shipper.
  const absl::Status& refused() const { return refused_; }
  // Not OK: a disk is not what it was, as WriteSource::Present() says. Nothing is sent meanwhile;
  // when it is again all disks are compared, for nobody saw what was done to it.
  const absl::Status& away() const { return away_; }

  // Outbox
  absl::Status GoOnBehind(StreamPosition held) override;
  absl::StatusOr<SealedBatch> NextBatch() override;
  void OnAcknowledged(StreamPosition spooled, StreamPosition durable) override;
  void OnDigestReply(const replication::v1::DigestReply& reply) override;
  void OnMendRequest(const replication::v1::MendRequest& request) override;
  void OnRefused(const absl::Status& status) override;

 private:
  // Sealed and not durable yet. `payload` is empty once the process server has it.
  struct InFlight {
    StreamPosition position;
    BatchKind kind;
    std::vector<BatchExtent> extents;
    SealedBatch payload;
  };
  struct Query {
    replication::v1::DigestQuery message;
    absl::Duration asked;
  };

  Shipper(FileSystem& files, const Clock& clock, Options options, std::vector<WriteSource*> sources,
          MarkerTaken marker_taken);
  absl::Status SaveState(bool stopped_cleanly);
  // The other side follows a life of this machine that this agent does not remember: it was set
  // back, as to a snapshot of its machine, and nothing it remembers is to be trusted.
  absl::Status BeginBeyond(uint64_t epoch);
  // Whether the position is of a life that this agent remembers.
  bool KnowsOf(StreamPosition durable) const;
  absl::Status BeginEpoch(bool synchronise);
  void ReturnInFlight();
  absl::Status CollectAll();
  bool TakenAgain();
  absl::Status ReadInto(BatchBuilder* builder, uint32_t disk, Extent extent);
  // Returns what could not be sealed to `dirty`, and `status`.
  static absl::Status GiveBack(const BatchBuilder& builder, std::vector<ExtentSet>* dirty,
                               const absl::Status& status);
  // Reads dirty ranges up to one batch; leaves the builder empty when nothing is dirty.
  absl::Status FillFromDirty(std::vector<ExtentSet>* dirty, BatchBuilder* builder);
  Marker MakeMarker();
  SealedBatch SealAndRememberMarker(const Marker& marker);
  // A step towards the freeze of the marker that was asked for; frozen_ is filled when it is taken.
  absl::Status ApproachMarker();
  absl::Status TakeMarker();
  // What is dirty has not become less for a long time, although it was copied all the while.
  bool ChaseIsInVain();
  // A marker of no one instant, between what was sent and what is dirty still.
  void MarkAsItIs();
  void MarkerIsMade();
  // Freezes and thaws. `frozen`: whether all came to rest.
  StillCopy::Seen CopyAtRest(Marker* marker, absl::Status* frozen, absl::Status* status);
  absl::StatusOr<StillCopy::Seen> Passes(absl::Duration time);
  // Says in `marker` how its content was found to be of one instant, or that it was not.
  void Describe(const absl::Status& frozen, bool instant, Marker* marker) const;
  std::string DiskName(uint32_t disk) const;
  void SealStill();
  bool LogAll();
  // Whether what is there can wait for more.
  bool Lingers();
  // Empty: nothing is in the log.
  SealedBatch NextFromLog();
  // Moves logged_, or as much of it as fits, into the builder.
  void TakeLogged(BatchBuilder* builder);
  void LeaveLog();
  // What the synchronisation will read anyway need not be sent before.
  void LeaveToSync(size_t disk);
  // The next batch of writes or of the synchronisation; empty when there is nothing to send.
  absl::Status FillNext(BatchBuilder* builder, BatchKind* kind);
  absl::Status SyncStep(BatchBuilder* builder);
  absl::Status ReadAhead(BatchBuilder* builder);
  absl::Status AskDigests();
  bool SyncFinished() const;
  SealedBatch SealAndRemember(BatchKind kind, BatchBuilder* builder);
  SealedBatch Remember(InFlight entry);
  StreamPosition NextPosition() { return {epoch_, next_sequence_++}; }
  uint64_t DirtyBytes() const;

  FileSystem& files_;
  const Clock& clock_;
  const Options options_;
  const std::vector<WriteSource*> sources_;
  const MarkerTaken marker_taken_;
  StreamSender sender_{this};

  uint64_t epoch_ = 0;
  uint64_t epoch_min_ = 0;       // of this life
  std::vector<uint64_t> begun_;  // epochs since durable_; the last one is epoch_
  uint64_t next_sequence_ = 0;
  StreamPosition durable_;
  StreamPosition spooled_;
  std::deque<InFlight> in_flight_;
  size_t send_index_ = 0;           // into in_flight_: what goes next on this connection
  std::deque<SealedBatch> frozen_;  // sealed at the last freeze, to be sent before anything else
  std::vector<ExtentSet> dirty_;    // by disk
  std::vector<Extent> collected_;   // room for Collect()
  StillCopy still_;
  WriteLog log_;
  bool logging_ = false;                        // all writes go to log_, and dirty_ is empty
  bool can_log_ = false;                        // the sources did, once
  absl::optional<absl::Duration> waits_since_;  // writes that can wait for more; none: no writes
  bool hurries_ = false;                        // until all of them are sent
  absl::optional<LoggedWrite> logged_;          // taken from log_ and not sent whole
  std::vector<ExtentSet> sync_dirty_;           // by disk: found to differ
  bool syncing_ = true;
  bool sync_turn_ = false;  // the next batch is the synchronisation's, if it has one
  bool fresh_ = false;
  StreamPosition sync_base_;  // the epoch begin that started the synchronisation
  size_t sync_disk_ = 0;
  uint64_t sync_offset_ = 0;
  std::map<uint64_t, Query> queries_;
  uint64_t next_query_id_ = 0;
  bool marker_requested_ = false;
  PointKind marker_kind_ = PointKind::kCrashConsistent;
  absl::Duration last_marker_;
  int precopy_rounds_ = 0;
  struct Chase {
    uint64_t least_bytes = 0;  // dirty, since the marker was asked for
    absl::Duration since;      // when that was
    int since_round = 0;
  };
  absl::optional<Chase> chase_;
  bool writing_back_ = false;
  absl::Duration write_back_begun_;
  int long_write_backs_ = 0;
  absl::optional<absl::Duration> instant_sought_since_;  // in vain
  absl::Duration next_attempt_ = -absl::InfiniteDuration();
  absl::Duration attempt_pause_;
  std::string not_one_instant_;
  uint64_t markers_taken_ = 0;
  uint64_t markers_lost_ = 0;
  uint64_t markers_sealed_ = 0;
  std::string last_point_;
  StreamPosition last_marker_position_;
  uint64_t sent_bytes_ = 0;
  bool coarsened_ = false;
  std::deque<absl::Duration> freezes_;
  absl::Duration freeze_again_at_ = -absl::InfiniteDuration();
  absl::Duration freeze_pause_ = options_.freeze_pause_min;
  absl::Status refused_;
  absl::Duration refused_at_;
  absl::Status away_;
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_PIPELINE_SHIPPER_H_
