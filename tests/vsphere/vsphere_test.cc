// The vSphere client against VMware's own simulator, and what a vCenter can do to it.

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/clock/clock.h"
#include "common/os/file_system.h"
#include "common/vsphere/fault.h"
#include "common/vsphere/follower.h"
#include "common/vsphere/operations.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_vcenter.h"

namespace homeward::vsphere {
namespace {

using ::testing::HasSubstr;

constexpr char kTopology[] = R"({
  "accounts": [{"user": "homeward", "password": "secret"},
               {"user": "viewer", "password": "secret", "read_only": true}],
  "datacenters": [{"name": "dc1",
    "hosts": [{"name": "esx1.lab", "memory_mb": 65536}, {"name": "esx2.lab"}],
    "datastores": [
      {"name": "ds1", "type": "VMFS", "directory": "DIR/ds1", "capacity_mb": 100000,
       "hosts": {"esx1.lab": "readWrite", "esx2.lab": "readWrite"}},
      {"name": "nfs1", "type": "NFS", "directory": "DIR/nfs1", "hosts": {"esx1.lab": "readOnly"}}],
    "vms": [
      {"name": "web-1", "host": "esx1.lab", "datastore": "ds1", "cpus": 2, "memory_mb": 2048,
       "firmware": "efi", "controllers": ["lsilogic", "lsilogic"], "powered_on": true,
       "tools_running": true,
       "disks": [{"file": "web-1.vmdk", "size_mb": 64, "controller": 0, "unit": 0},
                 {"file": "web-1_1.vmdk", "size_mb": 32, "controller": 1, "unit": 2}]},
      {"name": "mt-1", "host": "esx1.lab", "datastore": "ds1", "powered_on": true,
       "extra_config": {"disk.EnableUUID": "TRUE"}, "controllers": ["lsilogic"],
       "hardware": "DIR/mt-1", "hardware_kind": "file",
       "disks": [{"file": "mt-1.vmdk", "size_mb": 16, "controller": 0, "unit": 0}]}]}]})";

class Vsphere : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = "/var/tmp/homeward-vsphere-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    Start(absl::StrReplaceAll(kTopology, {{"DIR", directory_}}));
  }
  void Start(const std::string& topology) {
    session_.reset();
    vcenter_.reset();
    auto started = FakeVcenter::Start(directory_, topology);
    ASSERT_TRUE(started.ok()) << started.status();
    vcenter_ = *std::move(started);
    auto session = Session::Open(vcenter_->EndpointFor("homeward"));
    ASSERT_TRUE(session.ok()) << session.status();
    session_ = *std::move(session);
    follower_ = std::make_unique<Follower>(*session_);
  }
  void TearDown() override {
    follower_.reset();
    session_.reset();
    vcenter_.reset();
    std::filesystem::remove_all(directory_);
  }

  // Follows until `holds`.
  template <typename Condition>
  bool Eventually(const Condition& holds) {
    for (int i = 0; i < 20; ++i) {
      const auto changed = follower_->Wait(absl::Seconds(1));
      EXPECT_TRUE(changed.ok() || absl::IsAborted(changed.status())) << changed.status();
      if (holds()) return true;
    }
    return false;
  }
  const Vm& Named(const std::string& name) { return Entry(name).second; }
  Ref RefOf(const std::string& name) { return Entry(name).first; }
  const std::pair<const Ref, Vm>& Entry(const std::string& name) {
    for (const auto& entry : follower_->inventory().vms) {
      if (entry.second.name == name) return entry;
    }
    ADD_FAILURE() << "there is no " << name;
    static const auto& none = *new std::pair<const Ref, Vm>();
    return none;
  }
  absl::Status Finish(const absl::StatusOr<Ref>& task) {
    if (!task.ok()) return task.status();
    return AwaitTask(*session_, *task, absl::Seconds(20)).status();
  }
  void Order(const std::string& json) { ASSERT_TRUE(vcenter_->Order(json).ok()); }

  std::string directory_;
  std::unique_ptr<FakeVcenter> vcenter_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<Follower> follower_;
};

