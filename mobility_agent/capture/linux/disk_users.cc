#include "mobility_agent/capture/linux/disk_users.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/types/optional.h"

namespace homeward {
namespace {

constexpr size_t kPlacesMax = 8;  // of one file system
constexpr size_t kWitnesses = 3;  // processes of one mount namespace: one may end meanwhile
constexpr int kHeightMax = 64;    // a cycle would be a fault of the kernel

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::vector<std::string> List(const std::string& directory) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(directory.c_str()), &::closedir);
  if (entries == nullptr) return names;
  while (const dirent* const entry = ::readdir(entries.get())) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  return names;
}

std::string Target(const std::string& link) {
  std::array<char, 4096> text;
  const ssize_t length = ::readlink(link.c_str(), text.data(), text.size());
  return length > 0 ? std::string(text.data(), static_cast<size_t>(length)) : std::string();
}

std::vector<MountLine> MountsOf(const std::string& proc, const std::string& process) {
  std::ifstream file(absl::StrCat(proc, "/", process, "/mountinfo"));
  return ParseMountLines(file);
}

// The devices of the stack above one disk.
class Stack {
 public:
  Stack(const KernelFacts& kernel, const std::string& disk) : kernel_(kernel) {
    for (const std::string& name : List(Block(""))) {
      numbers_[FirstLine(Block(name, "dev"))] = name;
      for (const std::string& below : List(Block(name, "slaves"))) above_[below].insert(name);
      const std::string file = FirstLine(Block(name, "loop/backing_file"));
      if (!file.empty()) loops_[name] = file;
    }
    for (const auto& [loop, file] : loops_) {
      std::string number = absl::StartsWith(file, "/dev/") ? kernel_.node(file) : "";
      if (number.empty()) number = kernel_.loop_backing(loop);
      const auto below = numbers_.find(number);
      if (number.empty() || below == numbers_.end()) continue;
      above_[below->second].insert(loop);
      looped_.insert(below->second);
    }
    if (const auto whole = numbers_.find(disk); whole != numbers_.end()) Climb(whole->second, 0);
  }

  absl::optional<int> HeightOfName(const std::string& name) const {
    const auto it = heights_.find(name);
    return it == heights_.end() ? absl::nullopt : absl::make_optional(it->second);
  }
  absl::optional<int> HeightOf(const std::string& number) const {
    const auto it = numbers_.find(number);
    return it == numbers_.end() ? absl::nullopt : HeightOfName(it->second);
  }
  std::string NameOf(const std::string& number) const {
    const auto it = numbers_.find(number);
    return it == numbers_.end() ? "" : it->second;
  }
  // Those that loop devices write to, the top first.
  std::vector<std::string> Looped() const {
    std::vector<std::pair<int, std::string>> found;
    for (const std::string& name : looped_) {
      if (const auto height = HeightOfName(name)) found.emplace_back(-*height, name);
    }
    std::sort(found.begin(), found.end());
    std::vector<std::string> paths;
    for (const auto& [height, name] : found) {
      // In /sys a slash of a device's name is an exclamation mark.
      std::string node = name;
      std::replace(node.begin(), node.end(), '!', '/');
      paths.push_back(absl::StrCat("/dev/", node));
    }
    return paths;
  }

 private:
  std::string Block(const std::string& name, const char* file = "") const {
    return absl::StrCat(kernel_.sys, "/class/block/", name, "/", file);
  }
  void Climb(const std::string& name, int height) {
    const auto [it, fresh] = heights_.emplace(name, height);
    if (!fresh && it->second >= height) return;
    it->second = height;
    if (height >= kHeightMax) return;
    for (const std::string& part : List(Block(name))) {
      if (!FirstLine(Block(name, absl::StrCat(part, "/partition").c_str())).empty())
        Climb(part, height);
    }
    std::set<std::string> above = above_[name];
    for (const std::string& holder : List(Block(name, "holders"))) above.insert(holder);
    for (const std::string& holder : above) Climb(holder, height + 1);
  }

