// Shipper: turns what was written to a machine's disks into its one ordered stream. It decides what
// is sealed next: writes with their data (LogFeed), what is dirty (DirtyMap), what a comparison
// with the replica found (Synchronisation), or a point (PointMaker). Epochs says where in the
// stream that is, and SendWindow keeps it until the master target has it.
#ifndef HOMEWARD_MOBILITY_AGENT_PIPELINE_SHIPPER_H_
#define HOMEWARD_MOBILITY_AGENT_PIPELINE_SHIPPER_H_

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "common/clock/clock.h"
#include "common/os/file_system.h"
#include "common/replication/stream_sender.h"
#include "mobility_agent/capture/write_source.h"
#include "mobility_agent/pipeline/agent_state.h"
#include "mobility_agent/pipeline/core_share.h"
#include "mobility_agent/pipeline/dirty_map.h"
#include "mobility_agent/pipeline/epochs.h"
#include "mobility_agent/pipeline/linger.h"
#include "mobility_agent/pipeline/log_feed.h"
#include "mobility_agent/pipeline/point_maker.h"
#include "mobility_agent/pipeline/send_window.h"
#include "mobility_agent/pipeline/synchronisation.h"

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
    // Random: how far this incarnation begins above the last epoch it remembers, so that a machine
    // that was reverted to a snapshot repeats no epoch of the incarnation it lost.
    uint64_t epoch_stride = 0;
    bool fresh_replica =
        false;  // the replica reads as zeroes: send what is not zero, compare nothing
    absl::optional<DataKey> data_key = {};   // as SetDataKey()
    RandomBytes random = SystemRandomBytes;  // for nonces
    PointOptions points = {};
    Synchronisation::Options sync = {};
    uint64_t batch_bytes = kMiB;
    // Writes wait so long, or until there are so many bytes, to travel together. Not when a point
    // is due.
    absl::Duration linger = absl::Milliseconds(500);
    uint64_t linger_bytes = 4 * kMiB;
    uint64_t log_bytes_max = 32 * kMiB;  // writes kept with their data, where sources can
    double compression_share = 0.5;      // of one core, at most
    size_t in_flight_max = 65536;
    size_t ranges_max = 65536;  // by disk; beyond it dirty ranges are coarsened
  };
  using MarkerTaken = PointMaker::MarkerTaken;
  using Progress = Synchronisation::Progress;
  // What the agent remembers of writes that it has not sent.
  enum class Tracking { kData, kExtents, kBitmap };

  // Reads the state. `sources` and `clock` outlive it.
  static absl::StatusOr<std::unique_ptr<Shipper>> Open(FileSystem& files, const Clock& clock,
                                                       Options options,
                                                       std::vector<WriteSource*> sources,
                                                       MarkerTaken marker_taken);

  // Call often (every 100 ms): what was written, what is due.
  void Tick();
  // Asks for a marker as soon as possible.
  void RequestMarker(PointKind kind);
  // As of PointMaker.
  void RequestCommonMarker(CommonPointRequest request);
  void CancelCommonMarker(absl::string_view why) { points_.CancelCommon(why); }
  // As of PointMaker.
  void SetPointInterval(absl::Duration interval) { points_.SetInterval(interval); }
  // Begins a new epoch that synchronises all disks.
  absl::Status Resync();
  // As of SendWindow.
  void SetDataKey(const absl::optional<DataKey>& key) { window_.SetDataKey(key, options_.random); }
  uint64_t data_key_id() const { return window_.data_key_id(); }
  StreamPosition data_key_from() const { return window_.data_key_from(); }
  // Keeps the map of changes for the next start. The shipper is of no use afterwards.
  // Requires: nothing writes to the disks until the next Open(), or the sources go on tracking
  // meanwhile. Where the caller cannot promise that, it must not call this: without it the next
  // start compares all disks.
  absl::Status StopCleanly();

  StreamSender& sender() { return sender_; }
  replication::v1::Hello MakeHello() const;
  bool syncing() const { return sync_.running(); }
  // How far the synchronisation has read.
  Progress progress() const { return sync_.progress(); }
  StreamPosition durable() const { return epochs_.durable(); }
  StreamPosition spooled() const { return window_.spooled(); }
  // Written or found to differ, and not durable on the master target.
  uint64_t pending_bytes() const {
    return dirty_.bytes() + log_.bytes() + sync_.differing_bytes() + window_.bytes();
  }
  // Batch bytes sealed since Open().
  uint64_t sent_bytes() const { return window_.sealed_bytes(); }
  // As PointMaker::freezes().
  const std::deque<absl::Duration>& freezes() const { return points_.freezes(); }
  // Less than what the sources can: they can data, and it came faster than it left; or more ranges
  // were written than are kept apart, and they are remembered in larger blocks.
  bool degraded() const {
    return dirty_.coarsened() || (log_.has_run() && tracking() != Tracking::kData);
  }
  Tracking tracking() const;
  // Markers sealed since Open(), and the newest one's id.
  uint64_t markers_sealed() const { return epochs_.markers_sealed(); }
  // What is asked for now comes with a marker of this number or a later one: an earlier one may
  // have been taken and not be sealed yet, and has nothing of what was written since.
  uint64_t next_marker() const { return points_.next_number(); }
  uint64_t last_marker_number() const { return epochs_.last_marker_number(); }
  const std::string& last_point() const { return epochs_.last_marker(); }
  // As PointMaker::not_one_instant().
  const std::string& not_one_instant() const { return points_.not_one_instant(); }
  // The newest marker is a recovery point now.
  bool last_marker_durable() const { return epochs_.last_marker_durable(); }
  // Markers that will not become one: their epoch ended before they were durable.
  uint64_t markers_lost() const { return epochs_.markers_lost(); }
  // Everything that was written is durable on the master target.
  bool drained() const { return !syncing() && window_.empty() && dirty_.empty() && log_.empty(); }
  // Not OK: the stream was refused in a way that a new assignment or an operator must change
  // (ABORTED, FAILED_PRECONDITION), or the state could not be written. Nothing is sent. The first
  // is over when the other side has taken the stream again for some time; after the other, open a
  // new Shipper.
  const absl::Status& refused() const { return refused_; }
  // Not OK: a disk is not what it was, as WriteSource::Present() says. Nothing is sent meanwhile;
  // when it is again all disks are compared, for nobody saw what was done to it.
  const absl::Status& away() const { return away_; }

  // Outbox
  absl::Status ResumeAfter(StreamPosition held) override;
  absl::StatusOr<SealedBatch> NextBatch() override;
  void OnAcknowledged(StreamPosition spooled, StreamPosition durable) override;
  void OnLink(const Compression& link) override { link_ = link; }
  void OnDigestReply(const replication::v1::DigestReply& reply) override;
  void OnRepairRequest(const replication::v1::RepairRequest& request) override;
  void OnRefused(const absl::Status& status) override;

 private:
  // Where this incarnation begins.
  struct Start {
    Epochs::Remembered epochs;
    uint64_t least_epoch = 0;
    bool trusted = false;
    bool fresh = false;
  };
  Shipper(FileSystem& files, const Clock& clock, Options options, std::vector<WriteSource*> sources,
          MarkerTaken marker_taken, Start start);

  absl::Status SaveState(bool stopped_cleanly);
  absl::Status BeginEpoch(bool synchronise);
  // The other side follows an incarnation of this machine that this agent does not remember: it was
  // reverted, as to a snapshot of its machine, and nothing it remembers is to be trusted.
  absl::Status BeginBeyond(uint64_t epoch);
  // All that is not durable is dirty again.
  void ReturnAll();
  void LeaveLog();
  absl::Status CollectAll();
  // What must be read is read only after all that was logged.
  void CloseLogBeforeDirty();
  bool TakenAgain();
  // Whether what is there can wait for more.
  bool Lingers();

  // Each seals what is next into the window, if there is something.
  absl::Status SealNext();
  void Seal(BatchKind kind, BatchBuilder* builder);
  void SealFromLog();
  absl::Status SealPoint();
  void SealMarker(const Marker& marker);
  absl::Status SealDirtyOrSync();

  // Constant after construction.
  FileSystem& files_;
  const Clock& clock_;
  const Options options_;
  const std::vector<WriteSource*> sources_;

  // All below is touched only on the strand. The connection.
  StreamSender sender_{this};
  absl::Status refused_;
  absl::Duration refused_at_;
  // The stream: where it is, and what of it is under way.
  Epochs epochs_;
  SendWindow window_;
  // How what is sealed is compressed, as the process server said last.
  Compression link_;
  CoreShare compressing_;
  // What goes into it.
  DirtyMap dirty_;  // written, and neither in the log nor in the window
  absl::Status away_;
  LogFeed log_;
  Linger linger_;
  PointMaker points_;
  Synchronisation sync_;
  bool sync_turn_ = false;  // the next batch is the synchronisation's, if it has one
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_PIPELINE_SHIPPER_H_
