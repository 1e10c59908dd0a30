// Arm and Tokens against the simulated Azure Resource Manager, and what Azure can do to them.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/azure/address.h"
#include "common/azure/arm.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_azure.h"

namespace homeward::azure {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr char kGroup[] = "lab";
constexpr char kConfig[] = R"({"groups": ["lab", "other"], "operation_ms": 30, "retry_after_s": 1,
  "networks": [{"group": "other", "name": "vnet", "prefixes": ["10.20.0.0/16"],
                "subnets": [{"name": "prod", "prefix": "10.20.1.0/24"}]}],
  "accounts": [{"group": "other", "name": "acct", "blob": "https://127.0.0.1:1/acct"}]})";
constexpr uint64_t kMiB = 1 << 20;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream out;
  out << file.rdbuf();
  return out.str();
}

void PutNumber(std::string& into, size_t at, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i)
    into[at + i] = static_cast<char>(value >> (8 * (bytes - 1 - i)));
}

// A fixed VHD (Virtual Hard Disk Image Format Specification, 1.0).
std::string MakeVhd(char fill, uint64_t bytes) {
  std::string footer(512, '\0');
  footer.replace(0, 8, "conectix");
  PutNumber(footer, 8, 2, 4);
  PutNumber(footer, 12, 0x10000, 4);
  PutNumber(footer, 16, ~uint64_t{0}, 8);
  PutNumber(footer, 40, bytes, 8);
  PutNumber(footer, 48, bytes, 8);
  PutNumber(footer, 60, 2, 4);
  uint32_t sum = 0;
  for (const char c : footer) sum += static_cast<unsigned char>(c);
  PutNumber(footer, 64, ~sum, 4);
  return std::string(bytes, fill) + footer;
}

class ArmTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = "/var/tmp/homeward-azure-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    std::filesystem::create_directories(directory_ + "/blobs");
    Write("os.vhd", MakeVhd('o', 2 * kMiB));
    Write("data.vhd", MakeVhd('d', kMiB));
    const std::string log = directory_ + "/hooks";
    auto started = FakeAzure::Start(
        directory_, kConfig,
        {"--blobs", directory_ + "/blobs", "--on-power-on",
         absl::StrCat("echo on $AZURE_VM_NAME $AZURE_VM_ID $AZURE_VM_DISKS >>", log),
         "--on-power-off", absl::StrCat("echo off $AZURE_VM_NAME >>", log)});
    ASSERT_TRUE(started.ok()) << started.status();
    azure_ = *std::move(started);
    Open(azure_->Secret(), azure_->Options());
  }
  void TearDown() override {
    arm_.reset();
    azure_.reset();
    std::filesystem::remove_all(directory_);
  }
  void Open(Credential credential, ArmOptions options) {
    arm_.reset();
    auto tokens = MakeTokens(std::move(credential), time_, time_);
    ASSERT_TRUE(tokens.ok()) << tokens.status();
    tokens_ = *std::move(tokens);
    auto arm = Arm::Open(std::move(options), *tokens_, time_, time_);
    ASSERT_TRUE(arm.ok()) << arm.status();
    arm_ = *std::move(arm);
  }
  // Tries again for long, so that a slow machine does not end what is expected to end well.
  void OpenPatiently() {
    ArmOptions options = azure_->Options();
    options.retry_limit = absl::Minutes(25);
    Open(azure_->Secret(), options);
  }
  void Write(const std::string& name, const std::string& content) {
    std::ofstream(directory_ + "/blobs/" + name, std::ios::binary) << content;
  }
  std::string Order(const std::string& json) {
    const auto reply = azure_->Order(json);
    EXPECT_TRUE(reply.ok()) << reply.status();
    return reply.value_or("");
  }
  void Fault(const std::string& json) { Order(absl::StrCat("{\"fault\": ", json, "}")); }
  int Calls(const std::string& what) {
    const std::string reply = Order("{}");
    const size_t at = reply.find(absl::StrCat("\"", what, "\":"));
    return at == reply.npos ? 0 : std::atoi(reply.c_str() + at + what.size() + 3);
  }

  DiskSpec BootDisk() {
    DiskSpec spec;
    spec.region = "westeurope";
    spec.source_uri = azure_->endpoint() + "/_blobs/os.vhd";
    spec.storage_account_id =
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/"
        "storageAccounts/a";
    spec.os_type = "Linux";
    spec.generation = "V2";
    spec.tags = {{"homeward-machine", "m"}};
    return spec;
  }
  DiskSpec DataDisk() {
    DiskSpec spec = BootDisk();
    spec.source_uri = azure_->endpoint() + "/_blobs/data.vhd";
    spec.os_type = spec.generation = "";
    return spec;
  }
  InterfaceSpec Nic() {
    InterfaceSpec spec;
    spec.region = "westeurope";
    spec.subnet = kSubnet;
    spec.tags = {{"homeward-machine", "m"}};
    return spec;
  }
  VmSpec Spec() {
    VmSpec spec;
    spec.region = "westeurope";
    spec.size = "Standard_B1s";
    spec.os_disk = arm_->DiskId(kGroup, "vm-disk0");
    spec.data_disks = {arm_->DiskId(kGroup, "vm-disk1")};
    spec.interfaces = {arm_->InterfaceId(kGroup, "vm-nic")};
    spec.tags = {{"homeward-machine", "m"}};
    return spec;
  }
  void MakeParts() {
    const auto boot = arm_->PutDisk(kGroup, "vm-disk0", BootDisk());
    ASSERT_TRUE(boot.ok()) << boot.status();
    const auto data = arm_->PutDisk(kGroup, "vm-disk1", DataDisk());
    ASSERT_TRUE(data.ok()) << data.status();
    const auto nic = arm_->PutInterface(kGroup, "vm-nic", Nic());
    ASSERT_TRUE(nic.ok()) << nic.status();
  }
  void MakeVm() {
    MakeParts();
    const auto vm = arm_->PutVm(kGroup, "vm", Spec());
    ASSERT_TRUE(vm.ok()) << vm.status();
  }
  std::string Power() {
    const auto view = arm_->InstanceView(kGroup, "vm");
    EXPECT_TRUE(view.ok()) << view.status();
    return view.ok() ? view->power : "";
  }

  static constexpr char kSubnet[] =
      "/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/other/providers/"
      "Microsoft.Network/virtualNetworks/vnet/subnets/prod";
  std::string directory_;
  QuickTime time_;
  std::unique_ptr<FakeAzure> azure_;
  std::unique_ptr<Tokens> tokens_;
  std::unique_ptr<Arm> arm_;
};

