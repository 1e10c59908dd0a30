// Spool: what a process server holds of one stream, on its own disk. Format: docs/formats/spool.md.
#ifndef HOMEWARD_PROCESS_SERVER_SPOOL_SPOOL_H_
#define HOMEWARD_PROCESS_SERVER_SPOOL_SPOOL_H_

#include <deque>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/stream_position.h"
#include "common/journal/record_log.h"
#include "common/replication/stream_order.h"
#include "common/wire/sealed_batch.h"

namespace homeward {

// The only writer of its directory. Not thread-safe. Memory: about 64 bytes for each batch held,
// and kMemoryBytesMax of batches, so that one that is forwarded soon is not read back.
class Spool {
 public:
  static constexpr uint64_t kMemoryBytesMax = 4 * kMiB;
  struct Options {
    std::string directory;
    uint64_t segment_bytes_max = 64 * kMiB;
  };
  // Opens or creates. DATA_LOSS: damaged; Discard() the directory and go on empty.
  static absl::StatusOr<std::unique_ptr<Spool>> Open(FileSystem& files, const Options& options);
  // Removes all segments. The stream's position is none afterwards.
  static absl::Status Discard(FileSystem& files, const std::string& directory);

  // Appends one verified batch at `position`. Not held before Sync(). Requires: position follows
  // the last one. RESOURCE_EXHAUSTED: the disk is full; the spool stays usable.
  absl::Status Append(StreamPosition position, SealedBatch sealed);
  absl::Status Sync();

  // The stream resumes after `durable`, which the master target has, although not all before it
  // was appended here. Durable on return. Requires: durable > appended().
  absl::Status SkipTo(StreamPosition durable);

  // Everything up to here is synced; none when the spool knows nothing of the stream.
  StreamPosition held() const { return held_; }
  StreamPosition appended() const { return order_.position(); }

  // Whether the batch right behind `position` is here (or is the next to come).
  bool CanResumeAfter(StreamPosition position) const;
  // The first synced batch behind `position`; empty when there is none.
  absl::StatusOr<SealedBatch> ReadBehind(StreamPosition position);
  // Frees segments that hold nothing behind `durable`.
  absl::Status DropThrough(StreamPosition durable);
  // Bytes of batches behind the last DropThrough position.
  uint64_t pending_bytes() const { return pending_bytes_; }
  uint64_t disk_bytes() const;

 private:
  struct Entry {
    StreamPosition position;
    uint64_t segment = 0;
    uint64_t offset = 0;
    uint32_t bytes = 0;
    SealedBatch in_memory;  // empty: on the disk only
  };
  Spool(FileSystem& files, Options options) : files_(files), options_(std::move(options)) {}
  void Forget();
  std::string PathOf(uint64_t number) const;
  absl::Status StartSegment(uint64_t number);
  absl::Status LoadSegment(uint64_t number, bool is_newest);

  FileSystem& files_;
  const Options options_;
  std::unique_ptr<RecordLog> open_segment_;
  std::deque<std::pair<uint64_t, uint64_t>> closed_;  // number, bytes; oldest first
  std::deque<Entry> entries_;                         // in order of position
  StreamPosition held_;
  StreamOrder order_;  // of what was appended
  uint64_t pending_bytes_ = 0;
  uint64_t memory_bytes_ = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_SPOOL_SPOOL_H_
