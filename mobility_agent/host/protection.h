// Protection: ships one machine's disks as long as the configuration server wants it so.
#ifndef HOMEWARD_MOBILITY_AGENT_HOST_PROTECTION_H_
#define HOMEWARD_MOBILITY_AGENT_HOST_PROTECTION_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/limits.h"
#include "common/replication/stream_runtime.h"
#include "homeward/config/v1/config.pb.h"
#include "homeward/control/v1/control.pb.h"
#include "mobility_agent/capture/sources.h"
#include "mobility_agent/host/consistency_scripts.h"
#include "mobility_agent/host/group_member.h"
#include "mobility_agent/pipeline/shipper.h"

namespace homeward {

// What a machine's registration says of its disks.
struct DiskList {
  std::vector<types::v1::Disk> usable;
  std::vector<types::v1::UnusableDisk> unusable;
  uint64_t revision = 0;  // grows with each change
};

// Want(), observed(), issues() and disks() are thread-safe. Two strands: one begins and ends the
// stream, the other is the stream's.
class Protection {
 public:
  struct Options {
    std::string state_directory;
    bool stopped_cleanly = false;  // as TakeCleanStops() said
    config::v1::Hooks hooks;
    absl::Duration hook_timeout = absl::Seconds(60);
    ConsistencyScripts::Options scripts;  // what follows from the others is filled in
    absl::Duration group_hold_max = kGroupHoldMax;
    Shipper::Options stream;  // limits and time-outs; what is desired is filled in
    Shipper::MarkerTaken marker_taken = nullptr;
    // Opens what can be opened of the disks by now; null: they stay as they are.
    std::function<void(std::vector<CapturedDisk>*)> open_disks = nullptr;
  };
  // For the streams of this state directory: see TakeCleanStop().
  static absl::StatusOr<bool> TakeCleanStops(FileSystem& files, const std::string& state_directory);

  // `disks` outlives it and is touched by nobody else.
  Protection(StreamRuntime runtime, Options options, std::vector<CapturedDisk>* disks);
  // Stops shipping. When every source can end its writes, so that nothing reaches the disks until
  // the agent is back, their map of changes is kept; otherwise the next start compares.
  ~Protection();

  void Want(const control::v1::AgentDesired& desired);
  control::v1::AgentObserved observed() const;
  std::vector<types::v1::HealthIssue> issues() const;
  DiskList disks() const;

 private:
  // On control_.
  void Reconcile();
  void KeepTrying();
  // On stream_.
  absl::Status Begin(const control::v1::Protection& desired);
  void End();
  void Tick();
  // Opens what can be opened; closes what is not what it was, as long as nothing is streamed.
  void LookAtDisks();
  void ListDisks();
  void FollowDataKey();
  void FollowTokens();
  void FollowAppPoint();
  // Scripts ran for a point: it is asked for now, or was taken, or takes too long.
  void FollowScripts();
  void ThawScripts();
  void NoteAppError(std::string error);
  // An application-consistent point was wanted lately, and was not had.
  bool AppErrorCounts() const;
  void FollowGroup();
  void FollowQuiesce();
  bool RunHook(const char* name, const google::protobuf::RepeatedPtrField<std::string>& arguments);
  // Of the disk that is not what it was.
  types::v1::HealthIssue AwayIssue() const;
  // Empty while a synchronisation comes on, or none runs.
  std::string SyncStandsStill();
  void Publish();

  const StreamRuntime runtime_;
  const Options options_;
  std::vector<CapturedDisk>& disks_;

  // Touched only on control_.
  control::v1::AgentDesired wanted_;
  std::string stream_key_, address_;  // of what runs
  absl::Status logged_failure_;
  uint64_t fence_ = 0;  // in its hello
  std::unique_ptr<StreamLink> link_;

  // Touched only on stream_.
  control::v1::Protection desired_;
  bool stopped_cleanly_;  // before this process, and no stream was opened since
  std::unique_ptr<Shipper> shipper_;
  absl::Status failure_;  // why it could not begin
  absl::Duration next_look_;
  absl::Duration away_since_ = absl::InfiniteDuration();
  uint64_t resync_token_ = 0, point_token_ = 0, point_token_wanted_ = 0;
  uint64_t quiesce_token_ = 0, quiesced_token_ = 0;         // begun, reached
  uint64_t markers_lost_ = 0;                               // that were waited for anew
  uint64_t marker_awaited_ = 0, token_marker_awaited_ = 0;  // numbers
  bool app_point_wanted_ = false;
  std::string requested_point_;
  bool resume_due_ = false;  // the quiesce hook was run; also when another stream has begun since
  absl::Duration last_app_point_;
  // What the scripts run for, from their freeze to their thaw.
  enum class AppPoint { kNone, kOwn, kCommon };
  AppPoint scripts_for_ = AppPoint::kNone;
  bool app_marker_asked_ = false;
  uint64_t app_marker_awaited_ = 0;  // its number, of one of its own
  absl::Duration scripts_began_;
  absl::optional<CommonPointRequest> common_due_;  // once the scripts have run
  std::string app_error_;                          // of the last application-consistent point
  absl::Duration app_error_at_;
  std::string hook_error_;
  uint64_t sync_done_bytes_ = 0;  // and since when it is so
  absl::Duration sync_stands_since_;

  GroupMember group_;           // has its own lock
  ConsistencyScripts scripts_;  // thread-safe

  mutable absl::Mutex mutex_;
  control::v1::AgentObserved observed_ ABSL_GUARDED_BY(mutex_);
  std::vector<types::v1::HealthIssue> issues_ ABSL_GUARDED_BY(mutex_);
  DiskList list_ ABSL_GUARDED_BY(mutex_);

  std::unique_ptr<Strand> stream_;
  std::unique_ptr<Strand> control_;  // last: it uses stream_
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_HOST_PROTECTION_H_
