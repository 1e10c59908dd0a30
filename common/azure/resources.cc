#include "common/azure/resources.h"

#include <algorithm>
#include <functional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace homeward::azure {
namespace {

constexpr char kPrefix[] = "/subscriptions/";
constexpr absl::string_view kPower = "PowerState/";
constexpr absl::string_view kProvisioning = "ProvisioningState/";

Tags ReadTags(const Json& json) {
  Tags tags;
  const Json& at = At(json, {"tags"});
  for (auto it = at.begin(); at.is_object() && it != at.end(); ++it) {
    if (it.value().is_string()) tags[it.key()] = it.value().get<std::string>();
  }
  return tags;
}

void ForEach(const Json& list, const std::function<void(const Json&)>& take) {
  for (size_t i = 0; list.is_array() && i < list.size(); ++i) take(list[i]);
}

// What every resource has.
template <typename Resource>
void ReadHead(const Json& json, Resource& resource) {
  resource.id = TextAt(json, {"id"});
  resource.name = TextAt(json, {"name"});
  resource.region = TextAt(json, {"location"});
  resource.tags = ReadTags(json);
}

VmDisk ReadVmDisk(const Json& json) {
  VmDisk disk;
  disk.id = TextAt(json, {"managedDisk", "id"});
  disk.goes_along = absl::EqualsIgnoreCase(TextAt(json, {"deleteOption"}), "Delete");
  return disk;
}

std::vector<std::string> ReadTexts(const Json& list) {
  std::vector<std::string> texts;
  ForEach(list, [&](const Json& each) {
    if (each.is_string()) texts.push_back(each.get<std::string>());
  });
  return texts;
}

Json Head(const std::string& region, const Tags& tags) {
  Json json = {{"location", region}, {"tags", Json::object()}};
  for (const auto& [name, value] : tags) json["tags"][name] = value;
  return json;
}

}  // namespace

absl::StatusOr<ResourceId> ParseResourceId(absl::string_view id) {
  const auto refused = [&](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", id, "\" is no resource id of Azure: ", why,
                     ". One is /subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/"
                     "PROVIDER/TYPE/NAME"));
  };
  const std::vector<std::string> parts = absl::StrSplit(id, '/');
  if (parts.size() < 9 || !parts[0].empty()) return refused("it has too few parts");
  if (!absl::EqualsIgnoreCase(parts[1], "subscriptions") ||
      !absl::EqualsIgnoreCase(parts[3], "resourceGroups") ||
      !absl::EqualsIgnoreCase(parts[5], "providers")) {
    return refused("it does not name a subscription, a resource group and a provider");
  }
  if (parts.size() % 2 == 0) return refused("a type has no name");
  if (std::count(parts.begin(), parts.end(), "") != 1) return refused("a part is empty");
  ResourceId out{parts[2], parts[4], parts[6], {}, {}};
  for (size_t i = 7; i + 1 < parts.size(); i += 2) {
    out.types.push_back(parts[i]);
    out.names.push_back(parts[i + 1]);
  }
  return out;
}

std::string FormatResourceId(const ResourceId& id) {
  std::string out = absl::StrCat(kPrefix, id.subscription, "/resourceGroups/", id.group,
                                 "/providers/", id.provider);
  for (size_t i = 0; i < id.types.size() && i < id.names.size(); ++i)
    absl::StrAppend(&out, "/", id.types[i], "/", id.names[i]);
  return out;
}

bool SameResource(absl::string_view a, absl::string_view b) { return absl::EqualsIgnoreCase(a, b); }

void Read(const Json& json, ResourceGroup& group) { ReadHead(json, group); }

