// Replies as a vCenter gave them (record.py), whole, cut and changed.

#include "common/vsphere/decode.h"
#include "common/vsphere/fault.h"
#include "common/vsphere/operations.h"
#include "common/vsphere/soap.h"
#include "common/vsphere/vm_spec.h"
#include "gmock/gmock.h"
#include "tests/golden/golden.h"

namespace homeward::vsphere {
namespace {

using homeward::testing::ReadGolden;
using ::testing::HasSubstr;

Inventory Decode(const Reply& reply) {
  Inventory inventory;
  for (const pugi::xml_node object : reply.value().children("objects"))
    EXPECT_TRUE(DecodeObject(object, &inventory));
  return inventory;
}

TEST(Recorded, AnInventory) {
  const auto reply = Reply::Parse(ReadGolden("vsphere_page.xml"), 200);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_STRNE(reply->value().child("token").text().as_string(), "");
  const Inventory inventory = Decode(*reply);
  ASSERT_EQ(inventory.vms.size(), 1u);
  const Vm& vm = inventory.vms.begin()->second;
  EXPECT_EQ(vm.name, "web-1");
  EXPECT_TRUE(vm.off());
  EXPECT_TRUE(vm.disk_enable_uuid);
  ASSERT_EQ(vm.disks.size(), 2u);
  EXPECT_EQ(vm.disks[0].backing, "VirtualDiskFlatVer2BackingInfo");
  EXPECT_EQ(vm.disks[1].backing, "VirtualDiskRawDiskMappingVer1BackingInfo");
  EXPECT_EQ(vm.disks[1].rdm_mode, "physicalMode");
  EXPECT_EQ(vm.FindController(vm.disks[0].controller_key)->type, "VirtualLsiLogicController");
  EXPECT_EQ(vm.FindController(vm.disks[1].controller_key)->type, "ParaVirtualSCSIController");
  EXPECT_TRUE(vm.FindController(vm.disks[1].controller_key)->scsi());
  ASSERT_EQ(inventory.hosts.size(), 1u);
  EXPECT_EQ(inventory.hosts.begin()->second.connection_state, "connected");
  const auto next = Reply::Parse(ReadGolden("vsphere_next_page.xml"), 200);
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(Decode(*next).datastores.begin()->second.type, "VMFS");
}

TEST(Recorded, ATaskAndFaults) {
  const auto task = Reply::Parse(ReadGolden("vsphere_task.xml"), 200);
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->reference().type, "Task");
  const absl::Status login = Reply::Parse(ReadGolden("vsphere_invalid_login.xml"), 500).status();
  EXPECT_TRUE(absl::IsUnauthenticated(login)) << login;
  EXPECT_EQ(FaultTypeOf(login), "InvalidLogin");
  const absl::Status unknown = Reply::Parse(ReadGolden("vsphere_no_such_method.xml"), 500).status();
  EXPECT_TRUE(absl::IsInvalidArgument(unknown)) << unknown;
}

TEST(Recorded, WhatIsCutIsRefused) {
  for (const char* const name : {"vsphere_page.xml", "vsphere_invalid_login.xml"}) {
    const std::string whole = ReadGolden(name);
    const size_t end = whole.find_last_not_of('\n');
    for (size_t bytes = 0; bytes < end; bytes += 3) {
      const absl::Status cut = Reply::Parse(whole.substr(0, bytes), 200).status();
      ASSERT_TRUE(absl::IsInternal(cut)) << name << " cut at " << bytes << ": " << cut;
    }
  }
}

TEST(Recorded, ByteAfterByteChangedNeverMakesMoreThanAReplyOrAnError) {
  const std::string whole = ReadGolden("vsphere_page.xml");
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 0x15);
    const auto reply = Reply::Parse(changed, 200);
    if (!reply.ok()) continue;
    Inventory inventory;
    for (const pugi::xml_node object : reply->value().children("objects"))
      DecodeObject(object, &inventory);
    EXPECT_LE(inventory.vms.size(), 1u);
  }
}