TEST_F(Vsphere, TheInventoryIsWhatTheVcenterHas) {
  ASSERT_TRUE(follower_->Wait(absl::Seconds(1)).ok());
  const Inventory& inventory = follower_->inventory();
  EXPECT_TRUE(inventory.is_vcenter);
  EXPECT_FALSE(inventory.instance_uuid.empty());
  EXPECT_EQ(inventory.hosts.size(), 2u);
  ASSERT_EQ(inventory.datastores.size(), 2u);
  for (const auto& [ref, datastore] : inventory.datastores) {
    EXPECT_TRUE(datastore.accessible);
    if (datastore.name == "ds1") {
      EXPECT_EQ(datastore.type, "VMFS");
      EXPECT_EQ(datastore.capacity_bytes, uint64_t{100000} << 20);
      ASSERT_EQ(datastore.mounts.size(), 2u);
      EXPECT_TRUE(datastore.mounts[0].read_write);
    } else {
      EXPECT_EQ(datastore.type, "NFS");
      ASSERT_EQ(datastore.mounts.size(), 1u);
      EXPECT_FALSE(datastore.mounts[0].read_write);
    }
  }
  const Vm& web = Named("web-1");
  EXPECT_TRUE(web.on());
  EXPECT_EQ(web.cpus, 2);
  EXPECT_EQ(web.memory_mb, 2048);
  EXPECT_EQ(web.firmware, "efi");
  EXPECT_EQ(web.tools_running, "guestToolsRunning");
  EXPECT_FALSE(web.disk_enable_uuid);
  EXPECT_EQ(web.snapshots, 0);
  EXPECT_FALSE(web.bios_uuid.empty());
  EXPECT_NE(web.bios_uuid, web.instance_uuid);
  ASSERT_EQ(web.disks.size(), 2u);
  EXPECT_EQ(web.disks[1].file, "[ds1] web-1/web-1_1.vmdk");
  EXPECT_EQ(web.disks[1].capacity_bytes, uint64_t{32} << 20);
  EXPECT_EQ(web.disks[1].unit, 2);
  ASSERT_NE(web.FindController(web.disks[1].controller_key), nullptr);
  EXPECT_EQ(web.FindController(web.disks[1].controller_key)->bus, 1);
  EXPECT_TRUE(web.FindController(web.disks[1].controller_key)->scsi());
  EXPECT_THAT(PlainHex(web.disks[0].uuid), ::testing::StartsWith("6000c29"));
  EXPECT_EQ(web.FindDisk(PlainHex(web.disks[0].uuid)), &web.disks[0]);
  EXPECT_TRUE(Named("mt-1").disk_enable_uuid);
  const auto datacenter = inventory.DatacenterOf(RefOf("web-1").empty() ? Ref() : web.parent);
  ASSERT_TRUE(datacenter.has_value());
  ASSERT_NE(inventory.FindDatastore(web.disks[0].file, *datacenter), nullptr);
}