void Read(const Json& json, Vm& vm) {
  ReadHead(json, vm);
  const Json& properties = At(json, {"properties"});
  vm.size = TextAt(properties, {"hardwareProfile", "vmSize"});
  vm.vm_id = TextAt(properties, {"vmId"});
  vm.provisioning_state = TextAt(properties, {"provisioningState"});
  vm.os_disk = ReadVmDisk(At(properties, {"storageProfile", "osDisk"}));
  ForEach(At(properties, {"storageProfile", "dataDisks"}), [&](const Json& each) {
    VmDisk disk = ReadVmDisk(each);
    disk.lun = static_cast<int>(NumberAt(each, {"lun"}));
    vm.data_disks.push_back(std::move(disk));
  });
  std::stable_sort(vm.data_disks.begin(), vm.data_disks.end(),
                   [](const VmDisk& a, const VmDisk& b) { return a.lun < b.lun; });
  ForEach(At(properties, {"networkProfile", "networkInterfaces"}), [&](const Json& each) {
    const Json& primary = At(each, {"properties", "primary"});
    const bool first = primary.is_boolean() && primary.get<bool>();
    vm.interfaces.insert(first ? vm.interfaces.begin() : vm.interfaces.end(), TextAt(each, {"id"}));
  });
}

void Read(const Json& json, VmInstance& instance) {
  ForEach(At(json, {"statuses"}), [&](const Json& each) {
    const std::string code = TextAt(each, {"code"});
    if (absl::StartsWithIgnoreCase(code, kPower)) {
      instance.power = absl::AsciiStrToLower(code.substr(kPower.size()));
    } else if (absl::StartsWithIgnoreCase(code, kProvisioning)) {
      instance.provisioning_state = code.substr(kProvisioning.size());
      instance.provisioning_message = TextAt(each, {"message"});
    }
  });
  instance.generation = TextAt(json, {"hyperVGeneration"});
  ForEach(At(json, {"vmAgent", "statuses"}),
          [&](const Json& each) { instance.agent_status = TextAt(each, {"displayStatus"}); });
}

void Read(const Json& json, VmSize& size) {
  size.name = TextAt(json, {"name"});
  size.cores = static_cast<int>(NumberAt(json, {"numberOfCores"}));
  size.memory_bytes = static_cast<uint64_t>(NumberAt(json, {"memoryInMB"})) << 20;
  size.data_disks_max = static_cast<int>(NumberAt(json, {"maxDataDiskCount"}));
}

void Read(const Json& json, Disk& disk) {
  ReadHead(json, disk);
  const Json& properties = At(json, {"properties"});
  disk.sku = TextAt(json, {"sku", "name"});
  disk.bytes = static_cast<uint64_t>(NumberAt(properties, {"diskSizeBytes"}));
  if (disk.bytes == 0)
    disk.bytes = static_cast<uint64_t>(NumberAt(properties, {"diskSizeGB"})) << 30;
  disk.unique_id = TextAt(properties, {"uniqueId"});
  disk.provisioning_state = TextAt(properties, {"provisioningState"});
  disk.state = TextAt(properties, {"diskState"});
  disk.managed_by = TextAt(json, {"managedBy"});
  disk.source_uri = TextAt(properties, {"creationData", "sourceUri"});
  disk.os_type = TextAt(properties, {"osType"});
  disk.generation = TextAt(properties, {"hyperVGeneration"});
}

void Read(const Json& json, Interface& interface) {
  ReadHead(json, interface);
  const Json& properties = At(json, {"properties"});
  interface.provisioning_state = TextAt(properties, {"provisioningState"});
  interface.mac = TextAt(properties, {"macAddress"});
  interface.vm = TextAt(properties, {"virtualMachine", "id"});
  ForEach(At(properties, {"ipConfigurations"}), [&](const Json& each) {
    const Json& primary = At(each, {"properties", "primary"});
    if (!interface.subnet.empty() && !(primary.is_boolean() && primary.get<bool>())) return;
    interface.address = TextAt(each, {"properties", "privateIPAddress"});
    interface.subnet = TextAt(each, {"properties", "subnet", "id"});
  });
}

