// DiskUsers: all that lives on one disk, through any depth of devices that are stacked on it, as
// the kernel itself says. Nothing is opened but files of /proc and /sys, so nothing here waits for
// a file system that does not answer.
#ifndef HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_DISK_USERS_H_
#define HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_DISK_USERS_H_

#include <cstdint>
#include <functional>
#include <istream>
#include <string>
#include <vector>

namespace homeward {

// One mount of a file system, as a process sees it.
struct MountPlace {
  std::string process;  // "self" or a number: its root is the way there
  uint64_t mount_id = 0;
  std::string path;
};

struct MountedFileSystem {
  std::string device;  // its superblock's, "254:1"; of no block device for btrfs
  std::string type;
  int height = 0;                  // devices stacked between it and the disk
  bool read_only = false;          // the file system itself, however it is mounted
  std::vector<MountPlace> places;  // those of this process's own mount namespace first
  std::string Name() const;        // "ext4 on /srv"
};

struct DiskUsers {
  std::vector<MountedFileSystem> file_systems;  // the top of the stack first; each once
  // Block devices under /dev that loop devices of the stack write to, through a cache in memory;
  // the top first.
  std::vector<std::string> cached_devices;
  // What no freeze brings to rest, for people: "swap on /dev/sda2".
  std::vector<std::string> moving;
};

// Where the kernel's facts are, and what only a call tells.
struct KernelFacts {
  std::string proc = "/proc";
  std::string sys = "/sys";
  // "8:1" for the node of a block device, empty for all else. It is asked about paths below /dev.
  std::function<std::string(const std::string& path)> node;
  // Likewise for what a loop device ("loop3") is made of. It is asked where a path does not say it.
  std::function<std::string(const std::string& loop)> loop_backing;
};

// `disk`: "8:0", a whole disk. A loop device whose backing is a file is no part of the stack: it
// stands still with the file system that the file is on, as any other user of a file.
DiskUsers FindDiskUsers(const KernelFacts& kernel, const std::string& disk);

// A line of mountinfo writes blanks in paths as octal escapes.
std::string UnescapeMountPath(const std::string& text);

// A line of mountinfo.
struct MountLine {
  uint64_t id = 0;
  std::string device, path, type, source;
  bool read_only = false;  // the superblock
};
std::vector<MountLine> ParseMountLines(std::istream& mountinfo);

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_CAPTURE_LINUX_DISK_USERS_H_
