#include "master_target/keeper/recovery_journal.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/base/check.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

// kState and kRecovered: as written before there was a StateRecord.
enum RecordType : uint32_t { kHead = 1, kUndo = 2, kState = 3, kUndoZeroes = 4, kRecovered = 5 };
constexpr char kStateName[] = "state", kSpareName[] = "spare";

absl::Status Malformed(const LogRecord& record) {
  return absl::DataLossError(absl::StrCat("recovery journal: malformed record of type ",
                                          record.type, " at offset ", record.offset));
}

}  // namespace

RecoveryJournal::RecoveryJournal(FileSystem& files, std::string directory,
                                 std::vector<uint64_t> disk_bytes)
    : files_(files),
      directory_(std::move(directory)),
      disk_bytes_(std::move(disk_bytes)),
      saved_(disk_bytes_.size()) {}

RecoveryJournal::~RecoveryJournal() {
  // Whoever opens it has less to look at.
  if (open_delta_ != nullptr) open_delta_->Trim().IgnoreError();
}

bool RecoveryJournal::DecodeUndo(const LogRecord& record, UndoRange* undo) const {
  FieldReader reader(record.body);
  undo->disk = reader.U32();
  undo->extent.offset = reader.U64();
  undo->zeroes = record.type == kUndoZeroes;
  undo->content = {};
  if (undo->zeroes) {
    undo->extent.length = reader.U64();
  } else {
    undo->content = reader.rest();
    undo->extent.length = undo->content.size();
  }
  if (!reader.ok() || undo->extent.length == 0 || undo->disk >= disk_bytes_.size()) return false;
  const uint64_t bytes = disk_bytes_[undo->disk];
  return undo->extent.offset <= bytes && undo->extent.length <= bytes - undo->extent.offset;
}

std::string RecoveryJournal::PathOf(uint64_t number) const {
  return JoinPath(directory_, absl::StrFormat("delta-%016d.hwl", number));
}

absl::StatusOr<std::unique_ptr<RecoveryJournal>> RecoveryJournal::Open(
    FileSystem& files, std::string directory, std::vector<uint64_t> disk_bytes) {
  std::unique_ptr<RecoveryJournal> journal(
      new RecoveryJournal(files, std::move(directory), std::move(disk_bytes)));
  HW_RETURN_IF_ERROR(files.MakeDirectories(journal->directory_));
  HW_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(journal->directory_));
  HW_ASSIGN_OR_RETURN(journal->state_record_,
                      StateRecord::Open(files, JoinPath(journal->directory_, kStateName)));
  // Its name and a delta's may be of the same file, if the crash came when it was used again.
  HW_RETURN_IF_ERROR(files.Remove(JoinPath(journal->directory_, kSpareName)));
  std::vector<uint64_t> numbers;
  for (const std::string& name : names) {
    absl::string_view digits = name;
    uint64_t number = 0;
    if (absl::ConsumePrefix(&digits, "delta-") && absl::ConsumeSuffix(&digits, ".hwl") &&
        absl::SimpleAtoi(digits, &number)) {
      numbers.push_back(number);
    }
  }
  if (!numbers.empty()) {
    HW_ASSIGN_OR_RETURN(const bool has_head, journal->HasHead(numbers.back()));
    if (!has_head) {
      const absl::optional<StateRecord::Content>& noted = journal->state_record_->content();
      if (noted.has_value() && noted->delta_number == numbers.back())
        return journal->NoHead(numbers.back());
      HW_RETURN_IF_ERROR(files.Remove(journal->PathOf(numbers.back())));
      numbers.pop_back();
    }
  }
  if (numbers.empty()) {
    HW_RETURN_IF_ERROR(journal->StartDelta(1, nullptr, StreamState{}));
    return journal;
  }
  for (size_t i = 0; i + 1 < numbers.size(); ++i) {
    if (numbers[i] + 1 != numbers[i + 1]) {
      return absl::DataLossError(
          absl::StrCat(journal->PathOf(numbers[i] + 1), " is missing between its neighbours"));
    }
    HW_RETURN_IF_ERROR(journal->ReadClosedHead(numbers[i]));
  }
  HW_RETURN_IF_ERROR(journal->OpenNewest(numbers.back()));
  return journal;
}

absl::StatusOr<bool> RecoveryJournal::HasHead(uint64_t number) const {
  bool found = false;
  const absl::Status status = RecordLog::Scan(files_, PathOf(number), LogPurpose::kDelta, number,
                                              [&](const LogRecord& record) {
                                                found = record.type == kHead;
                                                return absl::CancelledError("");
                                              });
  // Without a whole file header there was never a head; damage behind a head is found by
  // OpenNewest().
  if (absl::IsDataLoss(status)) {
    HW_ASSIGN_OR_RETURN(std::unique_ptr<File> file,
                        files_.Open(PathOf(number), OpenMode::kReadOnly));
    HW_ASSIGN_OR_RETURN(const uint64_t bytes, file->Size());
    constexpr uint64_t kHeadBytesMax = 512;
    if (bytes > kHeadBytesMax) return status;
    return false;
  }
  HW_RETURN_IF_ERROR(status);
  return found;
}