TEST_F(ArmTest, SiteIsShown) {
  const auto group = arm_->GetGroup("LAB");
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ(group->region, "westeurope");
  EXPECT_TRUE(absl::IsNotFound(arm_->GetGroup("none").status()));

  const auto subnet = arm_->GetSubnet(kSubnet);
  ASSERT_TRUE(subnet.ok()) << subnet.status();
  EXPECT_THAT(subnet->prefixes, ElementsAre("10.20.1.0/24"));
  const std::string network_id =
      std::string(kSubnet).substr(0, std::string(kSubnet).find("/subnets"));
  const auto network = arm_->GetNetwork(network_id);
  ASSERT_TRUE(network.ok()) << network.status();
  EXPECT_EQ(network->region, "westeurope");
  ASSERT_THAT(network->subnets, SizeIs(1));
  EXPECT_TRUE(SameResource(network->subnets[0].id, kSubnet));
  EXPECT_TRUE(absl::IsInvalidArgument(arm_->GetSubnet(network_id).status()));

  const auto sizes = arm_->VmSizes("westeurope");
  ASSERT_TRUE(sizes.ok()) << sizes.status();
  ASSERT_THAT(*sizes, SizeIs(3));
  EXPECT_EQ((*sizes)[1].name, "Standard_D2s_v5");
  EXPECT_EQ((*sizes)[1].cores, 2);
  EXPECT_EQ((*sizes)[1].memory_bytes, 8192 * kMiB);
  EXPECT_EQ((*sizes)[1].data_disks_max, 4);
  EXPECT_FALSE(arm_->VmSizes("marsnorth").ok());
}

TEST_F(ArmTest, StorageAccountIsShown) {
  const std::string id =
      "/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/other/providers/"
      "Microsoft.Storage/storageAccounts/";
  const auto account = arm_->GetStorageAccount(id + "acct");
  ASSERT_TRUE(account.ok()) << account.status();
  EXPECT_EQ(account->name, "acct");
  EXPECT_EQ(account->region, "westeurope");
  EXPECT_EQ(account->kind, "StorageV2");
  EXPECT_EQ(account->blobs, "https://127.0.0.1:1/acct/");
  EXPECT_TRUE(absl::IsNotFound(arm_->GetStorageAccount(id + "none").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(arm_->GetStorageAccount(kSubnet).status()));
}

TEST_F(ArmTest, ResourcesWithATagAreListedInAllGroups) {
  MakeVm();
  Order(absl::StrCat(R"({"to_group": "other", "move": ")", arm_->VmId(kGroup, "vm"), "\"}"));
  Order(R"({"page_size": 1})");
  const auto tagged = arm_->ListTagged("homeward-machine", "m");
  ASSERT_TRUE(tagged.ok()) << tagged.status();
  std::vector<std::string> types;
  for (const AnyResource& each : *tagged) types.push_back(each.type + " " + each.name);
  EXPECT_THAT(
      types, ElementsAre("Microsoft.Compute/virtualMachines vm", "Microsoft.Compute/disks vm-disk0",
                         "Microsoft.Compute/disks vm-disk1",
                         "Microsoft.Network/networkInterfaces vm-nic"));
  EXPECT_TRUE(SameResource(tagged->front().id, arm_->VmId("other", "vm")));
  EXPECT_EQ(tagged->front().tags.at("homeward-machine"), "m");
  EXPECT_THAT(*arm_->ListTagged("homeward-machine", "another"), IsEmpty());
}

