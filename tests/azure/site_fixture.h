// SiteFixture: the configuration server's side of a site in the simulated Azure.
#ifndef HOMEWARD_TESTS_AZURE_SITE_FIXTURE_H_
#define HOMEWARD_TESTS_AZURE_SITE_FIXTURE_H_

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/rpc/problem_status.h"
#include "config_server/inventory/azure_sites.h"
#include "config_server/inventory/cloud_mover.h"
#include "config_server/model/cloud_plan.h"
#include "gtest/gtest.h"
#include "process_server/azure/vhd_footer.h"
#include "tests/fakes/fake_azure.h"

namespace homeward {

inline constexpr char kSiteName[] = "west";
inline constexpr char kMachine[] = "0123456789abcdef0123456789abcdef";
inline constexpr char kConfigServer[] = "config-server-1";
inline constexpr char kSubscription[] = "33333333-3333-3333-3333-333333333333";
// A fault: what Azure answers of a resource group that is not there, and of all in it.
inline constexpr char kGroupIsGone[] =
    R"({"path": "/resourceGroups/lab(/.*)?$", "status": 404, "code": "ResourceGroupNotFound",
        "message": "Resource group 'lab' could not be found."})";

// Times are those of a test: tenths of a second where Azure has minutes.
class SiteFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = "/var/tmp/homeward-site-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    std::filesystem::create_directories(directory_ + "/blobs");
    WriteVhd("os.vhd", 'o');
    WriteVhd("data.vhd", 'd');
    auto started =
        FakeAzure::Start(directory_,
                         R"({"groups": ["lab", "other"], "operation_ms": 30, "retry_after_s": -1,
            "networks": [
              {"group": "other", "name": "vnet", "prefixes": ["10.20.0.0/16"],
               "subnets": [{"name": "prod", "prefix": "10.20.1.0/24"},
                           {"name": "isolated", "prefix": "10.20.2.0/24"}]},
              {"group": "other", "name": "far", "region": "northeurope",
               "prefixes": ["10.30.0.0/16"],
               "subnets": [{"name": "prod", "prefix": "10.30.1.0/24"}]}],
            "accounts": [{"group": "other", "name": "acct"},
                         {"group": "other", "name": "distant", "region": "northeurope"}]})",
                         {"--blobs", directory_ + "/blobs"});
    ASSERT_TRUE(started.ok()) << started.status();
    azure_ = *std::move(started);
    Open();
  }
  void TearDown() override {
    Close();
    azure_.reset();
    std::filesystem::remove_all(directory_);
  }
  // What a configuration server has; it may be opened and closed any number of times.
  void Open() {
    auto store = Store::Open(directory_ + "/store");
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    followers_ = std::make_unique<SiteFollowers>(clock_, kConfigServer, rhythm_);
    sites_ = std::make_unique<AzureSites>(store_.get(), clock_, followers_.get(), calls_);
    mover_ = std::make_unique<CloudMover>(clock_, followers_.get(), patience_);
  }
  void Close() {
    if (followers_ != nullptr) followers_->Stop();
    mover_.reset();
    sites_.reset();
    followers_.reset();
    store_.reset();
  }

  static std::string NetworkId(const std::string& name, const std::string& subnet) {
    return absl::StrCat("/subscriptions/", kSubscription,
                        "/resourceGroups/other/providers/Microsoft.Network/virtualNetworks/", name,
                        "/subnets/", subnet);
  }
  static std::string AccountId(const std::string& name) {
    return absl::StrCat("/subscriptions/", kSubscription,
                        "/resourceGroups/other/providers/Microsoft.Storage/storageAccounts/", name);
  }
  storage::v1::AzureSite Site() {
    storage::v1::AzureSite site;
    site.set_name(kSiteName);
    site.set_subscription(kSubscription);
    site.set_tenant("11111111-1111-1111-1111-111111111111");
    site.set_client_id("22222222-2222-2222-2222-222222222222");
    site.set_resource_group("lab");
    site.set_region("westeurope");
    site.set_endpoint(azure_->endpoint());
    site.set_authority(azure_->endpoint());
    site.set_trusted(azure_->trusted());
    site.set_subnet(NetworkId("vnet", "prod"));
    site.set_test_subnet(NetworkId("vnet", "isolated"));
    site.set_default_size("Standard_B1s");
    site.set_storage_account(AccountId("acct"));
    site.add_containers("https://acct.blob.core.windows.net/homeward");
    return site;
  }
  // As if Azure had been asked a while ago.
  void AddSite() {
    const auto added = sites_->Add(Site(), kSecret, {});
    ASSERT_TRUE(added.ok()) << added.status();
    Close();
    Open();
  }

  std::string Order(const std::string& json) {
    const auto reply = azure_->Order(json);
    EXPECT_TRUE(reply.ok()) << reply.status();
    return reply.value_or("");
  }
  void Fault(const std::string& json) { Order(absl::StrCat("{\"fault\": ", json, "}")); }
  // How many requests of a kind, as "PUT disks", there were so far.
  int Calls(const std::string& what) {
    const std::string reply = Order("{}");
    const size_t at = reply.find(absl::StrCat("\"", what, "\":"));
    return at == std::string::npos ? 0 : std::atoi(reply.c_str() + at + what.size() + 3);
  }
  // What is in Azure, for the test's eyes and hands.
  azure::Arm& Eyes() {
    if (eyes_ == nullptr) {
      tokens_ = *azure::MakeTokens(azure_->Secret(), clock_, pauses_);
      azure::ArmOptions options = azure_->Options();
      options.poll = absl::Milliseconds(20);
      options.retry_first = absl::Milliseconds(10);
      eyes_ = *azure::Arm::Open(options, *tokens_, clock_, pauses_);
    }
    return *eyes_;
  }
  void WriteVhd(const std::string& name, char fill) {
    constexpr uint64_t kBytes = 1 << 20;
    std::ofstream(directory_ + "/blobs/" + name, std::ios::binary)
        << std::string(kBytes, fill) << VhdFooter(kBytes, std::string(32, '0'));
  }
  std::string BlobUrl(const std::string& name) {
    return absl::StrCat(azure_->endpoint(), "/_blobs/", name);
  }

  // Looks again and again, for 30 s.
  static bool Eventually(const std::function<bool()>& holds) {
    const RealClock clock;
    azure::RealPauses pauses;
    const absl::Duration end = clock.Monotonic() + absl::Seconds(30);
    while (clock.Monotonic() < end) {
      if (holds()) return true;
      if (!pauses.Wait(absl::Milliseconds(10), nullptr).ok()) return false;
    }
    return false;
  }
  CloudState State() {
    const auto states = mover_->States();
    const auto found = states.find(kSiteName);
    return found == states.end() ? CloudState() : found->second;
  }
  bool AwaitLink(CloudState::Link link) {
    return Eventually([&] { return State().link == link; });
  }

  static constexpr char kSecret[] = "secret";
  std::string directory_;
  QuickTime clock_;
  AzureCalls calls_ = {.proxy = {},
                       .retry_limit = absl::Seconds(2),
                       .request_limit = absl::Seconds(10),
                       .retry_first = absl::Milliseconds(10),
                       .poll = absl::Milliseconds(20)};
  SiteFollowers::Rhythm rhythm_ = {.look = absl::Milliseconds(50),
                                   .each_vm = absl::ZeroDuration(),
                                   .sizes = absl::Hours(1),
                                   .retry_first = absl::Milliseconds(20),
                                   .retry_max = absl::Milliseconds(100)};
  CloudMover::Patience patience_ = {.operation = absl::Minutes(1),
                                    .unreachable = absl::Minutes(1),
                                    .faults = 5,
                                    .look = absl::Milliseconds(20),
                                    .retry_first = absl::Milliseconds(20),
                                    .retry_max = absl::Milliseconds(100)};
  std::unique_ptr<FakeAzure> azure_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<SiteFollowers> followers_;
  std::unique_ptr<AzureSites> sites_;
  std::unique_ptr<CloudMover> mover_;

 private:
  azure::RealPauses pauses_;
  std::unique_ptr<azure::Tokens> tokens_;
  std::unique_ptr<azure::Arm> eyes_;
};

}  // namespace homeward

#endif  // HOMEWARD_TESTS_AZURE_SITE_FIXTURE_H_
