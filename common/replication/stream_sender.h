// StreamSender: the sending half of ReplicationService, without gRPC. An agent has one, and a
// process server has one towards its master target. It owns the handshake, the order and the
// credit; what is sent comes from an Outbox.
#ifndef HOMEWARD_COMMON_REPLICATION_STREAM_SENDER_H_
#define HOMEWARD_COMMON_REPLICATION_STREAM_SENDER_H_

#include "absl/status/statusor.h"
#include "common/base/stream_position.h"
#include "common/wire/change_batch.h"
#include "common/wire/sealed_batch.h"
#include "homeward/replication/v1/replication.pb.h"

namespace homeward {

inline constexpr uint32_t kReplicationVersionMajor = 1;
inline constexpr uint32_t kReplicationVersionMinor = 10;
// A sender of this version or later compresses what it seals, where the receiver says that it pays.
inline constexpr uint32_t kCompressesSinceMinor = 9;
// A peer of this version or later is never quiet for long on a data channel.
inline constexpr uint32_t kShowsLifeSinceMinor = 10;

StreamPosition FromProto(const replication::v1::Position& position);
void ToProto(StreamPosition position, replication::v1::Position* out);
// What a later version calls otherwise is none.
Compression FromProto(replication::v1::Compression compression);
replication::v1::Compression ToProto(const Compression& compression);

// Where messages to the receiver go. Never calls back from within Send().
class UpstreamLink {
 public:
  virtual ~UpstreamLink() = default;
  virtual void Send(replication::v1::Upstream message) = 0;
  // As a message with this batch.
  virtual void SendBatch(SealedBatch batch) = 0;
  // Ends the connection; nothing of it arrives any more.
  virtual void Close() = 0;
};

// What is to be sent. Implemented by the agent's Shipper and the process server's Relay.
class Outbox {
 public:
  virtual ~Outbox() = default;
  // The receiver holds everything up to `held`. The next batch must be the one behind it.
  virtual absl::Status ResumeAfter(StreamPosition held) = 0;
  // The next sealed batch, or an empty one when there is none now (then call StreamSender::Pump()
  // later).
  virtual absl::StatusOr<SealedBatch> NextBatch() = 0;
  virtual void OnAcknowledged(StreamPosition spooled, StreamPosition durable) = 0;
  // How what is sealed from now on is to be compressed. For who seals it.
  virtual void OnLink(const Compression&) {}
  virtual void OnDigestReply(const replication::v1::DigestReply& reply) = 0;
  // Ranges of the replica that changed by themselves are to be sent again; asked again until then.
  virtual void OnRepairRequest(const replication::v1::RepairRequest& request) = 0;
  // The receiver will not take the stream: ABORTED, DATA_LOSS or FAILED_PRECONDITION as for
  // ReplicationService.
  virtual void OnRefused(const absl::Status& status) = 0;
};

// Must run on one strand.
class StreamSender {
 public:
  explicit StreamSender(Outbox* outbox) : outbox_(*outbox) {}

  // A new connection; an older one is forgotten. `link` must outlive it. Sends the hello.
  void Connect(UpstreamLink* link, const replication::v1::Hello& hello);
  void Disconnect() { link_ = nullptr; }
  bool streaming() const { return link_ != nullptr && greeted_; }

  void OnMessage(const replication::v1::Downstream& message);
  // Sends batches while there are some and there is credit.
  void Pump();
  // False when there is no connection to carry it.
  bool SendDigestQuery(const replication::v1::DigestQuery& query);

 private:
  void OnAcknowledgement(const replication::v1::Acknowledgement& acknowledgement);
  void Fail();

  Outbox& outbox_;
  UpstreamLink* link_ = nullptr;
  bool greeted_ = false;
  uint64_t credit_bytes_ = 0;
  uint64_t sent_bytes_ = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_REPLICATION_STREAM_SENDER_H_