TEST_F(Vsphere, DisksGoToTheMasterTargetAndComeBackToTheirPlaces) {
  ASSERT_TRUE(follower_->Wait(absl::Seconds(1)).ok());
  const Vm before = Named("web-1");
  const Ref web = RefOf("web-1"), target = RefOf("mt-1");
  // A disk of a machine that runs cannot go.
  VmChange attach;
  const int32_t controller = Named("mt-1").controllers.back().key;
  for (size_t i = 0; i < before.disks.size(); ++i)
    attach.add_disks.push_back({before.disks[i].file, controller, static_cast<int32_t>(i + 1)});
  const absl::Status early = Finish(BeginReconfigure(*session_, target, attach));
  EXPECT_EQ(FaultTypeOf(early), "FileLocked") << early;
  EXPECT_TRUE(absl::IsFailedPrecondition(early)) << early;

  ASSERT_TRUE(Finish(BeginPowerOff(*session_, web)).ok());
  const absl::Status twice = Finish(BeginPowerOff(*session_, web));
  EXPECT_EQ(FaultTypeOf(twice), "InvalidPowerState") << twice;
  ASSERT_TRUE(Finish(BeginReconfigure(*session_, target, attach)).ok());
  ASSERT_TRUE(Eventually([&] { return Named("mt-1").disks.size() == 3 && Named("web-1").off(); }));
  for (const Disk& disk : before.disks) {
    ASSERT_NE(Named("mt-1").FindDisk(disk.uuid), nullptr);
    const std::string link = absl::StrCat(directory_, "/mt-1/wwn-0x", PlainHex(disk.uuid));
    EXPECT_EQ(std::filesystem::file_size(link), disk.capacity_bytes);
  }
  const absl::Status on = Finish(BeginPowerOn(*session_, web));
  EXPECT_EQ(FaultTypeOf(on), "FileLocked") << "its disks are elsewhere: " << on;

  VmChange detach;
  for (const Disk& disk : before.disks)
    detach.detach_disks.push_back(Named("mt-1").FindDisk(disk.uuid)->key);
  ASSERT_TRUE(Finish(BeginReconfigure(*session_, target, detach)).ok());
  ASSERT_TRUE(Finish(BeginPowerOn(*session_, web)).ok());
  ASSERT_TRUE(Eventually([&] { return Named("mt-1").disks.size() == 1 && Named("web-1").on(); }));
  ASSERT_EQ(Named("web-1").disks.size(), 2u);
  for (size_t i = 0; i < before.disks.size(); ++i) {
    EXPECT_EQ(Named("web-1").disks[i].uuid, before.disks[i].uuid);
    EXPECT_EQ(Named("web-1").disks[i].unit, before.disks[i].unit);
    EXPECT_EQ(Named("web-1").disks[i].controller_key, before.disks[i].controller_key);
  }
}

TEST_F(Vsphere, AVmIsMadeAsItWasAndGetsNewDisks) {
  ASSERT_TRUE(follower_->Wait(absl::Seconds(1)).ok());
  const Vm like = Named("web-1");
  const Inventory& inventory = follower_->inventory();
  const Host& host = inventory.hosts.at(like.host);
  const VmPlace place = {inventory.folders.at(*inventory.DatacenterOf(like.parent)).vm_folder,
                         inventory.folders.at(host.parent).resource_pool, like.host};
  VmToCreate vm;
  vm.name = "web-2";
  vm.datastore = "ds1";
  vm.firmware = like.firmware;
  vm.guest_id = like.guest_id;
  vm.annotation = "came home <&> \"well\"";
  vm.cpus = 2;
  vm.memory_mb = 512;
  vm.controllers = {{-1, "VirtualLsiLogicController", 0}, {-2, "VirtualLsiLogicController", 1}};
  vm.cards = like.cards;
  vm.extra_config = {{"disk.EnableUUID", "TRUE"}};
  const auto task = BeginCreateVm(*session_, place, vm);
  ASSERT_TRUE(task.ok()) << task.status();
  const auto made = AwaitTask(*session_, *task, absl::Seconds(20));
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->type, "VirtualMachine");
  ASSERT_TRUE(Eventually([&] { return follower_->inventory().vms.count(*made) == 1; }));
  EXPECT_EQ(Named("web-2").annotation, vm.annotation);
  EXPECT_TRUE(Named("web-2").disk_enable_uuid);
  EXPECT_EQ(Named("web-2").firmware, "efi");
  EXPECT_EQ(Named("web-2").cards.size(), like.cards.size());

  VmChange disks;
  int32_t keys[2] = {0, 0};
  for (const Controller& controller : Named("web-2").controllers) {
    if (controller.scsi()) keys[controller.bus] = controller.key;
  }
  disks.add_disks = {{"[ds1] web-2/web-2.vmdk", keys[0], 0, "persistent", 8 << 20},
                     {"[ds1] web-2/web-2_1.vmdk", keys[1], 3, "persistent", 4 << 20}};
  ASSERT_TRUE(Finish(BeginReconfigure(*session_, *made, disks)).ok());
  ASSERT_TRUE(Eventually([&] { return Named("web-2").disks.size() == 2; }));
  EXPECT_EQ(Named("web-2").disks[1].unit, 3);
  EXPECT_EQ(Named("web-2").disks[1].capacity_bytes, uint64_t{4} << 20);
  EXPECT_FALSE(Named("web-2").disks[1].uuid.empty());
  EXPECT_EQ(std::filesystem::file_size(directory_ + "/ds1/web-2/web-2-flat.vmdk"), 8u << 20);

  const auto again = BeginCreateVm(*session_, place, vm);
  EXPECT_EQ(FaultTypeOf(Finish(again)), "DuplicateName");
  ASSERT_TRUE(Finish(BeginDestroy(*session_, *made)).ok());
  EXPECT_TRUE(Eventually([&] { return follower_->inventory().vms.count(*made) == 0; }));
}