TEST_F(ArmTest, VmIsMadeOfImportedDisksAndBoots) {
  MakeVm();
  const auto disk = arm_->GetDisk(kGroup, "vm-disk0");
  ASSERT_TRUE(disk.ok()) << disk.status();
  EXPECT_EQ(disk->bytes, 2 * kMiB);
  EXPECT_EQ(disk->generation, "V2");
  EXPECT_EQ(disk->state, "Attached");
  EXPECT_EQ(disk->sku, "StandardSSD_LRS");
  EXPECT_EQ(disk->tags.at("homeward-machine"), "m");
  EXPECT_TRUE(SameResource(disk->managed_by, arm_->VmId(kGroup, "vm")));

  const auto vm = arm_->GetVm(kGroup, "vm");
  ASSERT_TRUE(vm.ok()) << vm.status();
  EXPECT_EQ(vm->provisioning_state, "Succeeded");
  EXPECT_EQ(vm->size, "Standard_B1s");
  EXPECT_TRUE(SameResource(vm->os_disk.id, arm_->DiskId(kGroup, "vm-disk0")));
  ASSERT_THAT(vm->data_disks, SizeIs(1));
  EXPECT_EQ(vm->data_disks[0].lun, 0);
  EXPECT_FALSE(vm->data_disks[0].goes_along);
  EXPECT_EQ(vm->tags.at("homeward-machine"), "m");
  const auto view = arm_->InstanceView(kGroup, "vm");
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(view->power, "running");
  EXPECT_EQ(view->generation, "V2");
  EXPECT_EQ(view->provisioning_state, "succeeded");

  // The guest is started with its disks, in the order of their LUNs.
  const std::vector<std::string> words = absl::StrSplit(ReadFile(directory_ + "/hooks"), ' ');
  ASSERT_THAT(words, SizeIs(4));
  EXPECT_EQ(words[2], vm->vm_id);
  const std::vector<std::string> files =
      absl::StrSplit(words[3].substr(0, words[3].find('\n')), ':');
  ASSERT_THAT(files, SizeIs(2));
  EXPECT_EQ(ReadFile(files[0]), std::string(2 * kMiB, 'o'));
  EXPECT_EQ(ReadFile(files[1]), std::string(kMiB, 'd'));

  const auto nic = arm_->GetInterface(kGroup, "vm-nic");
  ASSERT_TRUE(nic.ok()) << nic.status();
  EXPECT_EQ(nic->address, "10.20.1.4");
  EXPECT_THAT(nic->mac, HasSubstr("00-0D-3A"));
  EXPECT_TRUE(SameResource(nic->vm, vm->id));
}

TEST_F(ArmTest, PowerGoesThroughItsStates) {
  MakeVm();
  ASSERT_TRUE(arm_->PowerOff(kGroup, "vm", false).ok());
  EXPECT_EQ(Power(), "stopped");
  ASSERT_TRUE(arm_->PowerOff(kGroup, "vm", true).ok());  // as it is
  ASSERT_TRUE(arm_->Start(kGroup, "vm").ok());
  EXPECT_EQ(Power(), "running");
  ASSERT_TRUE(arm_->Start(kGroup, "vm").ok());
  ASSERT_TRUE(arm_->Deallocate(kGroup, "vm").ok());
  EXPECT_EQ(Power(), "deallocated");
  ASSERT_TRUE(arm_->Deallocate(kGroup, "vm").ok());
  EXPECT_EQ(arm_->GetDisk(kGroup, "vm-disk0")->state, "Reserved");
  const std::vector<std::string> hooks = absl::StrSplit(ReadFile(directory_ + "/hooks"), '\n');
  EXPECT_THAT(hooks, SizeIs(5));  // on, off, on, off, and nothing
}

