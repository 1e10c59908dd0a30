#include "common/journal/record_log.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/status/status_macros.h"
#include "common/wire/checksum.h"

namespace homeward {
namespace {

constexpr size_t kApartBytes = 64 * kKiB;

constexpr absl::string_view kMagic = "HWL1";
constexpr uint64_t kHeaderBytes = 24;
constexpr uint64_t kRecordHeaderBytes = 24;

std::string EncodeHeader(LogPurpose purpose, uint64_t number) {
  std::string out;
  FieldWriter writer(&out);
  writer.Raw(kMagic);
  writer.U32(static_cast<uint32_t>(purpose));
  writer.U64(number);
  writer.U64(Checksum64(AsBytes(out)));
  return out;
}

// Of the place and the body, which is `body` and then `rest`.
uint64_t RecordChecksum(uint64_t number, uint64_t offset, uint32_t type, uint64_t synced_bytes,
                        absl::string_view body, absl::string_view rest = {}) {
  std::string place;
  FieldWriter writer(&place);
  writer.U64(number);
  writer.U64(offset);
  writer.U32(static_cast<uint32_t>(body.size() + rest.size()));
  writer.U32(type);
  writer.U64(synced_bytes);
  if (rest.empty()) return Checksum64(AsBytes(place), AsBytes(body));
  writer.Raw(body);
  return Checksum64(AsBytes(place), AsBytes(rest));
}

}  // namespace

RecordLog::RecordLog(std::unique_ptr<File> file, std::string path, uint64_t number)
    : file_(std::move(file)), path_(std::move(path)), number_(number) {}

absl::StatusOr<std::unique_ptr<RecordLog>> RecordLog::Create(FileSystem& files,
                                                             const std::string& path,
                                                             LogPurpose purpose, uint64_t number) {
  HW_ASSIGN_OR_RETURN(std::unique_ptr<File> file, files.Open(path, OpenMode::kCreate));
  std::unique_ptr<RecordLog> log(new RecordLog(std::move(file), path, number));
  HW_RETURN_IF_ERROR(log->file_->Truncate(0));
  HW_RETURN_IF_ERROR(log->file_->Write(0, AsBytes(EncodeHeader(purpose, number))));
  log->size_bytes_ = kHeaderBytes;
  return log;
}

absl::StatusOr<std::unique_ptr<RecordLog>> RecordLog::Reuse(FileSystem& files,
                                                            const std::string& path,
                                                            LogPurpose purpose, uint64_t number) {
  HW_ASSIGN_OR_RETURN(std::unique_ptr<File> file, files.Open(path, OpenMode::kReadWrite));
  std::unique_ptr<RecordLog> log(new RecordLog(std::move(file), path, number));
  HW_ASSIGN_OR_RETURN(log->file_bytes_, log->file_->Size());
  HW_RETURN_IF_ERROR(log->file_->Write(0, AsBytes(EncodeHeader(purpose, number))));
  log->size_bytes_ = kHeaderBytes;
  return log;
}

absl::StatusOr<std::unique_ptr<RecordLog>> RecordLog::Open(
    FileSystem& files, const std::string& path, LogPurpose purpose, uint64_t number,
    const std::function<absl::Status(const LogRecord&)>& visit) {
  HW_ASSIGN_OR_RETURN(std::unique_ptr<File> file, files.Open(path, OpenMode::kReadWrite));
  std::unique_ptr<RecordLog> log(new RecordLog(std::move(file), path, number));
  HW_RETURN_IF_ERROR(log->ReadHeader(purpose));
  HW_RETURN_IF_ERROR(log->Replay(visit));
  HW_ASSIGN_OR_RETURN(const uint64_t file_bytes, log->file_->Size());
  if (file_bytes > log->size_bytes_) {
    HW_RETURN_IF_ERROR(log->file_->Truncate(log->size_bytes_));
  }
  // What is there from now on is built upon, so it must not vanish: the process may have died
  // before its sync.
  HW_RETURN_IF_ERROR(log->Sync());
  return log;
}

absl::Status RecordLog::Scan(FileSystem& files, const std::string& path, LogPurpose purpose,
                             uint64_t number,
                             const std::function<absl::Status(const LogRecord&)>& visit,
                             uint64_t whole_bytes) {
  HW_ASSIGN_OR_RETURN(std::unique_ptr<File> file, files.Open(path, OpenMode::kReadOnly));
  RecordLog log(std::move(file), path, number);
  HW_RETURN_IF_ERROR(log.ReadHeader(purpose));
  const absl::Status status = log.Replay(visit, whole_bytes == 0 ? UINT64_MAX : whole_bytes);
  if (absl::IsCancelled(status)) return absl::OkStatus();
  HW_RETURN_IF_ERROR(status);
  return log.size_bytes_ >= whole_bytes ? absl::OkStatus() : log.NotWhole(log.size_bytes_);
}

absl::StatusOr<uint64_t> RecordLog::Verify(FileSystem& files, const std::string& path,
                                           LogPurpose purpose, uint64_t number, uint64_t offset,
                                           uint64_t bytes, uint64_t whole_bytes) {
  HW_ASSIGN_OR_RETURN(std::unique_ptr<File> file, files.Open(path, OpenMode::kReadOnly));
  RecordLog log(std::move(file), path, number);
  HW_RETURN_IF_ERROR(log.ReadHeader(purpose));
  const uint64_t stop = offset + bytes;
  uint64_t at = std::max(offset, kHeaderBytes);
  std::string body;
  while (at < whole_bytes && at < stop) {
    uint32_t type = 0;
    HW_RETURN_IF_ERROR(log.ReadRecord(at, whole_bytes, &type, &body));
    at += kRecordHeaderBytes + body.size();
  }
  return at;
}

absl::Status RecordLog::ReadHeader(LogPurpose purpose) {
  std::string header(kHeaderBytes, '\0');
  const absl::Status read = file_->Read(0, Writable(&header));
  if (absl::IsOutOfRange(read))
    return absl::DataLossError(absl::StrCat(path_, ": no whole header"));
  HW_RETURN_IF_ERROR(read);
  if (header != EncodeHeader(purpose, number_)) {
    return absl::DataLossError(absl::StrCat(path_, ": the header at offset 0 is damaged"));
  }
  size_bytes_ = kHeaderBytes;
  return absl::OkStatus();
}

absl::Status RecordLog::NotWhole(uint64_t offset) const {
  return absl::DataLossError(absl::StrCat(path_, ": no whole record at offset ", offset));
}

absl::Status RecordLog::ReadRecord(uint64_t offset, uint64_t file_bytes, uint32_t* type,
                                   std::string* body, uint64_t* synced_bytes) {
  if (offset + kRecordHeaderBytes > file_bytes) return NotWhole(offset);
  std::string header(kRecordHeaderBytes, '\0');
  HW_RETURN_IF_ERROR(file_->Read(offset, Writable(&header)));
  FieldReader reader(header);
  const uint32_t length = reader.U32();
  *type = reader.U32();
  const uint64_t synced = reader.U64();
  const uint64_t checksum = reader.U64();
  if (*type == 0 || length > kLogRecordBytesMax ||
      offset + kRecordHeaderBytes + length > file_bytes) {
    return NotWhole(offset);
  }
  body->resize(length);
  HW_RETURN_IF_ERROR(file_->Read(offset + kRecordHeaderBytes, Writable(body)));
  if (RecordChecksum(number_, offset, *type, synced, *body) != checksum) return NotWhole(offset);
  if (synced_bytes != nullptr) *synced_bytes = synced;
  return absl::OkStatus();
}

absl::Status RecordLog::Replay(const std::function<absl::Status(const LogRecord&)>& visit,
                               uint64_t bytes_max) {
  HW_ASSIGN_OR_RETURN(uint64_t file_bytes, file_->Size());
  file_bytes = std::min(file_bytes, bytes_max);
  std::string body;
  while (size_bytes_ < file_bytes) {
    uint32_t type = 0;
    const absl::Status read = ReadRecord(size_bytes_, file_bytes, &type, &body);
    if (absl::IsDataLoss(read)) {
      HW_ASSIGN_OR_RETURN(const bool damaged, WasSyncedPast(size_bytes_, file_bytes));
      return damaged ? read : absl::OkStatus();
    }
    HW_RETURN_IF_ERROR(read);
    HW_RETURN_IF_ERROR(visit({type, size_bytes_, body}));
    size_bytes_ += kRecordHeaderBytes + body.size();
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> RecordLog::WasSyncedPast(uint64_t offset, uint64_t file_bytes) {
  // Only a torn tail or damage brings us here, so the price of trying each byte is paid once. The
  // checks of length and type fail nearly everywhere, before any body is read.
  std::string window;
  constexpr uint64_t kWindowBytes = kMiB;
  for (uint64_t base = offset + 1; base + kRecordHeaderBytes <= file_bytes; base += kWindowBytes) {
    window.resize(std::min(kWindowBytes + kRecordHeaderBytes, file_bytes - base));
    HW_RETURN_IF_ERROR(file_->Read(base, Writable(&window)));
    for (uint64_t at = 0; at + kRecordHeaderBytes <= window.size() && at < kWindowBytes; ++at) {
      FieldReader reader(absl::string_view(window).substr(at));
      const uint32_t length = reader.U32();
      const uint32_t type = reader.U32();
      if (type == 0 || type > 255 || length > kLogRecordBytesMax ||
          base + at + kRecordHeaderBytes + length > file_bytes) {
        continue;
      }
      uint32_t found_type = 0;
      uint64_t synced_bytes = 0;
      std::string body;
      const absl::Status found =
          ReadRecord(base + at, file_bytes, &found_type, &body, &synced_bytes);
      if (found.ok() && synced_bytes > offset) return true;
      if (!found.ok() && !absl::IsDataLoss(found)) return found;
    }
  }
  return false;
}

absl::StatusOr<uint64_t> RecordLog::Append(uint32_t type, absl::string_view body,
                                           absl::string_view rest) {
  HW_RETURN_IF_ERROR(broken_);
  const size_t body_bytes = body.size() + rest.size();
  HW_CHECK(type != 0 && type <= 255 && body_bytes <= kLogRecordBytesMax);
  const uint64_t checksum = RecordChecksum(number_, size_bytes_, type, synced_bytes_, body, rest);
  // What is large is written as it is, what is small together with the header.
  if (rest.empty() && body.size() >= kApartBytes) std::swap(body, rest);
  const bool apart = rest.size() >= kApartBytes;
  std::string record;
  record.reserve(kRecordHeaderBytes + body.size() + (apart ? 0 : rest.size()));
  FieldWriter writer(&record);
  writer.U32(static_cast<uint32_t>(body_bytes));
  writer.U32(type);
  writer.U64(synced_bytes_);
  writer.U64(checksum);
  writer.Raw(body);
  if (!apart) writer.Raw(rest);
  absl::Status written = file_->Write(size_bytes_, AsBytes(record));
  if (written.ok() && apart) written = file_->Write(size_bytes_ + record.size(), AsBytes(rest));
  if (!written.ok()) {
    const absl::Status cut = file_->Truncate(size_bytes_);
    file_bytes_ = 0;
    if (absl::IsResourceExhausted(written) && cut.ok()) return written;
    Break(written);
    return broken_;
  }
  const uint64_t offset = size_bytes_;
  size_bytes_ += kRecordHeaderBytes + body_bytes;
  return offset;
}

absl::Status RecordLog::Sync() {
  HW_RETURN_IF_ERROR(broken_);
  Break(file_->Sync());
  if (broken_.ok()) synced_bytes_ = size_bytes_;
  return broken_;
}

void RecordLog::Break(absl::Status status) {
  // "The disk is full" is what one can go on after.
  if (absl::IsResourceExhausted(status))
    status = absl::UnavailableError(absl::StrCat("it is to be opened anew: ", status.message()));
  broken_ = std::move(status);
}

absl::Status RecordLog::Trim() {
  if (file_bytes_ <= size_bytes_) return broken_;
  HW_RETURN_IF_ERROR(broken_);
  Break(file_->Truncate(size_bytes_));
  file_bytes_ = 0;
  return Sync();
}

absl::Status RecordLog::Rename(FileSystem& files, const std::string& path) {
  HW_RETURN_IF_ERROR(files.Rename(path_, path));
  path_ = path;
  return absl::OkStatus();
}

absl::Status RecordLog::ReadOne(FileSystem& files, const std::string& path, uint64_t number,
                                uint64_t offset,
                                const std::function<void(const LogRecord&)>& visit) {
  HW_ASSIGN_OR_RETURN(std::unique_ptr<File> file, files.Open(path, OpenMode::kReadOnly));
  RecordLog log(std::move(file), path, number);
  HW_ASSIGN_OR_RETURN(const uint64_t file_bytes, log.file_->Size());
  uint32_t type = 0;
  std::string body;
  HW_RETURN_IF_ERROR(log.ReadRecord(offset, file_bytes, &type, &body));
  visit({type, offset, body});
  return absl::OkStatus();
}

}  // namespace homeward
