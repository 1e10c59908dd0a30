#include "config_server/model/azure_record.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace homeward {
namespace {

using storage::v1::AzureVm;
using storage::v1::Machine;

// A name in Azure has 64 characters at the most with what comes behind it.
constexpr size_t kOwnNameBytesMax = 24;
constexpr size_t kIdBytes = 8;

std::string ComputeId(const AzureVm& vm, const char* type, const std::string& name) {
  return absl::StrCat("/subscriptions/", vm.subscription(), "/resourceGroups/", vm.resource_group(),
                      "/providers/Microsoft.Compute/", type, "/", name);
}

void Name(const Machine& machine, const std::string& name,
          const std::vector<std::string>& snapshots, AzureVm* vm) {
  vm->set_generation(machine.generation());
  vm->set_name(name);
  vm->set_nic(absl::StrCat(vm->name(), "-nic"));
  vm->clear_disks();
  const storage::v1::Placement& placement = machine.assignment().placement();
  for (size_t i = 0; i < snapshots.size(); ++i) {
    storage::v1::AzureDisk* const disk = vm->add_disks();
    disk->set_name(absl::StrCat(vm->name(), "-disk", i));
    disk->set_source_url(snapshots[i]);
    if (static_cast<int>(i) >= placement.disks_size()) continue;
    disk->set_disk(placement.disks(static_cast<int>(i)).name());
    disk->set_size_bytes(placement.disks(static_cast<int>(i)).size_bytes());
  }
}

}  // namespace

std::string AzureNameOf(const Machine& machine, uint64_t generation) {
  std::string name = machine.registration().name().substr(0, kOwnNameBytesMax);
  for (char& c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c))) c = '-';
  }
  // It begins with a letter or a digit.
  const size_t begin = name.find_first_not_of('-');
  name = begin == std::string::npos ? "machine" : name.substr(begin);
  return absl::StrCat(name, "-", machine.machine_id().substr(0, kIdBytes), "-g", generation);
}

void NameAzureVm(const Machine& machine, const std::vector<std::string>& snapshots, AzureVm* vm) {
  Name(machine, AzureNameOf(machine, machine.generation()), snapshots, vm);
}

void NameTestVm(const Machine& machine, const std::vector<std::string>& snapshots, AzureVm* vm) {
  Name(machine,
       absl::StrCat(AzureNameOf(machine, machine.generation()), "-test-", machine.job_id()),
       snapshots, vm);
}

CloudMove CloudMoveOf(const Machine& machine, const AzureVm& vm, CloudMove::Kind kind) {
  CloudMove move;
  move.kind = kind;
  move.job_id = machine.job_id();
  move.site = vm.site();
  move.subscription = vm.subscription();
  move.resource_group = vm.resource_group();
  move.region = vm.region();
  move.vm = vm.name();
  move.nic = vm.nic();
  move.size = vm.size();
  move.subnet = vm.subnet();
  move.uefi = vm.uefi();
  move.os_type = vm.os_type();
  for (const storage::v1::AzureDisk& disk : vm.disks())
    move.disks.push_back({disk.name(), disk.source_url(), disk.size_bytes()});
  move.generation = vm.generation();
  return move;
}

std::vector<std::string> AzureDiskIds(const AzureVm& vm) {
  std::vector<std::string> ids;
  for (const storage::v1::AzureDisk& disk : vm.disks())
    ids.push_back(ComputeId(vm, "disks", disk.name()));
  return ids;
}

std::string AzureVmId(const AzureVm& vm) { return ComputeId(vm, "virtualMachines", vm.name()); }

}  // namespace homeward
