// Against a real loop device: whatever differs from before must have been reported. Needs root and
// BTF.
#include "mobility_agent/capture/linux/bpf_tracker.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <string>
#include <thread>

#include "common/base/aligned_buffer.h"
#include "common/clock/clock.h"
#include "common/os/posix/unique_fd.h"
#include "gtest/gtest.h"
#include "mobility_agent/pipeline/shipper.h"

namespace {

// This thread's allocations while it is watched.
thread_local bool watched = false;
thread_local int allocations = 0;

}  // namespace

__attribute__((noinline)) void* operator new(size_t bytes) {
  if (watched) ++allocations;
  void* const memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
__attribute__((noinline)) void operator delete(void* memory) noexcept { std::free(memory); }
__attribute__((noinline)) void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace homeward {
namespace {

constexpr uint64_t kDiskBytes = 192 * kMiB;

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

// A disk with two partitions on a loop device that goes away with this process, also when that is
// killed.
class BpfTrackerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0 || ::access("/sys/kernel/btf/vmlinux", R_OK) != 0) {
      GTEST_SKIP() << "needs root and a kernel with BTF";
    }
    // What this process mounts goes with it, also when it is killed.
    static const bool alone =
        ::unshare(CLONE_NEWNS) == 0 && ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    ASSERT_TRUE(alone);
    char pattern[] = "/tmp/homeward-tracker-XXXXXX";
    directory_ = ::mkdtemp(pattern);
    Output("truncate -s " + std::to_string(kDiskBytes) + " " + directory_ + "/disk");
    device_ = Output("losetup --find --show --direct-io=on " + directory_ + "/disk");
    hold_ = UniqueFd(::open(device_.c_str(), O_RDWR | O_CLOEXEC));
    Output("losetup -d " + device_);  // Takes effect when the last user closes it.
    Output("sgdisk -n 1:2048:+90M -n 2:0:0 " + device_);
    Output("partx -u " + device_);
    Output("mkdir " + directory_ + "/mnt");
  }
  void TearDown() override {
    if (directory_.empty()) return;
    tracker_.reset();
    std::system(("mountpoint -q " + directory_ + "/bpf && umount " + directory_ + "/bpf").c_str());
    std::system(("mountpoint -q " + directory_ + "/mnt && umount " + directory_ + "/mnt").c_str());
    std::system(("partx -d " + device_).c_str());
    hold_.reset();
    std::system(("rm -rf " + directory_).c_str());
  }

  void Track() {
    auto tracker = BpfTracker::Open(device_, pins_);
    ASSERT_TRUE(tracker.ok()) << tracker.status();
    tracker_ = *std::move(tracker);
    before_ = Content();
  }
  void Collect(ExtentSet* changed) {
    std::vector<Extent> some(64);
    for (bool more = true; more;) {
      const auto collected = tracker_->Collect(absl::MakeSpan(some));
      ASSERT_TRUE(collected.ok()) << collected.status();
      for (size_t i = 0; i < collected->count; ++i) changed->Add(some[i]);
      more = collected->more;
    }
  }
  std::string Content() {
    std::string content(kDiskBytes, '\0');
    EXPECT_TRUE(
        tracker_->Read(0, {reinterpret_cast<uint8_t*>(content.data()), content.size()}).ok());
    return content;
  }
  // Every sector that differs from `before_` must be in what was collected.
  void ExpectNothingMissed() {
    ExtentSet changed;
    ASSERT_NO_FATAL_FAILURE(Collect(&changed));
    const std::string after = Content();
    uint64_t differing = 0;
    for (uint64_t at = 0; at < kDiskBytes; at += kSectorBytes) {
      if (std::memcmp(after.data() + at, before_.data() + at, kSectorBytes) == 0) continue;
      ++differing;
      ASSERT_TRUE(changed.Missing({at, kSectorBytes}).empty())
          << "missed the change at byte " << at;
    }
    EXPECT_GT(differing, 0u) << "the test changed nothing";
    before_ = after;
  }

  std::string directory_, device_, before_, pins_;
  UniqueFd hold_;
  std::unique_ptr<BpfTracker> tracker_;
};

