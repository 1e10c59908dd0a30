// StreamReceiver: the receiving half of ReplicationService, without gRPC; one object for each call.
// It checks the hello, gathers batches into groups, has them stored, and acknowledges. What stores
// them is an Inbox.
#ifndef HOMEWARD_COMMON_REPLICATION_STREAM_RECEIVER_H_
#define HOMEWARD_COMMON_REPLICATION_STREAM_RECEIVER_H_

#include <vector>

#include "absl/status/statusor.h"
#include "common/base/stream_position.h"
#include "common/wire/change_batch.h"
#include "common/wire/sealed_batch.h"
#include "homeward/replication/v1/replication.pb.h"

namespace homeward {

// Where messages to the sender go. Never calls back from within Send().
class DownstreamLink {
 public:
  virtual ~DownstreamLink() = default;
  virtual void Send(replication::v1::Downstream message) = 0;
  virtual void Close() = 0;
};

class StreamReceiver;

// Stores one machine's stream. Implemented by the process server's Relay and the master target's
// ReplicaStream.
class Inbox {
 public:
  virtual ~Inbox() = default;
  // Whether this hello may stream here; then what is held. Errors as StreamOrder::Admit().
  virtual absl::StatusOr<StreamPosition> Admit(const replication::v1::Hello& hello) = 0;
  // Takes the batches in order. What of them is safe is said by spooled() and durable(). Errors as
  // StreamOrder::Takes() and Take(); RESOURCE_EXHAUSTED: a volume is full.
  virtual absl::Status Store(std::vector<SealedBatch> batches) = 0;
  // Bytes that may be on their way here beyond what is stored. 0 stops the sender.
  virtual uint64_t AvailableBytes() = 0;
  // Synced on this component's disk: the sender need not keep the payload.
  virtual StreamPosition spooled() const = 0;
  virtual StreamPosition durable() const = 0;
  // What the link behind this component asks for. Where a stream ends there is none.
  virtual Compression link() const { return {}; }
  // Whether batches may come that are not checked(). Such a one may still come when it may not any
  // more.
  virtual bool takes_unchecked() const { return false; }
  // Answer with `from.SendDigestReply()`, or not at all: the sender asks again.
  virtual void OnDigestQuery(const replication::v1::DigestQuery& query, StreamReceiver& from) = 0;
};

// Must run on one strand, which outlives it.
class StreamReceiver {
 public:
  // `data_channel_port`: offered in the reply to the hello; 0: nothing is.
  StreamReceiver(Inbox* inbox, DownstreamLink* link, uint32_t data_channel_port = 0)
      : inbox_(*inbox), link_(link), data_channel_port_(data_channel_port) {}

  // Call Flush() soon after, on the strand: what arrives meanwhile shares one sync. True: a flush
  // is due.
  bool OnMessage(replication::v1::Upstream message);
  // The same for a message with this batch.
  bool OnBatch(SealedBatch batch);
  void Flush();
  // Tells the sender what has changed: credit, spooled, durable.
  void Acknowledge();
  void SendDigestReply(const replication::v1::DigestReply& reply);
  void SendRepairRequest(const replication::v1::RepairRequest& request);
  void Refuse(const absl::Status& status);
  bool closed() const { return link_ == nullptr; }
  // Its hello was admitted.
  bool greeted() const { return greeted_; }

 private:
  void OnHello(const replication::v1::Hello& hello);
  replication::v1::Acknowledgement CurrentAcknowledgement();

  Inbox& inbox_;
  DownstreamLink* link_;
  const uint32_t data_channel_port_;
  bool greeted_ = false;
  std::vector<SealedBatch> pending_;  // bounded by the credit given
  uint64_t pending_bytes_ = 0;
  uint64_t stored_bytes_ = 0;
  uint64_t credit_bytes_ = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_REPLICATION_STREAM_RECEIVER_H_