TEST_F(ArmTest, WhatIsInUseIsNotDeleted) {
  MakeVm();
  const absl::Status disk = arm_->DeleteDisk(kGroup, "vm-disk1");
  EXPECT_TRUE(absl::IsFailedPrecondition(disk)) << disk;
  EXPECT_EQ(AzureErrorOf(disk), "OperationNotAllowed");
  EXPECT_THAT(disk.message(), AllOf(HasSubstr("DELETE disks vm-disk1 in group lab"),
                                    HasSubstr("is attached to VM"), HasSubstr("request ")));
  const absl::Status nic = arm_->DeleteInterface(kGroup, "vm-nic");
  EXPECT_TRUE(absl::IsFailedPrecondition(nic)) << nic;
  EXPECT_EQ(AzureErrorOf(nic), "NicInUse");

  ASSERT_TRUE(arm_->DeleteVm(kGroup, "vm").ok());
  EXPECT_TRUE(absl::IsNotFound(arm_->GetVm(kGroup, "vm").status()));
  EXPECT_EQ(arm_->GetDisk(kGroup, "vm-disk0")->state, "Unattached");
  for (int i = 0; i < 2; ++i) {  // What is gone already is fine.
    EXPECT_TRUE(arm_->DeleteVm(kGroup, "vm").ok());
    EXPECT_TRUE(arm_->DeleteDisk(kGroup, "vm-disk0").ok());
    EXPECT_TRUE(arm_->DeleteDisk(kGroup, "vm-disk1").ok());
    EXPECT_TRUE(arm_->DeleteInterface(kGroup, "vm-nic").ok());
  }
  EXPECT_THAT(*arm_->ListDisks(kGroup), IsEmpty());
  // But a group that is not there is a mistake.
  EXPECT_TRUE(absl::IsNotFound(arm_->DeleteDisk("labb", "vm-disk0")));
}

TEST_F(ArmTest, PartsGoAlongWhereTheVmSaysSo) {
  MakeParts();
  VmSpec spec = Spec();
  spec.takes_along = true;
  const auto vm = arm_->PutVm(kGroup, "vm", spec);
  ASSERT_TRUE(vm.ok()) << vm.status();
  EXPECT_TRUE(vm->os_disk.goes_along);
  ASSERT_TRUE(arm_->DeleteVm(kGroup, "vm").ok());
  EXPECT_THAT(*arm_->ListDisks(kGroup), IsEmpty());
  EXPECT_THAT(*arm_->ListInterfaces(kGroup), IsEmpty());
}

TEST_F(ArmTest, OnlyFixedVhdsAreImported) {
  std::string cut = MakeVhd('x', kMiB);
  Write("odd.vhd", MakeVhd('x', kMiB + 512));
  Write("raw.vhd", std::string(kMiB + 512, 'x'));
  std::string wrong = cut;
  wrong[wrong.size() - 512 + 64] ^= 1;
  Write("checksum.vhd", wrong);
  std::string dynamic = cut;
  PutNumber(dynamic, dynamic.size() - 512 + 60, 3, 4);
  Write("dynamic.vhd", dynamic);
  for (const char* const name : {"odd", "raw", "checksum", "dynamic", "none"}) {
    DiskSpec spec = BootDisk();
    spec.source_uri = absl::StrCat(azure_->endpoint(), "/_blobs/", name, ".vhd");
    const absl::Status status = arm_->PutDisk(kGroup, "d", spec).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << name << ": " << status;
  }
  EXPECT_THAT(*arm_->ListDisks(kGroup), IsEmpty());
}

TEST_F(ArmTest, VmOfWrongPartsIsRefused) {
  MakeParts();
  VmSpec spec = Spec();
  spec.size = "Standard_None";
  EXPECT_TRUE(absl::IsInvalidArgument(arm_->PutVm(kGroup, "vm", spec).status()));
  spec = Spec();
  spec.data_disks.push_back(arm_->DiskId(kGroup, "nowhere"));
  EXPECT_TRUE(absl::IsNotFound(arm_->PutVm(kGroup, "vm", spec).status()));
  spec = Spec();
  spec.interfaces = {arm_->InterfaceId(kGroup, "nowhere")};
  EXPECT_TRUE(absl::IsNotFound(arm_->PutVm(kGroup, "vm", spec).status()));
  ASSERT_TRUE(arm_->PutVm(kGroup, "vm", Spec()).ok());
  const absl::Status taken = arm_->PutVm(kGroup, "second", Spec()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(taken)) << taken;
  EXPECT_THAT(taken.message(), HasSubstr("already owned by VM"));
}