TEST_F(BpfTrackerTest, ManyPartsAreReadAtOnce) {
  Output("dd if=/dev/urandom of=" + device_ + " bs=1M count=8 conv=fsync status=none");
  Track();
  // More than are under way at once, from the back to the front; and some that the disk cannot read
  // directly.
  std::vector<WriteSource::Part> parts;
  std::vector<Extent> extents;
  for (uint64_t at = 8 * kMiB; at > 0; at -= 8 * kKiB) extents.push_back({at - 8 * kKiB, 4 * kKiB});
  extents.push_back({kSectorBytes, 3 * kSectorBytes});
  extents.push_back({4 * kKiB + 100, 9 * kKiB});
  const AlignedBuffer content(16 * kMiB);
  uint64_t used = 0;
  for (const Extent& extent : extents) {
    parts.push_back({extent.offset, content.Part(used, extent.length)});
    used += (extent.length + AlignedBuffer::kAlignment - 1) / AlignedBuffer::kAlignment *
            AlignedBuffer::kAlignment;
  }
  const absl::Status read = tracker_->ReadParts(parts);
  ASSERT_TRUE(read.ok()) << read;
  for (const WriteSource::Part& part : parts)
    ASSERT_EQ(std::memcmp(part.out.data(), before_.data() + part.offset, part.out.size()), 0)
        << "at byte " << part.offset;

  parts = {{0, content.Part(0, 4 * kKiB)}, {kDiskBytes, content.Part(4 * kKiB, 4 * kKiB)}};
  EXPECT_FALSE(tracker_->ReadParts(parts).ok()) << "it is past the end";
}

TEST_F(BpfTrackerTest, FindsWritesThroughTheDiskAndThroughPartitions) {
  Track();
  Output("dd if=/dev/urandom of=" + device_ +
         " bs=4k count=3 seek=20000 oflag=direct conv=notrunc");
  ExpectNothingMissed();
  Output("dd if=/dev/urandom of=" + device_ +
         " bs=512 count=7 seek=190001 oflag=direct conv=notrunc");
  ExpectNothingMissed();
  Output("dd if=/dev/urandom of=" + device_ + "p2 bs=1M count=5 seek=3 conv=notrunc,fsync");
  ExpectNothingMissed();
  Output("dd if=/dev/urandom of=" + device_ + "p1 bs=64k count=9 seek=1 oflag=direct conv=notrunc");
  ExpectNothingMissed();
}

TEST_F(BpfTrackerTest, FindsDiscardsAndZeroes) {
  Track();
  Output("dd if=/dev/urandom of=" + device_ + " bs=1M count=80 seek=8 oflag=direct conv=notrunc");
  ExpectNothingMissed();
  Output("blkdiscard --offset 16777216 --length 50331648 " + device_);
  ExpectNothingMissed();
  Output("blkdiscard --zeroout --offset 73400320 --length 1048576 " + device_);
  ExpectNothingMissed();
}

TEST_F(BpfTrackerTest, FindsWhatFileSystemsWrite) {
  for (const std::string make :
       {"mkfs.ext4 -q -F ", "mkfs.ext4 -q -F -O ^has_journal ", "mkfs.xfs -q -f --unsupported "}) {
    Track();
    Output(make + device_ + "p1");
    Output("mount " + device_ + "p1 " + directory_ + "/mnt");
    Output("cp -r /usr/share/doc/bash /usr/include/linux " + directory_ + "/mnt && sync -f " +
           directory_ + "/mnt");
    ExpectNothingMissed();
    Output("rm -r " + directory_ + "/mnt/linux && fstrim " + directory_ + "/mnt && umount " +
           directory_ + "/mnt");
    ExpectNothingMissed();
    tracker_.reset();
  }
}

TEST_F(BpfTrackerTest, ACopyThatFollowsConcurrentWritesEndsEqual) {
  Track();
  std::string copy = before_;
  std::thread writer([this] {
    std::system(("fio --name=w --filename=" + device_ +
                 " --rw=randwrite --bsrange=512-64k --bs_unaligned=0 --blockalign=512 --direct=1 "
                 "--ioengine=libaio "
                 "--iodepth=8 --size=96M --io_size=160M --randseed=7 >/dev/null 2>&1")
                    .c_str());
  });
  const auto follow = [&] {
    ExtentSet changed;
    ASSERT_NO_FATAL_FAILURE(Collect(&changed));
    for (const Extent& range : changed.Ranges()) {
      ASSERT_TRUE(tracker_
                      ->Read(range.offset,
                             {reinterpret_cast<uint8_t*>(copy.data()) + range.offset, range.length})
                      .ok());
    }
  };
  for (int round = 0; round < 200; ++round) follow();
  writer.join();
  follow();
  const std::string after = Content();
  EXPECT_NE(after, before_) << "nothing was written";
  EXPECT_TRUE(after == copy);
}

