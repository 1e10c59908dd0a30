// Sites in the simulated Azure: how they are added, and what is seen of them.
#include "config_server/inventory/azure_sites.h"

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/azure/site_fixture.h"

namespace homeward {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class AzureSitesTest : public SiteFixture {
 protected:
  // As `azure add` asks: "done", or the problem's name and message.
  std::string Probe(const storage::v1::AzureSite& site, const std::string& secret = kSecret) {
    const auto access = sites_->AccessTo(site, secret);
    if (!access.ok()) return access.status().ToString();
    const absl::Status probed = ProbeAzureSite(**access).status();
    if (probed.ok()) return "done";
    const auto problem = ProblemOf(probed);
    return problem.has_value() ? absl::StrCat(problem->id(), ": ", problem->message())
                               : probed.ToString();
  }
  std::string Probe(const std::function<void(storage::v1::AzureSite*)>& change) {
    storage::v1::AzureSite site = Site();
    change(&site);
    return Probe(site);
  }

  storage::v1::AzureVm Home() {
    storage::v1::AzureVm vm;
    vm.set_site(kSiteName);
    vm.set_subscription(kSubscription);
    vm.set_resource_group("lab");
    vm.set_region("westeurope");
    vm.set_name("web-1");
    vm.set_generation(4);
    return vm;
  }
  void MakeVm(const azure::Tags& tags) {
    azure::DiskSpec disk;
    disk.region = "westeurope";
    disk.source_uri = BlobUrl("os.vhd");
    disk.storage_account_id = AccountId("acct");
    disk.os_type = "Linux";
    disk.generation = "V1";
    disk.tags = tags;
    ASSERT_TRUE(Eyes().PutDisk("lab", "web-1-disk0", disk).ok());
    azure::InterfaceSpec nic;
    nic.region = "westeurope";
    nic.subnet = NetworkId("vnet", "prod");
    nic.tags = tags;
    ASSERT_TRUE(Eyes().PutInterface("lab", "web-1-nic", nic).ok());
    azure::VmSpec vm;
    vm.region = "westeurope";
    vm.size = "Standard_B1s";
    vm.os_disk = Eyes().DiskId("lab", "web-1-disk0");
    vm.interfaces = {Eyes().InterfaceId("lab", "web-1-nic")};
    vm.tags = tags;
    ASSERT_TRUE(Eyes().PutVm("lab", "web-1", vm).ok());
  }
  bool AwaitVm(const std::function<bool(const AzureVmState&)>& holds) {
    return Eventually([&] {
      const CloudState state = State();
      const auto found = state.vms.find(kMachine);
      return found != state.vms.end() && holds(found->second);
    });
  }
};

TEST_F(AzureSitesTest, SiteThatIsThereIsTakenAndFollowed) {
  const auto access = sites_->AccessTo(Site(), kSecret);
  ASSERT_TRUE(access.ok()) << access.status();
  const auto sizes = ProbeAzureSite(**access);
  ASSERT_TRUE(sizes.ok()) << sizes.status();
  ASSERT_TRUE(sites_->Add(Site(), kSecret, *sizes).ok());
  EXPECT_EQ(State().link, CloudState::Link::kConnected) << "a machine can be protected at once";
  const CloudState state = State();
  EXPECT_EQ(state.site.resource_group(), "lab");
  ASSERT_NE(state.sizes, nullptr);
  EXPECT_EQ(
      *state.sizes,
      (CloudState::Sizes{{"Standard_B1s", 2}, {"Standard_D2s_v5", 4}, {"Standard_D4s_v5", 8}}));
  // After a restart too.
  Close();
  Open();
  EXPECT_TRUE(AwaitLink(CloudState::Link::kConnected));
  EXPECT_TRUE(sites_->Remove(kSiteName).ok());
  EXPECT_THAT(mover_->States(), IsEmpty());
  EXPECT_FALSE(store_->Get<storage::v1::AzureSecret>(kSiteName).has_value());
}

TEST_F(AzureSitesTest, EachThingThatIsWrongIsTold) {
  EXPECT_THAT(Probe(Site(), "another secret"),
              AllOf(HasSubstr("AZURE_LOGIN"), HasSubstr("AADSTS7000215"),
                    Not(HasSubstr("another secret"))));
  EXPECT_THAT(Probe([](auto* site) { site->set_client_id("nobody"); }), HasSubstr("AZURE_LOGIN"));
  EXPECT_THAT(Probe([](auto* site) { site->set_resource_group("recovred"); }),
              AllOf(HasSubstr("AZURE_SITE_WRONG"), HasSubstr("recovred"), HasSubstr("request ")));
  EXPECT_THAT(Probe([](auto* site) { site->set_subscription("44444444"); }),
              AllOf(HasSubstr("AZURE_SITE_WRONG"), HasSubstr("SubscriptionNotFound")));
  EXPECT_THAT(Probe([](auto* site) { site->set_subnet(NetworkId("vnet", "pord")); }),
              AllOf(HasSubstr("AZURE_SITE_WRONG"), HasSubstr("pord")));
  EXPECT_THAT(Probe([](auto* site) { site->set_test_subnet(NetworkId("vnat", "isolated")); }),
              AllOf(HasSubstr("AZURE_SITE_WRONG"), HasSubstr("vnat")));
  EXPECT_THAT(Probe([](auto* site) { site->set_subnet(NetworkId("far", "prod")); }),
              AllOf(HasSubstr("AZURE_SITE_WRONG"), HasSubstr("northeurope")));
  EXPECT_THAT(Probe([](auto* site) { site->set_subnet(AccountId("acct")); }),
              AllOf(HasSubstr("AZURE_SITE_WRONG"), HasSubstr("another kind of resource")));
  EXPECT_THAT(Probe([](auto* site) { site->set_region("marsnorth"); }),
              AllOf(HasSubstr("AZURE_SITE_WRONG"), HasSubstr("marsnorth")));
  EXPECT_THAT(Probe([](auto* site) { site->set_default_size("Standard_B99"); }),
              AllOf(HasSubstr("AZURE_SIZE_UNSUITABLE"), HasSubstr("Standard_B99")));
  EXPECT_THAT(Probe([](auto* site) { site->set_storage_account(AccountId("acctt")); }),
              AllOf(HasSubstr("AZURE_SITE_WRONG"), HasSubstr("acctt")));
  EXPECT_THAT(Probe([](auto* site) { site->set_storage_account(AccountId("distant")); }),
              AllOf(HasSubstr("AZURE_SITE_WRONG"), HasSubstr("northeurope")));
  EXPECT_THAT(Probe([](auto* site) {
                site->set_containers(0, "https://other.blob.core.windows.net/homeward");
              }),
              AllOf(HasSubstr("AZURE_SITE_WRONG"), HasSubstr("https://acct.blob")));
  EXPECT_THAT(Probe([](auto* site) { site->clear_trusted(); }),
              AllOf(HasSubstr("AZURE_NOT_REACHED"), HasSubstr("certificate")));
  EXPECT_THAT(Probe([](auto* site) { site->set_endpoint("https://127.0.0.1:1"); }),
              HasSubstr("AZURE_NOT_REACHED"));
  EXPECT_THAT(Probe([](auto* site) { site->set_authority("https://127.0.0.1:1"); }),
              HasSubstr("AZURE_NOT_REACHED"));
  Fault(R"({"path": "/storageAccounts/", "status": 403, "code": "AuthorizationFailed",
            "message": "may not read"})");
  EXPECT_THAT(Probe(Site()), AllOf(HasSubstr("AZURE_LOGIN"), HasSubstr("may not read")));
}