TEST_F(ArmTest, ContentIsReadThroughGrantedAccess) {
  MakeParts();
  const auto url = arm_->GrantAccess(kGroup, "vm-disk1", absl::Minutes(5));
  ASSERT_TRUE(url.ok()) << url.status();
  EXPECT_EQ(arm_->GetDisk(kGroup, "vm-disk1")->state, "ActiveSAS");
  EXPECT_TRUE(absl::IsFailedPrecondition(arm_->DeleteDisk(kGroup, "vm-disk1")));
  const auto address = ParseWebAddress(*url);
  ASSERT_TRUE(address.ok());
  HttpsOptions options;
  options.address = address->host;
  options.trusted = azure_->trusted();
  HttpsClient client(options);
  HttpsRequest request;
  request.path = address->path;
  const auto content = client.Call(HttpsMethod::kGet, request);
  ASSERT_TRUE(content.ok()) << content.status();
  EXPECT_EQ(content->body.substr(0, kMiB), std::string(kMiB, 'd'));
  EXPECT_EQ(content->body.substr(kMiB, 8), "conectix");
  ASSERT_TRUE(arm_->RevokeAccess(kGroup, "vm-disk1").ok());
  EXPECT_EQ(client.Call(HttpsMethod::kGet, request)->code, 403);
  ASSERT_TRUE(arm_->RevokeAccess(kGroup, "vm-disk1").ok());
}

TEST_F(ArmTest, ListsAreReadToTheLastPage) {
  Order(R"({"page_size": 2})");
  for (int i = 0; i < 5; ++i)
    ASSERT_TRUE(arm_->PutInterface(kGroup, absl::StrCat("nic", i), Nic()).ok());
  const auto all = arm_->ListInterfaces(kGroup);
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_THAT(*all, SizeIs(5));
  EXPECT_EQ((*all)[4].name, "nic4");
  EXPECT_EQ(Calls("GET networkInterfaces"), 5 + 3);  // each PUT is read back
  EXPECT_THAT(*arm_->ListVms(kGroup), IsEmpty());
}

TEST_F(ArmTest, TokenGoesToNoOtherHost) {
  Fault(R"({"method": "GET", "path": "/disks$", "count": 1, "status": 200,
            "body": "{\"value\": [], \"nextLink\": \"https://127.0.0.1:1/more\"}"})");
  const absl::Status status = arm_->ListDisks(kGroup).status();
  EXPECT_TRUE(absl::IsInternal(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("another host"));
}

TEST_F(ArmTest, PutThatIsRepeatedChangesNothing) {
  MakeVm();
  const std::string before = arm_->GetVm(kGroup, "vm")->vm_id;
  MakeVm();
  EXPECT_EQ(arm_->GetVm(kGroup, "vm")->vm_id, before);
  EXPECT_EQ(Power(), "running");
  ASSERT_TRUE(arm_->Deallocate(kGroup, "vm").ok());
  ASSERT_TRUE(arm_->PutVm(kGroup, "vm", Spec()).ok());
  EXPECT_EQ(Power(), "deallocated");
}

TEST_F(ArmTest, ThrottledCallsWaitAsLongAsAzureSays) {
  Fault(R"({"path": "/disks/", "count": 3, "status": 429, "code": "TooManyRequests",
            "message": "slow down", "retry_after_s": 17})");
  ASSERT_TRUE(absl::IsNotFound(arm_->GetDisk(kGroup, "d").status()));
  const auto waits = time_.waits();
  EXPECT_EQ(std::count_if(waits.begin(), waits.end(),
                          [](absl::Duration wait) { return wait >= absl::Seconds(16); }),
            3);
}

TEST_F(ArmTest, EndlessThrottlingIsExhaustion) {
  Fault(R"({"path": "/disks/", "status": 429, "code": "TooManyRequests", "message": "slow down",
            "retry_after_s": 60})");
  const absl::Status status = arm_->GetDisk(kGroup, "d").status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(AzureErrorOf(status), "TooManyRequests");
  EXPECT_TRUE(IsThrottled(status));
  EXPECT_LT(Calls("GET disks"), 10);
}

TEST_F(ArmTest, AnotherOperationOnAResourceIsWaitedFor) {
  Fault(R"({"method": "PUT", "path": "/networkInterfaces/", "count": 1, "status": 429,
            "code": "RetryableErrorDueToAnotherOperation", "message": "locked"})");
  Fault(R"({"method": "PUT", "path": "/networkInterfaces/", "count": 1, "status": 409,
            "code": "AnotherOperationInProgress", "message": "in progress"})");
  EXPECT_TRUE(arm_->PutInterface(kGroup, "nic", Nic()).ok());
  Fault(R"({"method": "DELETE", "path": "/networkInterfaces/", "count": 2, "status": 400,
            "code": "NicReservedForAnotherVm", "message": "for 180 seconds"})");
  EXPECT_TRUE(arm_->DeleteInterface(kGroup, "nic").ok());
  Fault(R"({"method": "PUT", "path": "/networkInterfaces/", "status": 409,
            "code": "AnotherOperationInProgress", "message": "in progress"})");
  EXPECT_TRUE(absl::IsAborted(arm_->PutInterface(kGroup, "nic", Nic()).status()));
}

