#include "common/data_channel/data_channel_call.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/clock/clock.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"
#include "common/wire/change_batch.h"

namespace homeward {
namespace {

constexpr size_t kFrameHeaderBytes = 16;
constexpr uint16_t kMessage = 1;
constexpr uint16_t kBatch = 2;
constexpr uint16_t kBatchBeside = 3;
// A digest query of 4,096 blocks has 74 KiB.
constexpr uint32_t kMessageBytesMax = kMiB;
// Below it, TLS costs less than the calls of the kernel for another connection.
constexpr size_t kBesideBytesMin = 16 * kKiB;
constexpr size_t kBesidePieceBytes = 256 * kKiB;
// Of a shorter payload a copy costs less than a pipe.
constexpr size_t kHeldBytesMin = 128 * kKiB;
constexpr absl::Duration kBesideConnectTime = absl::Seconds(2);
// A hello is answered at once, or when what the receiver does just now has ended.
constexpr absl::Duration kReplyTimeout = absl::Seconds(60);
// A connection beside that lasts so long works: longer than a payload that stands still there.
constexpr absl::Duration kBesideWorks = absl::Minutes(10);

// A batch's bytes before its payload.
uint32_t HeadBytes(const SealedBatch& batch) {
  const absl::StatusOr<size_t> head = BatchHeadBytes(batch);
  return head.ok() ? static_cast<uint32_t>(*head) : 0;
}

class DataChannelSenderCall : public SenderCall {
 public:
  DataChannelSenderCall(std::unique_ptr<TlsSocket> socket, DataChannelPeer peer)
      : socket_(std::move(socket)), peer_(std::move(peer)), data_channel_(socket_.get()) {
    data_channel_.SetReadTimeouts(kReplyTimeout, kFrameTime);
  }
  ~DataChannelSenderCall() override {
    if (peer_.beside == nullptr) return;
    const bool was_there = beside_ != nullptr;
    const bool lasted = was_there && RealClock().Monotonic() - beside_since_ > kBesideWorks;
    if (lasted) peer_.beside->Worked();
    // A refusal may be of what was changed beside this call, or beside the one that brought it.
    if (refused_ || (was_there && !lasted && ended_by_peer_)) peer_.beside->Failed();
  }
  absl::Duration quiet_max() const override { return QuietMax(peer_.silence_max); }
  bool Read(replication::v1::Downstream* message) override {
    DataChannel::Frame frame;
    const absl::Status read = data_channel_.Read(&frame);
    if (!read.ok()) NoteEnd(read);
    if (!read.ok() || !frame.batch.empty() || !message->ParseFromString(frame.message))
      return false;
    Look(*message);
    return true;
  }
  bool Write(const UpstreamMessage& message) override {
    const absl::Status written = Send(message);
    if (!written.ok()) NoteEnd(written);
    return written.ok();
  }
  void Cancel() override {
    cancelled_ = true;
    socket_->Shutdown();
    absl::MutexLock lock(&mutex_);
    if (beside_ != nullptr) beside_->Shutdown();
  }