TEST_F(Vsphere, SnapshotsAreCountedAndTheDisksAreTheirDeltas) {
  ASSERT_TRUE(follower_->Wait(absl::Seconds(1)).ok());
  XmlWriter snapshot;
  snapshot.Text("name", "before").Text("description", "").Bool("memory", false);
  snapshot.Bool("quiesce", false);
  for (int i = 0; i < 2; ++i) {
    const auto reply = session_->Call("CreateSnapshot_Task", RefOf("web-1"), snapshot);
    ASSERT_TRUE(reply.ok()) << reply.status();
    ASSERT_TRUE(Finish(reply->reference()).ok());
  }
  ASSERT_TRUE(Eventually([&] { return Named("web-1").snapshots == 2; }));
  EXPECT_TRUE(Named("web-1").disks[0].has_parent);
  ASSERT_TRUE(Finish(BeginRemoveAllSnapshots(*session_, RefOf("web-1"))).ok());
  ASSERT_TRUE(Eventually([&] { return Named("web-1").snapshots == 0; }));
  EXPECT_FALSE(Named("web-1").disks[0].has_parent);
}

TEST_F(Vsphere, WhoMayOnlyLookIsToldWhatIsMissing) {
  auto viewer = Session::Open(vcenter_->EndpointFor("viewer"));
  ASSERT_TRUE(viewer.ok()) << viewer.status();
  const auto missing = MissingPrivileges(**viewer, {(*viewer)->content().root_folder});
  ASSERT_TRUE(missing.ok()) << missing.status();
  EXPECT_EQ(missing->size(), NeededPrivileges().size() - 2) << "all but System.Read and View";
  const auto ours = MissingPrivileges(*session_, {session_->content().root_folder});
  ASSERT_TRUE(ours.ok()) << ours.status();
  EXPECT_TRUE(ours->empty());
  ASSERT_TRUE(follower_->Wait(absl::Seconds(1)).ok());
  EXPECT_TRUE(absl::IsPermissionDenied(BeginPowerOff(**viewer, RefOf("web-1")).status()));
  Follower theirs(**viewer);
  ASSERT_TRUE(theirs.Wait(absl::Seconds(1)).ok());
  EXPECT_TRUE(theirs.inventory().datastores.empty());
  EXPECT_EQ(theirs.inventory().vms.size(), 2u);
}

TEST_F(Vsphere, OnlyTheCertificateThatWasNamedIsTrusted) {
  Endpoint endpoint = vcenter_->EndpointFor("homeward");
  const std::string shown = endpoint.thumbprint;
  endpoint.thumbprint[0] = endpoint.thumbprint[0] == 'A' ? 'B' : 'A';
  const absl::Status refused = Session::Open(endpoint).status();
  EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr(shown));
  EXPECT_THAT(std::string(vcenter_->Order("{}").value()), ::testing::Not(HasSubstr("\"Login\":2")))
      << "no password was sent";
  endpoint.thumbprint.clear();
  endpoint.trusted = HttpsClient::ShownCertificate(endpoint.address, {}, absl::Seconds(5)).value();
  EXPECT_TRUE(Session::Open(endpoint).ok()) << "as its own CA";
  endpoint.password = "wrong";
  const absl::Status login = Session::Open(endpoint).status();
  EXPECT_TRUE(absl::IsUnauthenticated(login)) << login;
  EXPECT_THAT(std::string(login.message()), HasSubstr("homeward"));
  EXPECT_THAT(std::string(login.message()), ::testing::Not(HasSubstr("wrong")));
}

TEST_F(Vsphere, ASessionThatEndedIsOpenedAgain) {
  ASSERT_TRUE(follower_->Wait(absl::Seconds(1)).ok());
  Order(R"({"expire_sessions": true})");
  EXPECT_TRUE(Finish(BeginPowerOff(*session_, RefOf("web-1"))).ok());
  EXPECT_EQ(session_->logins(), 2u);
  EXPECT_TRUE(Eventually([&] { return Named("web-1").off(); })) << "the inventory goes on too";
}

