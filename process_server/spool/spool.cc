#include "process_server/spool/spool.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/base/check.h"
#include "common/status/status_macros.h"
#include "common/wire/change_batch.h"

namespace homeward {
namespace {

enum RecordType : uint32_t { kHead = 1, kBatch = 2 };

absl::StatusOr<std::vector<uint64_t>> SegmentNumbers(FileSystem& files,
                                                     const std::string& directory) {
  HW_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(directory));
  std::vector<uint64_t> numbers;
  for (const std::string& name : names) {
    absl::string_view digits = name;
    uint64_t number = 0;
    if (absl::ConsumePrefix(&digits, "segment-") && absl::ConsumeSuffix(&digits, ".hwl") &&
        absl::SimpleAtoi(digits, &number)) {
      numbers.push_back(number);
    }
  }
  return numbers;
}

std::string SegmentPath(const std::string& directory, uint64_t number) {
  return JoinPath(directory, absl::StrFormat("segment-%016d.hwl", number));
}

}  // namespace

std::string Spool::PathOf(uint64_t number) const { return SegmentPath(options_.directory, number); }

absl::StatusOr<std::unique_ptr<Spool>> Spool::Open(FileSystem& files, const Options& options) {
  std::unique_ptr<Spool> spool(new Spool(files, options));
  HW_RETURN_IF_ERROR(files.MakeDirectories(options.directory));
  HW_ASSIGN_OR_RETURN(const std::vector<uint64_t> numbers,
                      SegmentNumbers(files, options.directory));
  for (size_t i = 0; i < numbers.size(); ++i) {
    HW_RETURN_IF_ERROR(spool->LoadSegment(numbers[i], i + 1 == numbers.size()));
  }
  if (spool->open_segment_ == nullptr) {
    HW_RETURN_IF_ERROR(spool->StartSegment(numbers.empty() ? 1 : numbers.back() + 1));
  }
  // What was read may still be in this machine's memory only; it is acknowledged from here on.
  HW_RETURN_IF_ERROR(files.SyncDirectory(options.directory));
  spool->held_ = spool->appended();
  return spool;
}

absl::Status Spool::Discard(FileSystem& files, const std::string& directory) {
  HW_RETURN_IF_ERROR(files.MakeDirectories(directory));
  HW_ASSIGN_OR_RETURN(const std::vector<uint64_t> numbers, SegmentNumbers(files, directory));
  for (const uint64_t number : numbers)
    HW_RETURN_IF_ERROR(files.Remove(SegmentPath(directory, number)));
  return files.SyncDirectory(directory);
}

absl::Status Spool::LoadSegment(uint64_t number, bool is_newest) {
  bool has_head = false;
  const auto visit = [&](const LogRecord& record) -> absl::Status {
    if (record.type == kHead) {
      FieldReader reader(record.body);
      const StreamPosition before{reader.U64(), reader.U64()};
      has_head = reader.ok();
      if (before < appended()) return absl::DataLossError("spool: segments overlap");
      // What lies before a gap is durable: only SkipTo() makes one.
      if (before > appended()) Forget();
      order_.ResumeAfter(before);
      return has_head ? absl::OkStatus() : absl::DataLossError("spool: malformed head");
    }
    HW_ASSIGN_OR_RETURN(const BatchHeader header, PeekBatchHeader(record.body));
    if (StepTo(header.position, appended()) != StreamStep::kNext)
      return absl::DataLossError("spool: a batch out of order");
    entries_.push_back(
        {header.position, number, record.offset, static_cast<uint32_t>(record.body.size()), {}});
    order_.ResumeAfter(header.position);
    pending_bytes_ += record.body.size();
    return absl::OkStatus();
  };
  absl::StatusOr<std::unique_ptr<RecordLog>> log =
      RecordLog::Open(files_, PathOf(number), LogPurpose::kSpoolSegment, number, visit);
  // Without a head, the newest segment was being made when the process died; nothing was in it.
  if (is_newest && !has_head && (log.ok() || absl::IsDataLoss(log.status()))) {
    HW_RETURN_IF_ERROR(files_.Remove(PathOf(number)));
    // Durable before a newer segment is: it must not come back between two others.
    return files_.SyncDirectory(options_.directory);
  }
  HW_RETURN_IF_ERROR(log.status());
  if (!has_head) return absl::DataLossError(absl::StrCat(PathOf(number), ": no head"));
  if (is_newest) {
    open_segment_ = *std::move(log);
  } else {
    closed_.emplace_back(number, (*log)->size_bytes());
  }
  return absl::OkStatus();
}

