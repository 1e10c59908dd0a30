#include "mobility_agent/guest/own_root.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <memory>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/os/file_system.h"
#include "mobility_agent/guest/guest_files.h"

namespace homeward {
namespace {

constexpr int kStackMax = 16;

// "/dev/mapper/vg-root" -> "dm-0".
std::string KernelName(const std::string& path) {
  const std::unique_ptr<char, decltype(&::free)> whole(::realpath(path.c_str(), nullptr), &::free);
  if (whole == nullptr) return "";
  const std::string real = whole.get();
  return real.substr(real.rfind('/') + 1);
}

// What the root file system is mounted from. Its device number alone would not do: that of btrfs is
// of no device.
std::string RootDevice(const GuestFiles& files) {
  std::string source;
  for (const absl::string_view line :
       absl::StrSplit(files.Text("/proc/self/mountinfo"), '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, ' ');
    if (fields.size() < 5 || fields[4] != "/") continue;
    // Behind a field "-": the type, and what it is mounted from. The last mount is on top.
    const auto dash = absl::c_find(fields, "-");
    if (fields.end() - dash > 2) source = std::string(*(dash + 2));
  }
  if (source != "/dev/root") return source;
  // The kernel's own name for what it was told to mount: there is no such device.
  struct stat root;
  if (::stat("/", &root) != 0) return "";
  return absl::StrCat("/sys/dev/block/", major(root.st_dev), ":", minor(root.st_dev));
}

void AddDisksBelow(const GuestFiles& sysfs, const std::string& name, int depth,
                   std::vector<std::string>* disks) {
  const std::string at = absl::StrCat("/class/block/", name);
  if (!sysfs.Exists(at) || depth > kStackMax) return;
  if (sysfs.Exists(at + "/partition")) {
    // The directory of a partition lies in that of its disk: the disk is who lists it.
    for (const std::string& disk : sysfs.List("/class/block")) {
      if (disk != name && sysfs.Exists(absl::StrCat("/class/block/", disk, "/", name)))
        AddDisksBelow(sysfs, disk, depth + 1, disks);
    }
    return;
  }
  const std::vector<std::string> below = sysfs.List(at + "/slaves");
  if (below.empty() && !absl::c_linear_search(*disks, name)) disks->push_back(name);
  for (const std::string& one : below) AddDisksBelow(sysfs, one, depth + 1, disks);
}

}  // namespace

std::vector<std::string> DisksBelow(const std::string& sysfs, const std::string& device) {
  std::vector<std::string> disks;
  AddDisksBelow(GuestFiles(sysfs), device, 0, &disks);
  return disks;
}

std::string WhyNotOwnRoot(const std::vector<std::string>& captured) {
  if (::geteuid() != 0) return "the agent does not run as root";
  struct stat ours, first;
  if (::stat("/", &ours) != 0 || ::stat("/proc/1/root/.", &first) != 0)
    return "the root directory of the machine's first process cannot be seen";
  if (ours.st_dev != first.st_dev || ours.st_ino != first.st_ino)
    return "the agent's root directory is not that of the machine's first process";
  const std::string device = RootDevice(GuestFiles(""));
  const std::vector<std::string> disks = DisksBelow("/sys", KernelName(device));
  if (disks.empty())
    return absl::StrCat("the root file system (", device, ") lies on no disk of this machine");
  for (const std::string& disk : disks) {
    const bool has =
        absl::c_any_of(captured, [&](const std::string& path) { return KernelName(path) == disk; });
    if (!has) {
      return absl::StrCat("the root file system lies on ", disk,
                          ", which is none of the disks that this agent replicates");
    }
  }
  return "";
}

}  // namespace homeward