TEST_F(ArmTest, BrokenServersAreTriedAgain) {
  for (const int code : {500, 502, 503, 504})
    Fault(
        absl::StrCat(R"({"path": "/disks/", "count": 1, "body": "<html>", "status": )", code, "}"));
  Fault(R"({"path": "/disks/", "count": 2, "drop": "request"})");
  EXPECT_TRUE(absl::IsNotFound(arm_->GetDisk(kGroup, "d").status()));
  EXPECT_EQ(Calls("GET disks"), 7);

  Fault(R"({"path": "/disks/", "status": 503, "code": "ServiceUnavailable", "message": "later"})");
  const absl::Status status = arm_->GetDisk(kGroup, "d").status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("read disks d in group lab"), HasSubstr("ServiceUnavailable"),
                    HasSubstr("later"), Not(HasSubstr("request none"))));
}

TEST_F(ArmTest, LostRepliesAreMadeUpFor) {
  OpenPatiently();
  MakeParts();
  for (const char* const path : {"/disks/third$", "/virtualMachines/vm$", "/deallocate$", "/start$",
                                 "/powerOff$", "/operations/"}) {
    Fault(absl::StrCat(R"({"count": 1, "drop": "reply", "path": ")", path, "\"}"));
  }
  const auto disk = arm_->PutDisk(kGroup, "third", DataDisk());
  ASSERT_TRUE(disk.ok()) << disk.status();
  const auto vm = arm_->PutVm(kGroup, "vm", Spec());
  ASSERT_TRUE(vm.ok()) << vm.status();
  EXPECT_EQ(vm->provisioning_state, "Succeeded");
  EXPECT_TRUE(arm_->Deallocate(kGroup, "vm").ok());
  EXPECT_EQ(Power(), "deallocated");
  EXPECT_TRUE(arm_->Start(kGroup, "vm").ok());
  EXPECT_TRUE(arm_->PowerOff(kGroup, "vm", true).ok());
  EXPECT_EQ(Power(), "stopped");
  Fault(R"({"method": "DELETE", "count": 1, "drop": "reply"})");
  EXPECT_TRUE(arm_->DeleteVm(kGroup, "vm").ok());
  EXPECT_TRUE(absl::IsNotFound(arm_->GetVm(kGroup, "vm").status()));
}

TEST_F(ArmTest, TokenThatEndsMidwayIsRenewed) {
  MakeParts();
  int revoked = 0;
  time_.OnWait([&] {
    if (revoked++ < 3) Order(R"({"revoke_tokens": true})");
  });
  const auto vm = arm_->PutVm(kGroup, "vm", Spec());
  ASSERT_TRUE(vm.ok()) << vm.status();
  EXPECT_GT(revoked, 0);
  EXPECT_GT(Calls("POST token"), 1);
}

TEST_F(ArmTest, TokensThatAreNeverTakenAreAnError) {
  Fault(
      R"({"path": "/disks/", "status": 401, "code": "InvalidAuthenticationToken", "message": "no"})");
  const absl::Status status = arm_->GetDisk(kGroup, "d").status();
  EXPECT_TRUE(absl::IsUnauthenticated(status)) << status;
  EXPECT_EQ(Calls("GET disks"), 2);
}

TEST_F(ArmTest, NoCapacityIsExhaustionAndCanBeTriedAgain) {
  MakeParts();
  Fault(
      R"({"method": "PUT", "path": "/virtualMachines/", "count": 1, "operation": {"Code": "AllocationFailed",
            "Message": "We do not have sufficient capacity for the requested VM size in this region."}})");
  const absl::Status status = arm_->PutVm(kGroup, "vm", Spec()).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(AzureErrorOf(status), "AllocationFailed");
  EXPECT_FALSE(IsThrottled(status));
  EXPECT_THAT(status.message(), HasSubstr("sufficient capacity"));
  EXPECT_EQ(arm_->GetVm(kGroup, "vm")->provisioning_state, "Failed");
  const auto view = arm_->InstanceView(kGroup, "vm");
  EXPECT_EQ(view->provisioning_state, "failed/AllocationFailed");
  EXPECT_THAT(view->provisioning_message, HasSubstr("capacity"));
  EXPECT_EQ(view->power, "unknown");
  EXPECT_TRUE(arm_->PutVm(kGroup, "vm", Spec()).ok());
  EXPECT_EQ(Power(), "running");
}

