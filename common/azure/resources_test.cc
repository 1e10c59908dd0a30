// JSON is that of the examples in Azure's public REST reference (Microsoft.Compute,
// Microsoft.Network).
#include "common/azure/resources.h"

#include "common/azure/address.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace homeward::azure {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename Out>
Out From(const std::string& text) {
  const auto json = ParseJson(text);
  EXPECT_TRUE(json.ok()) << json.status();
  Out out;
  if (json.ok()) Read(*json, out);
  return out;
}

TEST(ResourcesTest, VmIsRead) {
  const Vm vm = From<Vm>(R"({
    "name": "myVM", "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/myVM",
    "type": "Microsoft.Compute/virtualMachines", "location": "West US", "tags": {"myTag1": "tagValue1"},
    "properties": {"vmId": "0f47b100", "hardwareProfile": {"vmSize": "Standard_DS3_v2"},
      "storageProfile": {
        "osDisk": {"osType": "Windows", "name": "myOsDisk", "createOption": "FromImage", "caching": "ReadWrite",
                   "managedDisk": {"storageAccountType": "Premium_LRS", "id": "/os"}, "diskSizeGB": 30},
        "dataDisks": [{"lun": 1, "managedDisk": {"id": "/d1"}, "deleteOption": "Delete"},
                      {"lun": 0, "managedDisk": {"id": "/d0"}}]},
      "networkProfile": {"networkInterfaces": [{"id": "/n0"}, {"id": "/n1", "properties": {"primary": true}}]},
      "provisioningState": "Succeeded"}})");
  EXPECT_EQ(vm.name, "myVM");
  EXPECT_EQ(vm.region, "West US");
  EXPECT_EQ(vm.size, "Standard_DS3_v2");
  EXPECT_EQ(vm.vm_id, "0f47b100");
  EXPECT_EQ(vm.os_disk.id, "/os");
  ASSERT_EQ(vm.data_disks.size(), 2u);
  EXPECT_EQ(vm.data_disks[0].id, "/d0");
  EXPECT_FALSE(vm.data_disks[0].goes_along);
  EXPECT_TRUE(vm.data_disks[1].goes_along);
  EXPECT_THAT(vm.interfaces, ElementsAre("/n1", "/n0"));
  EXPECT_EQ(vm.tags.at("myTag1"), "tagValue1");
}

TEST(ResourcesTest, InstanceViewIsRead) {
  const VmInstance view = From<VmInstance>(R"({
    "vmAgent": {"vmAgentVersion": "2.7", "statuses": [{"code": "ProvisioningState/succeeded", "displayStatus": "Ready"}]},
    "hyperVGeneration": "V1",
    "statuses": [{"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded"},
                 {"code": "PowerState/running", "level": "Info", "displayStatus": "VM running"}]})");
  EXPECT_EQ(view.power, "running");
  EXPECT_EQ(view.provisioning_state, "succeeded");
  EXPECT_EQ(view.generation, "V1");
  EXPECT_EQ(view.agent_status, "Ready");
  EXPECT_EQ(From<VmInstance>("{}").power, "unknown");
}

TEST(ResourcesTest, WhatIsOfAnotherKindIsEmpty) {
  const Vm vm = From<Vm>(R"({"id": 7, "tags": [], "properties": {"storageProfile": [],
                             "networkProfile": {"networkInterfaces": [1, null, {}]}}})");
  EXPECT_EQ(vm.id, "");
  EXPECT_EQ(vm.interfaces.size(), 3u);
  EXPECT_EQ(From<Disk>(R"({"properties": {"diskSizeBytes": "x"}})").bytes, 0u);
  EXPECT_FALSE(ParseJson("[]").ok());
  EXPECT_FALSE(ParseJson("").ok());
}

TEST(ResourcesTest, SizeOfADiskIsInBytesOrGigabytes) {
  EXPECT_EQ(From<Disk>(R"({"properties": {"diskSizeGB": 200, "diskSizeBytes": 2097152}})").bytes,
            2097152u);
  EXPECT_EQ(From<Disk>(R"({"properties": {"diskSizeGB": 2}})").bytes, uint64_t{2} << 30);
}

TEST(ResourcesTest, SubnetHasOnePrefixOrSeveral) {
  EXPECT_THAT(From<Subnet>(R"({"properties": {"addressPrefix": "10.0.0.0/16"}})").prefixes,
              ElementsAre("10.0.0.0/16"));
  EXPECT_THAT(
      From<Subnet>(R"({"properties": {"addressPrefixes": ["10.0.0.0/24", "fd00::/64"]}})").prefixes,
      ElementsAre("10.0.0.0/24", "fd00::/64"));
}

