#include "config_server/backup/backup_file.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/cipher/passphrase_key.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

using storage::v1::BackupHeader;
using storage::v1::BackupPiece;

constexpr absl::string_view kMagic = "HWBACKUP";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeadBytes = 16;  // magic, version, length of the header
constexpr size_t kHeaderBytesMax = 4096;
constexpr size_t kSaltBytes = 16;
constexpr size_t kFrameHeadBytes = 4 + kNonceBytes + std::tuple_size_v<Tag>;
constexpr size_t kPieceBytesMax = kMiB;
constexpr size_t kFrameBytesMax = kPieceBytesMax + 4096;

// What is authenticated beside a frame: where it belongs.
std::string PlaceOf(uint64_t number, bool last) {
  std::string place;
  FieldWriter out(&place);
  out.U64(number);
  out.U16(last ? 1 : 0);
  return place;
}

absl::StatusOr<DataKey> KeyFor(absl::string_view passphrase, const BackupHeader& header) {
  HW_ASSIGN_OR_RETURN(std::string secret,
                      KeyOfPassphrase(passphrase, header.salt(),
                                      {header.cost(), header.block_size(), header.parallelism()}));
  DataKey key;
  key.id = 1;
  key.secret = std::move(secret);
  return key;
}

absl::Status NoBackup(const std::string& path, absl::string_view why) {
  return absl::DataLossError(absl::StrCat(path, " is not a backup, or is damaged: ", why));
}

// The beginning of a file, up to the first frame.
struct Head {
  std::string bytes;
  BackupHeader header;
};

absl::StatusOr<Head> ReadHead(File& file, const std::string& path) {
  HW_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
  if (size < kHeadBytes) return NoBackup(path, "it is too short");
  Head head;
  head.bytes.resize(kHeadBytes);
  HW_RETURN_IF_ERROR(file.Read(0, Writable(&head.bytes)));
  FieldReader fields(absl::string_view(head.bytes).substr(kMagic.size()));
  if (head.bytes.substr(0, kMagic.size()) != kMagic)
    return NoBackup(path, "it does not begin as one");
  const uint32_t version = fields.U32();
  if (version != kVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is a backup of version ", version, "; this program reads ", kVersion));
  }
  const uint32_t length = fields.U32();
  if (length > kHeaderBytesMax || kHeadBytes + length > size)
    return NoBackup(path, "its header is longer than one");
  head.bytes.resize(kHeadBytes + length);
  HW_RETURN_IF_ERROR(file.Read(kHeadBytes, Writable(&head.bytes).subspan(kHeadBytes)));
  if (!head.header.ParseFromString(head.bytes.substr(kHeadBytes)))
    return NoBackup(path, "its header cannot be read");
  return head;
}

}  // namespace

absl::StatusOr<std::string> ReadBackupPassphrase(FileSystem& files, const std::string& path) {
  HW_ASSIGN_OR_RETURN(const std::string content, ReadWholeFile(files, path, 64 * kKiB));
  std::string first(absl::StripAsciiWhitespace(content.substr(0, content.find('\n'))));
  if (first.size() < kBackupPassphraseBytesMin) {
    return absl::InvalidArgumentError(absl::StrCat("the passphrase of backups in ", path, " has ",
                                                   first.size(), " characters; it needs ",
                                                   kBackupPassphraseBytesMin, " at least"));
  }
  return first;
}

absl::StatusOr<std::unique_ptr<BackupWriter>> BackupWriter::Create(FileSystem& files,
                                                                   const std::string& path,
                                                                   absl::string_view passphrase,
                                                                   BackupHeader header) {
  const StretchCost cost;
  header.set_cost(cost.cost);
  header.set_block_size(cost.block_size);
  header.set_parallelism(cost.parallelism);
  header.mutable_salt()->resize(kSaltBytes);
  SystemRandomBytes(Writable(header.mutable_salt()));
  HW_ASSIGN_OR_RETURN(DataKey key, KeyFor(passphrase, header));
  const std::string told = header.SerializeAsString();
  std::string head;
  FieldWriter out(&head);
  out.Raw(kMagic);
  out.U32(kVersion);
  out.U32(static_cast<uint32_t>(told.size()));
  out.Raw(told);
  HW_ASSIGN_OR_RETURN(std::unique_ptr<File> file, files.Open(path, OpenMode::kCreate));
  HW_RETURN_IF_ERROR(file->Truncate(0));
  std::unique_ptr<BackupWriter> writer(new BackupWriter(std::move(file), head, std::move(key)));
  HW_RETURN_IF_ERROR(writer->Append(head));
  return writer;
}

