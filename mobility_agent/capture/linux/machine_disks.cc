#include "mobility_agent/capture/linux/machine_disks.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr uint64_t kAttributeBytesMax = 256;

// Without the white space around it; empty where there is none. The size that sysfs tells of its
// files is not that of their content, so it is read up to its end.
std::string Attribute(FileSystem& files, const std::string& path) {
  const absl::StatusOr<std::unique_ptr<File>> file = files.Open(path, OpenMode::kReadOnly);
  if (!file.ok()) return "";
  std::string content;
  uint8_t byte = 0;
  while (content.size() < kAttributeBytesMax &&
         (*file)->Read(content.size(), MutableBytes(&byte, 1)).ok()) {
    content.push_back(static_cast<char>(byte));
  }
  return std::string(absl::StripAsciiWhitespace(content));
}

std::vector<std::string> NamesIn(FileSystem& files, const std::string& directory) {
  return files.List(directory).value_or(std::vector<std::string>());
}

// Several ways to one disk, put together by the device mapper: each has all of the disk's data, and
// sees only what is written through itself.
std::string MultipathOf(FileSystem& files, const std::string& sys, const std::string& disk) {
  for (const std::string& holder : NamesIn(files, JoinPath(disk, "holders"))) {
    const std::string uuid = Attribute(files, absl::StrCat(sys, "/block/", holder, "/dm/uuid"));
    if (absl::StartsWith(uuid, "mpath-")) return uuid;
  }
  return "";
}

// Why not, and whether it is missed.
std::pair<std::string, bool> WhyUnusable(FileSystem& files, const std::string& sys,
                                         const std::string& disk) {
  const auto is_set = [&](const char* name) {
    return Attribute(files, JoinPath(disk, name)) == "1";
  };
  if (const std::string uuid = MultipathOf(files, sys, disk); !uuid.empty()) {
    return {absl::StrCat("it is one of several paths to a disk: name /dev/disk/by-id/dm-uuid-",
                         uuid, " under disks in the agent's configuration"),
            true};
  }
  // A disk of a Ceph cluster: another program's, on other hosts.
  if (!Attribute(files, JoinPath(disk, "device/cluster_fsid")).empty()) {
    return {
        "its data is in a storage cluster (rbd); name it under disks to protect it all the same",
        false};
  }
  if (is_set("removable")) return {"it is removable", false};
  if (Attribute(files, JoinPath(disk, "size")) == "0") return {"it has no size now", true};
  if (is_set("ro")) return {"it is read-only", false};
  return {};
}

}  // namespace

absl::StatusOr<std::vector<FoundDisk>> FindDisks(FileSystem& files, const std::string& sys) {
  HW_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                      files.List(absl::StrCat(sys, "/block")));
  std::vector<FoundDisk> found;
  for (const std::string& name : names) {
    const std::string disk = absl::StrCat(sys, "/block/", name);
    // A path of a disk that the kernel itself puts together, as NVMe's: it has no node in /dev.
    if (Attribute(files, JoinPath(disk, "hidden")) == "1") continue;
    if (!NamesIn(files, JoinPath(disk, "slaves")).empty()) continue;
    // What has no device below it is the kernel's own making.
    if (!files.List(JoinPath(disk, "device")).ok()) continue;
    std::string path = absl::StrCat("/dev/", name);
    // The kernel writes '!' for the slashes in a name: cciss!c0d0.
    for (char& c : path) c = c == '!' ? '/' : c;
    auto [why, missed] = WhyUnusable(files, sys, disk);
    found.push_back({std::move(path), std::move(why), missed});
  }
  return found;
}

}  // namespace homeward
