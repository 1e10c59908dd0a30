// The vCenter of a simulated fabric: the VMs that machines live in at home, and their disks, which
// are attached to a master target's VM for a while.
#ifndef HOMEWARD_TESTS_SIMULATION_FABRIC_VCENTER_H_
#define HOMEWARD_TESTS_SIMULATION_FABRIC_VCENTER_H_

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/os/attached_disks.h"
#include "config_server/model/vm_record.h"
#include "tests/fakes/model_vcenter.h"
#include "tests/simulation/fabric_components.h"

namespace homeward::simulation {

// What the master target's host sees of its VM's disks.
class HotAdded : public AttachedDisks {
 public:
  HotAdded(VmWorld* world, Host* host) : world_(*world), host_(*host) {}
  absl::StatusOr<std::string> Find(const std::string& uuid) const override {
    if (world_.target().FindDisk(uuid) == nullptr) return absl::NotFoundError(uuid);
    in_use_.insert(uuid);
    return PathOf(uuid);
  }
  std::vector<std::string> Uuids() const override {
    std::vector<std::string> uuids;
    for (const vsphere::Disk& disk : world_.target().disks) uuids.push_back(disk.uuid);
    return uuids;
  }
  void Rescan() override {}
  absl::Status LetGo(const std::string& uuid) override {
    if (world_.target().FindDisk(uuid) != nullptr) {
      const auto file = host_.disk.Open(PathOf(uuid), OpenMode::kReadWriteBulk);
      if (!file.ok()) return file.status();
      if (absl::Status synced = (*file)->Sync(); !synced.ok()) return synced;
    }
    in_use_.erase(uuid);
    return absl::OkStatus();
  }

  static std::string PathOf(const std::string& uuid) { return absl::StrCat("/attached/", uuid); }
  bool IsInUse(const std::string& uuid) const { return in_use_.count(uuid) > 0; }
  void HostDied() { in_use_.clear(); }

 private:
  VmWorld& world_;
  Host& host_;
  mutable std::set<std::string> in_use_;
};

// With one master target. Its VM is the world's.
struct FabricVcenter {
  FabricVcenter(uint64_t seed, Host* target_host)
      : model(seed, /*vm_disks=*/0),
        target_host(*target_host),
        hot_added(&model.world, target_host) {
    model.world.inventory.vms.erase(model.world.vm_ref);
  }

  // A VM that is on, with disks of these sizes.
  const vsphere::Vm& MakeVm(const Guest& guest) {
    VmWorld& world = model.world;
    const size_t number = world.inventory.vms.size();
    vsphere::Vm vm;
    vm.name = guest.id;
    vm.parent = world.datacenter;
    vm.host = world.vm_host;
    vm.bios_uuid = absl::StrFormat("4207f072-edd8-4b16-8a4c-%012d", number);
    vm.instance_uuid = absl::StrFormat("5007f072-edd8-4b16-8a4c-%012d", number);
    vm.change_version = "1";
    vm.power_state = "poweredOn";
    vm.tools_running = number % 2 == 0 ? "guestToolsRunning" : "";
    vm.vmx_path = absl::StrCat("[ds1] ", guest.id, "/", guest.id, ".vmx");
    vm.controllers = {{1000, "VirtualLsiLogicController", 0}};
    vm.cards = {{"VirtualVmxnet3", absl::StrFormat("00:50:56:99:00:%02x", number), "lan", "", ""}};
    for (size_t i = 0; i < guest.disk_bytes.size(); ++i) {
      vm.disks.push_back(VmWorld::MakeDisk(2000 + static_cast<int32_t>(i), 1000,
                                           static_cast<int32_t>(2 * i),
                                           absl::StrFormat("6000c29%025d", 100 * number + i),
                                           absl::StrCat("[ds1] ", guest.id, "/disk", i, ".vmdk")));
    }
    return world.inventory.vms[{"VirtualMachine", absl::StrCat("vm-of-", guest.id)}] = vm;
  }
  // A copy that stands beside it and is nobody's: with its BIOS UUID, seen before it, and told from
  // it by one thing. Where `all_alike`, by nothing that can be known here.
  enum class Bystander { kOtherDisks, kOff, kOtherCards, kAllAlike };
  void AddBystander(const vsphere::Vm& of, Bystander kind) {
    VmWorld& world = model.world;
    vsphere::Vm copy = of;
    copy.name = absl::StrCat("copy of ", of.name);
    copy.instance_uuid = absl::StrCat("copy-", of.instance_uuid);
    copy.vmx_path = absl::StrCat("[ds1] ", copy.name, "/", copy.name, ".vmx");
    if (kind == Bystander::kOff) copy.power_state = "poweredOff";
    for (size_t i = 0; i < copy.disks.size(); ++i) {
      copy.disks[i].file = absl::StrCat("[ds1] ", copy.name, "/disk", i, ".vmdk");
      if (kind == Bystander::kOtherDisks) copy.disks[i].uuid.replace(8, 4, "beef");
    }
    if (kind == Bystander::kOtherCards) {
      for (vsphere::NetworkCard& card : copy.cards) card.mac.replace(0, 2, "02");
    }
    const vsphere::Ref ref{"VirtualMachine", absl::StrCat("copy-of-", of.name)};
    world.inventory.vms[ref] = copy;
    bystanders[ref] = copy;
  }
  // What was done to one of them; empty: nothing.
  std::string BystanderFault() const {
    for (const auto& [ref, before] : bystanders) {
      const auto it = model.world.inventory.vms.find(ref);
      if (it == model.world.inventory.vms.end()) return absl::StrCat(before.name, " was removed");
      const vsphere::Vm& now = it->second;
      if (now.power_state != before.power_state)
        return absl::StrCat(before.name, " is ", now.power_state);
      const bool same = std::equal(
          now.disks.begin(), now.disks.end(), before.disks.begin(), before.disks.end(),
          [](const auto& a, const auto& b) { return a.key == b.key && a.file == b.file; });
      if (!same) return absl::StrCat(before.name, " has other disks than before");
    }
    return "";
  }

  // Of the machine's disks, in stream order, where they are.
  std::vector<std::string> ContentOf(const storage::v1::Vm& vm) {
    std::vector<std::string> content;
    for (const storage::v1::VmDisk* const disk : StreamedDisks(vm))
      content.push_back(model.world.target().FindDisk(disk->uuid()) == nullptr
                            ? datastore[disk->uuid()]
                            : target_host.disk.Content(HotAdded::PathOf(disk->uuid())));
    return content;
  }

  ModelVcenter model;
  Host& target_host;
  HotAdded hot_added;
  std::map<std::string, std::string> datastore;    // by UUID: disks that no running guest has
  std::map<vsphere::Ref, vsphere::Vm> bystanders;  // as they are to stay
};

}  // namespace homeward::simulation

#endif  // HOMEWARD_TESTS_SIMULATION_FABRIC_VCENTER_H_
