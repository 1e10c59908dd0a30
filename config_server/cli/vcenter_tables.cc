#include "config_server/cli/tables.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config_server/cli/format.h"

namespace homeward {
std::string FormatVcenter(const admin::v1::Vcenter& vcenter) {
  std::string out;
  AppendField("Name", vcenter.name(), &out);
  AppendField("Address", vcenter.address(), &out);
  AppendField("Account", vcenter.user(), &out);
  AppendField("Product", vcenter.product(), &out);
  AppendField("Instance UUID", vcenter.instance_uuid(), &out);
  AppendField("State", vcenter.state(), &out);
  if (vcenter.has_since()) AppendField("Since", FormatTime(vcenter.since()), &out);
  if (vcenter.has_as_of()) AppendField("As of", FormatTime(vcenter.as_of()), &out);
  if (!vcenter.error().empty()) AppendField("Error", vcenter.error(), &out);
  return out;
}

std::string FormatVcenters(const admin::v1::ListVcentersResponse& response) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "ADDRESS", "STATE", "SINCE", "HOSTS", "DATASTORES", "VMS", "ERROR"}};
  for (const admin::v1::Vcenter& vcenter : response.vcenters()) {
    rows.push_back({vcenter.name(), vcenter.address(), vcenter.state(),
                    vcenter.has_since() ? FormatTime(vcenter.since()) : "-",
                    absl::StrCat(vcenter.host_count()), absl::StrCat(vcenter.datastore_count()),
                    absl::StrCat(vcenter.vm_count()), vcenter.error()});
  }
  return FormatTable(rows);
}

std::string FormatEsxHosts(const admin::v1::Inventory& inventory) {
  std::vector<std::vector<std::string>> rows = {{"VCENTER", "HOST", "STATE", "MAINTENANCE"}};
  for (const admin::v1::EsxHost& host : inventory.hosts()) {
    rows.push_back(
        {host.vcenter(), host.name(), host.connection_state(), YesOrNo(host.in_maintenance())});
  }
  return FormatTable(rows);
}

std::string FormatEsxDatastores(const admin::v1::Inventory& inventory) {
  std::vector<std::vector<std::string>> rows = {{"VCENTER", "DATASTORE", "TYPE", "FREE", "CAPACITY",
                                                 "ACCESSIBLE", "READ-WRITE", "READ-ONLY"}};
  for (const admin::v1::EsxDatastore& store : inventory.datastores()) {
    rows.push_back({store.vcenter(), store.name(), store.type(), FormatBytes(store.free_bytes()),
                    FormatBytes(store.capacity_bytes()), YesOrNo(store.accessible()),
                    absl::StrJoin(store.read_write_hosts(), ","),
                    absl::StrJoin(store.read_only_hosts(), ",")});
  }
  return FormatTable(rows);
}

std::string FormatVirtualMachines(const admin::v1::Inventory& inventory) {
  std::vector<std::vector<std::string>> rows = {
      {"VCENTER", "VM", "HOST", "POWER", "DISKS", "SNAPSHOTS", "INSTANCE UUID"}};
  for (const admin::v1::VirtualMachine& vm : inventory.vms()) {
    rows.push_back({vm.vcenter(), vm.name(), vm.host(), vm.power_state(),
                    absl::StrCat(vm.disks_size()), absl::StrCat(vm.snapshot_count()),
                    vm.instance_uuid()});
  }
  return FormatTable(rows);
}

}  // namespace homeward
