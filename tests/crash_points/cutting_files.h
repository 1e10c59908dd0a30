// CuttingFiles: another file system below a directory of it, where the machine dies at the n-th
// operation. What counts as one does not depend on what is below, so that a history can be run
// again to the same place elsewhere.
#ifndef HOMEWARD_TESTS_CRASH_POINTS_CUTTING_FILES_H_
#define HOMEWARD_TESTS_CRASH_POINTS_CUTTING_FILES_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/os/file_system.h"

namespace homeward::crash_points {

// As thread-safe as what is below, which outlives it. Outlives the files it opened.
class CuttingFiles : public FileSystem {
 public:
  CuttingFiles(FileSystem& below, std::string root) : below_(below), root_(std::move(root)) {}

  // The operation after `operations` more writes, syncs and changes of names or sizes fails
  // (UNKNOWN), and so does everything after it.
  void DieAfter(uint64_t operations) { left_ = operations; }
  bool dead() const { return dead_; }
  // Called after each operation.
  void OnOperation(std::function<void()> callback) { on_operation_ = std::move(callback); }

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override;
  absl::Status MakeDirectories(const std::string& directory) override;
  absl::Status SyncDirectory(const std::string& directory) override;
  absl::StatusOr<VolumeSpace> Space(const std::string& directory) override;

 private:
  friend class CutFile;
  absl::Status Alive() const;
  // Does one operation, unless the machine died, or dies of it.
  absl::Status Operation(const std::function<absl::Status()>& operation);
  std::string Below(const std::string& path) const { return root_ + path; }

  FileSystem& below_;
  const std::string root_;  // empty or without a slash at the end
  uint64_t left_ = UINT64_MAX;
  bool dead_ = false;
  std::function<void()> on_operation_ = [] {};
};

}  // namespace homeward::crash_points

#endif  // HOMEWARD_TESTS_CRASH_POINTS_CUTTING_FILES_H_
