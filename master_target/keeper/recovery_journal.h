// RecoveryJournal: the reverse deltas of one machine. Format and protocol:
// docs/formats/recovery_journal.md.
#ifndef HOMEWARD_MASTER_TARGET_KEEPER_RECOVERY_JOURNAL_H_
#define HOMEWARD_MASTER_TARGET_KEEPER_RECOVERY_JOURNAL_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/extent_set.h"
#include "common/base/stream_position.h"
#include "common/journal/record_log.h"
#include "common/replica/replica_store.h"
#include "common/wire/change_batch.h"
#include "master_target/keeper/state_record.h"

namespace homeward {

// The old content of one range. With `zeroes`, `content` is empty and the range read as zeroes.
struct UndoRange {
  uint32_t disk = 0;
  Extent extent;
  bool zeroes = false;
  absl::string_view content;
};

// The only writer of its directory. Not thread-safe. After a failed sync every call fails.
class RecoveryJournal {
 public:
  // Creates or opens. `disk_bytes` are the sizes of the machine's disks. DATA_LOSS names file and
  // offset.
  static absl::StatusOr<std::unique_ptr<RecoveryJournal>> Open(FileSystem& files,
                                                               std::string directory,
                                                               std::vector<uint64_t> disk_bytes);

  // Whether overwritten content must be saved: there is a point to go back to.
  bool protecting() const { return !points_.empty(); }
  // As of the last durable record of it.
  const StreamState& state() const { return state_; }
  // The point that the replica was recovered to; empty while it follows the stream.
  const std::string& recovered_point() const { return recovered_point_; }
  // Oldest first, each with the number of its delta.
  const std::vector<ReplicaPoint>& points() const { return points_; }
  absl::StatusOr<ReplicaPoint> FindPoint(absl::string_view id) const;

  // The parts of `extent` whose old content is not in the open delta yet.
  std::vector<Extent> Unsaved(uint32_t disk, Extent extent) const;
  // Appends; durable after SyncUndo(). RESOURCE_EXHAUSTED leaves the journal usable.
  absl::Status AppendUndo(const UndoRange& undo);
  absl::Status SyncUndo();
  void BeginSyncUndo() { open_delta_->BeginSync(); }
  // Durable on return.
  absl::Status CommitState(const StreamState& state) { return Note(state, ""); }
  absl::Status CommitRecovered(absl::string_view point_id) { return Note(state_, point_id); }
  // Closes the open delta; the point is durable on return.
  absl::Status MakePoint(const Marker& marker, const StreamState& state);

  // Visits every undo range of deltas `first_delta` to the newest, oldest delta first. Another
  // thread may append to the newest meanwhile.
  absl::Status VisitUndo(uint64_t first_delta,
                         const std::function<absl::Status(const UndoRange&)>& visit) const;

  // Reads about `bytes` of the closed deltas further from `at`, which begins as {} and is moved on,
  // and verifies every record. 0: it was at their end. DATA_LOSS names file and offset.
  struct ReadPlace {
    uint64_t delta_number = 0;  // 0: at the beginning
    uint64_t offset = 0;
  };
  absl::StatusOr<uint64_t> Verify(uint64_t bytes, ReadPlace* at) const;

  // Drops the oldest point and its delta, whose file the next delta may use again. The newest point
  // is never dropped: FAILED_PRECONDITION.
  absl::Status DropOldestPoint();
  // Removes the file that is kept for that, if there is one.
  absl::Status DropSpare();
  // Bytes of all delta files, and of one that is kept to be used again.
  uint64_t size_bytes() const;
  // Of the delta that points()[point] begins.
  uint64_t KeptBytes(size_t point) const;

  ~RecoveryJournal();

 private:
  RecoveryJournal(FileSystem& files, std::string directory, std::vector<uint64_t> disk_bytes);
  // Whether the record is an undo of a range that is on the machine's disks.
  bool DecodeUndo(const LogRecord& record, UndoRange* undo) const;
  std::string PathOf(uint64_t number) const;
  uint64_t BytesOf(uint64_t number) const;
  absl::Status Note(const StreamState& state, absl::string_view recovered_point);
  absl::Status StartDelta(uint64_t number, const Marker* marker, const StreamState& state);
  absl::Status OpenNewest(uint64_t number);
  absl::StatusOr<bool> HasHead(uint64_t number) const;
  absl::Status NoHead(uint64_t number) const;
  absl::Status ReadClosedHead(uint64_t number);

  FileSystem& files_;
  const std::string directory_;
  const std::vector<uint64_t> disk_bytes_;
  std::unique_ptr<StateRecord> state_record_;
  std::unique_ptr<RecordLog> open_delta_;
  uint64_t spare_bytes_ = 0;      // of the file that is kept to be used again; 0: there is none
  std::vector<ExtentSet> saved_;  // by disk, in the open delta
  std::vector<ReplicaPoint> points_;
  std::vector<std::pair<uint64_t, uint64_t>> closed_;  // number, bytes; oldest first, without gaps
  StreamState state_;
  std::string recovered_point_;
};

}  // namespace homeward

#endif  // HOMEWARD_MASTER_TARGET_KEEPER_RECOVERY_JOURNAL_H_
