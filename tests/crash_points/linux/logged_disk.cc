#include "tests/crash_points/linux/logged_disk.h"

#define FUSE_USE_VERSION 31
#include <fcntl.h>
#include <fuse.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/os/run_program.h"
#include "common/status/status_macros.h"

namespace homeward::crash_points {
namespace {

constexpr uint64_t kLogBytesMax = 1ULL << 30;  // addresses; memory only for what is written
constexpr uint64_t kBlockBytes = 4096;
constexpr char kFileName[] = "/disk";

struct Entry {
  uint64_t offset = 0;
  uint64_t length = 0;  // 0: a flush
};

absl::Status Failed(absl::string_view what) {
  return absl::UnknownError(absl::StrCat(what, ": ", std::strerror(errno)));
}

absl::Status Do(const std::vector<std::string>& command) {
  return RunProgram(command, absl::Seconds(30));
}

absl::Status MakeDirectory(const std::string& path) {
  return ::mkdir(path.c_str(), 0700) == 0 ? absl::OkStatus() : Failed(path);
}

absl::Status WriteImage(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  return file.good() ? absl::OkStatus() : Failed(path);
}

// Without a lazy unmount a file that somebody still has open would be an error of its own.
void Unmount(const std::string& path) { ::umount2(path.c_str(), MNT_DETACH); }

// A copy of a mount keeps its file system alive when its owner unmounts it.
void LetGoOfOthers() {
  std::ifstream file("/proc/self/mounts");
  std::vector<std::string> theirs;
  for (std::string source, path, rest; file >> source >> path && std::getline(file, rest);) {
    if (absl::StartsWith(source, "/dev/loop")) theirs.push_back(path);
  }
  for (const std::string& path : theirs) Unmount(path);
}

}  // namespace

struct LoggedDisk::Log {
  std::atomic<uint64_t> bytes;
  std::atomic<bool> overflown;
  char entries[1];  // Entry and, of a write, its content; in all `bytes`

  void Append(const Entry& entry, absl::string_view content) {
    const uint64_t at = bytes.load();
    if (at + sizeof(Entry) + entry.length + sizeof(Log) > kLogBytesMax) {
      overflown = true;
      return;
    }
    std::memcpy(entries + at, &entry, sizeof entry);
    content.copy(entries + at + sizeof entry, content.size());
    bytes = at + sizeof entry + entry.length;
  }
  Entry At(uint64_t at) const {
    Entry entry;
    std::memcpy(&entry, entries + at, sizeof entry);
    return entry;
  }

  // --- the file that FUSE serves, in the other process

  static Log* log;
  static std::string* content;

  static int GetAttributes(const char* path, struct stat* out, fuse_file_info*) {
    *out = {};
    if (std::strcmp(path, "/") == 0) {
      out->st_mode = S_IFDIR | 0700;
      out->st_nlink = 2;
      return 0;
    }
    if (std::strcmp(path, kFileName) != 0) return -ENOENT;
    out->st_mode = S_IFREG | 0600;
    out->st_nlink = 1;
    out->st_size = static_cast<off_t>(content->size());
    return 0;
  }
  static int Open(const char*, fuse_file_info* info) {
    info->direct_io = 1;  // What the loop device writes is here when it is done.
    return 0;
  }
  static int Read(const char*, char* out, size_t length, off_t offset, fuse_file_info*) {
    const size_t at = std::min(static_cast<size_t>(offset), content->size());
    length = std::min(length, content->size() - at);
    std::memcpy(out, content->data() + at, length);
    return static_cast<int>(length);
  }
  static int Write(const char*, const char* bytes, size_t length, off_t offset, fuse_file_info*) {
    if (static_cast<size_t>(offset) + length > content->size()) return -ENOSPC;
    std::memcpy(content->data() + offset, bytes, length);
    log->Append({static_cast<uint64_t>(offset), length}, {bytes, length});
    return log->overflown ? -EIO : static_cast<int>(length);
  }
  static int Sync(const char*, int, fuse_file_info*) {
    log->Append({}, "");
    return log->overflown ? -EIO : 0;
  }

