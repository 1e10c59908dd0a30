#include "mobility_agent/guest/guest_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/os/file_system.h"
#include "common/os/posix/unique_fd.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr size_t kFileBytesMax = kMiB;
constexpr size_t kFilesMax = 256;
constexpr uint32_t kPermissions = 07777;
constexpr char kEthernet[] = "1";  // ARPHRD_ETHER
constexpr char kNewSuffix[] = ".homeward-new";

absl::Status Failed(const char* what, const std::string& path) {
  return absl::ErrnoToStatus(errno, absl::StrCat(what, " ", path));
}

absl::StatusOr<std::string> ReadAll(int fd, const std::string& path) {
  std::string content;
  char piece[4096];
  for (;;) {
    const ssize_t got = ::read(fd, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failed("read", path);
    if (got == 0) return content;
    content.append(piece, static_cast<size_t>(got));
    if (content.size() > kFileBytesMax)
      return absl::ResourceExhaustedError(absl::StrCat(path, " is longer than 1 MiB"));
  }
}

absl::Status SyncDirectoryOf(const std::string& path) {
  const std::string parent = ParentDirectory(path);
  const UniqueFd directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid() || ::fsync(directory.get()) != 0) return Failed("sync", parent);
  return absl::OkStatus();
}

absl::Status MakeParents(const std::string& path) {
  const std::string parent = ParentDirectory(path);
  if (parent.empty() || parent == "/" || ::access(parent.c_str(), F_OK) == 0)
    return absl::OkStatus();
  HW_RETURN_IF_ERROR(MakeParents(parent));
  if (::mkdir(parent.c_str(), 0700) != 0 && errno != EEXIST) return Failed("make", parent);
  return SyncDirectoryOf(parent);
}

// The content as `file` has it, under a name of its own.
absl::Status WriteNew(const std::string& path, const GuestFile& file) {
  const UniqueFd fd(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return Failed("create", path);
  size_t done = 0;
  while (done < file.content.size()) {
    const ssize_t put = ::write(fd.get(), file.content.data() + done, file.content.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return Failed("write", path);
    done += static_cast<size_t>(put);
  }
  struct stat is;
  if (::fstat(fd.get(), &is) != 0) return Failed("look at", path);
  if ((is.st_uid != file.owner || is.st_gid != file.group) &&
      ::fchown(fd.get(), file.owner, file.group) != 0) {
    return Failed("give its owner to", path);
  }
  if (::fchmod(fd.get(), file.mode & kPermissions) != 0) return Failed("set the mode of", path);
  if (::fsync(fd.get()) != 0) return Failed("sync", path);
  return absl::OkStatus();
}

absl::Status Rename(const std::string& from, const std::string& to, bool replace) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), replace ? 0 : RENAME_NOREPLACE) !=
      0) {
    if (errno == EXDEV) {
      return absl::FailedPreconditionError(absl::StrCat(
          from, " and ", to, " are on different file systems: a file is only moved within one"));
    }
    return Failed("rename", absl::StrCat(from, " to ", to));
  }
  HW_RETURN_IF_ERROR(SyncDirectoryOf(to));
  return SyncDirectoryOf(from);
}

}  // namespace

bool GuestFiles::Exists(const std::string& path) const {
  struct stat is;
  return ::lstat(At(path).c_str(), &is) == 0;
}

absl::StatusOr<GuestFile> GuestFiles::Read(const std::string& path) const {
  struct stat is;
  if (::lstat(At(path).c_str(), &is) != 0) return Failed("look at", path);
  if (!S_ISREG(is.st_mode))
    return absl::FailedPreconditionError(absl::StrCat(path, " is no regular file"));
  const UniqueFd fd(::open(At(path).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return Failed("open", path);
  GuestFile file{.mode = is.st_mode & kPermissions, .owner = is.st_uid, .group = is.st_gid};
  HW_ASSIGN_OR_RETURN(file.content, ReadAll(fd.get(), path));
  return file;
}

std::string GuestFiles::Text(const std::string& path) const {
  const UniqueFd fd(::open(At(path).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return "";
  return ReadAll(fd.get(), path).value_or("");
}

std::vector<std::string> GuestFiles::List(const std::string& directory) const {
  std::vector<std::string> names;
  DIR* open = ::opendir(At(directory).c_str());
  if (open == nullptr) return names;
  while (const dirent* entry = ::readdir(open)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  ::closedir(open);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> GuestFiles::FilesBelow(const std::string& directory) const {
  std::vector<std::string> files;
  for (const std::string& name : List(directory)) {
    const std::string path = JoinPath(directory, name);
    struct stat is;
    if (files.size() >= kFilesMax || ::lstat(At(path).c_str(), &is) != 0) continue;
    if (S_ISREG(is.st_mode)) files.push_back(path);
    if (!S_ISDIR(is.st_mode)) continue;
    for (std::string& below : FilesBelow(path)) files.push_back(std::move(below));
  }
  if (files.size() > kFilesMax) files.resize(kFilesMax);
  return files;
}

absl::Status GuestFiles::Write(const std::string& path, const GuestFile& file, bool replace) const {
  HW_RETURN_IF_ERROR(MakeParents(At(path)));
  // No reader of the directory takes a name that ends so.
  const std::string fresh = At(path) + kNewSuffix;
  absl::Status written = WriteNew(fresh, file);
  if (written.ok()) written = Rename(fresh, At(path), replace);
  if (!written.ok()) ::unlink(fresh.c_str());
  return written;
}

absl::Status GuestFiles::Move(const std::string& from, const std::string& to, bool replace) const {
  HW_RETURN_IF_ERROR(MakeParents(At(to)));
  return Rename(At(from), At(to), replace);
}

absl::Status GuestFiles::Remove(const std::string& path) const {
  if (::unlink(At(path).c_str()) != 0) {
    if (errno == ENOENT) return absl::OkStatus();
    return Failed("remove", path);
  }
  return SyncDirectoryOf(At(path));
}

SmbiosFacts GuestFiles::Smbios() const {
  const auto fact = [&](const char* name) {
    return std::string(absl::StripAsciiWhitespace(Text(absl::StrCat("/sys/class/dmi/id/", name))));
  };
  return {.sys_vendor = fact("sys_vendor"), .chassis_asset_tag = fact("chassis_asset_tag")};
}

std::vector<std::string> GuestFiles::NetworkInterfaces() const {
  std::vector<std::string> interfaces;
  for (const std::string& name : List("/sys/class/net")) {
    const std::string at = absl::StrCat("/sys/class/net/", name);
    if (!Exists(at + "/device") || Exists(at + "/master")) continue;
    if (absl::StripAsciiWhitespace(Text(at + "/type")) == kEthernet) interfaces.push_back(name);
  }
  return interfaces;
}

}  // namespace homeward
