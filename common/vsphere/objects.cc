#include "common/vsphere/objects.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace homeward::vsphere {
namespace {

// Deeper than any inventory: one that is a circle ends too.
constexpr int kDepthMax = 64;

}  // namespace

bool Controller::scsi() const {
  return absl::StrContains(type, "SCSI") || absl::StrContains(type, "LsiLogic") ||
         absl::StrContains(type, "BusLogic");
}

const Disk* Vm::FindDisk(const std::string& uuid) const {
  const std::string plain = PlainHex(uuid);
  const auto it = std::find_if(disks.begin(), disks.end(), [&](const Disk& disk) {
    return !disk.uuid.empty() && PlainHex(disk.uuid) == plain;
  });
  return it == disks.end() ? nullptr : &*it;
}

const Disk* Vm::FindFile(const std::string& file) const {
  const auto it =
      std::find_if(disks.begin(), disks.end(), [&](const Disk& disk) { return disk.file == file; });
  return it == disks.end() ? nullptr : &*it;
}

bool Vm::on_deltas() const {
  return std::any_of(disks.begin(), disks.end(), [](const Disk& disk) { return disk.has_parent; });
}

const Controller* Vm::FindController(int32_t key) const {
  const auto it = std::find_if(controllers.begin(), controllers.end(),
                               [&](const Controller& one) { return one.key == key; });
  return it == controllers.end() ? nullptr : &*it;
}

const Controller* Vm::FindController(const std::string& type, int32_t bus) const {
  for (const Controller& controller : controllers) {
    if (controller.type == type && controller.bus == bus) return &controller;
  }
  return nullptr;
}

absl::optional<Ref> Inventory::DatacenterOf(Ref at) const {
  for (int depth = 0; depth < kDepthMax && !at.empty(); ++depth) {
    if (at.type == "Datacenter") return at;
    const auto folder = folders.find(at);
    if (folder != folders.end()) {
      at = folder->second.parent;
      continue;
    }
    const auto host = hosts.find(at);
    if (host == hosts.end()) return absl::nullopt;
    at = host->second.parent;
  }
  return absl::nullopt;
}

absl::optional<Ref> Inventory::DatacenterOf(const Vm& vm) const {
  for (const Ref& at : {vm.parent, vm.parent_vapp, vm.host}) {
    const absl::optional<Ref> datacenter = DatacenterOf(at);
    if (datacenter.has_value()) return datacenter;
  }
  return absl::nullopt;
}

std::string Inventory::PathOf(const Vm& vm) const {
  const absl::optional<Ref> datacenter = DatacenterOf(vm);
  const auto top = datacenter.has_value() ? folders.find(*datacenter) : folders.end();
  const Ref own = top == folders.end() ? Ref() : top->second.vm_folder;
  std::string path = vm.name;
  auto at = folders.find(vm.parent.empty() ? vm.parent_vapp : vm.parent);
  if (at == folders.end() && datacenter.has_value()) at = top;
  for (int depth = 0; depth < kDepthMax && at != folders.end(); ++depth) {
    const Folder& folder = at->second;
    const bool topmost = folder.parent.empty() && at->first.type == "Folder";
    if (!topmost && !(at->first == own)) path = absl::StrCat(folder.name, "/", path);
    at = folders.find(folder.parent);
  }
  return path;
}

const Datastore* Inventory::FindDatastore(const std::string& path, const Ref& datacenter) const {
  const auto split = SplitDatastorePath(path);
  if (!split.has_value()) return nullptr;
  for (const auto& [ref, datastore] : datastores) {
    if (datastore.name != split->first) continue;
    const absl::optional<Ref> its = DatacenterOf(datastore.parent);
    if (its.has_value() && *its == datacenter) return &datastore;
  }
  return nullptr;
}

std::string PlainHex(absl::string_view text) {
  std::string plain;
  for (const char c : text) {
    if (absl::ascii_isxdigit(static_cast<unsigned char>(c)))
      plain.push_back(absl::ascii_tolower(static_cast<unsigned char>(c)));
  }
  return plain;
}

std::string EncodeName(absl::string_view name) {
  return absl::StrReplaceAll(name, {{"%", "%25"}, {"/", "%2f"}, {"\\", "%5c"}});
}

std::string DecodeName(absl::string_view encoded) {
  return absl::StrReplaceAll(
      encoded, {{"%25", "%"}, {"%2f", "/"}, {"%2F", "/"}, {"%5c", "\\"}, {"%5C", "\\"}});
}

absl::optional<std::pair<std::string, std::string>> SplitDatastorePath(const std::string& path) {
  const size_t end = path.find(']');
  if (path.empty() || path[0] != '[' || end == path.npos) return absl::nullopt;
  const size_t begin = path.find_first_not_of(' ', end + 1);
  return std::make_pair(path.substr(1, end - 1),
                        begin == path.npos ? std::string() : path.substr(begin));
}

}  // namespace homeward::vsphere
