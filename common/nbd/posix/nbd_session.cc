#include "common/nbd/posix/nbd_session.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr uint64_t kGreetingMagic = 0x4e42444d41474943;
constexpr uint64_t kOptionMagic = 0x49484156454f5054;
constexpr uint64_t kOptionReplyMagic = 0x0003e889045565a9;
constexpr uint32_t kRequestMagic = 0x25609513;
constexpr uint32_t kSimpleReplyMagic = 0x67446698;
constexpr uint32_t kStructuredReplyMagic = 0x668e33ef;
constexpr uint16_t kFixedNewstyle = 1, kNoZeroes = 2;

enum Option : uint32_t {
  kExportName = 1,
  kAbort = 2,
  kList = 3,
  kInfo = 6,
  kGo = 7,
  kStructuredReply = 8
};
enum OptionReply : uint32_t {
  kAck = 1,
  kServer = 2,
  kInfoReply = 3,
  kUnsupported = 0x80000001,
  kInvalid = 0x80000003,
};
enum Info : uint16_t { kInfoExport = 0, kInfoBlockSize = 3 };
enum Command : uint16_t {
  kRead = 0,
  kWrite = 1,
  kDisconnect = 2,
  kFlush = 3,
  kTrim = 4,
  kWriteZeroes = 6
};
constexpr uint16_t kCommandFua = 1;
enum Error : uint32_t { kErrorPermission = 1, kErrorIo = 5, kErrorInvalid = 22, kErrorSpace = 28 };
enum Chunk : uint16_t { kChunkOffsetData = 1, kChunkError = 0x8001 };
constexpr uint16_t kChunkDone = 1;

constexpr uint32_t kOptionBytesMax = 64 * kKiB;

// NBD is big-endian.
class NetworkWriter {
 public:
  NetworkWriter& U16(uint16_t value) { return Put(value); }
  NetworkWriter& U32(uint32_t value) { return Put(value); }
  NetworkWriter& U64(uint64_t value) { return Put(value); }
  std::string Take() { return std::move(out_); }

 private:
  template <typename T>
  NetworkWriter& Put(T value) {
    for (int shift = 8 * (sizeof(T) - 1); shift >= 0; shift -= 8)
      out_.push_back(static_cast<char>(value >> shift));
    return *this;
  }
  std::string out_;
};

template <typename T>
T Get(absl::string_view* bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i)
    value = static_cast<T>((value << 8) | static_cast<uint8_t>((*bytes)[i]));
  bytes->remove_prefix(sizeof(T));
  return value;
}

uint32_t ErrorOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kResourceExhausted:
      return kErrorSpace;
    case absl::StatusCode::kInvalidArgument:
      return kErrorInvalid;
    case absl::StatusCode::kPermissionDenied:
      return kErrorPermission;
    default:
      return kErrorIo;
  }
}

}  // namespace

void NbdSession::Run() {
  if (Negotiate()) {
    while (Serve()) {
    }
  }
}

uint16_t NbdSession::TransmissionFlags() const {
  constexpr uint16_t kHasFlags = 1, kReadOnly = 2, kSendFlush = 4, kSendFua = 8, kSendTrim = 32,
                     kSendWriteZeroes = 64, kCanMultiConnect = 256;
  const uint16_t flags = kHasFlags | kSendFlush | kCanMultiConnect;
  return disk_.read_only() ? flags | kReadOnly : flags | kSendFua | kSendTrim | kSendWriteZeroes;
}

bool NbdSession::Negotiate() {
  if (!WriteAll(NetworkWriter()
                    .U64(kGreetingMagic)
                    .U64(kOptionMagic)
                    .U16(kFixedNewstyle | kNoZeroes)
                    .Take())) {
    return false;
  }
  std::string bytes;
  if (!ReadExactly(&bytes, 4)) return false;
  absl::string_view view = bytes;
  const uint32_t client_flags = Get<uint32_t>(&view);
  if ((client_flags & ~uint32_t{kFixedNewstyle | kNoZeroes}) != 0) return false;
  no_zeroes_ = (client_flags & kNoZeroes) != 0;
  for (bool serving = false; !serving;) {
    if (!ReadExactly(&bytes, 16)) return false;
    view = bytes;
    if (Get<uint64_t>(&view) != kOptionMagic) return false;
    const uint32_t option = Get<uint32_t>(&view);
    const uint32_t length = Get<uint32_t>(&view);
    if (length > kOptionBytesMax || !ReadExactly(&bytes, length)) return false;
    if (!HandleOption(option, bytes, &serving)) return false;
  }
  return true;
}

bool NbdSession::HandleOption(uint32_t option, const std::string& data, bool* serving) {
  switch (option) {
    case kExportName: {
      std::string reply = NetworkWriter().U64(disk_.size_bytes()).U16(TransmissionFlags()).Take();
      if (!no_zeroes_) reply.append(124, '\0');
      *serving = true;
      return WriteAll(reply);
    }
    case kAbort:
      ReplyToOption(option, kAck, "");
      return false;
    case kList:
      return ReplyToOption(option, kServer, NetworkWriter().U32(0).Take()) &&
             ReplyToOption(option, kAck, "");
    case kStructuredReply:
      structured_ = true;
      return ReplyToOption(option, kAck, "");
    case kInfo:
    case kGo:
      return ReplyToGo(option, data, serving);
    default:
      return ReplyToOption(option, kUnsupported, "");
  }
}

