// Against a made-up /proc and /sys.
#include "mobility_agent/capture/linux/disk_users.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class DiskUsersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / absl::StrCat("homeward-users-", ::getpid());
    fs::remove_all(root_);
    kernel_.proc = root_ / "proc";
    kernel_.sys = root_ / "sys";
    kernel_.node = [this](const std::string& path) { return nodes_[path]; };
    kernel_.loop_backing = [this](const std::string& loop) { return loops_[loop]; };
    Process("1", "mnt:[1]", "/", "");
    fs::create_directories(root_ / "proc");
    fs::create_directory_symlink(root_ / "proc/1", root_ / "proc/self");
    Block("sda", "8:0");
    Partition("sda", "sda1", "8:1");
    Partition("sda", "sda2", "8:2");
    Block("sdb", "8:16");
  }
  void TearDown() override { fs::remove_all(root_); }

  void Write(const fs::path& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  fs::path BlockPath(const std::string& name) { return fs::path("sys/class/block") / name; }
  void Block(const std::string& name, const std::string& number) {
    Write(BlockPath(name) / "dev", number + "\n");
    nodes_["/dev/" + name] = number;
  }
  void Partition(const std::string& disk, const std::string& name, const std::string& number) {
    Block(name, number);
    Write(BlockPath(disk) / name / "partition", "1\n");
  }
  void Holder(const std::string& below, const std::string& above) {
    Write(BlockPath(below) / "holders" / above, "");
  }
  void Loop(const std::string& name, const std::string& number, const std::string& file) {
    Block(name, number);
    Write(BlockPath(name) / "loop/backing_file", file + "\n");
  }
  void Process(const std::string& process, const std::string& space, const std::string& root,
               const std::string& mounts) {
    Write(fs::path("proc") / process / "mountinfo", mounts);
    fs::create_directories(root_ / "proc" / process / "ns");
    for (const auto& [link, target] :
         {std::make_pair("ns/mnt", space), std::make_pair("root", root)}) {
      fs::remove(root_ / "proc" / process / link);
      fs::create_symlink(target, root_ / "proc" / process / link);
    }
  }
  void Mounts(const std::string& mounts) { Process("1", "mnt:[1]", "/", mounts); }
  DiskUsers Find() { return FindDiskUsers(kernel_, "8:0"); }
  static std::vector<std::string> Names(const DiskUsers& users) {
    std::vector<std::string> names;
    for (const MountedFileSystem& one : users.file_systems) names.push_back(one.Name());
    return names;
  }

  fs::path root_;
  KernelFacts kernel_;
  std::map<std::string, std::string> nodes_, loops_;
};

TEST_F(DiskUsersTest, FindsTheFileSystemsOfTheDiskAndItsPartitionsOnly) {
  Mounts(
      "30 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
      "31 30 8:2 / /a\\040b rw shared:1 - xfs /dev/sda2 rw\n"
      "32 30 8:2 /x /bound rw - xfs /dev/sda2 rw\n"
      "33 30 8:16 / /other rw - ext4 /dev/sdb rw\n"
      "34 30 0:40 / /nfs rw - nfs server:/x rw\n"
      "35 30 0:41 / /liar rw - fuse.sshfs /dev/sda1 rw\n");
  const DiskUsers users = Find();
  EXPECT_THAT(Names(users), UnorderedElementsAre("ext4 on /", "xfs on /a b"));
  EXPECT_THAT(users.moving, IsEmpty());
  for (const MountedFileSystem& one : users.file_systems)
    EXPECT_EQ(one.places.size(), one.type == "xfs" ? 2u : 1u) << one.type;
}

TEST_F(DiskUsersTest, ClimbsThroughHoldersSlavesAndLoopsWithTheTopFirst) {
  Block("dm-0", "253:0");
  Holder("sda2", "dm-0");
  Block("dm-1", "253:1");
  Write(BlockPath("dm-1") / "slaves/dm-0", "");
  Loop("loop0", "7:0", "/dev/dm-1");
  Loop("loop1", "7:1", "/srv/nodes/disk");  // a node elsewhere: only the call tells
  loops_["loop1"] = "7:0";
  Loop("loop2", "7:2", "/srv/image");  // a file: stands still with its file system
  Mounts(
      "30 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
      "31 30 253:0 / /lv rw - ext4 /dev/mapper/lv rw\n"
      "32 30 7:1 / /top rw - ext4 /dev/loop1 rw\n"
      "33 30 7:2 / /image rw - ext4 /dev/loop2 rw\n");
  const DiskUsers users = Find();
  EXPECT_THAT(Names(users), ElementsAre("ext4 on /top", "ext4 on /lv", "ext4 on /"));
  EXPECT_EQ(users.file_systems.front().height, 4);
  EXPECT_THAT(users.cached_devices, ElementsAre("/dev/loop0", "/dev/dm-1"));
}

TEST_F(DiskUsersTest, AFileSystemOverSeveralDevicesIsFoundByEachOfThem) {
  Write("sys/fs/btrfs/1234/devices/sdb", "");
  Write("sys/fs/btrfs/1234/devices/sda2", "");
  Write("sys/fs/btrfs/features/x", "");
  Mounts(
      "30 1 0:44 /root / rw - btrfs /dev/sdb rw\n"
      "31 30 0:44 /home /home rw - btrfs /dev/sdb rw\n"
      "32 30 0:45 / /other rw - btrfs /dev/sdc rw\n");
  EXPECT_THAT(Names(Find()), ElementsAre("btrfs on /"));
}

TEST_F(DiskUsersTest, LooksIntoEveryMountNamespace) {
  Mounts("30 1 8:16 / / rw - ext4 /dev/sdb rw\n");
  Process("7", "mnt:[2]", "/", "");  // ends meanwhile
  Process("8", "mnt:[2]", "/", "50 1 8:1 / /data rw - ext4 /dev/sda1 rw\n");
  Process("9", "mnt:[3]", "/jail", "60 1 8:2 / / rw - ext4 /dev/sda2 rw\n");
  EXPECT_THAT(Names(Find()),
              UnorderedElementsAre("ext4 on /data of process 8", "ext4 on / of process 9"));
}

TEST_F(DiskUsersTest, SwapAndWhatNobodySeesAreNamedAsMoving) {
  Mounts(
      "30 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
      "31 30 8:16 / /other rw - ext4 /dev/sdb rw\n");
  Write("proc/swaps",
        "Filename\t\tType\t\tSize\tUsed\tPriority\n"
        "/dev/sda2                partition\t100\t0\t-2\n"
        "/dev/sdb                 partition\t100\t0\t-2\n"
        "/swap\\040file            file\t\t100\t0\t-3\n"
        "/other/swap              file\t\t100\t0\t-4\n");
  Write("sys/fs/ext4/sda1/state", "");
  Write("sys/fs/xfs/sda2/state", "");
  Write("sys/fs/xfs/sdb/state", "");
  EXPECT_THAT(Find().moving, ElementsAre("swap on /dev/sda2", "swap on /swap file",
                                         "xfs on sda2, which is mounted where no process sees it"));
}

TEST_F(DiskUsersTest, ALoopOfDevicesEnds) {
  Block("dm-0", "253:0");
  Holder("sda", "dm-0");
  Holder("dm-0", "sda");
  Mounts("30 1 253:0 / /lv rw - ext4 /dev/mapper/lv rw\n");
  EXPECT_THAT(Names(Find()), ElementsAre("ext4 on /lv"));
}

}  // namespace
}  // namespace homeward