absl::Status BackupWriter::Append(absl::string_view bytes) {
  HW_RETURN_IF_ERROR(file_->Write(offset_, AsBytes(bytes)));
  offset_ += bytes.size();
  return absl::OkStatus();
}

absl::Status BackupWriter::AddFrame(const BackupPiece& piece, bool last) {
  std::string content = piece.SerializeAsString();
  const std::string place = PlaceOf(frames_++, last);
  const Envelope envelope =
      encryptor_.Encrypt({AsBytes(head_), AsBytes(place)}, Writable(&content));
  std::string frame;
  FieldWriter out(&frame);
  out.U32(static_cast<uint32_t>(content.size()));
  out.Raw(AsText(envelope.nonce));
  out.Raw(AsText(envelope.tag));
  out.Raw(content);
  return Append(frame);
}

absl::Status BackupWriter::Add(absl::string_view path, ConstBytes content) {
  BackupPiece piece;
  piece.set_path(std::string(path));
  do {
    const ConstBytes part = content.first(std::min(content.size(), kPieceBytesMax));
    piece.set_content(std::string(AsText(part)));
    HW_RETURN_IF_ERROR(AddFrame(piece, false));
    content.remove_prefix(part.size());
  } while (!content.empty());
  return absl::OkStatus();
}

absl::Status BackupWriter::Finish() {
  HW_RETURN_IF_ERROR(AddFrame({}, true));
  return file_->Sync();
}

BackupReader::BackupReader(std::unique_ptr<File> file, std::string path, uint64_t size,
                           std::string head, BackupHeader header, DataKey key)
    : file_(std::move(file)),
      path_(std::move(path)),
      size_(size),
      head_(std::move(head)),
      header_(std::move(header)),
      key_(std::move(key)),
      offset_(head_.size()) {}

absl::StatusOr<std::unique_ptr<BackupReader>> BackupReader::Open(FileSystem& files,
                                                                 const std::string& path,
                                                                 absl::string_view passphrase) {
  HW_ASSIGN_OR_RETURN(std::unique_ptr<File> file, files.Open(path, OpenMode::kReadOnly));
  HW_ASSIGN_OR_RETURN(Head head, ReadHead(*file, path));
  HW_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  absl::StatusOr<DataKey> key = KeyFor(passphrase, head.header);
  if (!key.ok()) return NoBackup(path, key.status().message());
  return std::unique_ptr<BackupReader>(new BackupReader(
      std::move(file), path, size, std::move(head.bytes), std::move(head.header), *std::move(key)));
}

absl::Status BackupReader::Lost(absl::string_view why) const {
  return absl::DataLossError(absl::StrCat("backup ", path_, ", byte ", offset_, ": ", why));
}

absl::StatusOr<bool> BackupReader::Next(BackupPiece* piece) {
  if (size_ - offset_ < kFrameHeadBytes) return Lost("it ends before its end: a part is missing");
  std::string frame(kFrameHeadBytes, '\0');
  HW_RETURN_IF_ERROR(file_->Read(offset_, Writable(&frame)));
  const uint32_t length = FieldReader(frame).U32();
  if (length > kFrameBytesMax) return Lost("what is there was changed");
  if (size_ - offset_ - kFrameHeadBytes < length)
    return Lost("it ends before its end: a part is missing");
  Envelope envelope;
  envelope.key_id = key_.id;
  const ConstBytes told = AsBytes(frame).subspan(4);
  std::copy_n(told.begin(), envelope.nonce.size(), envelope.nonce.begin());
  std::copy_n(told.begin() + kNonceBytes, envelope.tag.size(), envelope.tag.begin());
  std::string content(length, '\0');
  HW_RETURN_IF_ERROR(file_->Read(offset_ + kFrameHeadBytes, Writable(&content)));
  const bool last = offset_ + kFrameHeadBytes + length == size_;
  const std::string place = PlaceOf(frames_, last);
  const absl::Status opened = Decrypt(key_, envelope, {AsBytes(head_), AsBytes(place)},
                                      AsBytes(content), Writable(&content));
  if (!opened.ok() && frames_ == 0)
    return Lost("the passphrase is not the one that it was made with, or it was changed");
  if (!opened.ok()) return Lost("what is there was changed, or what follows is missing");
  if (!piece->ParseFromString(content)) return Lost("what is there cannot be read");
  ++frames_;
  offset_ += kFrameHeadBytes + length;
  return !last;
}

absl::StatusOr<BackupHeader> ReadBackupHeader(FileSystem& files, const std::string& path) {
  HW_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, files.Open(path, OpenMode::kReadOnly));
  HW_ASSIGN_OR_RETURN(Head head, ReadHead(*file, path));
  return std::move(head.header);
}

}  // namespace homeward
