#include "common/replication/stream_receiver.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/replication/stream_sender.h"
#include "common/wire/change_batch.h"

namespace homeward {

using replication::v1::Acknowledgement;
using replication::v1::Downstream;
using replication::v1::Upstream;

bool StreamReceiver::OnMessage(Upstream message) {
  if (closed()) return false;
  switch (message.message_case()) {
    case Upstream::kHello:
      if (greeted_) {
        Refuse(absl::InvalidArgumentError("a second hello on one call"));
      } else {
        OnHello(message.hello());
      }
      return false;
    case Upstream::kBatch:
      return OnBatch(SealedBatch(std::move(*message.mutable_batch())));
    case Upstream::kDigestQuery:
      // It is about what was sent before it, such as the beginning of its epoch.
      Flush();
      if (greeted_ && !closed()) inbox_.OnDigestQuery(message.digest_query(), *this);
      return false;
    case Upstream::MESSAGE_NOT_SET:
      return false;  // A newer peer's message: it knows that we may not.
  }
  return false;
}

bool StreamReceiver::OnBatch(SealedBatch batch) {
  if (closed()) return false;
  if (!greeted_) {
    Refuse(absl::InvalidArgumentError("a batch before the hello"));
    return false;
  }
  // One batch may begin within the credit and end beyond it.
  if (stored_bytes_ + pending_bytes_ + batch.size() > credit_bytes_ + kBatchBytesMax) {
    Refuse(absl::ResourceExhaustedError("the sender ignores its credit"));
    return false;
  }
  pending_bytes_ += batch.size();
  pending_.push_back(std::move(batch));
  return pending_.size() == 1;
}

void StreamReceiver::OnHello(const replication::v1::Hello& hello) {
  if (hello.version_major() != kReplicationVersionMajor) {
    return Refuse(absl::FailedPreconditionError(absl::StrCat(
        "replication protocol ", hello.version_major(), " is not spoken here; this side speaks ",
        kReplicationVersionMajor, ": upgrade the older of the two")));
  }
  const absl::StatusOr<StreamPosition> held = inbox_.Admit(hello);
  if (!held.ok()) return Refuse(held.status());
  greeted_ = true;
  Downstream message;
  replication::v1::HelloReply& reply = *message.mutable_hello_reply();
  reply.set_version_major(kReplicationVersionMajor);
  reply.set_version_minor(std::min(kReplicationVersionMinor, hello.version_minor()));
  ToProto(*held, reply.mutable_held());
  reply.set_data_channel_port(data_channel_port_);
  *reply.mutable_acknowledgement() = CurrentAcknowledgement();
  link_->Send(std::move(message));
}

void StreamReceiver::Flush() {
  if (closed() || pending_.empty()) return;
  const absl::Status stored = inbox_.Store(std::exchange(pending_, {}));
  if (absl::IsResourceExhausted(stored)) {
    // Nothing is lost: the sender keeps what is not acknowledged and comes again.
    return Refuse(stored);
  }
  stored_bytes_ += pending_bytes_;
  pending_bytes_ = 0;
  if (!stored.ok()) return Refuse(stored);
  Acknowledge();
}

Acknowledgement StreamReceiver::CurrentAcknowledgement() {
  credit_bytes_ = std::max(credit_bytes_, stored_bytes_ + inbox_.AvailableBytes());
  Acknowledgement acknowledgement;
  acknowledgement.set_credit_bytes(credit_bytes_);
  ToProto(inbox_.spooled(), acknowledgement.mutable_spooled());
  ToProto(inbox_.durable(), acknowledgement.mutable_durable());
  acknowledgement.set_link(ToProto(inbox_.link()));
  acknowledgement.set_takes_unchecked(inbox_.takes_unchecked());
  return acknowledgement;
}

void StreamReceiver::Acknowledge() {
  if (closed() || !greeted_) return;
  Downstream message;
  *message.mutable_acknowledgement() = CurrentAcknowledgement();
  link_->Send(std::move(message));
}

void StreamReceiver::SendDigestReply(const replication::v1::DigestReply& reply) {
  if (closed() || !greeted_) return;
  Downstream message;
  *message.mutable_digest_reply() = reply;
  link_->Send(std::move(message));
}

void StreamReceiver::SendRepairRequest(const replication::v1::RepairRequest& request) {
  if (closed() || !greeted_) return;
  Downstream message;
  *message.mutable_repair_request() = request;
  link_->Send(std::move(message));
}

void StreamReceiver::Refuse(const absl::Status& status) {
  if (closed()) return;
  Downstream message;
  message.mutable_refusal()->set_code(static_cast<uint32_t>(status.code()));
  message.mutable_refusal()->set_message(std::string(status.message()));
  link_->Send(std::move(message));
  link_->Close();
  link_ = nullptr;
}

}  // namespace homeward