TEST(AzureAccess, TokensAreForTheCloudOfTheSite) {
  EXPECT_EQ(AudienceOf("https://management.azure.com"), "https://management.azure.com/");
  EXPECT_EQ(AudienceOf("https://management.usgovcloudapi.net/"),
            "https://management.usgovcloudapi.net/");
  EXPECT_EQ(AudienceOf("https://management.chinacloudapi.cn"),
            "https://management.chinacloudapi.cn/");
  EXPECT_EQ(AudienceOf("https://azure.lab:9443"), "https://management.azure.com/");
}

TEST_F(AzureSitesTest, SiteIsLostAndComesBack) {
  AddSite();
  ASSERT_TRUE(AwaitLink(CloudState::Link::kConnected)) << State().error;
  Fault(R"({"drop": "request"})");
  ASSERT_TRUE(AwaitLink(CloudState::Link::kStale));
  EXPECT_THAT(std::string(State().error.message()), HasSubstr("resource group lab"));
  EXPECT_NE(State().sizes, nullptr) << "what was known is known";
  clock_.Pass(CloudState::kStaleFor);
  EXPECT_TRUE(AwaitLink(CloudState::Link::kDisconnected));
  Order(R"({"clear_faults": true})");
  EXPECT_TRUE(AwaitLink(CloudState::Link::kConnected));
  EXPECT_TRUE(State().error.ok());
}

