#include "common/data_channel/data_channel_call.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"
#include "common/wire/change_batch.h"

namespace homeward {
namespace {

constexpr size_t kFrameHeaderBytes = 16;
constexpr uint16_t kMessage = 1;
constexpr uint16_t kBatch = 2;
// A digest query of 4,096 blocks has 74 KiB.
constexpr uint32_t kMessageBytesMax = kMiB;

// A batch's bytes before its payload.
uint32_t HeadBytes(const SealedBatch& batch) {
  const absl::StatusOr<size_t> head = BatchHeadBytes(batch.view());
  return head.ok() ? static_cast<uint32_t>(*head) : 0;
}

class DataChannelSenderCall : public SenderCall {
 public:
  explicit DataChannelSenderCall(std::unique_ptr<TlsSocket> socket)
      : socket_(std::move(socket)), data_channel_(socket_.get()) {}
  bool Read(replication::v1::Downstream* message) override {
    DataChannel::Frame frame;
    return data_channel_.Read(&frame).ok() && frame.batch.empty() &&
           message->ParseFromString(frame.message);
  }
  bool Write(const UpstreamMessage& message) override {
    return message.batch.empty() ? data_channel_.Write(message.message.SerializeAsString()).ok()
                                 : data_channel_.Write(message.batch).ok();
  }
  void Cancel() override { socket_->Shutdown(); }

 private:
  const std::unique_ptr<TlsSocket> socket_;
  DataChannel data_channel_;
};

}  // namespace

absl::Status DataChannel::WriteFrame(uint16_t kind, uint32_t head_bytes, absl::string_view body) {
  std::string header;
  FieldWriter writer(&header);
  writer.U32(static_cast<uint32_t>(body.size()));
  writer.U16(kind);
  writer.U16(0);
  writer.U32(head_bytes);
  writer.U32(0);
  HW_RETURN_IF_ERROR(socket_.Write(AsBytes(header)));
  return socket_.Write(AsBytes(body));
}

absl::Status DataChannel::Write(const std::string& message) {
  return WriteFrame(kMessage, 0, message);
}

absl::Status DataChannel::Write(const SealedBatch& batch) {
  return WriteFrame(kBatch, HeadBytes(batch), batch.view());
}

absl::Status DataChannel::Read(Frame* frame) {
  std::string header(kFrameHeaderBytes, '\0');
  HW_RETURN_IF_ERROR(socket_.Read(Writable(&header)));
  FieldReader reader(header);
  const uint32_t bytes = reader.U32();
  const uint16_t kind = reader.U16();
  reader.U16();
  const uint32_t head_bytes = reader.U32();
  frame->message.clear();
  frame->batch = {};
  if (kind == kMessage && bytes <= kMessageBytesMax) {
    frame->message.resize(bytes);
    return socket_.Read(Writable(&frame->message));
  }
  if (kind != kBatch || bytes == 0 || bytes > kBatchBytesMax || head_bytes > bytes ||
      head_bytes > kBatchHeadBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a frame of kind ", kind, " with ", bytes, " bytes"));
  }
  // The payload begins where direct I/O can take it.
  const uint64_t offset = AlignedBuffer::RoundUp(head_bytes) - head_bytes;
  AlignedBuffer memory = AlignedBuffer::Unwritten(AlignedBuffer::RoundUp(offset + bytes));
  HW_RETURN_IF_ERROR(socket_.Read(memory.Part(offset, bytes)));
  frame->batch = SealedBatch(std::move(memory), offset, bytes);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<SenderCall>> DialDataChannel(const TlsIdentity& identity,
                                                            const std::string& address,
                                                            Role server_role) {
  HW_ASSIGN_OR_RETURN(std::unique_ptr<TlsSocket> socket,
                      TlsSocket::Connect(identity, {.address = address,
                                                    .protocol = kDataChannelProtocol,
                                                    .server_role = server_role}));
  return std::make_unique<DataChannelSenderCall>(std::move(socket));
}

}  // namespace homeward
