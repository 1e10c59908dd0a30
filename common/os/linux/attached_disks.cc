#include "common/os/attached_disks.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/os/posix/unique_fd.h"

namespace homeward {
namespace {

constexpr char kScsiHosts[] = "/sys/class/scsi_host";
constexpr size_t kUuidCharacters = 32;
constexpr char kVmwarePrefix[] = "6000c29";  // of the UUIDs of all its disks
constexpr int kPageHeaderBytes = 4;          // SPC-4, 7.8: of each page of vital product data

absl::Status WriteControl(const std::string& path, const std::string& text) {
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file.get() < 0 || write(file.get(), text.data(), text.size()) < 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("write ", path));
  return absl::OkStatus();
}

// The kernel's name of the block device there: "sdb". Empty for a file.
std::string BlockNameOf(const std::string& path) {
  char real[PATH_MAX];
  struct stat status = {};
  if (realpath(path.c_str(), real) == nullptr || stat(real, &status) != 0 ||
      !S_ISBLK(status.st_mode)) {
    return "";
  }
  return std::filesystem::path(real).filename();
}

std::string HexDigitsOf(absl::string_view text) {
  std::string digits;
  for (const char c : text) {
    if (absl::ascii_isxdigit(static_cast<unsigned char>(c)))
      digits.push_back(absl::ascii_tolower(static_cast<unsigned char>(c)));
  }
  return digits;
}

class LinkedDisks : public AttachedDisks {
 public:
  explicit LinkedDisks(std::string directory) : directory_(std::move(directory)) {}

  absl::StatusOr<std::string> Find(const std::string& uuid) const override {
    std::string path = LinkOf(uuid);
    std::error_code error;
    if (std::filesystem::exists(path, error)) return path;
    return absl::NotFoundError(absl::StrCat("disk ", uuid, " is not attached: there is no ", path));
  }

  std::vector<std::string> Uuids() const override {
    std::vector<std::string> uuids;
    std::error_code error;
    for (const auto& link : std::filesystem::directory_iterator(directory_, error)) {
      const std::string name = link.path().filename();
      absl::string_view uuid = name;
      // A partition's link has "-part1" behind it.
      if (absl::ConsumePrefix(&uuid, "wwn-0x") && uuid.size() == kUuidCharacters)
        uuids.emplace_back(uuid);
    }
    std::sort(uuids.begin(), uuids.end());
    return uuids;
  }

  void Rescan() override {
    // Links elsewhere are not of this host's buses.
    if (!absl::StartsWith(directory_, "/dev/")) return;
    std::error_code error;
    for (const auto& host : std::filesystem::directory_iterator(kScsiHosts, error))
      WriteControl(host.path() / "scan", "- - -").IgnoreError();  // One that cannot has no disks.
  }

  absl::Status LetGo(const std::string& uuid) override {
    const absl::StatusOr<std::string> path = Find(uuid);
    if (!path.ok()) return absl::OkStatus();
    const std::string name = BlockNameOf(*path);
    {
      const UniqueFd file(open(path->c_str(), O_RDWR | O_CLOEXEC));
      if (file.get() < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open ", *path));
      if (fsync(file.get()) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("sync ", *path));
      if (!name.empty() && ioctl(file.get(), BLKFLSBUF, 0) != 0)
        return absl::ErrnoToStatus(errno, absl::StrCat("flush ", *path));
    }
    // Only a disk on a SCSI bus can be taken away from the kernel.
    const std::string device = absl::StrCat("/sys/class/block/", name, "/device");
    std::error_code error;
    if (name.empty() || !std::filesystem::exists(device + "/delete", error))
      return absl::OkStatus();
    if (absl::Status offline = WriteControl(device + "/state", "offline"); !offline.ok())
      return offline;
    return WriteControl(device + "/delete", "1");
  }

 private:
  std::string LinkOf(const std::string& uuid) const {
    return absl::StrCat(directory_, "/wwn-0x", uuid);
  }

  const std::string directory_;
};

}  // namespace

std::unique_ptr<AttachedDisks> MakeAttachedDisks(std::string directory) {
  return std::make_unique<LinkedDisks>(std::move(directory));
}

uint32_t LogicalSectorBytesOf(const std::string& path) {
  const UniqueFd device(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  int bytes = 0;
  if (device.get() < 0 || ioctl(device.get(), BLKSSZGET, &bytes) != 0 || bytes < 0) return 0;
  return static_cast<uint32_t>(bytes);
}

std::string DiskUuidOf(const std::string& path) {
  const std::string name = BlockNameOf(path);
  if (name.empty()) return "";
  const std::string device = absl::StrCat("/sys/class/block/", name, "/device");
  // naa.6000c29..., of the device's identification page.
  std::ifstream file(device + "/wwid");
  std::string id;
  file >> id;
  if (std::string uuid = HexDigitsOf(absl::string_view(id).substr(id.find('.') + 1));
      absl::StartsWith(id, "naa.") && uuid.size() == kUuidCharacters)
    return uuid;
  // VMware has it as the disk's serial number too, and an emulated disk there only.
  std::ifstream page(device + "/vpd_pg80", std::ios::binary);
  page.ignore(kPageHeaderBytes);
  std::string serial;
  page >> serial;
  std::string uuid = HexDigitsOf(serial);
  return absl::StartsWith(uuid, kVmwarePrefix) && uuid.size() == kUuidCharacters ? uuid : "";
}

}  // namespace homeward
