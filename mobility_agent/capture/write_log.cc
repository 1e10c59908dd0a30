#include "mobility_agent/capture/write_log.h"

#include <utility>

namespace homeward {
namespace {

// Small writes cost more than their data.
uint64_t CostBytes(const WriteLog::Entry& entry) {
  const LoggedWrite* const write = absl::get_if<LoggedWrite>(&entry);
  return sizeof(WriteLog::Entry) + (write == nullptr ? 0 : write->data.size());
}

}  // namespace

void WriteLog::Open() {
  absl::MutexLock lock(&mutex_);
  entries_.clear();
  bytes_ = 0;
  open_ = true;
}

void WriteLog::Close() {
  absl::MutexLock lock(&mutex_);
  open_ = false;
}

bool WriteLog::Append(uint32_t disk, Extent extent, ConstBytes data) {
  absl::MutexLock lock(&mutex_);
  if (!open_) return false;
  if (bytes_ + data.size() + sizeof(Entry) > bytes_max_) {
    open_ = false;
    return false;
  }
  entries_.emplace_back(LoggedWrite{disk, extent, std::string(AsText(data))});
  bytes_ += CostBytes(entries_.back());
  ++appended_;
  return true;
}

uint64_t WriteLog::appended() const {
  absl::MutexLock lock(&mutex_);
  return appended_;
}

bool WriteLog::Mark(const Marker& marker) { return MarkBehind(UINT64_MAX, marker); }

bool WriteLog::MarkBehind(uint64_t appended, const Marker& marker) {
  absl::MutexLock lock(&mutex_);
  if (!open_ || appended_ > appended) return false;
  entries_.emplace_back(marker);
  bytes_ += CostBytes(entries_.back());
  return true;
}

absl::optional<WriteLog::Entry> WriteLog::Next() {
  absl::MutexLock lock(&mutex_);
  if (entries_.empty()) return absl::nullopt;
  absl::optional<Entry> entry = std::move(entries_.front());
  entries_.pop_front();
  bytes_ -= CostBytes(*entry);
  return entry;
}

bool WriteLog::MarkerIsNext() const {
  absl::MutexLock lock(&mutex_);
  return !entries_.empty() && absl::holds_alternative<Marker>(entries_.front());
}

bool WriteLog::empty() const {
  absl::MutexLock lock(&mutex_);
  return entries_.empty();
}

bool WriteLog::open() const {
  absl::MutexLock lock(&mutex_);
  return open_;
}

uint64_t WriteLog::bytes() const {
  absl::MutexLock lock(&mutex_);
  return bytes_;
}

}  // namespace homeward
