#include "mobility_agent/capture/linux/machine_disks.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/fakes/memory_disk.h"

namespace homeward {
namespace {

// A sysfs of disks, as Linux 6.18 lays it out.
class MachineDisks : public ::testing::Test {
 protected:
  struct Disk {
    std::string size = "41943040";
    std::map<std::string, std::string> attributes = {};
    std::vector<std::string> slaves = {};
    std::vector<std::string> holders = {};
    bool device = true;
  };
  void Add(const std::string& name, const Disk& disk) {
    const std::string directory = "/sys/block/" + name;
    for (const char* inner : {"/slaves", "/holders"})
      EXPECT_TRUE(files_.MakeDirectories(directory + inner).ok());
    if (disk.device) {
      EXPECT_TRUE(files_.MakeDirectories(directory + "/device").ok());
    }
    std::map<std::string, std::string> attributes = {
        {"size", disk.size}, {"hidden", "0"}, {"ro", "0"}, {"removable", "0"}};
    for (const auto& [key, value] : disk.attributes) attributes[key] = value;
    for (const auto& [key, value] : attributes) {
      EXPECT_TRUE(files_.MakeDirectories(ParentDirectory(directory + "/" + key)).ok());
      files_.Attach(directory + "/" + key, value + "\n");
    }
    for (const std::string& slave : disk.slaves)
      EXPECT_TRUE(files_.MakeDirectories(directory + "/slaves/" + slave).ok());
    for (const std::string& holder : disk.holders)
      EXPECT_TRUE(files_.MakeDirectories(directory + "/holders/" + holder).ok());
  }
  // As "/dev/sda", or "/dev/sda: why not".
  std::vector<std::string> Found() {
    std::vector<std::string> found;
    const auto disks = FindDisks(files_, "/sys");
    EXPECT_TRUE(disks.ok()) << disks.status();
    for (const FoundDisk& disk : *disks)
      found.push_back(disk.path + (disk.unusable.empty() ? "" : ": " + disk.unusable));
    return found;
  }
  using List = std::vector<std::string>;

  MemoryDisk files_{1};
};

TEST_F(MachineDisks, HardwareIsTakenWhateverItsName) {
  for (const char* name : {"sda", "vdb", "xvda", "nvme0n1", "mmcblk0", "dasda", "pmem0"})
    Add(name, {});
  EXPECT_EQ(Found(), (List{"/dev/dasda", "/dev/mmcblk0", "/dev/nvme0n1", "/dev/pmem0", "/dev/sda",
                           "/dev/vdb", "/dev/xvda"}));
}

TEST_F(MachineDisks, ASlashInANameIsOneAgain) {
  Add("cciss!c0d0", {});
  EXPECT_EQ(Found(), (List{"/dev/cciss/c0d0"}));
}

TEST_F(MachineDisks, WhatIsMadeOfOtherDisksIsNotTakenBesideThem) {
  Add("sda", {.holders = {"bcache0"}});
  Add("sdb", {.holders = {"md127"}});
  Add("sdc", {.holders = {"drbd0"}});
  Add("sdd", {.holders = {"dm-0"}});
  Add("bcache0", {.slaves = {"sda"}, .device = false});
  Add("md127", {.slaves = {"sdb"}, .device = false});
  Add("drbd0", {.slaves = {"sdc"}, .device = false});
  Add("dm-0", {.attributes = {{"dm/uuid", "LVM-abc"}}, .slaves = {"sdd"}, .device = false});
  EXPECT_EQ(Found(), (List{"/dev/sda", "/dev/sdb", "/dev/sdc", "/dev/sdd"}));
}

TEST_F(MachineDisks, WhatTheKernelMadeUpIsNoDiskOfTheMachine) {
  Add("sda", {});
  for (const char* name : {"loop0", "ram0", "zram0", "nbd0", "drbd1", "zd0"})
    Add(name, {.device = false});
  EXPECT_EQ(Found(), (List{"/dev/sda"}));
}

// /dev has the head of the disk only, nvme0n1.
TEST_F(MachineDisks, ThePathsOfAnNvmeDiskAreNotDisks) {
  Add("nvme0n1", {});
  Add("nvme0c0n1", {.attributes = {{"hidden", "1"}}});
  Add("nvme0c1n1", {.attributes = {{"hidden", "1"}}});
  EXPECT_EQ(Found(), (List{"/dev/nvme0n1"}));
}

TEST_F(MachineDisks, EachPathOfAMultipathDiskSaysWhichDiskItIs) {
  Add("sda", {.holders = {"dm-0"}});
  Add("sdb", {.holders = {"dm-0"}});
  Add("dm-0",
      {.attributes = {{"dm/uuid", "mpath-3600"}}, .slaves = {"sda", "sdb"}, .device = false});
  const List found = Found();
  ASSERT_EQ(found.size(), 2);
  EXPECT_EQ(found[0],
            "/dev/sda: it is one of several paths to a disk: name "
            "/dev/disk/by-id/dm-uuid-mpath-3600 under disks in the agent's configuration");
}

TEST_F(MachineDisks, OneThatCannotBeUsedSaysWhy) {
  Add("sda", {});
  Add("sdb", {.attributes = {{"ro", "1"}}});
  Add("sdc", {.attributes = {{"removable", "1"}}});
  Add("sdd", {.size = "0"});
  Add("sr0", {.size = "2097151", .attributes = {{"removable", "1"}}});
  Add("rbd0", {.attributes = {{"device/cluster_fsid", "5f1e"}}});
  EXPECT_EQ(Found(),
            (List{"/dev/rbd0: its data is in a storage cluster (rbd); name it under disks to "
                  "protect it all the same",
                  "/dev/sda", "/dev/sdb: it is read-only", "/dev/sdc: it is removable",
                  "/dev/sdd: it has no size now", "/dev/sr0: it is removable"}));
}

// What the kernel of this host says, whatever it has: nothing is read wrongly from its files.
TEST_F(MachineDisks, TheKernelsOwnFilesAreRead) {
  const auto found = FindDisks(RealFileSystem(), "/sys");
  ASSERT_TRUE(found.ok()) << found.status();
  std::vector<std::string> expected;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/block")) {
    const std::filesystem::path disk = entry.path();
    const bool own =
        std::filesystem::exists(disk / "device") && std::filesystem::is_empty(disk / "slaves");
    int hidden = 0;
    std::ifstream(disk / "hidden") >> hidden;
    if (own && hidden == 0) expected.push_back("/dev/" + disk.filename().string());
  }
  std::sort(expected.begin(), expected.end());
  std::vector<std::string> paths;
  for (const FoundDisk& disk : *found) paths.push_back(disk.path);
  EXPECT_EQ(paths, expected);
}

}  // namespace
}  // namespace homeward