TEST_F(AzureSitesTest, SiteThatWasNeverReachedIsDisconnected) {
  Fault(R"({"drop": "request"})");
  AddSite();
  EXPECT_TRUE(Eventually([&] { return !State().error.ok(); }));
  EXPECT_EQ(State().link, CloudState::Link::kDisconnected);
  EXPECT_EQ(State().sizes, nullptr);
}

TEST_F(AzureSitesTest, SecretThatIsNoLongerTakenIsTold) {
  AddSite();
  ASSERT_TRUE(AwaitLink(CloudState::Link::kConnected)) << State().error;
  Fault(R"({"path": "/oauth2/", "status": 401,
            "body": "{\"error\": \"invalid_client\", \"error_description\": \"it has expired\"}"})");
  Order(R"({"revoke_tokens": true})");
  ASSERT_TRUE(AwaitLink(CloudState::Link::kStale));
  EXPECT_THAT(std::string(State().error.message()),
              AllOf(HasSubstr("it has expired"), HasSubstr("22222222")));
}

TEST_F(AzureSitesTest, VmThatAMachineLivesInIsWatched) {
  AddSite();
  MakeVm(TagsOf(kConfigServer, kMachine, 4));
  mover_->Watch(kMachine, Home());
  ASSERT_TRUE(AwaitVm([](const AzureVmState& vm) { return vm.exists && vm.power == "running"; }));
  ASSERT_TRUE(Eyes().Deallocate("lab", "web-1").ok());
  ASSERT_TRUE(AwaitVm([](const AzureVmState& vm) { return vm.power == "deallocated"; }));
  // After a restart the brain says it again, also before the site is reached.
  Close();
  Open();
  mover_->Watch(kMachine, Home());
  ASSERT_TRUE(AwaitVm([](const AzureVmState& vm) { return vm.power == "deallocated"; }));
  mover_->Watch(kMachine, std::nullopt);
  EXPECT_THAT(State().vms, IsEmpty());
}

TEST_F(AzureSitesTest, VmIsGoneOrMoved) {
  AddSite();
  MakeVm(TagsOf(kConfigServer, kMachine, 4));
  mover_->Watch(kMachine, Home());
  ASSERT_TRUE(AwaitVm([](const AzureVmState& vm) { return vm.exists; }));
  const std::string id = Eyes().VmId("lab", "web-1");
  Order(absl::StrCat(R"({"to_group": "other", "move": ")", id, "\"}"));
  const std::string moved = Eyes().VmId("other", "web-1");
  ASSERT_TRUE(AwaitVm([&](const AzureVmState& vm) {
    return !vm.exists && azure::SameResource(vm.moved_to, moved);
  }));
  Order(absl::StrCat(R"({"to_group": "lab", "move": ")", moved, "\"}"));
  ASSERT_TRUE(AwaitVm([](const AzureVmState& vm) { return vm.exists && vm.moved_to.empty(); }));
  Order(absl::StrCat(R"({"remove": ")", id, "\"}"));
  ASSERT_TRUE(AwaitVm([](const AzureVmState& vm) { return !vm.exists && vm.moved_to.empty(); }));
}

