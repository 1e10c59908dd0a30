// LoggedDisk: an ext4 file system on a disk that remembers every write and every flush in order, so
// that the disk of any instant can be made afterwards, without what it had not been told to keep.
//
// A process of its own serves one file through FUSE, a loop device lies on it, the kernel's ext4 on
// that: what is tried here are the kernel's promises, not a model of them. Needs root, FUSE and
// loop devices. All of it goes away with this process, also when that is killed.
#ifndef HOMEWARD_TESTS_CRASH_POINTS_LINUX_LOGGED_DISK_H_
#define HOMEWARD_TESTS_CRASH_POINTS_LINUX_LOGGED_DISK_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace homeward::crash_points {

class LoggedDisk {
 public:
  static constexpr uint64_t kDiskBytes = 16ULL << 20;

  // Empty: it can be had here. Otherwise what is missing.
  static std::string Missing();
  // A new directory of this process alone: it is in a mount namespace of its own from then on,
  // where what it mounts goes with it, and /tmp is memory.
  static absl::StatusOr<std::string> PrivateDirectory();
  // Below `directory`, which is empty and private.
  static absl::StatusOr<std::unique_ptr<LoggedDisk>> Create(const std::string& directory);
  // Takes the file system away.
  ~LoggedDisk();

  const std::string& mount_point() const { return mount_point_; }
  // How much was written to the disk until now: an instant.
  uint64_t Now() const;
  // The disk of that instant: all that was written before the last flush, and of the rest every
  // 4 KiB block that `keep` says.
  std::string At(uint64_t instant, const std::function<bool()>& keep) const;

 private:
  LoggedDisk() = default;
  struct Log;

  std::string fuse_, mount_point_;
  std::string base_;    // the disk before anything was logged
  Log* log_ = nullptr;  // shared with the process that serves
  int served_by_ = 0;   // its pid
};

// Mounts an image on a loop device for as long as it lives.
class MountedImage {
 public:
  // At `directory`, which is made; the image is kept beside it.
  static absl::StatusOr<std::unique_ptr<MountedImage>> Create(const std::string& directory,
                                                              const std::string& image);
  ~MountedImage();

 private:
  explicit MountedImage(std::string directory) : directory_(std::move(directory)) {}
  const std::string directory_;
};

}  // namespace homeward::crash_points

#endif  // HOMEWARD_TESTS_CRASH_POINTS_LINUX_LOGGED_DISK_H_
