// Against a real loop device: whatever differs from before must have been reported. Needs root and
// BTF.
#include "mobility_agent/capture/linux/bpf_tracker.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "common/os/posix/unique_fd.h"
#include "gtest/gtest.h"

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
    std::system(("mountpoint -q " + directory_ + "/mnt && umount " + directory_ + "/mnt").c_str());
    std::system(("partx -d " + device_).c_str());
    hold_.reset();
    std::system(("rm -rf " + directory_).c_str());
  }

  void Track() {
    auto tracker = BpfTracker::Open(device_);
    ASSERT_TRUE(tracker.ok()) << tracker.status();
    tracker_ = *std::move(tracker);
    before_ = Content();
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
    ASSERT_TRUE(tracker_->Collect(&changed).ok());
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

  std::string directory_, device_, before_;
  UniqueFd hold_;
  std::unique_ptr<BpfTracker> tracker_;
};

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
  for (const std::string make : {"mkfs.ext4 -q -F ", "mkfs.ext4 -q -F -O ^has_journal "}) {
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
    ASSERT_TRUE(tracker_->Collect(&changed).ok());
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
  ASSERT_TRUE(tracker_->Freeze(absl::Seconds(10)).ok());
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
}

TEST_F(BpfTrackerTest, APartitionIsRefusedByName) {
  const absl::Status status = BpfTracker::Open(device_ + "p1").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("name the whole disk"), absl::string_view::npos) << status;
}

}  // namespace
}  // namespace homeward