TEST_F(AzureSitesTest, WithItsResourceGroupAVmIsGoneAndTheSiteIsReachedAndWrong) {
  AddSite();
  MakeVm(TagsOf(kConfigServer, kMachine, 4));
  mover_->Watch(kMachine, Home());
  ASSERT_TRUE(AwaitVm([](const AzureVmState& vm) { return vm.exists; }));
  Fault(kGroupIsGone);
  EXPECT_TRUE(AwaitVm([](const AzureVmState& vm) { return !vm.exists && vm.moved_to.empty(); }));
  ASSERT_TRUE(Eventually([&] { return !State().error.ok(); }));
  EXPECT_EQ(State().link, CloudState::Link::kConnected) << "it answers";
  EXPECT_THAT(std::string(State().error.message()),
              AllOf(HasSubstr("resource group lab"), HasSubstr("not there")));
  EXPECT_NE(State().sizes, nullptr);
  // After a restart too.
  Close();
  Open();
  mover_->Watch(kMachine, Home());
  EXPECT_TRUE(AwaitVm([](const AzureVmState& vm) { return !vm.exists; }));
  // And nothing of it stays when it is mended.
  Order(R"({"clear_faults": true})");
  EXPECT_TRUE(AwaitVm([](const AzureVmState& vm) { return vm.power == "running"; }));
  EXPECT_TRUE(Eventually([&] { return State().error.ok(); }));
  EXPECT_EQ(State().link, CloudState::Link::kConnected);
}

TEST_F(AzureSitesTest, SubscriptionThatIsNotFoundSaysNothingOfItsVms) {
  AddSite();
  MakeVm(TagsOf(kConfigServer, kMachine, 4));
  mover_->Watch(kMachine, Home());
  ASSERT_TRUE(AwaitVm([](const AzureVmState& vm) { return vm.exists; }));
  Fault(R"({"path": "/subscriptions/", "status": 404, "code": "SubscriptionNotFound",
            "message": "it may be of another tenant"})");
  ASSERT_TRUE(AwaitLink(CloudState::Link::kStale));
  EXPECT_TRUE(State().vms.at(kMachine).exists) << "as it was seen last";
  // That of the VM alone, which may be another one than the site's.
  Order(R"({"clear_faults": true})");
  ASSERT_TRUE(AwaitLink(CloudState::Link::kConnected));
  Fault(R"({"path": "/resources$", "status": 403, "code": "AuthorizationFailed"})");
  Fault(R"({"path": "/instanceView$", "status": 404, "code": "SubscriptionNotFound"})");
  ASSERT_TRUE(Eventually([&] {
    const CloudState state = State();
    const auto seen = state.vms.find(kMachine);
    return seen == state.vms.end() || !seen->second.exists;
  }));
  EXPECT_THAT(State().vms, IsEmpty()) << "it is unknown, and not gone";
}

TEST_F(AzureSitesTest, VmOfAnotherGenerationElsewhereIsNotItsVm) {
  AddSite();
  MakeVm(TagsOf(kConfigServer, kMachine, 3));
  Order(absl::StrCat(R"({"to_group": "other", "move": ")", Eyes().VmId("lab", "web-1"), "\"}"));
  mover_->Watch(kMachine, Home());
  EXPECT_TRUE(AwaitVm([](const AzureVmState& vm) { return !vm.exists && vm.moved_to.empty(); }));
}

TEST_F(AzureSitesTest, ApplicationThatMayNotListTheSubscriptionFindsNoneThatMoved) {
  AddSite();
  Fault(R"({"path": "/resources$", "status": 403, "code": "AuthorizationFailed"})");
  mover_->Watch(kMachine, Home());
  EXPECT_TRUE(AwaitVm([](const AzureVmState& vm) { return !vm.exists && vm.moved_to.empty(); }));
  EXPECT_EQ(State().link, CloudState::Link::kConnected);
}

TEST_F(AzureSitesTest, VmThatMayNotBeReadIsUnknownAndTheSiteIsReached) {
  AddSite();
  MakeVm(TagsOf(kConfigServer, kMachine, 4));
  mover_->Watch(kMachine, Home());
  ASSERT_TRUE(AwaitVm([](const AzureVmState& vm) { return vm.power == "running"; }));
  Fault(R"({"path": "/instanceView$", "status": 403, "code": "AuthorizationFailed"})");
  EXPECT_TRUE(Eventually([&] { return State().vms.empty(); }));
  EXPECT_EQ(State().link, CloudState::Link::kConnected);
  Order(R"({"clear_faults": true})");
  EXPECT_TRUE(AwaitVm([](const AzureVmState& vm) { return vm.power == "running"; }));
}