 private:
  absl::Status Send(const UpstreamMessage& message) {
    if (message.batch.empty()) return data_channel_.Write(message.message.SerializeAsString());
    const bool beside = takes_unchecked_ && message.batch.size() >= kBesideBytesMin &&
                        PayloadIsEncrypted(message.batch) && ConnectedBeside();
    return beside ? data_channel_.WriteBeside(message.batch, beside_.get())
                  : data_channel_.Write(message.batch);
  }
  // The writer's.
  bool ConnectedBeside() {
    if (beside_ != nullptr) return true;
    if (socket_->protocol() != kDataChannelBesideProtocol || peer_.beside == nullptr) return false;
    if (!peer_.beside->Due()) return false;
    absl::StatusOr<std::unique_ptr<Socket>> connected =
        ConnectBeside(socket_.get(), peer_.address, kBesideConnectTime);
    if (!connected.ok()) {
      LogInfo("data_channel.not_beside", {{"peer", peer_.address}, {"why", connected.status()}});
      peer_.beside->Failed();
      return false;
    }
    beside_since_ = RealClock().Monotonic();
    absl::MutexLock lock(&mutex_);
    beside_ = *std::move(connected);
    if (cancelled_) beside_->Shutdown();
    return true;
  }
  // What the receiver says of what goes beside.
  void Look(const replication::v1::Downstream& message) {
    if (message.has_acknowledgement()) {
      takes_unchecked_ = message.acknowledgement().takes_unchecked();
    } else if (message.has_hello_reply()) {
      takes_unchecked_ = message.hello_reply().acknowledgement().takes_unchecked();
      data_channel_.SetReadTimeouts(
          SilenceMax(message.hello_reply().version_minor(), peer_.silence_max), kFrameTime);
    } else if (message.has_refusal()) {
      refused_ = true;
    }
  }
  void NoteEnd(const absl::Status& why) {
    if (cancelled_ || ended_by_peer_.exchange(true)) return;
    LogInfo("data_channel.ended", {{"peer", peer_.address}, {"why", why}});
  }

