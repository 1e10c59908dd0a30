// What of Operations is about vCenters and what they have.
#include <map>
#include <utility>

#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "config_server/operations/operations.h"

namespace homeward {
namespace {

const char* NameOf(VcenterState::Link link) {
  switch (link) {
    case VcenterState::Link::kConnected:
      return "Connected";
    case VcenterState::Link::kStale:
      return "Stale";
    case VcenterState::Link::kDisconnected:
      break;
  }
  return "Disconnected";
}

admin::v1::Vcenter Convert(const storage::v1::Vcenter& record,
                           const std::map<std::string, VcenterState>& states) {
  admin::v1::Vcenter out;
  out.set_name(record.name());
  out.set_address(record.address());
  out.set_user(record.user());
  out.set_instance_uuid(record.instance_uuid());
  const auto it = states.find(record.name());
  if (it == states.end()) return out;
  const VcenterState& state = it->second;
  out.set_state(NameOf(state.link));
  *out.mutable_since() = ToProto(state.since);
  if (state.as_of != absl::Time()) *out.mutable_as_of() = ToProto(state.as_of);
  if (!state.error.ok()) out.set_error(std::string(state.error.message()));
  out.set_product(state.inventory->product);
  out.set_host_count(static_cast<uint32_t>(state.inventory->hosts.size()));
  out.set_datastore_count(static_cast<uint32_t>(state.inventory->datastores.size()));
  out.set_vm_count(static_cast<uint32_t>(state.inventory->vms.size()));
  return out;
}

std::string HostName(const vsphere::Inventory& inventory, const vsphere::Ref& ref) {
  const auto it = inventory.hosts.find(ref);
  return it == inventory.hosts.end() ? ref.value : it->second.name;
}

void ConvertDisk(const vsphere::Vm& vm, const vsphere::Disk& disk, admin::v1::VirtualDisk* out) {
  out->set_file(disk.file);
  out->set_uuid(disk.uuid);
  out->set_size_bytes(disk.capacity_bytes);
  out->set_unit(static_cast<uint32_t>(disk.unit));
  out->set_rdm_mode(disk.rdm_mode);
  const vsphere::Controller* const controller = vm.FindController(disk.controller_key);
  if (controller == nullptr) return;
  out->set_controller(controller->type);
  out->set_bus(static_cast<uint32_t>(controller->bus));
}

void Convert(const std::string& vcenter, const vsphere::Inventory& inventory,
             admin::v1::Inventory* out) {
  for (const auto& [ref, host] : inventory.hosts) {
    admin::v1::EsxHost& one = *out->add_hosts();
    one.set_vcenter(vcenter);
    one.set_name(host.name);
    one.set_connection_state(host.connection_state);
    one.set_in_maintenance(host.in_maintenance);
    one.set_hardware_uuid(host.hardware_uuid);
  }
  for (const auto& [ref, datastore] : inventory.datastores) {
    admin::v1::EsxDatastore& one = *out->add_datastores();
    one.set_vcenter(vcenter);
    one.set_name(datastore.name);
    one.set_type(datastore.type);
    one.set_url(datastore.url);
    one.set_capacity_bytes(datastore.capacity_bytes);
    one.set_free_bytes(datastore.free_bytes);
    one.set_accessible(datastore.accessible);
    for (const vsphere::DatastoreMount& mount : datastore.mounts) {
      *(mount.read_write ? one.add_read_write_hosts() : one.add_read_only_hosts()) =
          HostName(inventory, mount.host);
    }
  }
  for (const auto& [ref, vm] : inventory.vms) {
    admin::v1::VirtualMachine& one = *out->add_vms();
    one.set_vcenter(vcenter);
    one.set_name(vm.name);
    one.set_host(HostName(inventory, vm.host));
    one.set_power_state(vm.power_state);
    one.set_bios_uuid(vm.bios_uuid);
    one.set_instance_uuid(vm.instance_uuid);
    one.set_cpus(static_cast<uint32_t>(vm.cpus));
    one.set_memory_mb(static_cast<uint64_t>(vm.memory_mb));
    one.set_firmware(vm.firmware);
    one.set_disk_enable_uuid(vm.disk_enable_uuid);
    one.set_snapshot_count(static_cast<uint32_t>(vm.snapshots));
    for (const vsphere::Disk& disk : vm.disks) ConvertDisk(vm, disk, one.add_disks());
  }
}

}  // namespace

absl::Status Operations::AddVcenter(const Caller& caller,
                                    const admin::v1::AddVcenterRequest& request,
                                    admin::v1::Vcenter* response) {
  storage::v1::Vcenter vcenter;
  vcenter.set_name(request.name());
  vcenter.set_address(request.address());
  vcenter.set_thumbprint(request.thumbprint());
  vcenter.set_trusted(request.trusted());
  vcenter.set_user(request.user());
  return DoOutside(caller, request, *response, [&]() -> absl::Status {
    HW_RETURN_IF_ERROR(Ask(caller, [&] { return vcenters_.MayAdd(vcenter); }));
    // Not on the strand: it takes as long as the vCenter does.
    HW_ASSIGN_OR_RETURN(const vsphere::Endpoint endpoint,
                        vcenters_.EndpointOf(vcenter, request.password()));
    HW_ASSIGN_OR_RETURN(std::string instance, ProbeVcenter(endpoint));
    vcenter.set_instance_uuid(std::move(instance));
    return Ask(caller, [&]() -> absl::Status {
      HW_ASSIGN_OR_RETURN(const storage::v1::Vcenter added,
                          vcenters_.Add(vcenter, request.password()));
      *response = Convert(added, vcenters_.inventories().States());
      return absl::OkStatus();
    });
  });
}

absl::Status Operations::GetInventory(const Caller& caller,
                                      const admin::v1::GetInventoryRequest& request,
                                      admin::v1::Inventory* response) {
  std::map<std::string, VcenterState> states;
  HW_RETURN_IF_ERROR(Ask(caller, [&]() -> absl::Status {
    if (!request.vcenter().empty()) HW_RETURN_IF_ERROR(vcenters_.Find(request.vcenter()).status());
    states = vcenters_.inventories().States();
    return absl::OkStatus();
  }));
  for (const auto& [name, state] : states) {
    if (request.vcenter().empty() || request.vcenter() == name)
      Convert(name, *state.inventory, response);
  }
  return absl::OkStatus();
}

absl::Status Operations::ListVcenters(const admin::v1::ListVcentersRequest&,
                                      admin::v1::ListVcentersResponse* response) const {
  const std::map<std::string, VcenterState> states = vcenters_.inventories().States();
  for (const storage::v1::Vcenter& vcenter : vcenters_.All())
    *response->add_vcenters() = Convert(vcenter, states);
  return absl::OkStatus();
}

absl::Status Operations::RemoveVcenter(const admin::v1::RemoveVcenterRequest& request,
                                       admin::v1::Vcenter* response) {
  HW_ASSIGN_OR_RETURN(const storage::v1::Vcenter vcenter, vcenters_.Remove(request.name()));
  *response = Convert(vcenter, {});
  return absl::OkStatus();
}

absl::Status Operations::RefreshVcenter(const admin::v1::RefreshVcenterRequest& request,
                                        admin::v1::Vcenter* response) {
  HW_ASSIGN_OR_RETURN(const storage::v1::Vcenter vcenter, vcenters_.Find(request.name()));
  vcenters_.inventories().Refresh(vcenter.name());
  *response = Convert(vcenter, vcenters_.inventories().States());
  return absl::OkStatus();
}

}  // namespace homeward
