// MemoryDisk: a FileSystem in memory that crashes like a real one. For tests and simulation.
//
// Fault model: a crash keeps everything synced, and of what was written since the last sync of a
// file any subset of 512-byte sectors; an unsynced change of a name or a size happens or does not
// (of the names, unless asked otherwise, each by itself).
// The disk can be full, reads and syncs can fail, bytes can change by themselves, all of it can go
// back to what it was, and the machine can be made to die at the n-th operation from now.
#ifndef HOMEWARD_TESTS_FAKES_MEMORY_DISK_H_
#define HOMEWARD_TESTS_FAKES_MEMORY_DISK_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "common/base/extent_set.h"
#include "common/os/file_system.h"

namespace homeward {

// Not thread-safe. Outlives the files it opened.
class MemoryDisk : public FileSystem {
 public:
  explicit MemoryDisk(uint64_t seed) : random_(seed) {}

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override;
  absl::Status MakeDirectories(const std::string& directory) override;
  absl::Status SyncDirectory(const std::string& directory) override;
  absl::StatusOr<VolumeSpace> Space(const std::string& directory) override;

  // Applies the fault model; files opened before fail from now on.
  void Crash();
  // The same, where `choose` decides of each unsynced sector and name whether it had happened.
  void Crash(const std::function<bool()>& choose);
  // The operation after `operations` more writes, syncs and name changes fails, and all after it,
  // until Crash().
  void DieAfter(uint64_t operations) { operations_left_ = operations; }
  bool dead() const { return dead_; }
  uint64_t operation_count() const { return operation_count_; }
  void set_capacity_bytes(uint64_t bytes) { capacity_bytes_ = bytes; }
  // From now on a crash keeps the changes of names up to some one, as a file system with a journal
  // does, and not each by itself.
  void KeepNamesInOrder() { names_since_.emplace(); }
  // That many of the next ones fail. Of what a failed sync should have written any subset of
  // sectors is gone at once, and a later sync does not bring it back.
  void FailSyncs(uint64_t count,
                 absl::Status with = absl::UnknownError("the simulated disk failed a sync")) {
    failing_syncs_ = count;
    failed_sync_ = std::move(with);
  }
  void FailReads(uint64_t count) { failing_reads_ = count; }
  uint64_t failing_reads() const { return failing_reads_; }
  // Loses all content, as a new disk would.
  void Replace();
  // What a reader would see now. Empty when there is no such file.
  std::string Content(const std::string& path) const;
  // All files there are, sorted.
  std::vector<std::string> Paths() const;
  // A disk that is attached to the machine, whether it runs or not, and taken away again with what
  // is durable of it; who has it open then writes to nothing.
  void Attach(const std::string& path, std::string content);
  std::string Detach(const std::string& path);
  // Changes one byte behind everybody's back, where it is durable and where it is read.
  void FlipByte(const std::string& path, uint64_t offset);
  // As if the last write of `written` had gone to `to`: there its bytes are, at its own place what
  // was there before, zeroes.
  void Misplace(const std::string& path, Extent written, uint64_t to);
  // What would be there after a crash that loses nothing durable and nothing else; and going back
  // to it, as to a snapshot or a copy that was restored. Open files fail from then on.
  struct Snapshot {
    std::map<std::string, std::string> files;
    std::map<std::string, bool> directories;
  };
  Snapshot TakeSnapshot() const;
  void Restore(const Snapshot& snapshot);

 private:
  friend class MemoryFile;
  struct Inode {
    std::string content;
    std::string durable;
    uint64_t changes = 0;
    ExtentSet unsynced;  // in whole sectors
  };
  // `inode` with any subset of its unsynced sectors.
  static std::string SomeOf(const Inode& inode, const std::function<bool()>& choose);
  using Names = std::map<std::string, std::shared_ptr<Inode>>;
  void NoteNames() {
    if (names_since_.has_value()) names_since_->push_back(names_);
  }
  // Which names are there after a crash.
  Names SurvivingNames(const std::function<bool()>& choose);
  bool Toss() { return random_() % 2 != 0; }
  absl::Status Operation();
  uint64_t UsedBytes() const;

  std::mt19937_64 random_;
  Names names_;  // shared with open files, as in a real file system
  Names durable_names_;
  // What the names were after each change since they were durable; none: order is not kept.
  std::optional<std::vector<Names>> names_since_;
  std::map<std::string, bool> directories_;
  uint64_t incarnation_ = 0;
  uint64_t operations_left_ = UINT64_MAX;
  uint64_t operation_count_ = 0;
  uint64_t capacity_bytes_ = UINT64_MAX;
  bool dead_ = false;
  uint64_t failing_syncs_ = 0;
  absl::Status failed_sync_;
  uint64_t failing_reads_ = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_TESTS_FAKES_MEMORY_DISK_H_