bool NbdSession::ReplyToGo(uint32_t option, const std::string& data, bool* serving) {
  absl::string_view view = data;
  if (view.size() < 6) return ReplyToOption(option, kInvalid, "");
  const uint32_t name_bytes = Get<uint32_t>(&view);
  // The one disk has every name.
  if (name_bytes > view.size() - 2) return ReplyToOption(option, kInvalid, "");
  const std::string about =
      NetworkWriter().U16(kInfoExport).U64(disk_.size_bytes()).U16(TransmissionFlags()).Take();
  const std::string blocks = NetworkWriter()
                                 .U16(kInfoBlockSize)
                                 .U32(kSectorBytes)
                                 .U32(4096)
                                 .U32(NbdServer::kRequestBytesMax)
                                 .Take();
  *serving = option == kGo;
  return ReplyToOption(option, kInfoReply, about) && ReplyToOption(option, kInfoReply, blocks) &&
         ReplyToOption(option, kAck, "");
}

bool NbdSession::ReplyToOption(uint32_t option, uint32_t type, const std::string& data) {
  return WriteAll(NetworkWriter()
                      .U64(kOptionReplyMagic)
                      .U32(option)
                      .U32(type)
                      .U32(static_cast<uint32_t>(data.size()))
                      .Take() +
                  data);
}

bool NbdSession::Serve() {
  std::string bytes;
  if (!ReadExactly(&bytes, 28)) return false;
  absl::string_view view = bytes;
  if (Get<uint32_t>(&view) != kRequestMagic) return false;
  Request request;
  request.flags = Get<uint16_t>(&view);
  request.type = Get<uint16_t>(&view);
  request.cookie = Get<uint64_t>(&view);
  request.offset = Get<uint64_t>(&view);
  request.length = Get<uint32_t>(&view);
  if (request.type == kDisconnect) return false;
  const bool has_payload = request.type == kWrite;
  if (has_payload && request.length > NbdServer::kRequestBytesMax)
    return false;  // Not to be believed.
  std::string payload;
  if (has_payload && !ReadExactly(&payload, request.length)) return false;
  const bool has_range = request.type != kFlush;
  if (has_range && (request.length == 0 || request.offset % kSectorBytes != 0 ||
                    request.length % kSectorBytes != 0 || request.offset > disk_.size_bytes() ||
                    request.length > disk_.size_bytes() - request.offset)) {
    return Reply(request,
                 request.type == kRead || request.type == kTrim ? kErrorInvalid : kErrorSpace);
  }
  if (request.type == kRead) return HandleRead(request);
  return Reply(request, ErrorOf(Change(request, payload)));
}

absl::Status NbdSession::Change(const Request& request, const std::string& payload) {
  if (request.type != kFlush && disk_.read_only()) return absl::PermissionDeniedError("read-only");
  switch (request.type) {
    case kWrite:
      HW_RETURN_IF_ERROR(disk_.WriteAt(request.offset, AsBytes(payload)));
      break;
    case kTrim:
    case kWriteZeroes:
      HW_RETURN_IF_ERROR(disk_.ZeroAt(request.offset, request.length));
      break;
    case kFlush:
      return disk_.Flush();
    default:
      return absl::InvalidArgumentError("unknown command");
  }
  return (request.flags & kCommandFua) != 0 ? disk_.Flush() : absl::OkStatus();
}

bool NbdSession::HandleRead(const Request& request) {
  if (request.length > NbdServer::kRequestBytesMax) return Reply(request, kErrorInvalid);
  std::string content(request.length, '\0');
  const absl::Status read =
      disk_.ReadAt(request.offset, {reinterpret_cast<uint8_t*>(content.data()), content.size()});
  if (!read.ok()) return Reply(request, ErrorOf(read));
  if (!structured_) {
    return WriteAll(NetworkWriter().U32(kSimpleReplyMagic).U32(0).U64(request.cookie).Take()) &&
           WriteAll(content);
  }
  return WriteAll(NetworkWriter()
                      .U32(kStructuredReplyMagic)
                      .U16(kChunkDone)
                      .U16(kChunkOffsetData)
                      .U64(request.cookie)
                      .U32(static_cast<uint32_t>(8 + content.size()))
                      .U64(request.offset)
                      .Take()) &&
         WriteAll(content);
}

bool NbdSession::Reply(const Request& request, uint32_t error) {
  if (structured_ && request.type == kRead) {
    return WriteAll(NetworkWriter()
                        .U32(kStructuredReplyMagic)
                        .U16(kChunkDone)
                        .U16(kChunkError)
                        .U64(request.cookie)
                        .U32(6)
                        .U32(error)
                        .U16(0)
                        .Take());
  }
  return WriteAll(NetworkWriter().U32(kSimpleReplyMagic).U32(error).U64(request.cookie).Take());
}

bool NbdSession::ReadExactly(std::string* out, size_t bytes) {
  out->resize(bytes);
  for (size_t done = 0; done < bytes;) {
    const ssize_t n = ::recv(fd_, out->data() + done, bytes - done, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

bool NbdSession::WriteAll(const std::string& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::send(fd_, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

}  // namespace homeward