TEST_F(Vsphere, AVcenterThatRestartsIsFollowedAgain) {
  ASSERT_TRUE(follower_->Wait(absl::Seconds(1)).ok());
  const Ref web = RefOf("web-1");
  ASSERT_TRUE(Finish(BeginPowerOff(*session_, web)).ok());
  Order(R"({"down_ms": 1500})");
  bool gone = false, back = false;
  const RealClock clock;
  for (const absl::Duration end = clock.Monotonic() + absl::Seconds(20);
       clock.Monotonic() < end && !back;) {
    const absl::Status status = follower_->Wait(absl::Seconds(1)).status();
    gone = gone || absl::IsUnavailable(status);
    back = gone && status.ok();
  }
  EXPECT_TRUE(gone);
  ASSERT_TRUE(back);
  EXPECT_TRUE(Named("web-1").off());
  EXPECT_EQ(follower_->inventory().vms.size(), 2u);
  EXPECT_TRUE(Finish(BeginPowerOn(*session_, web)).ok());
}

TEST_F(Vsphere, FaultsKeepTheirTypeAndALostReplyIsNeverACallRepeated) {
  ASSERT_TRUE(follower_->Wait(absl::Seconds(1)).ok());
  const Ref web = RefOf("web-1");
  Order(R"({"fault": {"method": "PowerOffVM_Task", "fault": "TaskInProgress", "count": 1}})");
  const absl::Status busy = Finish(BeginPowerOff(*session_, web));
  EXPECT_TRUE(absl::IsAborted(busy)) << busy;
  EXPECT_EQ(FaultTypeOf(busy), "TaskInProgress");
  Order(R"({"fault": {"method": "PowerOffVM_Task", "fault": "http_503", "count": 1}})");
  EXPECT_TRUE(absl::IsUnavailable(BeginPowerOff(*session_, web).status()));
  EXPECT_TRUE(Eventually([&] { return Named("web-1").on(); }));

  Order(R"({"fault": {"method": "PowerOffVM_Task", "fault": "drop_reply", "count": 1}})");
  const absl::Status unknown = BeginPowerOff(*session_, web).status();
  EXPECT_TRUE(absl::IsUnavailable(unknown)) << unknown;
  EXPECT_TRUE(Eventually([&] { return Named("web-1").off(); })) << "it was done all the same";
  EXPECT_THAT(vcenter_->Order("{}").value(), HasSubstr("\"PowerOffVM_Task\":3"))
      << "and sent no second time";
}

TEST_F(Vsphere, ATaskIsFollowedWithItsProgressAndCanBeLeft) {
  ASSERT_TRUE(follower_->Wait(absl::Seconds(1)).ok());
  Order(R"({"fault": {"method": "PowerOffVM_Task", "delay_ms": 1200, "count": 2}})");
  const std::vector<Ref> vms = {RefOf("web-1")};
  EXPECT_EQ(*IsAtWork(*session_, vms), false);
  auto task = BeginPowerOff(*session_, RefOf("web-1"));
  ASSERT_TRUE(task.ok());
  EXPECT_EQ(*IsAtWork(*session_, vms), true);
  const absl::Status early = AwaitTask(*session_, *task, absl::Milliseconds(200)).status();
  std::vector<int> percents;
  const auto done = AwaitTask(*session_, *task, absl::Seconds(20),
                              [&](int percent) { percents.push_back(percent); });
  EXPECT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(*IsAtWork(*session_, vms), false);
  EXPECT_TRUE(std::is_sorted(percents.begin(), percents.end()));
  ASSERT_TRUE(Finish(BeginPowerOn(*session_, RefOf("web-1"))).ok());
  task = BeginPowerOff(*session_, RefOf("web-1"));
  ASSERT_TRUE(task.ok());
  const std::atomic<bool> cancelled = true;
  EXPECT_TRUE(absl::IsCancelled(
      AwaitTask(*session_, *task, absl::Seconds(20), nullptr, &cancelled).status()));
}