absl::Status RecoveryJournal::NoHead(uint64_t number) const {
  return absl::DataLossError(
      absl::StrCat(PathOf(number), ": the head at its beginning is damaged"));
}

absl::Status RecoveryJournal::ReadClosedHead(uint64_t number) {
  bool found = false;
  HW_RETURN_IF_ERROR(RecordLog::Scan(
      files_, PathOf(number), LogPurpose::kDelta, number, [&](const LogRecord& record) {
        if (record.type != kHead || record.body.size() < kStateBytes) return Malformed(record);
        if (record.body.size() > kStateBytes) {
          HW_ASSIGN_OR_RETURN(Marker marker, DecodeMarker(record.body.substr(kStateBytes)));
          points_.push_back({std::move(marker), number});
        }
        found = true;
        return absl::CancelledError("the head is enough");
      }));
  if (!found) return NoHead(number);
  HW_ASSIGN_OR_RETURN(std::unique_ptr<File> file, files_.Open(PathOf(number), OpenMode::kReadOnly));
  HW_ASSIGN_OR_RETURN(const uint64_t bytes, file->Size());
  closed_.emplace_back(number, bytes);
  return absl::OkStatus();
}

absl::Status RecoveryJournal::OpenNewest(uint64_t number) {
  uint64_t state_at = 0;  // of the last record that says where the replica stands
  const auto visit = [&](const LogRecord& record) -> absl::Status {
    UndoRange undo;
    switch (record.type) {
      case kHead:
        if (!DecodeState(record.body, &state_)) return Malformed(record);
        if (record.body.size() > kStateBytes) {
          HW_ASSIGN_OR_RETURN(Marker marker, DecodeMarker(record.body.substr(kStateBytes)));
          points_.push_back({std::move(marker), number});
        }
        return absl::OkStatus();
      case kState:
        state_at = record.offset;
        recovered_point_.clear();
        return DecodeState(record.body, &state_) ? absl::OkStatus() : Malformed(record);
      case kUndo:
      case kUndoZeroes:
        if (!DecodeUndo(record, &undo)) {
          return Malformed(record);
        }
        saved_[undo.disk].Add(undo.extent);
        return absl::OkStatus();
      case kRecovered: {
        state_at = record.offset;
        FieldReader reader(record.body);
        recovered_point_ = std::string(reader.Raw(reader.U32()));
        return reader.ok() ? absl::OkStatus() : Malformed(record);
      }
      default:
        return Malformed(record);
    }
  };
  HW_ASSIGN_OR_RETURN(open_delta_,
                      RecordLog::Open(files_, PathOf(number), LogPurpose::kDelta, number, visit));
  const absl::optional<StateRecord::Content>& noted = state_record_->content();
  // An older version, which knows none, may have gone on behind it.
  if (noted.has_value() && noted->delta_number == number && state_at < noted->delta_bytes) {
    if (open_delta_->size_bytes() < noted->delta_bytes) {
      return absl::DataLossError(
          absl::StrCat(PathOf(number), ": no whole record at offset ", open_delta_->size_bytes()));
    }
    state_ = noted->state;
    recovered_point_ = noted->recovered_point;
  }
  // The name may have survived only in memory; what follows builds on it.
  return files_.SyncDirectory(directory_);
}

absl::Status RecoveryJournal::StartDelta(uint64_t number, const Marker* marker,
                                         const StreamState& state) {
  // What is closed ends where its file does, before there is another one.
  if (open_delta_ != nullptr) HW_RETURN_IF_ERROR(open_delta_->Trim());
  const std::string path = PathOf(number);
  HW_ASSIGN_OR_RETURN(
      std::unique_ptr<RecordLog> log,
      spare_bytes_ > 0
          ? RecordLog::Reuse(files_, JoinPath(directory_, kSpareName), LogPurpose::kDelta, number)
          : RecordLog::Create(files_, path, LogPurpose::kDelta, number));
  std::string head = EncodeState(state);
  if (marker != nullptr) head += EncodeMarker(*marker);
  HW_RETURN_IF_ERROR(log->Append(kHead, head).status());
  HW_RETURN_IF_ERROR(log->Sync());
  if (spare_bytes_ > 0) HW_RETURN_IF_ERROR(log->Rename(files_, path));
  spare_bytes_ = 0;
  HW_RETURN_IF_ERROR(files_.SyncDirectory(directory_));
  if (open_delta_ != nullptr)
    closed_.emplace_back(open_delta_->number(), open_delta_->size_bytes());
  open_delta_ = std::move(log);
  for (ExtentSet& saved : saved_) saved.Clear();
  if (marker != nullptr) points_.push_back({*marker, number});
  state_ = state;
  recovered_point_.clear();
  return absl::OkStatus();
}

absl::StatusOr<ReplicaPoint> RecoveryJournal::FindPoint(absl::string_view id) const {
  for (const ReplicaPoint& point : points_) {
    if (point.marker.id == id) return point;
  }
  return absl::NotFoundError(
      absl::StrCat("there is no recovery point ", id,
                   "; it may have left the retention window: list the points"));
}

