// FileSystem and File: every byte of durable state goes through these, so that tests/simulation can
// replace them by a disk that crashes. The promises are those of POSIX, no more:
//   * a write is durable only after Sync() of that File,
//   * a name (created, renamed, removed) is durable only after SyncDirectory() of its parent,
//   * after a crash any subset of unsynced 512-byte sectors may have been written.
#ifndef HOMEWARD_COMMON_OS_FILE_SYSTEM_H_
#define HOMEWARD_COMMON_OS_FILE_SYSTEM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/base/bytes.h"

namespace homeward {

// An open file. One thread at a time, except that reads may run beside each other, and Sync()
// beside everything: it is of what was written before it began.
class File {
 public:
  virtual ~File() = default;
  // Reads exactly `out.size()` bytes. OUT_OF_RANGE at the end of the file.
  virtual absl::Status Read(uint64_t offset, MutableBytes out) = 0;
  // RESOURCE_EXHAUSTED when the file system is full. Part of `bytes` may then have been written.
  virtual absl::Status Write(uint64_t offset, ConstBytes bytes) = 0;
  // Many at once, in any order: they do not overlap, and as many are under way together as the
  // system takes. As the single ones otherwise; after an error some may have been done.
  struct ReadInto {
    uint64_t offset = 0;
    MutableBytes out;
  };
  struct WriteFrom {
    uint64_t offset = 0;
    ConstBytes bytes;
  };
  virtual absl::Status ReadMany(absl::Span<const ReadInto> reads);
  virtual absl::Status WriteMany(absl::Span<const WriteFrom> writes);
  // Begins what ReadMany() does. AwaitReads() says how it ended, and must follow, whatever this
  // returns, before anything else is asked of the file and before the memory goes.
  virtual absl::Status BeginReadMany(absl::Span<const ReadInto> reads) { return ReadMany(reads); }
  virtual absl::Status AwaitReads() { return absl::OkStatus(); }
  // Makes `length` bytes at `offset` read as zeroes, freeing their room where the file system can.
  virtual absl::Status WriteZeroes(uint64_t offset, uint64_t length) = 0;
  // Blocks until all earlier writes are durable. A failure is final: the caller must stop using the
  // file.
  virtual absl::Status Sync() = 0;
  // A hint that Sync() follows: what was written may go to the disk already, while the caller does
  // something else. Promises nothing.
  virtual void BeginSync() {}
  virtual absl::StatusOr<uint64_t> Size() = 0;
  // Where the first content at or after `offset` may be that is not zeroes; Size() when there is
  // none. Skips what the file system knows to be holes.
  virtual absl::StatusOr<uint64_t> NextData(uint64_t offset) = 0;
  // When the content was last changed, as the file system notes it; the Unix epoch for a device.
  virtual absl::StatusOr<absl::Time> Modified() = 0;
  virtual absl::Status Truncate(uint64_t size_bytes) = 0;
};

enum class OpenMode {
  kReadOnly,
  kReadWrite,     /* claims a block device; FAILED_PRECONDITION when it is in use */
  kReadWriteBulk, /* the same; long writes go past the page cache where that can be */
  kCreate         /* may exist */
};

struct VolumeSpace {
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;
};

// Thread-safe.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  // NOT_FOUND, ALREADY_EXISTS, RESOURCE_EXHAUSTED, or what the system said.
  virtual absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) = 0;
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  // A file, or a directory that is empty. OK when there was nothing to remove.
  virtual absl::Status Remove(const std::string& path) = 0;
  // Names in `directory`, sorted, without the directory. NOT_FOUND when it does not exist.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& directory) = 0;
  // Creates the directory and its parents, and makes their names durable.
  virtual absl::Status MakeDirectories(const std::string& directory) = 0;
  virtual absl::Status SyncDirectory(const std::string& directory) = 0;
  virtual absl::StatusOr<VolumeSpace> Space(const std::string& directory) = 0;
};

// The file system of this machine. Lives for the whole process.
FileSystem& RealFileSystem();

// Replaces the whole of `path` so that a crash leaves the old content or the new: write to a
// temporary name, sync, rename, sync the directory. Durable on return.
absl::Status WriteFileAtomically(FileSystem& files, const std::string& path,
                                 absl::string_view content);
// The whole content. RESOURCE_EXHAUSTED over `size_max_bytes`.
absl::StatusOr<std::string> ReadWholeFile(FileSystem& files, const std::string& path,
                                          uint64_t size_max_bytes = 16 * kMiB);
std::string JoinPath(absl::string_view directory, absl::string_view name);
std::string ParentDirectory(absl::string_view path);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_OS_FILE_SYSTEM_H_
