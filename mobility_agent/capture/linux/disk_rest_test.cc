// Against real loop devices and file systems, stacked, hidden and hanging. Needs root and BTF.
#include "mobility_agent/capture/linux/disk_rest.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/fuse.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/aligned_buffer.h"
#include "common/clock/clock.h"
#include "common/os/posix/unique_fd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mobility_agent/capture/linux/bpf_tracker.h"
#include "mobility_agent/capture/linux/thaw_guard.h"

namespace homeward {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string Output(const std::string& command) {
  std::string out;
  std::array<char, 256> line;
  FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r");
  while (std::fgets(line.data(), line.size(), pipe) != nullptr) out += line.data();
  const int result = ::pclose(pipe);
  EXPECT_EQ(result, 0) << command << ": " << out;
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

// A FUSE file system with a server process, which answers until it is told not to and ends with
// this process: a thread that waits for an answer would keep that from ending.
class Fuse {
 public:
  // Mounted at `where`, with one directory, "d"; on a block device where one is given.
  explicit Fuse(const std::string& where, const std::string& device = "")
      : where_(where), device_(::open("/dev/fuse", O_RDWR | O_CLOEXEC)) {
    const std::string options =
        absl::StrCat("fd=", device_.get(), ",rootmode=40000,user_id=0,group_id=0");
    EXPECT_EQ(::mount(device.empty() ? "test" : device.c_str(), where.c_str(),
                      device.empty() ? "fuse" : "fuseblk", 0, options.c_str()),
              0);
    server_ = ::fork();
    if (server_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::signal(SIGUSR1, [](int) { hangs = 1; });
      Serve();
      ::_exit(0);
    }
    device_.reset();
  }
  ~Fuse() {
    // Whoever waits for an answer gets an error.
    ::kill(server_, SIGKILL);
    ::waitpid(server_, nullptr, 0);
    EXPECT_EQ(::umount2(where_.c_str(), MNT_DETACH), 0);
  }
  void Hang() { ::kill(server_, SIGUSR1); }