TEST_F(AzureSitesTest, WhatIsMalformedIsRefusedBeforeAzureIsAsked) {
  const auto refused = [&](const std::function<void(storage::v1::AzureSite*)>& change) {
    storage::v1::AzureSite site = Site();
    change(&site);
    const absl::Status status = sites_->MayAdd(site, kSecret);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  EXPECT_TRUE(sites_->MayAdd(Site(), kSecret).ok());
  EXPECT_THAT(refused([](auto* site) { site->set_name("my site"); }), HasSubstr("my site"));
  EXPECT_THAT(refused([](auto* site) { site->clear_tenant(); }), HasSubstr("--tenant"));
  EXPECT_THAT(refused([](auto* site) { site->clear_containers(); }), HasSubstr("--container"));
  EXPECT_THAT(refused([](auto* site) { site->set_subnet("prod"); }), HasSubstr("prod"));
  EXPECT_THAT(refused([](auto* site) {
                site->set_subnet(
                    "/subscriptions/x/resourceGroups/g/providers/Microsoft.Network/"
                    "virtualNetworks/n/subnets/s");
              }),
              HasSubstr("another subscription"));
  EXPECT_THAT(refused([](auto* site) { site->set_test_subnet(site->subnet()); }),
              HasSubstr("cannot be that of tests"));
  EXPECT_THAT(refused([](auto* site) { site->set_storage_account("acct"); }), HasSubstr("acct"));
  EXPECT_THAT(refused([](auto* site) { site->set_containers(0, "http://acct/homeward"); }),
              HasSubstr("https://"));
  EXPECT_THAT(refused([](auto* site) { site->set_containers(0, "https://acct.example"); }),
              HasSubstr("does not end with one container"));
  EXPECT_THAT(refused([](auto* site) {
                site->set_containers(0, "https://acct.blob.core.windows.net/homeward/more");
              }),
              AllOf(HasSubstr("--container"), HasSubstr("homeward/more"),
                    HasSubstr("does not end with one container"),
                    HasSubstr("https://ACCOUNT.blob.core.windows.net/CONTAINER")));
  EXPECT_THAT(
      refused([](auto* site) { site->set_containers(0, "https://10.0.0.4:10000/homeward"); }),
      HasSubstr("after an address come the account and the container"));
  EXPECT_THAT(refused([](auto* site) {
                site->set_containers(0, "https://10.0.0.4:10000/acct/homeward/more");
              }),
              HasSubstr("homeward/more"));
  storage::v1::AzureSite emulated = Site();
  emulated.set_containers(0, "https://10.0.0.4:10000/acct/homeward");
  EXPECT_TRUE(sites_->MayAdd(emulated, kSecret).ok()) << "the account is in the path";
  const std::string signature =
      refused([](auto* site) { site->set_containers(0, "https://acct.example/c?sig=abc"); });
  EXPECT_THAT(signature, AllOf(HasSubstr("without a query"), Not(HasSubstr("abc"))));
  EXPECT_THAT(refused([](auto* site) { site->set_endpoint("http://management"); }),
              HasSubstr("https://"));
  EXPECT_THAT(std::string(sites_->MayAdd(Site(), "").message()), HasSubstr("secret"));
  AddSite();
  EXPECT_TRUE(sites_->MayAdd(Site(), "another secret").ok()) << "the same place, described anew";
  storage::v1::AzureSite elsewhere = Site();
  elsewhere.set_resource_group("elsewhere");
  const absl::Status again = sites_->MayAdd(elsewhere, kSecret);
  EXPECT_TRUE(absl::IsAlreadyExists(again)) << again;
  EXPECT_EQ(ProblemOf(again)->id(), "AZURE_SITE_EXISTS");
  EXPECT_TRUE(absl::IsNotFound(sites_->Remove("east").status()));
}

}  // namespace
}  // namespace homeward