TEST_F(BpfTrackerTest, NothingChangesOnAFrozenFileSystem) {
  Output("mkfs.ext4 -q -F " + device_ + "p1");
  Output("mount " + device_ + "p1 " + directory_ + "/mnt");
  Track();
  { std::ofstream(directory_ + "/mnt/file") << std::string(100000, 'x'); }
  tracker_->BeginFreeze();
  ASSERT_TRUE(tracker_->AwaitFrozen(absl::Seconds(10)).ok());
  const std::string frozen = Content();
  EXPECT_NE(frozen, before_) << "the freeze wrote back what was dirty";
  std::thread writer([this] {
    std::ofstream(directory_ + "/mnt/late") << std::string(100000, 'y') << std::flush;
  });
  EXPECT_TRUE(Content() == frozen);
  tracker_->Thaw();
  writer.join();
  struct stat info;
  EXPECT_EQ(::stat((directory_ + "/mnt/late").c_str(), &info), 0);
  Output("umount " + directory_ + "/mnt");  // Nothing holds it.
}

// The kernel keeps frozen what nobody thaws, and all that writes there would wait for ever.
TEST_F(BpfTrackerTest, WhatAnAgentFrozeThatIsKilledIsThawed) {
  Output("mkfs.ext4 -q -F " + device_ + "p1");
  const std::string mount = directory_ + "/mnt";
  Output("mount " + device_ + "p1 " + mount);
  const pid_t agent = ::fork();
  if (agent == 0) {
    const auto tracker = BpfTracker::Open(device_, pins_);
    if (!tracker.ok()) ::_exit(1);
    (*tracker)->BeginFreeze();
    if (!(*tracker)->AwaitFrozen(absl::Seconds(10)).ok()) ::_exit(2);
    ::raise(SIGKILL);
  }
  int ended = 0;
  ASSERT_EQ(::waitpid(agent, &ended, 0), agent);
  ASSERT_TRUE(WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL) << ended;
  int done[2];
  ASSERT_EQ(::pipe2(done, O_CLOEXEC), 0);
  const pid_t writer = ::fork();
  if (writer == 0) {
    std::ofstream(mount + "/file") << "written" << std::flush;
    ::_exit(::write(done[1], "y", 1) == 1 ? 0 : 1);
  }
  pollfd written = {done[0], POLLIN, 0};
  EXPECT_EQ(::poll(&written, 1, /*ms=*/5000), 1) << "it stands still";
  if (written.revents == 0) std::system(("fsfreeze --unfreeze " + mount).c_str());
  ::waitpid(writer, nullptr, 0);
  ::close(done[0]);
  ::close(done[1]);
  // Nothing holds it, once the process that thawed it has ended.
  int busy = 1;
  for (int i = 0; i < 1000 && busy != 0; ++i) {
    busy = ::umount(mount.c_str());
    if (busy != 0) ::poll(nullptr, 0, /*ms=*/10);
  }
  EXPECT_EQ(busy, 0) << std::strerror(errno);
}

// Watches the thread from the moment the disk stands still until the thaw.
class Watched : public WriteSource {
 public:
  explicit Watched(WriteSource* source) : source_(*source) {}
  uint64_t size_bytes() const override { return source_.size_bytes(); }
  absl::StatusOr<Collected> Collect(absl::Span<Extent> changed) override {
    return source_.Collect(changed);
  }
  absl::Status Read(uint64_t offset, MutableBytes out) override {
    if (watched) frozen_reads_bytes_ += out.size();
    return source_.Read(offset, out);
  }
  void BeginWriteBack() override { source_.BeginWriteBack(); }
  bool WrittenBack() override { return source_.WrittenBack(); }
  void BeginFreeze() override { source_.BeginFreeze(); }
  absl::Status AwaitFrozen(absl::Duration timeout) override {
    absl::Status frozen = source_.AwaitFrozen(timeout);
    watched = true;
    return frozen;
  }
  void Thaw() override {
    watched = false;
    source_.Thaw();
  }
  uint64_t frozen_reads_bytes() const { return frozen_reads_bytes_; }