 private:
  void Serve() {
    std::vector<char> request(kRequestBytes);
    for (;;) {
      const ssize_t n = ::read(device_.get(), request.data(), request.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return;
      fuse_in_header in;
      std::memcpy(&in, request.data(), sizeof in);
      if (hangs == 0) Answer(in);
    }
  }
  static fuse_attr Directory(uint64_t node) {
    fuse_attr attr = {};
    attr.ino = node;
    attr.mode = S_IFDIR | 0755;
    attr.nlink = 2;
    return attr;
  }
  void Answer(const fuse_in_header& in) {
    switch (in.opcode) {
      case FUSE_INIT: {
        fuse_init_out init = {};
        init.major = FUSE_KERNEL_VERSION;
        init.minor = FUSE_KERNEL_MINOR_VERSION;
        init.max_write = 4096;
        return Reply(in, &init, sizeof init);
      }
      case FUSE_LOOKUP: {
        fuse_entry_out entry = {};  // valid for no time: looked up again each time
        entry.nodeid = 2;
        entry.attr = Directory(2);
        return Reply(in, &entry, sizeof entry);
      }
      case FUSE_GETATTR: {
        fuse_attr_out attr = {};
        attr.attr = Directory(in.nodeid);
        return Reply(in, &attr, sizeof attr);
      }
      case FUSE_FORGET:
      case FUSE_BATCH_FORGET:
        return;
      default:
        return Reply(in, nullptr, 0, -ENOSYS);
    }
  }
  void Reply(const fuse_in_header& in, const void* body, size_t bytes, int error = 0) {
    fuse_out_header out = {static_cast<uint32_t>(sizeof out + bytes), error, in.unique};
    std::string answer(reinterpret_cast<const char*>(&out), sizeof out);
    if (bytes > 0) answer.append(static_cast<const char*>(body), bytes);
    [[maybe_unused]] const ssize_t n = ::write(device_.get(), answer.data(), answer.size());
  }

  static constexpr size_t kRequestBytes = 256 * 1024;
  const std::string where_;
  static volatile sig_atomic_t hangs;  // of the server
  UniqueFd device_;
  pid_t server_ = -1;
};

volatile sig_atomic_t Fuse::hangs = 0;

class DiskRestTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0 || ::access("/sys/kernel/btf/vmlinux", R_OK) != 0)
      GTEST_SKIP() << "needs root and a kernel with BTF";
    // What this process mounts goes with it, also when it is killed.
    static const bool alone =
        ::unshare(CLONE_NEWNS) == 0 && ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    ASSERT_TRUE(alone);
    char pattern[] = "/tmp/homeward-rest-XXXXXX";
    directory_ = ::mkdtemp(pattern);
    mount_ = directory_ + "/mnt";
    Output("truncate -s 192M " + directory_ + "/disk && mkdir " + mount_);
    device_ = Loop(directory_ + "/disk");
  }
  void TearDown() override {
    if (directory_.empty()) return;
    tracker_.reset();
    for (int i = 0; i < 4; ++i)
      std::system(("mountpoint -q " + mount_ + " && umount " + mount_).c_str());
    held_.clear();
    std::system(("rm -rf --one-file-system " + directory_).c_str());
  }
  // On a file or another device; it goes away with this process, also when that is killed.
  std::string Loop(const std::string& below) {
    const std::string device = Output("losetup --find --show " + below);
    held_.insert(held_.begin(), UniqueFd(::open(device.c_str(), O_RDWR | O_CLOEXEC)));
    Output("losetup -d " + device);  // Takes effect when the last user closes it.
    return device;
  }
  void Track() {
    auto tracker = BpfTracker::Open(device_, "");
    ASSERT_TRUE(tracker.ok()) << tracker.status();
    tracker_ = *std::move(tracker);
  }
  uint64_t CollectBytes() {
    std::vector<Extent> some(4096);
    uint64_t bytes = 0;
    for (bool more = true; more;) {
      const auto collected = tracker_->Collect(absl::MakeSpan(some));
      EXPECT_TRUE(collected.ok()) << collected.status();
      if (!collected.ok()) return 0;
      for (size_t i = 0; i < collected->count; ++i) bytes += some[i].length;
      more = collected->more;
    }
    return bytes;
  }
  void ReadWhole() {
    const AlignedBuffer part(kMiB);
    for (uint64_t at = 0; at < tracker_->size_bytes(); at += kMiB)
      ASSERT_TRUE(tracker_->Read(at, part.Part(0, kMiB)).ok());
  }
  // A process that goes on writing to `path` for as long as this object lives. `before` runs in it
  // first; it must have written a few times when the constructor returns.
  class Writer {
   public:
    explicit Writer(
        const std::string& path, const std::function<void()>& before = [] {}) {
      int pipe[2];
      EXPECT_EQ(::pipe(pipe), 0);
      process_ = ::fork();
      if (process_ == 0) {
        ::alarm(120);
        before();
        const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_DSYNC, 0644);
        const std::string block(4096, 'w');
        for (int i = 0;; ++i) {
          if (::pwrite(fd, block.data(), block.size(), i % 512 * 4096) != 4096) ::_exit(1);
          if (i == 20 && ::write(pipe[1], "r", 1) != 1) ::_exit(1);
        }
      }
      ::close(pipe[1]);
      char ready;
      EXPECT_EQ(::read(pipe[0], &ready, 1), 1) << "the writer has failed";
      ::close(pipe[0]);
    }
    ~Writer() {
      ::kill(process_, SIGKILL);
      ::waitpid(process_, nullptr, 0);
    }
    pid_t process() const { return process_; }