TEST_F(ArmTest, VmThatIsGoneOrMovedIsNotFound) {
  MakeVm();
  Order(absl::StrCat(R"({"to_group": "other", "move": ")", arm_->VmId(kGroup, "vm"), "\"}"));
  EXPECT_TRUE(absl::IsNotFound(arm_->Deallocate(kGroup, "vm")));
  EXPECT_TRUE(absl::IsNotFound(arm_->InstanceView(kGroup, "vm").status()));
  EXPECT_THAT(*arm_->ListVms("other"), SizeIs(1));
  Order(absl::StrCat(R"({"remove": ")", arm_->VmId("other", "vm"), "\"}"));
  EXPECT_TRUE(arm_->DeleteVm("other", "vm").ok());
}

TEST_F(ArmTest, GuestThatShutsDownIsSeen) {
  MakeVm();
  Order(absl::StrCat(R"({"set_power": "stopped", "id": ")", arm_->VmId(kGroup, "vm"), "\"}"));
  EXPECT_EQ(Power(), "stopped");
}

TEST_F(ArmTest, CancelledWaitEndsAndTheOperationGoesOn) {
  OpenPatiently();
  MakeParts();
  std::atomic<bool> stop{false};
  time_.OnWait([&] { stop = true; });
  ArmCall call;
  call.stop = &stop;
  const absl::Status status = arm_->PutVm(kGroup, "vm", Spec(), call).status();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  time_.OnWait(nullptr);
  EXPECT_TRUE(absl::IsCancelled(arm_->GetVm(kGroup, "vm", call).status()));
  // A second one waits for what the first began.
  const auto vm = arm_->PutVm(kGroup, "vm", Spec());
  ASSERT_TRUE(vm.ok()) << vm.status();
  EXPECT_EQ(Power(), "running");
}

TEST_F(ArmTest, RequestThatIsUnderWayIsAnsweredBeforeTheCallStops) {
  Fault(R"({"method": "PUT", "path": "/disks/", "delay_ms": 500})");
  std::atomic<bool> stop{false}, cut{false};
  ArmCall call;
  call.stop = &stop;
  call.cut = &cut;
  absl::Status status;
  std::thread caller([&] { status = arm_->PutDisk(kGroup, "d", BootDisk(), call).status(); });
  while (Calls("PUT disks") == 0) std::this_thread::yield();
  stop = true;
  caller.join();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_TRUE(arm_->GetDisk(kGroup, "d").ok()) << "whoever looks next sees it";
  // Cut: nobody waits for the answer.
  stop = false;
  caller = std::thread([&] { status = arm_->PutDisk(kGroup, "e", BootDisk(), call).status(); });
  while (Calls("PUT disks") == 1) std::this_thread::yield();
  stop = true;
  cut = true;
  caller.join();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

TEST_F(ArmTest, CallEndsAtItsLimit) {
  MakeParts();
  Order(R"({"operation_ms": 600000, "retry_after_s": 10})");
  ArmCall call;
  call.limit = absl::Minutes(2);
  const absl::Status status = arm_->PutVm(kGroup, "vm", Spec(), call).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("goes on"));
  EXPECT_EQ(arm_->GetVm(kGroup, "vm")->provisioning_state, "Creating");
}

TEST_F(ArmTest, RetryAfterOfTheAcceptedReplyIsHeeded) {
  MakeVm();
  Order(R"({"retry_after_s": 23})");
  const size_t before = time_.waits().size();
  ASSERT_TRUE(arm_->Deallocate(kGroup, "vm").ok());
  const auto waits = time_.waits();
  ASSERT_GT(waits.size(), before);
  EXPECT_EQ(waits[before], absl::Seconds(23));
}

TEST_F(ArmTest, OperationWithoutARecordIsAskedOfItsResource) {
  MakeParts();
  Fault(R"({"path": "/operations/", "status": 404, "code": "NotFound", "message": "gone"})");
  const auto vm = arm_->PutVm(kGroup, "vm", Spec());
  ASSERT_TRUE(vm.ok()) << vm.status();
  EXPECT_EQ(vm->provisioning_state, "Succeeded");
  EXPECT_TRUE(absl::IsAborted(arm_->Deallocate(kGroup, "vm")));
}

TEST_F(ArmTest, OperationsOutliveTheirServer) {
  OpenPatiently();
  MakeParts();
  int waits = 0;
  time_.OnWait([&] {
    if (++waits == 1) {
      ASSERT_TRUE(azure_->Crash().ok());
    }
  });
  const auto vm = arm_->PutVm(kGroup, "vm", Spec());
  ASSERT_TRUE(vm.ok()) << vm.status();
  EXPECT_EQ(Power(), "running");
  time_.OnWait(nullptr);
  ASSERT_TRUE(azure_->Crash().ok());
  EXPECT_EQ(Power(), "running");
  EXPECT_EQ(arm_->GetVm(kGroup, "vm")->vm_id, vm->vm_id);
}

