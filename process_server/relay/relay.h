// Relay: one machine's stream through a process server. It stores what the agent sends, forwards it
// in order, and passes both acknowledgements back. Soft state: all of it may be lost at any time.
#ifndef HOMEWARD_PROCESS_SERVER_RELAY_RELAY_H_
#define HOMEWARD_PROCESS_SERVER_RELAY_RELAY_H_

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/replication/stream_order.h"
#include "common/replication/stream_receiver.h"
#include "common/replication/stream_sender.h"
#include "common/replication/unchecked_pause.h"
#include "common/wire/change_batch.h"
#include "process_server/relay/bandwidth.h"
#include "process_server/relay/compression_choice.h"
#include "process_server/spool/spool.h"

namespace homeward {

// Must run on one strand. A batch is forwarded from memory. What is not durable soon, or is more
// than may be kept there, goes to the spool; until then it is not `spooled` and its sender keeps
// it. What is not checked() never goes there: it is let go, and its sender sends it again.
class Relay : public Inbox, public Outbox {
 public:
  struct Options {
    std::string machine_id;
    uint64_t generation = 0;
    std::vector<uint64_t> disk_bytes;
    uint64_t fence = 0;  // of the agent's session that may stream; 0: any may
    Spool::Options spool;
    uint64_t spool_bytes_max = kGiB;
    uint64_t window_bytes = 8 * kMiB;
    // Of batches that are not in the spool. One more may begin within it.
    uint64_t memory_bytes_max = 24 * kMiB;
    uint64_t spool_after_ticks = 10;  // that a batch waited in memory
    // Of what agents send. kPlain: never.
    PayloadEncoding compression = PayloadEncoding::kLz4;
    // Set: only while that pays.
    const Clock* adaptive_clock = nullptr;
    std::shared_ptr<LinkMeter> link = std::make_shared<LinkMeter>();  // to the same master target
    Bandwidth* bandwidth = nullptr;  // shared by all relays; null: no limit
  };
  // A damaged spool is discarded: it is soft state, and using it would not be safe.
  static absl::StatusOr<std::unique_ptr<Relay>> Open(FileSystem& files, const Options& options);

  // Another session of the agent may stream from now on; a call of an older one ends.
  void SetFence(uint64_t fence);
  // A call from the agent that was admitted; it replaces an older one. `receiver` must outlive it
  // or call Detach().
  void AttachReceiver(StreamReceiver* receiver) { receiver_ = receiver; }
  void DetachReceiver(const StreamReceiver* receiver) {
    if (receiver_ == receiver) receiver_ = nullptr;
  }
  StreamSender& sender() { return sender_; }
  replication::v1::Hello MakeHello() const;
  const Spool& spool() const { return *spool_; }
  bool agent_connected() const { return receiver_ != nullptr; }
  // This stream's part of cache and memory, from now on.
  void SetBytesMax(uint64_t spool_bytes, uint64_t memory_bytes) {
    spool_bytes_max_ = spool_bytes;
    memory_bytes_max_ = memory_bytes;
  }
  // Call every 100 ms or so: what has waited for long goes to the spool.
  void Tick();
  // Received and not durable.
  uint64_t pending_bytes() const { return spool_->pending_bytes() + memory_bytes_; }
  // How often the spool was thrown away because the master target refused what is in it.
  uint64_t start_over_count() const { return start_over_count_; }
  // Why the agent was last asked to send again what had come unchecked. OK: it never was, or not
  // since this was asked.
  absl::Status TakeAskedAgain() { return std::exchange(asked_again_, absl::OkStatus()); }
  // Batch bytes sent towards the master target since Open().
  uint64_t forwarded_bytes() const { return forwarded_bytes_; }
  // Takes and sends nothing any more; the agent is told `why`.
  void Retire(const absl::Status& why);
  // The disk under the spool failed, or it was retired: open a new Relay.
  const absl::Status& broken() const { return broken_; }

  // Inbox
  absl::StatusOr<StreamPosition> Admit(const replication::v1::Hello& hello) override;
  absl::Status Store(std::vector<SealedBatch> batches) override;
  uint64_t AvailableBytes() override;
  StreamPosition spooled() const override { return spool_->held(); }
  StreamPosition durable() const override { return durable_; }
  Compression link() const override;
  // While it only passes through.
  bool takes_unchecked() const override {
    return sender_.streaming() && spool_->pending_bytes() == 0 && pause_.over(age());
  }
  void OnDigestQuery(const replication::v1::DigestQuery& query, StreamReceiver& from) override;

  // Outbox
  absl::Status ResumeAfter(StreamPosition held) override;
  absl::StatusOr<SealedBatch> NextBatch() override;
  void OnAcknowledged(StreamPosition spooled, StreamPosition durable) override;
  void OnDigestReply(const replication::v1::DigestReply& reply) override;
  void OnRepairRequest(const replication::v1::RepairRequest& request) override;
  void OnRefused(const absl::Status& status) override;

 private:
  struct Waiting {
    StreamPosition position;
    uint64_t arrived_at = 0;  // ticks_
    bool of_synchronisation = false;
    SealedBatch sealed;
  };

  Relay(FileSystem& files, Options options, std::unique_ptr<Spool> spool);
  absl::Status Take(SealedBatch sealed);
  // By ticks_.
  absl::Duration age() const { return ticks_ * absl::Milliseconds(100); }
  // There is one, or there was no time yet to make the first.
  bool has_way_on() const;
  // In ticks_. What a machine's disks hold anyway is in no hurry: it waits only while nothing of
  // the stream is taken.
  uint64_t WaitsSince(const Waiting& waiting) const;
  // Moves what waits in memory to the spool, up to `last`, and syncs. Ends before what is not
  // checked.
  absl::Status SpoolThrough(StreamPosition last);
  // Lets go what waits and is not checked, with all behind it; the agent is told `why` and sends
  // it again.
  void AskAgain(absl::string_view why);
  bool CanResumeAfter(StreamPosition position) const;
  // The first batch behind `position`; empty when there is none.
  absl::StatusOr<SealedBatch> ReadBehind(StreamPosition position);
  absl::Status GiveUpSpool(const absl::Status& damage);
  absl::Status StartOver();
  // The stream cannot go on as it is: the agent is told.
  void GiveUp(const absl::Status& status);

  FileSystem& files_;
  const Options options_;
  std::unique_ptr<Spool> spool_;
  StreamSender sender_{this};
  StreamReceiver* receiver_ = nullptr;
  const StreamTerms terms_;
  StreamOrder order_;  // of what was received
  uint64_t spool_bytes_max_;
  uint64_t memory_bytes_max_;
  std::deque<Waiting> waiting_;  // in order, behind all that is in the spool
  uint64_t memory_bytes_ = 0;    // of waiting_
  uint64_t ticks_ = 0;
  bool streamed_ = false;  // the master target was reached
  uint64_t taken_at_ = 0;  // ticks_ when something became durable, or the master target was reached
  bool spool_full_ = false;  // the last attempt to move something there failed
  uint64_t forwarded_bytes_ = 0;
  uint64_t start_over_count_ = 0;
  absl::Status asked_again_;
  UncheckedPause pause_;
  bool doubted_ = false;  // the master target refused, and nothing was durable since
  CompressionChoice choice_;
  bool agent_compresses_ = false;  // itself; an older one does not
  StreamPosition forwarded_;
  StreamPosition durable_;
  absl::Status broken_;
};

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_RELAY_RELAY_H_