 private:
  WriteSource& source_;
  uint64_t frozen_reads_bytes_ = 0;
};

// The agent's own root file system may be the frozen one: finding memory could wait for it.
TEST_F(BpfTrackerTest, NothingIsAllocatedBetweenFreezeAndThaw) {
  Output("mkfs.ext4 -q -F " + device_ + "p1");
  Output("mount " + device_ + "p1 " + directory_ + "/mnt");
  Track();
  Watched source(tracker_.get());
  RealClock clock;
  auto opened = Shipper::Open(RealFileSystem(), clock,
                              {.machine_id = "m",
                               .generation = 1,
                               .state_path = directory_ + "/state",
                               .fresh_replica = true},
                              {&source}, nullptr);
  ASSERT_TRUE(opened.ok()) << opened.status();
  Shipper& shipper = **opened;
  // All is taken at once; what happens to it is no matter here.
  const absl::Duration end = clock.Monotonic() + absl::Seconds(60);
  const auto take_all = [&](uint64_t markers) {
    while (shipper.markers_sealed() < markers && clock.Monotonic() < end) {
      shipper.Tick();
      const auto batch = shipper.NextBatch();
      ASSERT_TRUE(batch.ok()) << batch.status();
    }
  };
  take_all(1);
  for (uint64_t marker = 2; marker < 6; ++marker) {
    Output("cp -r /usr/share/doc/bash " + directory_ + "/mnt/" + std::to_string(marker));
    shipper.RequestMarker(PointKind::kCrashConsistent);
    take_all(marker);
    EXPECT_EQ(shipper.markers_sealed(), marker);
    EXPECT_EQ(allocations, 0);
  }
  EXPECT_GT(source.frozen_reads_bytes(), 0u) << "there was something to read";
}

TEST_F(BpfTrackerTest, AKeptTrackerKnowsWhatWasWrittenWithoutIt) {
  Output("mkdir " + directory_ + "/bpf && mount -t bpf homeward-test " + directory_ + "/bpf");
  pins_ = directory_ + "/bpf/homeward";
  Track();
  EXPECT_FALSE(tracker_->continues()) << "nothing was kept";
  Output("dd if=/dev/urandom of=" + device_ + " bs=4k count=3 seek=20 oflag=direct conv=notrunc");
  ASSERT_TRUE(tracker_->KeepForNextOpen());
  tracker_.reset();
  Output("dd if=/dev/urandom of=" + device_ +
         "p1 bs=64k count=9 seek=100 oflag=direct conv=notrunc");
  // Kept, and long enough for the ring of long ranges.
  Output("dd if=/dev/urandom of=" + device_ + " bs=1M count=4 seek=120 oflag=direct conv=notrunc");
  Output("blkdiscard --zeroout --offset 8388608 --length 4194304 " + device_);
  auto again = BpfTracker::Open(device_, pins_);
  ASSERT_TRUE(again.ok()) << again.status();
  tracker_ = *std::move(again);
  EXPECT_TRUE(tracker_->continues());
  ExpectNothingMissed();
  Output("dd if=/dev/urandom of=" + device_ + " bs=4k count=3 seek=50 oflag=direct conv=notrunc");
  ExpectNothingMissed();

  // A crash keeps nothing.
  tracker_.reset();
  Track();
  EXPECT_FALSE(tracker_->continues());
}

TEST_F(BpfTrackerTest, APartitionIsRefusedByName) {
  const absl::Status status = BpfTracker::Open(device_ + "p1", "").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("name the whole disk"), absl::string_view::npos) << status;
}

TEST_F(BpfTrackerTest, ADiskWhoseWritesAreNotReportedWhenTheyEndIsRefused) {
  // Any will do, also one without a size: nothing is written.
  const std::string name = Output(
      "for disk in /sys/block/*; do [ -d $disk/mq ] || [ ! -b /dev/${disk##*/} ] || echo "
      "${disk##*/}; "
      "done | head -1");
  if (name.empty()) GTEST_SKIP() << "needs a disk whose driver has no request queues, such as zram";
  const std::string device = "/dev/" + name;
  const absl::Status status = BpfTracker::Open(device, "").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
  EXPECT_NE(status.message().find(device), absl::string_view::npos) << status;
}

}  // namespace
}  // namespace homeward
