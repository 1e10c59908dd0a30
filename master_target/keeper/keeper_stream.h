// KeeperStream: joins one machine's Keeper to the replication protocol.
#ifndef HOMEWARD_MASTER_TARGET_KEEPER_KEEPER_STREAM_H_
#define HOMEWARD_MASTER_TARGET_KEEPER_KEEPER_STREAM_H_

#include <string>
#include <vector>

#include "common/replication/stream_receiver.h"
#include "master_target/keeper/keeper.h"

namespace homeward {

// Must run on the keeper's strand. `keeper` outlives it.
class KeeperStream : public Inbox {
 public:
  struct Options {
    std::string machine_id;
    std::vector<uint64_t> disk_bytes;
    uint64_t window_bytes = 16 * kMiB;
  };
  KeeperStream(Keeper* keeper, Options options) : keeper_(*keeper), options_(std::move(options)) {}

  // The replica failed in a way that only opening it anew can mend.
  const absl::Status& broken() const { return broken_; }
  // Of the agent's session that may stream from now on. 0: any may, as may a process server.
  void SetFence(uint64_t fence) { fence_ = fence; }
  uint64_t fence() const { return fence_; }

  absl::StatusOr<StreamPosition> Admit(const replication::v1::Hello& hello) override;
  absl::Status Store(std::vector<SealedBatch> batches) override;
  uint64_t RoomBytes() override { return options_.window_bytes; }
  StreamPosition spooled() const override { return keeper_.position(); }
  StreamPosition durable() const override { return keeper_.position(); }
  void OnDigestQuery(const replication::v1::DigestQuery& query, StreamReceiver& from) override;
  // Asks for what of the replica is damaged, if anything is. Call it again until nothing is.
  void AskToMend(StreamReceiver& sender) const;

 private:
  Keeper& keeper_;
  const Options options_;
  uint64_t fence_ = 0;
  absl::Status broken_;
};

}  // namespace homeward

#endif  // HOMEWARD_MASTER_TARGET_KEEPER_KEEPER_STREAM_H_