   private:
    pid_t process_;
  };
  // Nothing reaches the disk between freeze and thaw, and it goes on afterwards.
  void ExpectStandsStill(const std::vector<std::string>& how) {
    Track();
    tracker_->BeginWriteBack();
    RealClock clock;
    for (const absl::Duration end = clock.Monotonic() + absl::Seconds(30);
         !tracker_->WrittenBack() && clock.Monotonic() < end;)
      std::this_thread::yield();
    const absl::Duration asked = clock.Monotonic();
    tracker_->BeginFreeze();
    const absl::Status frozen = tracker_->AwaitFrozen(absl::Seconds(20));
    const absl::Duration frozen_after = clock.Monotonic() - asked;
    CollectBytes();
    ReadWhole();
    const uint64_t late_bytes = CollectBytes();
    tracker_->Thaw();
    ASSERT_TRUE(frozen.ok()) << frozen;
    EXPECT_EQ(late_bytes, 0u) << "written by " << tracker_->LastWriter();
    EXPECT_EQ(tracker_->rest().still, how);
    ASSERT_TRUE(tracker_->rest().stood_for.has_value());
    EXPECT_GT(*tracker_->rest().stood_for, absl::ZeroDuration());
    EXPECT_LT(*tracker_->rest().stood_for, frozen_after) << "they were looked for before";
    EXPECT_THAT(tracker_->rest().moving, IsEmpty());
    EXPECT_THAT(tracker_->Troubles(), IsEmpty());
    uint64_t bytes = 0;
    for (const absl::Duration end = clock.Monotonic() + absl::Seconds(30);
         bytes == 0 && clock.Monotonic() < end;)
      bytes = CollectBytes();
    EXPECT_GT(bytes, 0u) << "it still stands still";
  }

  std::string directory_, device_, mount_;
  std::vector<UniqueFd> held_;  // the top of the stack first
  std::unique_ptr<BpfTracker> tracker_;
};

TEST_F(DiskRestTest, AFileSystemOnTheDisk) {
  Output("mkfs.ext4 -q -F " + device_ + " && mount " + device_ + " " + mount_);
  const Writer writer(mount_ + "/file");
  ExpectStandsStill({"ext4 on " + mount_});
}

TEST_F(DiskRestTest, AFileSystemOnDevicesThatAreStackedOnIt) {
  const std::string top = Loop(Loop(device_));
  Output("mkfs.ext4 -q -F " + top + " && mount " + top + " " + mount_);
  const Writer writer(mount_ + "/file");
  ExpectStandsStill({"ext4 on " + mount_});
}

TEST_F(DiskRestTest, TheUpperOneStandsStillBeforeTheLowerOne) {
  Output("sgdisk -n 1:2048:+90M -n 2:0:0 " + device_ + " && partx -u " + device_);
  const std::string top = Loop(device_ + "p2");
  const std::string other = directory_ + "/other";
  Output("mkdir " + other + " && mkfs.ext4 -q -F " + device_ +
         "p1 && mkfs.xfs -q -f --unsupported " + top + " && mount " + device_ + "p1 " + mount_ +
         " && mount " + top + " " + other);
  {
    const Writer writer(mount_ + "/file"), upper(other + "/file");
    ExpectStandsStill({"xfs on " + other, "ext4 on " + mount_});
  }
  tracker_.reset();
  Output("umount " + other + " && umount " + mount_);
  held_.erase(held_.begin());
  Output("partx -d " + device_);
}

TEST_F(DiskRestTest, AMountOfAnotherMountNamespace) {
  Output("mkfs.ext4 -q -F " + device_);
  const Writer writer(mount_ + "/file", [this] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, "") != 0 ||
        ::mount(device_.c_str(), mount_.c_str(), "ext4", 0, "") != 0) {
      ::_exit(1);
    }
  });
  ExpectStandsStill({absl::StrCat("ext4 on ", mount_, " of process ", writer.process())});
}

TEST_F(DiskRestTest, AMountThatIsCovered) {
  Output("mkfs.ext4 -q -F " + device_ + " && mount " + device_ + " " + mount_);
  const Writer writer(mount_ + "/file");
  Output("mount -t tmpfs cover " + mount_ + " && mount -t tmpfs cover " + mount_);
  ExpectStandsStill({"ext4 on " + mount_});
  EXPECT_EQ(Output("findmnt -n -o FSTYPE --mountpoint " + mount_), "ext4\ntmpfs\ntmpfs");
  tracker_.reset();
}

