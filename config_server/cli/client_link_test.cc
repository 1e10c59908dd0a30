#include "config_server/cli/client_link.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <utility>

namespace homeward {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::MethodDescriptor;

std::set<std::string> Repeated() {
  const auto* const service = google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
      admin::v1::AdminService::service_full_name());
  std::set<std::string> out;
  for (int i = 0; i < service->method_count(); ++i) {
    const MethodDescriptor& method = *service->method(i);
    if (AdminClient::MayBeRepeated(*method.input_type(), *method.output_type()))
      out.insert(method.name());
  }
  return out;
}

TEST(AdminClientTest, RepeatsWhatReadsAndNothingThatStartsWork) {
  const std::set<std::string> repeated = Repeated();
  for (const char* const name : {"ListMachines", "GetMachine", "ListPoints", "GetJob", "WatchJob",
                                 "GetHealth", "GetVersion", "GetRepair", "ShowPassphrase",
                                 "ListVcenters", "ListAzureSites", "GetInventory", "CancelJob"}) {
    EXPECT_TRUE(repeated.contains(name)) << name;
  }
  for (const char* const name :
       {"Protect", "Resync", "CreatePoint", "Failback", "Commit", "Reprotect", "Remove", "Repair",
        "RotatePassphrase", "CreateBackup", "AddVcenter", "RemoveVcenter", "AddAzureSite",
        "TestFailover", "CompleteMigration", "SwitchProcessServer"}) {
    EXPECT_FALSE(repeated.contains(name)) << name;
  }
}

// A method is found by what it takes and returns: two of one shape must not differ.
TEST(AdminClientTest, MethodsOfOneShapeAreRepeatedAlike) {
  const auto* const service = google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
      admin::v1::AdminService::service_full_name());
  std::map<std::pair<const Descriptor*, const Descriptor*>, bool> seen;
  for (int i = 0; i < service->method_count(); ++i) {
    const MethodDescriptor& method = *service->method(i);
    const bool repeated = method.options().idempotency_level() !=
                          google::protobuf::MethodOptions::IDEMPOTENCY_UNKNOWN;
    const auto [it, is_new] =
        seen.try_emplace({method.input_type(), method.output_type()}, repeated);
    EXPECT_EQ(it->second, repeated) << method.name();
  }
}

}  // namespace
}  // namespace homeward