std::vector<Extent> RecoveryJournal::Unsaved(uint32_t disk, Extent extent) const {
  HW_CHECK(disk < disk_bytes_.size());
  return saved_[disk].Missing(extent);
}

absl::Status RecoveryJournal::AppendUndo(const UndoRange& undo) {
  std::string body;
  FieldWriter writer(&body);
  writer.U32(undo.disk);
  writer.U64(undo.extent.offset);
  if (undo.zeroes) writer.U64(undo.extent.length);
  const uint32_t type = undo.zeroes ? kUndoZeroes : kUndo;
  absl::Status appended = open_delta_->Append(type, body, undo.content).status();
  if (absl::IsResourceExhausted(appended) && spare_bytes_ > 0) {
    HW_RETURN_IF_ERROR(DropSpare());
    appended = open_delta_->Append(type, body, undo.content).status();
  }
  HW_RETURN_IF_ERROR(appended);
  saved_[undo.disk].Add(undo.extent);
  return absl::OkStatus();
}

absl::Status RecoveryJournal::SyncUndo() { return open_delta_->Sync(); }

absl::Status RecoveryJournal::Note(const StreamState& state, absl::string_view recovered_point) {
  HW_RETURN_IF_ERROR(state_record_->Write({.delta_number = open_delta_->number(),
                                           .delta_bytes = open_delta_->synced_bytes(),
                                           .state = state,
                                           .recovered_point = std::string(recovered_point)}));
  state_ = state;
  recovered_point_ = std::string(recovered_point);
  return absl::OkStatus();
}

absl::Status RecoveryJournal::MakePoint(const Marker& marker, const StreamState& state) {
  return StartDelta(open_delta_->number() + 1, &marker, state);
}

absl::Status RecoveryJournal::VisitUndo(
    uint64_t first_delta, const std::function<absl::Status(const UndoRange&)>& visit) const {
  const auto visit_record = [&](const LogRecord& record) -> absl::Status {
    if (record.type != kUndo && record.type != kUndoZeroes) return absl::OkStatus();
    UndoRange undo;
    if (!DecodeUndo(record, &undo)) return Malformed(record);
    return visit(undo);
  };
  // What is saved meanwhile is not visited.
  const uint64_t open_bytes = open_delta_->size_bytes();
  for (uint64_t number = first_delta; number <= open_delta_->number(); ++number) {
    const uint64_t bytes = number == open_delta_->number() ? open_bytes : BytesOf(number);
    HW_RETURN_IF_ERROR(
        RecordLog::Scan(files_, PathOf(number), LogPurpose::kDelta, number, visit_record, bytes));
  }
  return absl::OkStatus();
}

uint64_t RecoveryJournal::BytesOf(uint64_t number) const {
  if (number == open_delta_->number()) return open_delta_->size_bytes();
  return closed_[number - closed_.front().first].second;
}

absl::StatusOr<uint64_t> RecoveryJournal::Verify(uint64_t bytes, ReadPlace* at) const {
  // Retention may have dropped what was being read.
  if (closed_.empty() || at->delta_number > closed_.back().first) return 0;
  if (at->delta_number < closed_.front().first) *at = {closed_.front().first, 0};
  const uint64_t whole = BytesOf(at->delta_number);
  HW_ASSIGN_OR_RETURN(const uint64_t next,
                      RecordLog::Verify(files_, PathOf(at->delta_number), LogPurpose::kDelta,
                                        at->delta_number, at->offset, bytes, whole));
  const uint64_t read = next - at->offset;
  at->offset = next;
  if (next >= whole) *at = {at->delta_number + 1, 0};
  return read;
}

absl::Status RecoveryJournal::DropSpare() {
  if (std::exchange(spare_bytes_, 0) == 0) return absl::OkStatus();
  HW_RETURN_IF_ERROR(files_.Remove(JoinPath(directory_, kSpareName)));
  return files_.SyncDirectory(directory_);
}

absl::Status RecoveryJournal::DropOldestPoint() {
  if (points_.size() < 2) {
    return absl::FailedPreconditionError(
        "the newest recovery point is kept whatever the policy says");
  }
  // Deltas before the first point (of the first synchronisation) go with it.
  const uint64_t last = points_.front().number;
  while (closed_.front().first <= last) {
    const auto [number, bytes] = closed_.front();
    const bool keep = bytes > spare_bytes_;
    HW_RETURN_IF_ERROR(keep ? files_.Rename(PathOf(number), JoinPath(directory_, kSpareName))
                            : files_.Remove(PathOf(number)));
    if (keep) spare_bytes_ = bytes;
    closed_.erase(closed_.begin());
    if (number == last) points_.erase(points_.begin());
    HW_RETURN_IF_ERROR(files_.SyncDirectory(directory_));
    if (number == last) break;
  }
  return absl::OkStatus();
}

uint64_t RecoveryJournal::KeptBytes(size_t point) const { return BytesOf(points_[point].number); }

uint64_t RecoveryJournal::size_bytes() const {
  uint64_t bytes = open_delta_->file_bytes() + spare_bytes_;
  for (const auto& [number, size] : closed_) bytes += size;
  return bytes;
}

}  // namespace homeward