void Read(const Json& json, Subnet& subnet) {
  subnet.id = TextAt(json, {"id"});
  subnet.name = TextAt(json, {"name"});
  subnet.provisioning_state = TextAt(json, {"properties", "provisioningState"});
  // One prefix is `addressPrefix`, several are `addressPrefixes`.
  subnet.prefixes = ReadTexts(At(json, {"properties", "addressPrefixes"}));
  const std::string only = TextAt(json, {"properties", "addressPrefix"});
  if (subnet.prefixes.empty() && !only.empty()) subnet.prefixes.push_back(only);
}

void Read(const Json& json, Network& network) {
  network.id = TextAt(json, {"id"});
  network.name = TextAt(json, {"name"});
  network.region = TextAt(json, {"location"});
  network.prefixes = ReadTexts(At(json, {"properties", "addressSpace", "addressPrefixes"}));
  ForEach(At(json, {"properties", "subnets"}),
          [&](const Json& each) { Read(each, network.subnets.emplace_back()); });
}

void Read(const Json& json, StorageAccount& account) {
  account.id = TextAt(json, {"id"});
  account.name = TextAt(json, {"name"});
  account.region = TextAt(json, {"location"});
  account.kind = TextAt(json, {"kind"});
  account.blobs = TextAt(json, {"properties", "primaryEndpoints", "blob"});
}

void Read(const Json& json, AnyResource& resource) {
  ReadHead(json, resource);
  resource.type = TextAt(json, {"type"});
}

Json ToJson(const VmSpec& spec) {
  const char* const goes = spec.takes_along ? "Delete" : "Detach";
  Json data_disks = Json::array(), interfaces = Json::array();
  for (const std::string& id : spec.data_disks) {
    data_disks.push_back({{"lun", data_disks.size()},
                          {"createOption", "Attach"},
                          {"managedDisk", {{"id", id}}},
                          {"deleteOption", goes}});
  }
  for (const std::string& id : spec.interfaces) {
    interfaces.push_back(
        {{"id", id}, {"properties", {{"primary", interfaces.empty()}, {"deleteOption", goes}}}});
  }
  Json json = Head(spec.region, spec.tags);
  json["properties"] = {{"hardwareProfile", {{"vmSize", spec.size}}},
                        {"storageProfile",
                         {{"osDisk",
                           {{"osType", spec.os_type},
                            {"createOption", "Attach"},
                            {"managedDisk", {{"id", spec.os_disk}}},
                            {"deleteOption", goes}}},
                          {"dataDisks", std::move(data_disks)}}},
                        {"networkProfile", {{"networkInterfaces", std::move(interfaces)}}},
                        // In storage that Azure keeps: an operator sees the console of a guest that
                        // does not come up.
                        {"diagnosticsProfile", {{"bootDiagnostics", {{"enabled", true}}}}}};
  return json;
}

Json ToJson(const DiskSpec& spec) {
  Json json = Head(spec.region, spec.tags);
  json["sku"] = {{"name", spec.sku}};
  json["properties"] = {{"creationData",
                         {{"createOption", "Import"},
                          {"sourceUri", spec.source_uri},
                          {"storageAccountId", spec.storage_account_id}}}};
  if (!spec.os_type.empty()) json["properties"]["osType"] = spec.os_type;
  if (!spec.generation.empty()) json["properties"]["hyperVGeneration"] = spec.generation;
  return json;
}

Json ToJson(const InterfaceSpec& spec) {
  Json address = {{"primary", true},
                  {"subnet", {{"id", spec.subnet}}},
                  {"privateIPAllocationMethod", spec.address.empty() ? "Dynamic" : "Static"}};
  if (!spec.address.empty()) address["privateIPAddress"] = spec.address;
  Json json = Head(spec.region, spec.tags);
  json["properties"] = {{"ipConfigurations", Json::array({{{"name", "ipconfig1"},
                                                           {"properties", std::move(address)}}})}};
  if (!spec.security_group.empty())
    json["properties"]["networkSecurityGroup"] = {{"id", spec.security_group}};
  return json;
}

}  // namespace homeward::azure