TEST_F(ArmTest, FewRemainingRequestsSlowThePolls) {
  MakeVm();
  EXPECT_GT(arm_->requests_left(), 1000);
  // Whether Azure says nothing of a wait, or asks for a short one.
  for (const char* const retry_after : {"-1", "1"}) {
    Order(absl::StrCat(R"({"reads_left": 50, "retry_after_s": )", retry_after, "}"));
    ASSERT_TRUE(arm_->GetVm(kGroup, "vm").ok());
    EXPECT_LE(arm_->requests_left(), 50);
    const size_t before = time_.waits().size();
    ASSERT_TRUE(arm_->Deallocate(kGroup, "vm").ok());
    const auto waits = time_.waits();
    EXPECT_THAT(
        std::vector<absl::Duration>(waits.begin() + static_cast<ptrdiff_t>(before), waits.end()),
        AllOf(Not(IsEmpty()), Each(Ge(absl::Seconds(30)))));
  }
}

TEST_F(ArmTest, AnOperationIsNotLookedAtWithoutPause) {
  MakeVm();
  Order(R"({"retry_after_s": 0})");
  const size_t before = time_.waits().size();
  ASSERT_TRUE(arm_->Deallocate(kGroup, "vm").ok());
  const auto waits = time_.waits();
  EXPECT_THAT(
      std::vector<absl::Duration>(waits.begin() + static_cast<ptrdiff_t>(before), waits.end()),
      AllOf(Not(IsEmpty()), Each(Ge(absl::Milliseconds(100)))));
}

TEST_F(ArmTest, WrongSecretNamesTheApplication) {
  Credential credential = azure_->Secret();
  credential.client_secret = "another";
  Open(credential, azure_->Options());
  const absl::Status status = arm_->GetGroup(kGroup).status();
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("AADSTS7000215"), HasSubstr("22222222"), Not(HasSubstr("another"))));
  EXPECT_EQ(AzureErrorOf(status), "invalid_client");
}

TEST_F(ArmTest, CertificateOfAnotherIsNotTrusted) {
  ArmOptions options = azure_->Options();
  options.trusted = "";  // those of this host
  Open(azure_->Secret(), options);
  const absl::Status status = arm_->GetGroup(kGroup).status();
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
  EXPECT_EQ(AzureErrorOf(status), "") << "it is not Azure that refuses";
}

TEST_F(ArmTest, ManagedIdentityIsTakenFromTheMetadataService) {
  Credential credential = azure_->Secret();
  credential.client_secret = "";
  Open(credential, azure_->Options());
  Order(R"({"fault": {"path": "^/metadata", "status": 410, "count": 1}})");
  Order(R"({"fault": {"path": "^/metadata", "status": 404, "count": 1}})");
  EXPECT_TRUE(arm_->GetGroup(kGroup).ok());
  EXPECT_EQ(Calls("GET metadata"), 3);
  EXPECT_EQ(Calls("POST token"), 0);
}

TEST_F(ArmTest, CertificateIsACredential) {
  const std::string make =
      absl::StrCat("cd ", directory_,
                   " && openssl req -x509 -newkey rsa:2048 -nodes -keyout app.key -out app.pem "
                   "-subj /CN=homeward -days 2 2>/dev/null");
  ASSERT_EQ(std::system(make.c_str()), 0);
  azure_.reset();
  std::string config = kConfig;
  config.replace(0, 1, absl::StrCat("{\"certificate_file\": \"", directory_, "/app.pem\", "));
  auto started = FakeAzure::Start(directory_, config);
  ASSERT_TRUE(started.ok()) << started.status();
  azure_ = *std::move(started);
  Credential credential = azure_->Secret();
  credential.client_secret = "";
  credential.certificate = ReadFile(directory_ + "/app.pem");
  credential.certificate_key = ReadFile(directory_ + "/app.key");
  Open(credential, azure_->Options());
  const auto group = arm_->GetGroup(kGroup);
  EXPECT_TRUE(group.ok()) << group.status();
  // Of another key.
  ASSERT_EQ(std::system(make.c_str()), 0);
  credential.certificate_key = ReadFile(directory_ + "/app.key");
  Open(credential, azure_->Options());
  EXPECT_TRUE(absl::IsPermissionDenied(arm_->GetGroup(kGroup).status()));
}

}  // namespace
}  // namespace homeward::azure
