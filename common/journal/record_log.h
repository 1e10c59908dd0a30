// RecordLog: an append-only file of checksummed records. Format: docs/formats/record_log.md.
#ifndef HOMEWARD_COMMON_JOURNAL_RECORD_LOG_H_
#define HOMEWARD_COMMON_JOURNAL_RECORD_LOG_H_

#include <algorithm>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/os/file_system.h"

namespace homeward {

enum class LogPurpose : uint32_t { kDelta = 1, kSpoolSegment = 2 };
inline constexpr size_t kLogRecordBytesMax = 8 * kMiB;

// Where a body lies in its file, so that it can be read again without its neighbours.
struct LogRecord {
  uint32_t type = 0;
  uint64_t offset = 0;  // of the record, not its body
  absl::string_view body;
};

// Not thread-safe. After a failed Append() or Sync() the log is broken: every later call fails, and
// never as RESOURCE_EXHAUSTED.
class RecordLog {
 public:
  // A new file with its header; neither it nor its name is durable yet. Replaces a file of that
  // name, which can only be one whose creation a crash interrupted.
  static absl::StatusOr<std::unique_ptr<RecordLog>> Create(FileSystem& files,
                                                           const std::string& path,
                                                           LogPurpose purpose, uint64_t number);
  // The same in the place of the file at `path`, which is not needed any more and not made shorter:
  // what is written over costs the file system no change of its own. Nothing else has it open.
  static absl::StatusOr<std::unique_ptr<RecordLog>> Reuse(FileSystem& files,
                                                          const std::string& path,
                                                          LogPurpose purpose, uint64_t number);
  // Reads every whole record in order into `visit`, cuts a torn tail, and is ready to append.
  // DATA_LOSS names the file and offset of damage. Whatever `visit` refuses ends the reading.
  static absl::StatusOr<std::unique_ptr<RecordLog>> Open(
      FileSystem& files, const std::string& path, LogPurpose purpose, uint64_t number,
      const std::function<absl::Status(const LogRecord&)>& visit);
  // Reads without cutting, until the end or until `visit` returns CANCELLED (which is not an
  // error). With `whole_bytes` it ends there, and it is DATA_LOSS when no whole record does: what
  // was there has no torn tail, and what is appended meanwhile is not looked at.
  static absl::Status Scan(FileSystem& files, const std::string& path, LogPurpose purpose,
                           uint64_t number,
                           const std::function<absl::Status(const LogRecord&)>& visit,
                           uint64_t whole_bytes = 0);

  // Verifies records from `offset` (0, or what it returned before) for about `bytes`, and returns
  // where it stopped. DATA_LOSS, as Scan() with `whole_bytes`.
  static absl::StatusOr<uint64_t> Verify(FileSystem& files, const std::string& path,
                                         LogPurpose purpose, uint64_t number, uint64_t offset,
                                         uint64_t bytes, uint64_t whole_bytes);

  // Reads the record at `offset` alone. DATA_LOSS when none was written there.
  static absl::Status ReadOne(FileSystem& files, const std::string& path, uint64_t number,
                              uint64_t offset, const std::function<void(const LogRecord&)>& visit);

  // Appends a record whose body is `body` and then `rest`, and returns its offset. Not durable
  // before Sync(). RESOURCE_EXHAUSTED when the disk is full: the file is cut back to its last whole
  // record and stays usable.
  absl::StatusOr<uint64_t> Append(uint32_t type, absl::string_view body,
                                  absl::string_view rest = {});
  absl::Status Sync();
  // Cuts off what is left of a file that was used again. Durable on return, with all before it.
  absl::Status Trim();
  // To a name that is not there yet; not durable.
  absl::Status Rename(FileSystem& files, const std::string& path);
  // As File::BeginSync().
  void BeginSync() { file_->BeginSync(); }

  uint64_t size_bytes() const { return size_bytes_; }
  // All before this offset is durable.
  uint64_t synced_bytes() const { return synced_bytes_; }
  // With what is left of a file that was used again.
  uint64_t file_bytes() const { return std::max(file_bytes_, size_bytes_); }
  uint64_t number() const { return number_; }
  const std::string& path() const { return path_; }

 private:
  RecordLog(std::unique_ptr<File> file, std::string path, uint64_t number);
  void Break(absl::Status status);
  absl::Status ReadHeader(LogPurpose purpose);
  absl::Status NotWhole(uint64_t offset) const;
  absl::Status ReadRecord(uint64_t offset, uint64_t file_bytes, uint32_t* type, std::string* body,
                          uint64_t* synced_bytes = nullptr);
  absl::Status Replay(const std::function<absl::Status(const LogRecord&)>& visit,
                      uint64_t bytes_max = UINT64_MAX);
  // Whether a valid record behind `offset` says that the file was once synced past `offset`.
  absl::StatusOr<bool> WasSyncedPast(uint64_t offset, uint64_t file_bytes);

  const std::unique_ptr<File> file_;
  std::string path_;
  const uint64_t number_;
  uint64_t size_bytes_ = 0;  // end of the last whole record
  uint64_t synced_bytes_ = 0;
  uint64_t file_bytes_ = 0;  // of a file that was used again
  absl::Status broken_;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_JOURNAL_RECORD_LOG_H_