TEST(ResourcesTest, VmIsMadeOfItsDisks) {
  VmSpec spec;
  spec.region = "westeurope";
  spec.size = "Standard_B1s";
  spec.os_disk = "/os";
  spec.data_disks = {"/d0", "/d1"};
  spec.interfaces = {"/n0", "/n1"};
  spec.tags = {{"a", "b"}};
  const Json json = ToJson(spec);
  const Json expected =
      Json::parse(R"({"location": "westeurope", "tags": {"a": "b"}, "properties": {
    "hardwareProfile": {"vmSize": "Standard_B1s"},
    "storageProfile": {
      "osDisk": {"osType": "Linux", "createOption": "Attach", "managedDisk": {"id": "/os"}, "deleteOption": "Detach"},
      "dataDisks": [
        {"lun": 0, "createOption": "Attach", "managedDisk": {"id": "/d0"}, "deleteOption": "Detach"},
        {"lun": 1, "createOption": "Attach", "managedDisk": {"id": "/d1"}, "deleteOption": "Detach"}]},
    "networkProfile": {"networkInterfaces": [
        {"id": "/n0", "properties": {"primary": true, "deleteOption": "Detach"}},
        {"id": "/n1", "properties": {"primary": false, "deleteOption": "Detach"}}]},
    "diagnosticsProfile": {"bootDiagnostics": {"enabled": true}}}})",
                  nullptr, false);
  EXPECT_EQ(json, expected) << Dump(json);
}

TEST(ResourcesTest, DiskAndInterfaceAreAsked) {
  DiskSpec disk;
  disk.region = "westeurope";
  disk.source_uri = "https://a/b?snapshot=c";
  disk.storage_account_id = "/account";
  EXPECT_EQ(Dump(ToJson(disk)),
            R"({"location":"westeurope","properties":{"creationData":{"createOption":"Import",)"
            R"("sourceUri":"https://a/b?snapshot=c","storageAccountId":"/account"}},)"
            R"("sku":{"name":"StandardSSD_LRS"},"tags":{}})");
  disk.os_type = "Linux";
  disk.generation = "V2";
  EXPECT_EQ(TextAt(ToJson(disk), {"properties", "hyperVGeneration"}), "V2");
  InterfaceSpec nic;
  nic.subnet = "/subnet";
  nic.address = "10.0.0.9";
  EXPECT_EQ(Dump(At(ToJson(nic), {"properties", "ipConfigurations"})),
            R"([{"name":"ipconfig1","properties":{"primary":true,"privateIPAddress":"10.0.0.9",)"
            R"("privateIPAllocationMethod":"Static","subnet":{"id":"/subnet"}}}])");
}

TEST(ResourcesTest, IdsAreTakenApart) {
  const std::string text =
      "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/n";
  const auto id = ParseResourceId(text);
  ASSERT_TRUE(id.ok()) << id.status();
  EXPECT_EQ(id->group, "g");
  EXPECT_THAT(id->types, ElementsAre("virtualNetworks", "subnets"));
  EXPECT_THAT(id->names, ElementsAre("v", "n"));
  EXPECT_EQ(FormatResourceId(*id), text);
  for (const char* const wrong :
       {"", "vm", "/subscriptions/s/resourceGroups/g", "/a/s/resourceGroups/g/providers/p/t/n",
        "/subscriptions/s/resourceGroups//providers/p/t/n",
        "/subscriptions/s/resourceGroups/g/providers/p/t/n/u"}) {
    EXPECT_FALSE(ParseResourceId(wrong).ok()) << wrong;
  }
  EXPECT_TRUE(SameResource(text,
                           "/SUBSCRIPTIONS/s/resourcegroups/G/providers/microsoft.network/"
                           "virtualnetworks/V/subnets/N"));
}

TEST(AddressTest, WebAddressesAreRead) {
  const auto plain = ParseWebAddress("https://Management.Azure.com");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->host.host, "management.azure.com");
  EXPECT_EQ(plain->host.port, 443);
  EXPECT_EQ(plain->path, "/");
  const auto full = ParseWebAddress("http://[::1]:8080/a?b=c");
  ASSERT_TRUE(full.ok()) << full.status();
  EXPECT_FALSE(full->tls);
  EXPECT_EQ(full->host.host, "::1");
  EXPECT_EQ(full->path, "/a?b=c");
  EXPECT_EQ(ParseWebAddress("https://a?b=c")->path, "/?b=c");
  for (const char* const wrong : {"", "a.b", "ftp://a", "https://", "https://user:password@a"})
    EXPECT_FALSE(ParseWebAddress(wrong).ok()) << wrong;
  EXPECT_THAT(ParseWebAddress("https://user:password@a").status().message(),
              ::testing::Not(HasSubstr("password")));
  EXPECT_EQ(Encoded("a b/\xc3\xa9~"), "a%20b%2F%C3%A9~");
}

}  // namespace
}  // namespace homeward::azure
