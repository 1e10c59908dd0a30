#include "common/os/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>

#include "common/os/open_file.h"
#include "common/os/posix/file_error.h"
#include "common/os/posix/unique_fd.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

class PosixFileSystem : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    return OpenFile(path, mode);
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return FileError(errno, "rename", from);
    return absl::OkStatus();
  }

  absl::Status Remove(const std::string& path) override {
    if (::unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
    if (errno == EISDIR && ::rmdir(path.c_str()) == 0) return absl::OkStatus();
    return FileError(errno, "remove", path);
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override {
    DIR* const stream = ::opendir(directory.c_str());
    if (stream == nullptr) return FileError(errno, "list", directory);
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(stream)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    ::closedir(stream);
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::Status MakeDirectories(const std::string& directory) override {
    struct stat info;
    if (::stat(directory.c_str(), &info) == 0) {
      if (S_ISDIR(info.st_mode)) return absl::OkStatus();
      return absl::FailedPreconditionError(absl::StrCat(directory, " is not a directory"));
    }
    const std::string parent = ParentDirectory(directory);
    HW_RETURN_IF_ERROR(MakeDirectories(parent));
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
      return FileError(errno, "make directory", directory);
    }
    return SyncDirectory(parent);
  }

  absl::Status SyncDirectory(const std::string& directory) override {
    UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid()) return FileError(errno, "open directory", directory);
    if (::fsync(fd.get()) != 0) return FileError(errno, "sync directory", directory);
    return absl::OkStatus();
  }

  absl::StatusOr<VolumeSpace> Space(const std::string& directory) override {
    struct statvfs info;
    if (::statvfs(directory.c_str(), &info) != 0) return FileError(errno, "measure", directory);
    return VolumeSpace{.total_bytes = uint64_t{info.f_blocks} * info.f_frsize,
                       .free_bytes = uint64_t{info.f_bavail} * info.f_frsize};
  }
};

}  // namespace

FileSystem& RealFileSystem() {
  static PosixFileSystem* const files = new PosixFileSystem;
  return *files;
}

}  // namespace homeward