  const std::unique_ptr<TlsSocket> socket_;
  const DataChannelPeer peer_;
  DataChannel data_channel_;
  std::atomic<bool> cancelled_{false}, ended_by_peer_{false}, takes_unchecked_{false};
  bool refused_ = false;         // the reader's
  absl::Duration beside_since_;  // the writer's
  absl::Mutex mutex_;
  std::unique_ptr<Socket> beside_;  // set once, by the writer, under mutex_
};

}  // namespace

struct DataChannel::FrameHeader {
  uint32_t bytes = 0;
  uint16_t kind = 0;
  uint32_t head_bytes = 0;
  uint32_t beside_bytes = 0;
};

absl::Status DataChannel::WriteFrame(const FrameHeader& header, absl::string_view body) {
  std::string bytes;
  FieldWriter writer(&bytes);
  writer.U32(static_cast<uint32_t>(body.size()));
  writer.U16(header.kind);
  writer.U16(0);
  writer.U32(header.head_bytes);
  writer.U32(header.beside_bytes);
  HW_RETURN_IF_ERROR(socket_.Write(AsBytes(bytes)));
  return socket_.Write(AsBytes(body));
}

absl::Status DataChannel::Write(const std::string& message) {
  return WriteFrame({.kind = kMessage}, message);
}

absl::Status DataChannel::Write(const SealedBatch& batch) {
  return WriteFrame({.kind = kBatch, .head_bytes = HeadBytes(batch)}, batch.view());
}

absl::Status DataChannel::WriteBeside(const SealedBatch& batch, Socket* beside) {
  const uint32_t head_bytes = HeadBytes(batch);
  HW_RETURN_IF_ERROR(WriteFrame({.kind = kBatchBeside,
                                 .head_bytes = head_bytes,
                                 .beside_bytes = static_cast<uint32_t>(batch.size() - head_bytes)},
                                batch.head().substr(0, head_bytes)));
  if (batch.held() != nullptr) {
    HW_ASSIGN_OR_RETURN(const bool written, beside->WriteHeld(*batch.held()));
    if (written) return absl::OkStatus();
  }
  return beside->Write(AsBytes(batch.view().substr(head_bytes)));
}

absl::StatusOr<SealedBatch> DataChannel::ReadPayload(std::string head, size_t bytes,
                                                     Socket* beside) {
  std::unique_ptr<HeldBytes> held;
  if (passes_on_ && bytes >= kHeldBytesMin) {
    beside->SetReadTimeout(reading_.beside_time * ((bytes - 1) / kBesidePieceBytes + 1));
    HW_ASSIGN_OR_RETURN(held, beside->Hold(bytes));
    if (held != nullptr && held->size() == bytes)
      return SealedBatch(std::move(head), std::move(held));
  }
  BatchMemory memory(head.size(), head.size() + bytes);
  std::memcpy(memory.Part(0, head.size()).data(), head.data(), head.size());
  size_t at = head.size();
  if (held != nullptr) {
    held->TakeTo(memory.Part(at, held->size()));
    at += held->size();
  }
  beside->SetReadTimeout(reading_.beside_time);
  while (at < memory.size) {
    const MutableBytes piece = memory.Part(at, std::min(memory.size - at, kBesidePieceBytes));
    HW_RETURN_IF_ERROR(beside->Read(piece));
    at += piece.size();
  }
  return memory.Take();
}

absl::Status DataChannel::ReadBeside(const FrameHeader& header, Frame* frame) {
  std::string head(header.head_bytes, '\0');
  HW_RETURN_IF_ERROR(socket_.Read(Writable(&head)));
  HW_ASSIGN_OR_RETURN(Socket* const beside, reading_.beside());
  absl::StatusOr<SealedBatch> batch = ReadPayload(std::move(head), header.beside_bytes, beside);
  if (!batch.ok()) {
    return absl::AbortedError(
        absl::StrCat("the connection beside the data channel was lost, or stood still: ",
                     batch.status().message()));
  }
  frame->batch = *std::move(batch);
  if (!PayloadIsEncrypted(frame->batch))
    return absl::InvalidArgumentError("what is not encrypted came beside the data channel");
  if (HeadBytes(frame->batch) != header.head_bytes)
    return absl::InvalidArgumentError("more or less than a payload came beside the data channel");
  frame->batch.SetUnchecked();
  return absl::OkStatus();
}

absl::Status DataChannel::Read(Frame* frame) {
  std::string bytes(kFrameHeaderBytes, '\0');
  socket_.SetReadTimeout(beginning_timeout_);
  HW_RETURN_IF_ERROR(socket_.Read(Writable(&bytes)));
  socket_.SetReadTimeout(rest_timeout_);
  FieldReader reader(bytes);
  FrameHeader header;
  header.bytes = reader.U32();
  header.kind = reader.U16();
  reader.U16();
  header.head_bytes = reader.U32();
  header.beside_bytes = reader.U32();
  frame->message.clear();
  frame->batch = {};
  if (header.kind == kMessage && header.bytes <= kMessageBytesMax) {
    frame->message.resize(header.bytes);
    return socket_.Read(Writable(&frame->message));
  }
  const bool head_fits = header.head_bytes <= kBatchHeadBytesMax;
  if (header.kind == kBatch && head_fits && header.bytes > 0 && header.bytes <= kBatchBytesMax &&
      header.head_bytes <= header.bytes) {
    BatchMemory memory(header.head_bytes, header.bytes);
    HW_RETURN_IF_ERROR(socket_.Read(memory.Part(0, header.bytes)));
    frame->batch = memory.Take();
    return absl::OkStatus();
  }
  if (header.kind == kBatchBeside && head_fits && reading_.beside != nullptr &&
      header.head_bytes > 0 && header.bytes == header.head_bytes && header.beside_bytes > 0 &&
      header.beside_bytes <= kBatchPayloadBytesMax) {
    return ReadBeside(header, frame);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("a frame of kind ", header.kind, " with ", header.bytes, " bytes"));
}

absl::StatusOr<std::unique_ptr<SenderCall>> DialDataChannel(const TlsIdentity& identity,
                                                            const DataChannelPeer& peer) {
  std::vector<std::string> protocols = {kDataChannelProtocol};
  if (peer.beside != nullptr) protocols.insert(protocols.begin(), kDataChannelBesideProtocol);
  HW_ASSIGN_OR_RETURN(std::unique_ptr<TlsSocket> socket,
                      TlsSocket::Connect(identity, {.address = peer.address,
                                                    .protocols = std::move(protocols),
                                                    .server_role = peer.role}));
  return std::make_unique<DataChannelSenderCall>(std::move(socket), peer);
}

}  // namespace homeward