  const KernelFacts& kernel_;
  std::map<std::string, std::string> numbers_;  // name in /sys by number
  std::map<std::string, std::set<std::string>> above_;
  std::map<std::string, std::string> loops_;  // and what they say they are made of
  std::set<std::string> looped_;
  std::map<std::string, int> heights_;  // of the stack
};

// One process for each mount namespace and root that differ; a few, in case that one ends.
std::vector<std::vector<std::string>> Witnesses(const std::string& proc) {
  std::map<std::string, std::map<std::string, std::vector<std::string>>> seen;  // namespace, root
  const std::string own = Target(proc + "/self/ns/mnt");
  std::vector<std::string> processes = List(proc);
  processes.insert(processes.begin(), "self");
  for (const std::string& process : processes) {
    const bool number = process.find_first_not_of("0123456789") == std::string::npos;
    if (!number && process != "self") continue;
    const std::string space = Target(absl::StrCat(proc, "/", process, "/ns/mnt"));
    if (space.empty()) continue;
    std::vector<std::string>& those =
        seen[space][Target(absl::StrCat(proc, "/", process, "/root"))];
    if (those.size() < kWitnesses) those.push_back(process);
  }
  std::vector<std::vector<std::string>> witnesses;
  for (auto& [space, roots] : seen) {
    const auto whole = roots.find("/");  // It sees all of them.
    for (auto it = roots.begin(); it != roots.end(); ++it) {
      if (whole != roots.end() && it != whole) continue;
      const auto at = space == own ? witnesses.begin() : witnesses.end();
      witnesses.insert(at, std::move(it->second));
    }
  }
  return witnesses;
}

class Finder {
 public:
  Finder(const KernelFacts& kernel, const std::string& disk)
      : kernel_(kernel), stack_(kernel, disk) {}

  DiskUsers Find() {
    ReadBtrfs();
    for (const std::vector<std::string>& witnesses : Witnesses(kernel_.proc)) {
      for (const std::string& process : witnesses) {
        const std::vector<MountLine> lines = MountsOf(kernel_.proc, process);
        if (lines.empty()) continue;
        for (const MountLine& line : lines) Consider(process, line);
        break;
      }
    }
    for (auto& [device, found] : found_) users_.file_systems.push_back(std::move(found));
    std::stable_sort(users_.file_systems.begin(), users_.file_systems.end(),
                     [](const auto& a, const auto& b) { return a.height > b.height; });
    FindSwap();
    FindUnseen();
    users_.cached_devices = stack_.Looped();
    return std::move(users_);
  }