TEST_F(Vsphere, FiveThousandVmsAreReadInPagesAndFollowed) {
  follower_.reset();
  Start(absl::StrReplaceAll(
      R"({"accounts": [{"user": "homeward", "password": "secret"}],
          "bulk": {"hosts": 200, "vms": 5000, "directory": "DIR/bulk"}})",
      {{"DIR", directory_}}));
  const RealClock clock;
  const absl::Duration begun = clock.Monotonic();
  ASSERT_TRUE(follower_->Wait(absl::Seconds(1)).ok());
  const absl::Duration read = clock.Monotonic() - begun;
  EXPECT_EQ(follower_->inventory().vms.size(), 5000u);
  EXPECT_EQ(follower_->inventory().hosts.size(), 200u);
  for (const auto& [ref, vm] : follower_->inventory().vms)
    ASSERT_FALSE(vm.bios_uuid.empty()) << ref.value;
  ASSERT_TRUE(Finish(BeginPowerOn(*session_, RefOf("bulk-vm04711"))).ok());
  const absl::Duration changed = clock.Monotonic();
  ASSERT_TRUE(Eventually([&] { return Named("bulk-vm04711").on(); }));
  std::printf("5,000 VMs on 200 hosts: read in %.1f s, a change seen after %.2f s\n",
              absl::ToDoubleSeconds(read), absl::ToDoubleSeconds(clock.Monotonic() - changed));
}

TEST_F(Vsphere, AHostWithoutAVcenterIsFollowedToo) {
  follower_.reset();
  Start(absl::StrReplaceAll(
      R"({"single_host": true, "accounts": [{"user": "homeward", "password": "secret"}],
          "datacenters": [{"name": "ha-datacenter", "hosts": [{"name": "esx9.lab"}],
            "datastores": [{"name": "local", "type": "VMFS", "directory": "DIR/local",
                            "capacity_mb": 1000, "hosts": {"esx9.lab": "readWrite"}}],
            "vms": [{"name": "web-9", "host": "esx9.lab", "datastore": "local",
                     "controllers": ["lsilogic"], "powered_on": true,
                     "disks": [{"file": "web-9.vmdk", "size_mb": 16, "controller": 0,
                                "unit": 0}]}]}]})",
      {{"DIR", directory_}}));
  ASSERT_TRUE(follower_->Wait(absl::Seconds(1)).ok());
  EXPECT_FALSE(follower_->inventory().is_vcenter);
  EXPECT_EQ(follower_->inventory().hosts.size(), 1u);
  EXPECT_EQ(Named("web-9").disks.size(), 1u);
  const auto missing = MissingPrivileges(*session_, {session_->content().root_folder});
  ASSERT_TRUE(missing.ok()) << missing.status();
  EXPECT_TRUE(missing->empty());
  const auto datacenter = follower_->inventory().DatacenterOf(Named("web-9").parent);
  ASSERT_TRUE(datacenter.has_value());
  EXPECT_NE(follower_->inventory().FindDatastore(Named("web-9").disks[0].file, *datacenter),
            nullptr);
  ASSERT_TRUE(Finish(BeginPowerOff(*session_, RefOf("web-9"))).ok());
  EXPECT_TRUE(Eventually([&] { return Named("web-9").off(); }));
}

TEST_F(Vsphere, WhatIsNoVcenterIsSaidToBeNone) {
  HttpsOptions options;
  Endpoint endpoint = vcenter_->EndpointFor("homeward");
  options.address = endpoint.address;
  options.trusted = HttpsClient::ShownCertificate(endpoint.address, {}, absl::Seconds(5)).value();
  options.check_name = false;
  HttpsClient client(options);
  HttpsRequest request;
  request.path = "/redirect";
  const auto reply = client.Post(request);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->code, 307) << "and is not followed";
  options.reply_bytes_max = 100;
  HttpsClient small(options);
  request.path = "/sdk";
  request.body = MakeRequest("RetrieveServiceContent", {"ServiceInstance", "ServiceInstance"}, {});
  EXPECT_TRUE(absl::IsResourceExhausted(small.Post(request).status()));
  endpoint.address.port = 1;
  EXPECT_TRUE(absl::IsUnavailable(Session::Open(endpoint).status()));
}

}  // namespace
}  // namespace homeward::vsphere