TEST_F(DiskRestTest, AMountOfAnotherMountNamespaceThatIsCovered) {
  Output("mkfs.ext4 -q -F " + device_);
  int covered[2];
  ASSERT_EQ(::pipe(covered), 0);
  const Writer writer(mount_ + "/file", [&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, "") != 0 ||
        ::mount(device_.c_str(), mount_.c_str(), "ext4", 0, "") != 0 ||
        ::chdir(mount_.c_str()) != 0 || ::mount("cover", directory_.c_str(), "tmpfs", 0, "") != 0 ||
        ::mkdir(mount_.c_str(), 0755) != 0 ||
        ::symlink("/proc/self/cwd/real", (mount_ + "/file").c_str()) != 0) {
      ::_exit(1);
    }
  });
  ExpectStandsStill({absl::StrCat("ext4 on ", mount_, " of process ", writer.process())});
}

TEST_F(DiskRestTest, AFileSystemOverSeveralDevices) {
  if (std::system("command -v mkfs.btrfs >/dev/null") != 0) GTEST_SKIP() << "needs btrfs-progs";
  Output("truncate -s 192M " + directory_ + "/second");
  const std::string second = Loop(directory_ + "/second");
  Output("mkfs.btrfs -q -f " + second + " " + device_ + " && mount " + second + " " + mount_ +
         " && btrfs -q subvolume create " + mount_ + "/sub");
  const Writer writer(mount_ + "/sub/file");
  ExpectStandsStill({"btrfs on " + mount_});
}

TEST_F(DiskRestTest, WhatIsHeldForTooLongIsThawedThoughItsAgentLives) {
  Output("mkfs.ext4 -q -F " + device_ + " && mount " + device_ + " " + mount_);
  const UniqueFd mount(::open(mount_.c_str(), O_RDONLY | O_CLOEXEC));
  absl::StatusOr<ThawGuard> guard =
      ThawGuard::Watch({{ThawGuard::Kind::kFileSystem, mount.get()}}, /*held_seconds_max=*/1);
  ASSERT_TRUE(guard.ok()) << guard.status();
  ASSERT_EQ(::ioctl(mount.get(), FIFREEZE, 0), 0);
  Output("timeout 60 touch " + mount_ + "/written");  // it waits for the thaw
  // Again, for what was frozen after that.
  ASSERT_EQ(::ioctl(mount.get(), FIFREEZE, 0), 0);
  Output("timeout 60 touch " + mount_ + "/again");
  guard->Release();
}

TEST_F(DiskRestTest, WhatCannotBeFrozenIsSaidToMove) {
  Fuse fuse(mount_, device_);
  Track();
  tracker_->BeginFreeze();
  ASSERT_TRUE(tracker_->AwaitFrozen(absl::Seconds(20)).ok());
  tracker_->Thaw();
  EXPECT_THAT(tracker_->rest().still, IsEmpty());
  EXPECT_THAT(tracker_->rest().moving, ElementsAre("fuseblk on " + mount_));
}

TEST_F(DiskRestTest, WhatCannotBeWrittenDoesNotMove) {
  Output("mkfs.ext4 -q -F " + device_ + " && mount -o ro " + device_ + " " + mount_);
  Track();
  tracker_->BeginFreeze();
  ASSERT_TRUE(tracker_->AwaitFrozen(absl::Seconds(20)).ok());
  tracker_->Thaw();
  EXPECT_THAT(tracker_->rest().moving, IsEmpty());
}