 private:
  // A file system on several devices has none in its superblock: the kernel lists them.
  void ReadBtrfs() {
    const std::string root = kernel_.sys + "/fs/btrfs";
    for (const std::string& uuid : List(root)) {
      for (const std::string& name : List(absl::StrCat(root, "/", uuid, "/devices"))) {
        pools_by_name_[name] = uuid;
        const absl::optional<int> height = stack_.HeightOfName(name);
        if (!height.has_value()) continue;
        const auto [it, fresh] = pools_.emplace(uuid, *height);
        it->second = std::max(it->second, *height);
      }
    }
  }
  absl::optional<int> HeightOf(const MountLine& line) {
    if (!absl::StartsWith(line.device, "0:")) return stack_.HeightOf(line.device);
    // What its type says of a mount is the kernel's word; what a source says may be anybody's.
    if (line.type != "btrfs" && line.type != "bcachefs") return absl::nullopt;
    absl::optional<int> height;
    for (const absl::string_view part : absl::StrSplit(line.source, ':')) {
      const std::string name = stack_.NameOf(kernel_.node(std::string(part)));
      absl::optional<int> found = stack_.HeightOfName(name);
      if (const auto pool = pools_by_name_.find(name); pool != pools_by_name_.end()) {
        const auto ours = pools_.find(pool->second);
        if (ours != pools_.end()) {
          found = ours->second;
          seen_pools_.insert(pool->second);
        }
      }
      if (found.has_value()) height = std::max(height.value_or(0), *found);
    }
    return height;
  }
  void Consider(const std::string& process, const MountLine& line) {
    auto it = found_.find(line.device);
    if (it == found_.end()) {
      const absl::optional<int> height = HeightOf(line);
      if (!height.has_value()) return;
      it = found_
               .emplace(line.device,
                        MountedFileSystem{line.device, line.type, *height, line.read_only, {}})
               .first;
    }
    std::vector<MountPlace>& places = it->second.places;
    if (places.size() < kPlacesMax) places.push_back({process, line.id, line.path});
  }
  // The kernel swaps to the blocks of a file beside its file system, frozen or not.
  void FindSwap() {
    std::ifstream file(kernel_.proc + "/swaps");
    std::string line;
    std::getline(file, line);
    while (std::getline(file, line)) {
      const std::vector<std::string> fields =
          absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
      if (fields.size() < 2) continue;
      const std::string path = UnescapeMountPath(fields[0]);
      const bool ours = fields[1] == "file" ? found_.count(DeviceUnder(path)) > 0
                                            : stack_.HeightOf(kernel_.node(path)).has_value();
      if (ours) users_.moving.push_back(absl::StrCat("swap on ", path));
    }
  }
  // Of the mount that `path` is on, in this process's eyes.
  std::string DeviceUnder(const std::string& path) const {
    std::string device;
    size_t longest = 0;
    for (const MountLine& line : MountsOf(kernel_.proc, "self")) {
      const std::string prefix = line.path == "/" ? "/" : line.path + "/";
      if (!absl::StartsWith(path, prefix) || prefix.size() < longest) continue;
      longest = prefix.size();
      device = line.device;
    }
    return device;
  }
  // In use, and mounted where no process that could be asked sees it.
  void FindUnseen() {
    for (const char* type : {"ext4", "xfs", "f2fs"}) {
      for (const std::string& name : List(absl::StrCat(kernel_.sys, "/fs/", type))) {
        if (!stack_.HeightOfName(name).has_value()) continue;
        const std::string number =
            FirstLine(absl::StrCat(kernel_.sys, "/class/block/", name, "/dev"));
        if (found_.count(number) == 0) AddUnseen(type, name);
      }
    }
    for (const auto& [uuid, height] : pools_) {
      if (seen_pools_.count(uuid) == 0) AddUnseen("btrfs", uuid);
    }
  }
  void AddUnseen(const std::string& type, const std::string& name) {
    users_.moving.push_back(
        absl::StrCat(type, " on ", name, ", which is mounted where no process sees it"));
  }

  const KernelFacts& kernel_;
  const Stack stack_;
  std::map<std::string, std::string> pools_by_name_;  // btrfs, by each of its devices
  std::map<std::string, int> pools_;                  // those that are on the disk, with heights
  std::set<std::string> seen_pools_;
  std::map<std::string, MountedFileSystem> found_;  // by device
  DiskUsers users_;
};

}  // namespace

std::string MountedFileSystem::Name() const {
  const MountPlace& place = places.front();
  const std::string of = place.process == "self" ? "" : absl::StrCat(" of process ", place.process);
  return absl::StrCat(type, " on ", place.path, of);
}

std::string UnescapeMountPath(const std::string& text) {
  const auto octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) &&
        octal(text[i + 3])) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                               (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<MountLine> ParseMountLines(std::istream& mountinfo) {
  std::vector<MountLine> lines;
  for (std::string text; std::getline(mountinfo, text);) {
    // id parent device root path options… - type source options
    const std::vector<std::string> fields = absl::StrSplit(text, ' ');
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    MountLine line;
    if (fields.size() < 6 || fields.end() - dash < 4 || !absl::SimpleAtoi(fields[0], &line.id))
      continue;
    line.device = fields[2];
    line.path = UnescapeMountPath(fields[4]);
    line.type = dash[1];
    line.source = UnescapeMountPath(dash[2]);
    line.read_only = dash[3] == "ro" || absl::StartsWith(dash[3], "ro,");
    lines.push_back(std::move(line));
  }
  return lines;
}

DiskUsers FindDiskUsers(const KernelFacts& kernel, const std::string& disk) {
  return Finder(kernel, disk).Find();
}

}  // namespace homeward