TEST(Recorded, WhatIsNoSoapSaysHowItBegins) {
  const absl::Status html =
      Reply::Parse("<html><head><title>ID_EESX_Welcome</title></head></html>", 404).status();
  EXPECT_THAT(std::string(html.message()), HasSubstr("HTTP 404"));
  EXPECT_THAT(std::string(html.message()), HasSubstr("<html><head>"));
  EXPECT_FALSE(Reply::Parse("", 200).ok());
  // Nothing outside of the document is read.
  const auto entity = Reply::Parse(
      "<!DOCTYPE x [<!ENTITY f SYSTEM "
      "\"file:///etc/passwd\">]><e:Envelope><e:Body><R><returnval>&f;"
      "</returnval></R></e:Body></e:Envelope>",
      200);
  ASSERT_TRUE(entity.ok()) << entity.status();
  EXPECT_STREQ(entity->value().text().as_string(), "&f;");
  std::string deep = "<e:Envelope><e:Body>";
  for (int i = 0; i < 200000; ++i) deep += "<x>";
  EXPECT_FALSE(Reply::Parse(deep, 200).ok());
}

TEST(Privileges, AreAllInTheManual) {
  std::stringstream manual;
  manual << std::ifstream(std::string(HOMEWARD_SOURCE_DIR) + "/docs/operations/vmware.md").rdbuf();
  for (const std::string& privilege : NeededPrivileges())
    EXPECT_THAT(manual.str(), HasSubstr("`" + privilege + "`"));
}

TEST(Requests, AreWhatTheApiTakesInItsOrder) {
  VmChange change;
  change.annotation = "a & b";
  change.detach_disks = {2001};
  change.add_disks = {{"[ds1] web/<1>.vmdk", 1000, 3, "persistent", 0}};
  change.extra_config = {{"disk.EnableUUID", "TRUE"}};
  XmlWriter out;
  WriteVmChange("spec", change, &out);
  EXPECT_EQ(
      out.text(),
      "<spec><annotation>a &amp; b</annotation><deviceChange><operation>remove</operation>"
      "<device xsi:type=\"VirtualDisk\"><key>2001</key><capacityInKB>0</capacityInKB></device>"
      "</deviceChange><deviceChange><operation>add</operation><device xsi:type=\"VirtualDisk\">"
      "<key>-1001</key><backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName>[ds1] web/"
      "&lt;1&gt;.vmdk</fileName><diskMode>persistent</diskMode></backing><controllerKey>1000"
      "</controllerKey><unitNumber>3</unitNumber><capacityInKB>0</capacityInKB></device>"
      "</deviceChange><extraConfig xsi:type=\"OptionValue\"><key>disk.EnableUUID</key>"
      "<value xsi:type=\"xsd:string\">TRUE</value></extraConfig></spec>");
}

TEST(Requests, AreOneDocumentAndLeaveNoTextChanged) {
  XmlWriter arguments;
  arguments.Text("password", "a\r\n\"<&>'\tb\x01").Text("empty", "").Number("count", -3);
  const std::string request = MakeRequest("Login", {"SessionManager", "s<1>"}, arguments);
  EXPECT_EQ(request,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope"
            " xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\""
            " xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\""
            " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>"
            "<Login xmlns=\"urn:vim25\"><_this type=\"SessionManager\">s&lt;1&gt;</_this>"
            "<password>a&#13;\n\"&lt;&amp;&gt;'\tb</password><empty></empty><count>-3</count>"
            "</Login></soapenv:Body></soapenv:Envelope>");
  pugi::xml_document read;
  ASSERT_TRUE(read.load_string(request.c_str()));
  EXPECT_STREQ(read.first_child().first_child().first_child().child_value("password"),
               "a\r\n\"<&>'\tb")
      << "but for the control character that XML cannot hold";
}

}  // namespace
}  // namespace homeward::vsphere