  [[noreturn]] static void Serve(const std::string& directory, int ready) {
    fuse_operations operations = {};
    operations.getattr = GetAttributes;
    operations.open = Open;
    operations.read = Read;
    operations.write = Write;
    operations.fsync = Sync;
    char name[] = "logged-disk";
    char* arguments[] = {name, nullptr};
    fuse_args args = FUSE_ARGS_INIT(1, arguments);
    fuse* const served = fuse_new(&args, &operations, sizeof operations, nullptr);
    // In a namespace of its own from then on: it must not be the one whose end takes the file
    // system away that needs it.
    if (served != nullptr && fuse_mount(served, directory.c_str()) == 0 &&
        ::unshare(CLONE_NEWNS) == 0) {
      const char yes = 1;
      if (::write(ready, &yes, 1) == 1) fuse_loop(served);
    }
    ::_exit(1);
  }
};

LoggedDisk::Log* LoggedDisk::Log::log = nullptr;
std::string* LoggedDisk::Log::content = nullptr;

std::string LoggedDisk::Missing() {
  if (::geteuid() != 0) return "needs root";
  if (::access("/dev/fuse", R_OK | W_OK) != 0) return "needs /dev/fuse";
  if (::access("/dev/loop-control", R_OK | W_OK) != 0) return "needs loop devices";
  return "";
}

absl::StatusOr<std::string> LoggedDisk::PrivateDirectory() {
  static const bool alone = ::unshare(CLONE_NEWNS) == 0 &&
                            ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                            ::mount("tmpfs", "/tmp", "tmpfs", 0, nullptr) == 0;
  if (!alone) return Failed("a mount namespace");
  LetGoOfOthers();
  char pattern[] = "/tmp/homeward-ext4-XXXXXX";
  return ::mkdtemp(pattern) == nullptr ? Failed(pattern) : absl::StatusOr<std::string>(pattern);
}

absl::StatusOr<std::unique_ptr<LoggedDisk>> LoggedDisk::Create(const std::string& directory) {
  std::unique_ptr<LoggedDisk> disk(new LoggedDisk);
  const std::string image = absl::StrCat(directory, "/base");
  disk->fuse_ = absl::StrCat(directory, "/fuse");
  disk->mount_point_ = absl::StrCat(directory, "/ext4");
  HW_RETURN_IF_ERROR(MakeDirectory(disk->fuse_));
  HW_RETURN_IF_ERROR(MakeDirectory(disk->mount_point_));
  HW_RETURN_IF_ERROR(WriteImage(image, std::string(kDiskBytes, '\0')));
  HW_RETURN_IF_ERROR(Do({"mkfs.ext4", "-q", "-b", "4096", "-J", "size=4", "-E",
                         "lazy_itable_init=0,lazy_journal_init=0", image}));
  std::ifstream made(image, std::ios::binary);
  disk->base_.assign(std::istreambuf_iterator<char>(made), {});

  void* const shared = ::mmap(nullptr, kLogBytesMax, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (shared == MAP_FAILED) return Failed("memory for the log");
  disk->log_ = Log::log = static_cast<Log*>(shared);
  std::string content = disk->base_;
  Log::content = &content;
  int ready[2];
  if (::pipe2(ready, O_CLOEXEC) != 0) return Failed("pipe");
  const pid_t parent = ::getpid();
  disk->served_by_ = ::fork();
  if (disk->served_by_ < 0) return Failed("fork");
  if (disk->served_by_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() == parent) Log::Serve(disk->fuse_, ready[1]);
    ::_exit(1);
  }
  ::close(ready[1]);
  char yes = 0;
  const bool serves = ::read(ready[0], &yes, 1) == 1;
  ::close(ready[0]);
  if (!serves) return absl::UnknownError("FUSE could not be mounted");
  HW_RETURN_IF_ERROR(Do({"mount", "-t", "ext4", "-o", "loop,noatime",
                         absl::StrCat(disk->fuse_, kFileName), disk->mount_point_}));
  return disk;
}

LoggedDisk::~LoggedDisk() {
  if (!mount_point_.empty()) Unmount(mount_point_);
  if (!fuse_.empty()) Unmount(fuse_);
  if (served_by_ > 0) {
    ::kill(served_by_, SIGKILL);
    ::waitpid(served_by_, nullptr, 0);
  }
  if (log_ != nullptr) ::munmap(log_, kLogBytesMax);
}

uint64_t LoggedDisk::Now() const { return log_->bytes; }

std::string LoggedDisk::At(uint64_t instant, const std::function<bool()>& keep) const {
  uint64_t flushed = 0;
  for (uint64_t at = 0; at < instant;) {
    const Entry entry = log_->At(at);
    at += sizeof entry + entry.length;
    if (entry.length == 0 && at <= instant) flushed = at;
  }
  std::string content = base_;
  for (uint64_t at = 0; at < instant;) {
    const Entry entry = log_->At(at);
    at += sizeof entry;
    if (at + entry.length > instant) break;
    for (uint64_t done = 0; done < entry.length; done += kBlockBytes) {
      if (at > flushed && !keep()) continue;
      std::memcpy(content.data() + entry.offset + done, log_->entries + at + done,
                  std::min(kBlockBytes, entry.length - done));
    }
    at += entry.length;
  }
  return content;
}

absl::StatusOr<std::unique_ptr<MountedImage>> MountedImage::Create(const std::string& directory,
                                                                   const std::string& image) {
  const std::string path = absl::StrCat(directory, ".image");
  HW_RETURN_IF_ERROR(WriteImage(path, image));
  HW_RETURN_IF_ERROR(MakeDirectory(directory));
  std::unique_ptr<MountedImage> mounted(new MountedImage(directory));
  HW_RETURN_IF_ERROR(Do({"mount", "-t", "ext4", "-o", "loop,noatime", path, directory}));
  ::unlink(path.c_str());
  return mounted;
}

MountedImage::~MountedImage() {
  Unmount(directory_);
  ::rmdir(directory_.c_str());
}

}  // namespace homeward::crash_points
