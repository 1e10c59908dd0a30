#include "common/replication/stream_sender.h"

#include <algorithm>
#include <utility>

namespace homeward {

using replication::v1::Acknowledgement;
using replication::v1::Downstream;
using replication::v1::Upstream;

StreamPosition FromProto(const replication::v1::Position& position) {
  return {position.epoch(), position.sequence()};
}

void ToProto(StreamPosition position, replication::v1::Position* out) {
  out->set_epoch(position.epoch);
  out->set_sequence(position.sequence);
}

Compression FromProto(replication::v1::Compression compression) {
  switch (compression) {
    case replication::v1::LZ4:
      return {PayloadEncoding::kLz4};
    case replication::v1::ZSTD:
      return {PayloadEncoding::kZstd};
    case replication::v1::ZSTD_THOROUGH:
      return {PayloadEncoding::kZstd, CompressionEffort::kThorough};
    default:
      return {};
  }
}

replication::v1::Compression ToProto(const Compression& compression) {
  switch (compression.encoding) {
    case PayloadEncoding::kPlain:
      return replication::v1::COMPRESSION_UNSPECIFIED;
    case PayloadEncoding::kLz4:
      return replication::v1::LZ4;
    case PayloadEncoding::kZstd:
      break;
  }
  return compression.effort == CompressionEffort::kThorough ? replication::v1::ZSTD_THOROUGH
                                                            : replication::v1::ZSTD;
}

void StreamSender::Connect(UpstreamLink* link, const replication::v1::Hello& hello) {
  link_ = link;
  greeted_ = false;
  credit_bytes_ = 0;
  sent_bytes_ = 0;
  Upstream message;
  *message.mutable_hello() = hello;
  message.mutable_hello()->set_version_major(kReplicationVersionMajor);
  message.mutable_hello()->set_version_minor(kReplicationVersionMinor);
  link_->Send(std::move(message));
}

void StreamSender::OnMessage(const Downstream& message) {
  if (link_ == nullptr) return;
  switch (message.message_case()) {
    case Downstream::kHelloReply: {
      if (greeted_ || message.hello_reply().version_major() != kReplicationVersionMajor)
        return Fail();
      OnAcknowledgement(message.hello_reply().acknowledgement());
      if (!outbox_.ResumeAfter(FromProto(message.hello_reply().held())).ok()) return Fail();
      greeted_ = true;
      return Pump();
    }
    case Downstream::kAcknowledgement:
      if (!greeted_) return Fail();
      OnAcknowledgement(message.acknowledgement());
      return Pump();
    case Downstream::kDigestReply:
      return outbox_.OnDigestReply(message.digest_reply());
    case Downstream::kRepairRequest:
      return outbox_.OnRepairRequest(message.repair_request());
    case Downstream::kRefusal: {
      Fail();
      return outbox_.OnRefused(absl::Status(static_cast<absl::StatusCode>(message.refusal().code()),
                                            message.refusal().message()));
    }
    case Downstream::MESSAGE_NOT_SET:
      return;  // A newer peer's message: it knows that we may not.
  }
}

void StreamSender::OnAcknowledgement(const Acknowledgement& acknowledgement) {
  credit_bytes_ = std::max(credit_bytes_, acknowledgement.credit_bytes());
  outbox_.OnLink(FromProto(acknowledgement.link()));
  outbox_.OnAcknowledged(FromProto(acknowledgement.spooled()),
                         FromProto(acknowledgement.durable()));
}

void StreamSender::Pump() {
  while (streaming() && sent_bytes_ < credit_bytes_) {
    absl::StatusOr<SealedBatch> batch = outbox_.NextBatch();
    if (!batch.ok()) return Fail();
    if (batch->empty()) return;
    sent_bytes_ += batch->size();
    link_->SendBatch(*std::move(batch));
  }
}

bool StreamSender::SendDigestQuery(const replication::v1::DigestQuery& query) {
  if (!streaming()) return false;
  Upstream message;
  *message.mutable_digest_query() = query;
  link_->Send(std::move(message));
  return true;
}

void StreamSender::Fail() {
  if (link_ != nullptr) link_->Close();
  link_ = nullptr;
}

}  // namespace homeward