absl::Status Spool::StartSegment(uint64_t number) {
  HW_ASSIGN_OR_RETURN(std::unique_ptr<RecordLog> log,
                      RecordLog::Create(files_, PathOf(number), LogPurpose::kSpoolSegment, number));
  std::string head;
  FieldWriter writer(&head);
  writer.U64(appended().epoch);
  writer.U64(appended().sequence);
  HW_RETURN_IF_ERROR(log->Append(kHead, head).status());
  HW_RETURN_IF_ERROR(log->Sync());
  HW_RETURN_IF_ERROR(files_.SyncDirectory(options_.directory));
  if (open_segment_ != nullptr)
    closed_.emplace_back(open_segment_->number(), open_segment_->size_bytes());
  open_segment_ = std::move(log);
  return absl::OkStatus();
}

void Spool::Forget() {
  entries_.clear();
  pending_bytes_ = 0;
  memory_bytes_ = 0;
}

absl::Status Spool::SkipTo(StreamPosition durable) {
  const StreamPosition before = appended();
  HW_CHECK(durable > before);
  order_.ResumeAfter(durable);
  if (absl::Status started = StartSegment(open_segment_->number() + 1); !started.ok()) {
    order_.ResumeAfter(before);
    return started;
  }
  Forget();
  held_ = appended();
  return DropThrough(durable);
}

absl::Status Spool::Append(StreamPosition position, SealedBatch sealed) {
  HW_CHECK(StepTo(position, appended()) == StreamStep::kNext);
  if (open_segment_->size_bytes() >= options_.segment_bytes_max) {
    HW_RETURN_IF_ERROR(Sync());
    HW_RETURN_IF_ERROR(StartSegment(open_segment_->number() + 1));
  }
  HW_ASSIGN_OR_RETURN(const uint64_t offset, open_segment_->Append(kBatch, sealed.view()));
  Entry& entry = entries_.emplace_back();
  entry.position = position;
  entry.segment = open_segment_->number();
  entry.offset = offset;
  entry.bytes = static_cast<uint32_t>(sealed.size());
  if (memory_bytes_ + sealed.size() <= kMemoryBytesMax) {
    memory_bytes_ += sealed.size();
    entry.in_memory = std::move(sealed);
  }
  order_.ResumeAfter(position);
  pending_bytes_ += entry.bytes;
  return absl::OkStatus();
}

absl::Status Spool::Sync() {
  HW_RETURN_IF_ERROR(open_segment_->Sync());
  held_ = appended();
  return absl::OkStatus();
}

bool Spool::CanResumeAfter(StreamPosition position) const {
  return homeward::CanResumeAfter(entries_, appended(), position);
}

absl::StatusOr<SealedBatch> Spool::ReadBehind(StreamPosition position) {
  const auto it = FirstBehind(entries_, position);
  if (it == entries_.end() || it->position > held_) return SealedBatch();
  if (!it->in_memory.empty()) {
    memory_bytes_ -= it->in_memory.size();
    return std::exchange(it->in_memory, SealedBatch());
  }
  std::string sealed;
  HW_RETURN_IF_ERROR(RecordLog::ReadOne(
      files_, PathOf(it->segment), it->segment, it->offset,
      [&](const LogRecord& record) { sealed.assign(record.body.data(), record.body.size()); }));
  return SealedBatch(std::move(sealed));
}

absl::Status Spool::DropThrough(StreamPosition durable) {
  while (!entries_.empty() && entries_.front().position <= durable) {
    pending_bytes_ -= entries_.front().bytes;
    memory_bytes_ -= entries_.front().in_memory.size();
    entries_.pop_front();
  }
  const uint64_t first_needed =
      entries_.empty() ? open_segment_->number() : entries_.front().segment;
  while (!closed_.empty() && closed_.front().first < first_needed) {
    HW_RETURN_IF_ERROR(files_.Remove(PathOf(closed_.front().first)));
    // One by one, so that a crash leaves no gap between segments.
    HW_RETURN_IF_ERROR(files_.SyncDirectory(options_.directory));
    closed_.pop_front();
  }
  return absl::OkStatus();
}

uint64_t Spool::disk_bytes() const {
  uint64_t bytes = open_segment_->size_bytes();
  for (const auto& [number, size] : closed_) bytes += size;
  return bytes;
}

}  // namespace homeward
