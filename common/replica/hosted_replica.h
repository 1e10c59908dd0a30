// HostedReplica: one replica of a machine on this host: its backend, its store, and the phase it is
// in.
#ifndef HOMEWARD_COMMON_REPLICA_HOSTED_REPLICA_H_
#define HOMEWARD_COMMON_REPLICA_HOSTED_REPLICA_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/cipher/data_key.h"
#include "common/replica/replica_backend.h"
#include "common/replica/replica_stream.h"
#include "common/replication/stream_runtime.h"
#include "homeward/control/v1/control.pb.h"

namespace homeward {

// How fast and how often a replica is read to find what changed by itself.
struct ScrubPace {
  uint64_t bytes_per_second = 32 * kMiB;
  absl::Duration interval = absl::Hours(24);  // from the beginning of a pass to the next
};

// Thread-safe; the work is done on its own strand. Shared by the daemon and the calls it serves.
class HostedReplica : public Inbox {
 public:
  HostedReplica(const StreamRuntime& runtime, BackendTable backends, BackendParts parts);
  ~HostedReplica() override;

  void Want(const control::v1::Replica& desired, ScrubPace scrub);
  // Touches nothing any more once this returns; calls are told to come again.
  void Retire();
  control::v1::ReplicaObserved observed() const;
  HostedInbox inbox();

  // Inbox, on the strand. Refused while it does not follow.
  absl::StatusOr<StreamPosition> Admit(const replication::v1::Hello& hello) override;
  absl::Status Store(std::vector<SealedBatch> batches) override;
  uint64_t AvailableBytes() override;
  StreamPosition spooled() const override;
  StreamPosition durable() const override;
  bool takes_unchecked() const override { return stream_ != nullptr && stream_->takes_unchecked(); }
  void OnDigestQuery(const replication::v1::DigestQuery& query, StreamReceiver& from) override;

 private:
  // All on the strand.
  void Reconcile();
  // A call of a session that may not stream any more ends.
  void SetFence();
  // What batches are opened with from now on.
  void FollowKeys();
  void ChangeBackend();
  absl::Status Open();
  void Close();
  absl::Status Recover();
  absl::Status RemoveJournal();
  absl::Status CheckUntouched();
  absl::Status NoteHandover();
  void Break(const absl::Status& why);
  // Something the store was given has arrived where it is to be.
  void OnArrival();
  // What was under way has come to that, from `before` on: the sender is told. Whether it is OK.
  bool Settled(const absl::Status& result, StreamPosition before);
  // Whether a volume is full. `before`: the position.
  void NoteSpace(const absl::Status& stored, StreamPosition before);
  void DelayNextTry();
  void Tick();
  void ShowLife();
  void RetainSome();
  void ScrubSome();
  void RepairSome();
  void Publish();
  uint64_t NewestPoint() const;  // ReplicaPoint::number; 0: there is none
  // Where it has something that a job may wait for. Requires: it is open.
  void PublishNews();

  FileSystem& files_;
  const Clock& clock_;
  const std::function<void()> on_news_;
  const BackendTable backends_;
  const BackendParts parts_;
  const std::string& retention_directory_;  // of parts_

  // Touched only on the strand.
  control::v1::Replica desired_;
  DataKeys keys_;
  std::unique_ptr<ReplicaBackend> backend_;  // of desired_
  control::v1::ReplicaPhase reached_ = control::v1::REPLICA_PHASE_UNSPECIFIED;
  std::string reached_point_;
  std::vector<std::string> recovered_paths_;  // of that point, where the disks are elsewhere then
  std::unique_ptr<ReplicaStore> store_;
  std::unique_ptr<ReplicaStream> stream_;
  StreamReceiver* receiver_ = nullptr;
  bool created_fresh_ = false;
  absl::Status failure_;
  absl::Status logged_failure_;
  absl::Duration next_try_, slow_retry_;  // of what failed and waits for somebody
  absl::Status full_;                     // a volume was full at the last batch
  absl::Duration last_retention_;
  ScrubPace scrub_pace_;
  absl::Duration last_scrub_, next_scrub_;
  absl::Duration scrub_begun_ = absl::InfiniteDuration();  // infinite: between two passes
  double scrub_bytes_due_ = 0;
  absl::Time scrubbed_ = absl::InfinitePast();
  bool damage_logged_ = false;
  absl::Duration next_repair_;
  bool repairing_ = false;  // there is damage of the replica itself
  // The newest such damage, and the last point from before it was written anew.
  std::string repaired_;
  uint64_t doubtful_through_ = 0;  // ReplicaPoint::number
  uint64_t received_bytes_ = 0;
  std::vector<types::v1::RecoveryPoint> points_;  // of a closed store
  // As observed_ has them.
  bool published_syncing_ = false;
  uint64_t published_point_ = 0;  // the newest, as ReplicaPoint::number

  mutable absl::Mutex mutex_;
  control::v1::ReplicaObserved observed_ ABSL_GUARDED_BY(mutex_);

  std::unique_ptr<Strand> strand_;  // last
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_REPLICA_HOSTED_REPLICA_H_
