#include "common/os/volume.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace homeward {

absl::StatusOr<VolumeFacts> ReadVolumeFacts(const std::string& directory) {
  struct stat here = {}, root = {};
  if (stat(directory.c_str(), &here) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("look at ", directory));
  VolumeFacts facts;
  facts.is_system = stat("/", &root) == 0 && root.st_dev == here.st_dev;
  const std::string device = absl::StrCat(major(here.st_dev), ":", minor(here.st_dev));
  // "36 35 98:0 /root /mount options [tags] - ext4 /dev/sda1 options": proc_pid_mountinfo(5).
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string id, parent, its_device, word;
    fields >> id >> parent >> its_device;
    if (its_device != device) continue;
    while (fields >> word && word != "-") {
    }
    fields >> facts.file_system;
  }
  return facts;
}

}  // namespace homeward
