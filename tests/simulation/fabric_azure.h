// The Azure of a simulated fabric: the page blobs that process servers keep replicas in, the VMs
// that machines fail over to, and their disks.
#ifndef HOMEWARD_TESTS_SIMULATION_FABRIC_AZURE_H_
#define HOMEWARD_TESTS_SIMULATION_FABRIC_AZURE_H_

#include <map>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "tests/fakes/azure/model_page_blobs.h"
#include "tests/fakes/model_cloud.h"

namespace homeward::simulation {

struct FabricAzure {
  explicit FabricAzure(uint64_t seed) : cloud(seed) {}

  // The first `bytes` of them.
  static std::string ContentOf(const ModelContainer::Pages& pages, uint64_t bytes) {
    std::string content(bytes, '\0');
    for (const auto& [offset, page] : pages) {
      if (offset < bytes) content.replace(offset, page->size(), *page, 0, bytes - offset);
    }
    content.resize(bytes);
    return content;
  }
  // What a snapshot's URL says; null: there is none.
  const ModelContainer::Snapshot* Find(const std::string& url) const {
    const size_t begin = std::string(kContainer).size() + 1, end = url.find("?snapshot=");
    if (!absl::StartsWith(url, kContainer) || end == std::string::npos) return nullptr;
    const auto blob = container.blobs.find(url.substr(begin, end - begin));
    if (blob == container.blobs.end()) return nullptr;
    const auto snapshot = blob->second.snapshots.find(url.substr(end + 10));
    return snapshot == blob->second.snapshots.end() ? nullptr : &snapshot->second;
  }
  static bool IsTest(const std::string& vm) { return absl::StrContains(vm, "-test-"); }

  // What stands there and is not ours, as it is to stay. Empty: it does.
  std::string StrangerFault() const {
    for (const auto& [name, before] : strange_vms) {
      const auto now = cloud.vms.find(name);
      if (now == cloud.vms.end()) return absl::StrCat("VM ", name, " was deleted");
      if (now->second.tags != before.tags || now->second.power != before.power ||
          now->second.provisioning != before.provisioning)
        return absl::StrCat("VM ", name, " was changed");
    }
    std::string fault = FaultOf(cloud.nics, strange_nics);
    return fault.empty() ? FaultOf(cloud.disks, strange_disks) : fault;
  }
  template <typename Resource>
  static std::string FaultOf(const std::map<std::string, Resource>& all,
                             const std::map<std::string, Resource>& strange) {
    for (const auto& [name, before] : strange) {
      const auto now = all.find(name);
      if (now == all.end()) return absl::StrCat(name, " was deleted");
      if (now->second.tags != before.tags || now->second.used_by != before.used_by ||
          now->second.provisioning != before.provisioning)
        return absl::StrCat(name, " was changed");
    }
    return "";
  }

  ModelCloud cloud;
  ModelContainer container;
  std::map<std::string, std::string> disks;    // by name, as they were imported
  std::map<std::string, size_t> disk_of_blob;  // in stream order
  std::set<std::string> compared;              // snapshots, with their blobs
  std::string newest_snapshot;
  std::map<std::string, ModelCloud::Vm> strange_vms;
  std::map<std::string, ModelCloud::Nic> strange_nics;
  std::map<std::string, ModelCloud::Disk> strange_disks;
  absl::Duration storage_away_until, storage_slow_until;
};

}  // namespace homeward::simulation

#endif  // HOMEWARD_TESTS_SIMULATION_FABRIC_AZURE_H_
