// ReplicaStream: joins one machine's ReplicaStore to the replication protocol.
#ifndef HOMEWARD_COMMON_REPLICA_REPLICA_STREAM_H_
#define HOMEWARD_COMMON_REPLICA_REPLICA_STREAM_H_

#include <string>
#include <vector>

#include "common/clock/clock.h"
#include "common/replica/replica_store.h"
#include "common/replication/stream_receiver.h"
#include "common/replication/unchecked_pause.h"

namespace homeward {

// Must run on the store's strand. `store` outlives it.
class ReplicaStream : public Inbox {
 public:
  struct Options {
    std::string machine_id;
    std::vector<uint64_t> disk_bytes;
    uint64_t window_bytes = 16 * kMiB;
    // Set where the machine itself sends here: what came unchecked and does not open was changed on
    // its way, and comes again when it is asked for.
    const Clock* resend_clock = nullptr;
  };
  ReplicaStream(ReplicaStore* store, Options options)
      : store_(*store),
        terms_{.machine_id = std::move(options.machine_id),
               .disk_bytes = std::move(options.disk_bytes),
               .receiver = "this server"},
        window_bytes_(options.window_bytes),
        resend_clock_(options.resend_clock) {}

  // The replica failed in a way that only opening it anew can repair.
  const absl::Status& broken() const { return broken_; }
  // As StreamOrder::SetFence(). A process server's stream has none.
  absl::Status SetFence(uint64_t fence);
  // What the store says that is to be settled. Then there may be something to acknowledge.
  absl::Status Settle();
  // The same, once all has arrived: nothing is under way any more.
  absl::Status Finish();

  absl::StatusOr<StreamPosition> Admit(const replication::v1::Hello& hello) override;
  absl::Status Store(std::vector<SealedBatch> batches) override;
  uint64_t AvailableBytes() override;
  StreamPosition spooled() const override { return store_.position(); }
  StreamPosition durable() const override { return store_.position(); }
  // Where a process server sends here, always: it asks its machine for what does not open.
  bool takes_unchecked() const override {
    return resend_clock_ == nullptr || pause_.over(resend_clock_->Monotonic());
  }
  void OnDigestQuery(const replication::v1::DigestQuery& query, StreamReceiver& from) override;
  // Asks for what of the replica is damaged, if anything is. Call it again until nothing is.
  void AskForRepair(StreamReceiver& sender) const;

 private:
  // What it says of the store is remembered.
  absl::Status Noted(absl::Status of_store);
  // Nothing is taken unchecked for a while.
  absl::Status AskAgain(const absl::Status& refusal);

  ReplicaStore& store_;
  const StreamTerms terms_;
  const uint64_t window_bytes_;
  const Clock* const resend_clock_;
  UncheckedPause pause_;
  absl::Status broken_;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_REPLICA_REPLICA_STREAM_H_