TEST_F(DiskRestTest, WhoeverWritesToTheDeviceItselfIsNamed) {
  Track();
  {
    const Writer writer(device_);
    tracker_->BeginFreeze();
    ASSERT_TRUE(tracker_->AwaitFrozen(absl::Seconds(20)).ok());
    RealClock clock;
    CollectBytes();
    uint64_t bytes = 0;
    for (const absl::Duration end = clock.Monotonic() + absl::Seconds(30);
         bytes == 0 && clock.Monotonic() < end;)
      bytes = CollectBytes();
    tracker_->Thaw();
    EXPECT_GT(bytes, 0u);
    EXPECT_EQ(tracker_->LastWriter(), absl::StrCat("disk_rest_test (pid ", writer.process(), ")"));
  }
}

TEST_F(DiskRestTest, WhatIsFrozenAlreadyStaysSo) {
  Output("mkfs.ext4 -q -F " + device_ + " && mount " + device_ + " " + mount_ +
         " && fsfreeze --freeze " + mount_);
  Track();
  tracker_->BeginFreeze();
  EXPECT_TRUE(tracker_->AwaitFrozen(absl::Seconds(20)).ok());
  tracker_->Thaw();
  EXPECT_THAT(tracker_->rest().still, ElementsAre("ext4 on " + mount_));
  Output("fsfreeze --unfreeze " + mount_);  // It fails when nothing is frozen.
}

TEST_F(DiskRestTest, AMountOfSomethingElseThatHangsIsNotTouched) {
  Output("mkfs.ext4 -q -F " + device_ + " && mount " + device_ + " " + mount_ + " && mkdir " +
         directory_ + "/fuse");
  Fuse fuse(directory_ + "/fuse");
  fuse.Hang();
  const Writer writer(mount_ + "/file");
  ExpectStandsStill({"ext4 on " + mount_});
}

size_t Threads() {
  return static_cast<size_t>(
      std::stoul(Output(absl::StrCat("ls /proc/", ::getpid(), "/task | wc -l"))));
}

TEST_F(DiskRestTest, AMountBehindOneThatHangsIsNamedAndTheOthersStandStill) {
  Output("sgdisk -n 1:2048:+90M -n 2:0:0 " + device_ + " && partx -u " + device_);
  Output("mkfs.ext4 -q -F " + device_ + "p1 && mount " + device_ + "p1 " + mount_);
  Output("mkfs.ext4 -q -F " + device_ + "p2 && mkdir " + directory_ + "/fuse");
  {
    Fuse fuse(directory_ + "/fuse");
    Output("mount " + device_ + "p2 " + directory_ + "/fuse/d");
    fuse.Hang();
    Track();
    size_t threads = 0;
    for (int point = 0; point < 4; ++point) {
      tracker_->BeginWriteBack();
      while (!tracker_->WrittenBack()) std::this_thread::yield();
      tracker_->BeginFreeze();
      ASSERT_TRUE(tracker_->AwaitFrozen(absl::Seconds(20)).ok());
      tracker_->Thaw();
      EXPECT_THAT(tracker_->rest().still, ElementsAre("ext4 on " + mount_));
      EXPECT_THAT(tracker_->rest().moving, ElementsAre("ext4 on " + directory_ + "/fuse/d"));
      EXPECT_THAT(tracker_->Troubles(),
                  ElementsAre("ext4 on " + directory_ + "/fuse/d does not answer"));
      if (point == 1) threads = Threads();
    }
    EXPECT_LE(Threads(), threads) << "each point leaves a thread behind";
  }
  // Whoever waited for it lets go in its own time.
  RealClock clock;
  const absl::Duration end = clock.Monotonic() + absl::Seconds(60);
  do {
    tracker_->BeginFreeze();
    ASSERT_TRUE(tracker_->AwaitFrozen(absl::Seconds(20)).ok());
    tracker_->Thaw();
  } while (!(tracker_->rest().moving.empty() && tracker_->Troubles().empty()) &&
           clock.Monotonic() < end);
  EXPECT_THAT(tracker_->rest().moving, IsEmpty());
  EXPECT_THAT(tracker_->Troubles(), IsEmpty()) << "it is gone";
  tracker_.reset();
  Output("umount " + mount_ + " && partx -d " + device_);
}

}  // namespace
}  // namespace homeward
