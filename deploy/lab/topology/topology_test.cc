#include "deploy/lab/topology/topology.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/check.h"
#include "common/config/config.h"
#include "deploy/lab/topology/config_files.h"
#include "deploy/lab/topology/inventory.h"
#include "deploy/lab/topology/ipv4.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "homeward/config/v1/config.pb.h"

namespace homeward::lab {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kTopology[] = R"(
sites {
  name: "home" network: "10.1.0.0/24"
  hosts { name: "cs" config_server {} process_server { join { name: "ps" } } }
  hosts { name: "mt" address: "10.1.0.20" master_target { place { esx_host: "esx1" datastore: "ds1" } directories: "spare" } }
  hosts { name: "vc" vcenter { esx_hosts { name: "esx1" } esx_hosts { name: "esx2" } datastores { name: "ds1" } } }
}
sites { name: "azure" network: "10.2.0.0/24" hosts { name: "cloud" azure {} } }
links { site: "home" other_site: "azure" quality { latency { nanos: 1000000 } } }
machine_classes {
  name: "slow" settings { memory_mb: 512 agent { registration { delay { uniform { min { seconds: 60 } max { seconds: 900 } } } } } }
}
machines { name: "web" machine_class: "slow" count: 2 place { esx_host: "esx2" datastore: "ds1" } settings { cpus: 2 } }
machines { name: "db" machine_class: "slow" place { esx_host: "esx1" datastore: "ds1" }
  settings { agent { registration { delay { fixed { seconds: 30 } } } } } }
time_scale: 60
)";

v1::Topology Read() {
  absl::StatusOr<v1::Topology> topology = ReadTopology("t", kTopology);
  HW_CHECK(topology.ok());
  return *std::move(topology);
}

std::string Refusal(const std::string& text) {
  const absl::StatusOr<v1::Topology> topology = ReadTopology("t", text);
  return topology.ok() ? "it was accepted" : std::string(topology.status().message());
}

// kTopology with `what`, which it must have, replaced.
std::string With(const std::string& what, const std::string& by) {
  const std::string text = kTopology;
  const size_t at = text.find(what);
  HW_CHECK(at != text.npos);
  return text.substr(0, at) + by + text.substr(at + what.size());
}

TEST(Topology, WhatIsLeftOutIsFilledIn) {
  const v1::Topology topology = Read();
  EXPECT_EQ(topology.sites(0).hosts(0).address(), "10.1.0.10");
  EXPECT_EQ(topology.sites(0).hosts(1).address(), "10.1.0.20");
  EXPECT_EQ(topology.sites(0).hosts(2).address(), "10.1.0.11");
  EXPECT_EQ(topology.sites(0).hosts(1).master_target().place().vcenter(), "vc");
  EXPECT_EQ(topology.sites(0).hosts(2).vcenter().datastores(0).esx_hosts_size(), 2);
  EXPECT_EQ(topology.links(0).quality_back().latency().nanos(), 1000000);
  ASSERT_EQ(topology.machines_size(), 3);
  EXPECT_EQ(topology.machines(0).name(), "web-1");
  EXPECT_EQ(topology.machines(1).name(), "web-2");
  EXPECT_NE(topology.machines(0).uuid(), topology.machines(1).uuid());
  EXPECT_EQ(topology.machines(0).uuid().size(), 36u);
}

TEST(Topology, AMachineGoesBeforeItsClass) {
  const v1::Topology topology = Read();
  EXPECT_EQ(topology.machines(0).settings().memory_mb(), 512u);
  EXPECT_EQ(topology.machines(0).settings().cpus(), 2u);
  EXPECT_TRUE(topology.machines(0).settings().agent().registration().delay().has_uniform());
  EXPECT_EQ(topology.machines(2).settings().agent().registration().delay().fixed().seconds(), 30);
}

TEST(Topology, EachProblemIsToldWithItsLine) {
  EXPECT_THAT(Refusal(With("network: \"10.2.0.0/24\"", "network: \"10.1.0.128/25\"")),
              HasSubstr("t:8: sites[1].network: 10.1.0.128/25 overlaps the network of site home"));
  EXPECT_THAT(Refusal(With("10.2.0.0/24", "10.2.0.1/24")),
              HasSubstr("t:8: sites[1].network: \"10.2.0.1/24\" is no IPv4 network"));
  EXPECT_THAT(Refusal(With("10.1.0.20", "10.1.0.1")),
              HasSubstr("t:5: sites[0].hosts[1].address: 10.1.0.1 is the router's or a machine's"));
  EXPECT_THAT(Refusal(With("10.1.0.20", "10.3.0.20")),
              HasSubstr("\"10.3.0.20\" is no address of its site's network"));
  EXPECT_THAT(Refusal(With("name: \"mt\"", "name: \"cs\"")),
              HasSubstr("t:5: sites[0].hosts[1].name: there is another \"cs\""));
  EXPECT_THAT(Refusal(With("name: \"mt\"", "name: \"much-too-long\"")),
              HasSubstr("t:5: sites[0].hosts[1].name: \"much-too-long\""));
  EXPECT_THAT(Refusal(With("esx_host: \"esx1\"", "esx_host: \"esx9\"")),
              HasSubstr("t:5: sites[0].hosts[1].master_target.place.esx_host: vCenter vc has no "
                        "ESX host \"esx9\""));
  EXPECT_THAT(Refusal(With("config_server {}", "")),
              HasSubstr("there are 0 configuration servers"));
  EXPECT_THAT(Refusal(With("other_site: \"azure\"", "other_site: \"mars\"")),
              HasSubstr("t:9: links[0].other_site: there is no site \"mars\""));
  EXPECT_THAT(Refusal(With("links {", "links { site: \"azure\" other_site: \"home\" }\nlinks {")),
              HasSubstr("t:10: links[1]: home and azure have another link"));
  EXPECT_THAT(Refusal(With("machine_class: \"slow\" count", "machine_class: \"fast\" count")),
              HasSubstr("there is no machine class \"fast\""));
  EXPECT_THAT(Refusal(With("max { seconds: 900 }", "max { seconds: 9 }")),
              HasSubstr("t:11: machine_classes[0].settings.agent.registration.delay"));
  EXPECT_THAT(Refusal(With("cpus: 2", "network_ready { trace { file: \"/delays\" } }")),
              HasSubstr("a trace is for agents"));
  EXPECT_THAT(Refusal(With("memory_mb: 512", "memory_mb: 64")), HasSubstr("must be at least 192"));
  EXPECT_THAT(Refusal(With("cpus: 2", "cpu: 2")), HasSubstr("t:13: "));
  EXPECT_THAT(Refusal(With("time_scale: 60", "time_scale: -1")),
              HasSubstr("t:16: time_scale: must be between"));
}

TEST(Topology, PoliciesAreWhatTheConfigurationServerTakes) {
  const auto with = [](const std::string& policies) {
    return With("time_scale: 60", policies + "\ntime_scale: 60");
  };
  const std::string gold = "policies { name: \"gold\" point_interval { seconds: 10 } }";
  const auto topology =
      ReadTopology("t", with(gold + "\nmachines { name: \"mail\" policy: \"gold\" place { "
                                    "esx_host: \"esx1\" datastore: \"ds1\" } }"));
  ASSERT_TRUE(topology.ok()) << topology.status();
  EXPECT_EQ(topology->machines(3).policy(), "gold");
  EXPECT_THAT(Refusal(With("count: 2", "count: 2 policy: \"gold\"")),
              HasSubstr("t:13: machines[0].policy: there is no policy \"gold\""));
  EXPECT_THAT(Refusal(with(gold + "\n" + gold)),
              HasSubstr("t:17: policies[1].name: there is another \"gold\" here"));
  EXPECT_THAT(Refusal(with("policies {\n name: \"g\"\n point_interval { seconds: 4 } }")),
              HasSubstr("t:18: policies[0].point_interval: must be at least 5s"));
  EXPECT_THAT(Refusal(with("policies { name: \"g\" retention_age { seconds: 0 } }")),
              HasSubstr("policies[0].retention_age"));
  EXPECT_THAT(Refusal(with("policies { name: \"g\" retention_bytes: 24 }")),
              HasSubstr("policies[0].retention_bytes: must be 0 or at least 1048576"));
  EXPECT_THAT(Refusal(with("policies { name: \"two words\" }")), HasSubstr("policies[0].name"));
}

TEST(Topology, ATraceMayBeBesideTheFile) {
  const std::string fixed = "fixed { seconds: 30 }";
  EXPECT_EQ(Refusal(With(fixed, "trace { file: \"measured.txt\" }")), "it was accepted");
  EXPECT_THAT(Refusal(With(fixed, "trace {}")),
              HasSubstr("machines[1].settings.agent.registration.delay.trace.file: is missing"));
}

TEST(Topology, SitesThatNoLinkReachesAreRefused) {
  EXPECT_THAT(
      Refusal(With(
          "links { site: \"home\" other_site: \"azure\" quality { latency { nanos: 1000000 } } }",
          "")),
      HasSubstr("t:8: sites[1]: no link leads from home to azure"));
}

TEST(Topology, AVmWhoseVcenterCouldBeSeveralIsRefused) {
  EXPECT_THAT(
      Refusal(With("azure {} }",
                   "azure {} } hosts { name: \"vc2\" vcenter { esx_hosts { name: \"esx3\" } } }")),
      HasSubstr("place.vcenter: is missing, and there are 2 vCenters to choose from"));
}

TEST(Topology, ConfigurationsOfDaemonsAreWholeAndTheirClocksScaled) {
  const v1::Topology topology = Read();
  Places places;
  places.state_root = "/lab/{host}";
  const v1::ConfigFiles files = ConfigFilesOf(topology, places, topology.time_scale());
  ASSERT_EQ(files.files_size(), 6);
  config::v1::ConfigServerConfig server;
  ASSERT_TRUE(ParseConfig("f", files.files(0).text(), nullptr, &server).ok());
  EXPECT_EQ(server.listen_address(), "10.1.0.10:443");
  EXPECT_EQ(server.state_directory(), "/lab/cs/config-server");
  EXPECT_EQ(server.registration_window().seconds(), 15);
  EXPECT_EQ(server.heartbeat_interval().nanos(), 166666666);
  config::v1::ProcessServerConfig relay;
  ASSERT_TRUE(ParseConfig("f", files.files(1).text(), nullptr, &relay).ok());
  EXPECT_EQ(relay.join().name(), "ps");
  EXPECT_EQ(relay.join().config_server(), "10.1.0.10:443");
  EXPECT_FALSE(relay.has_azure());
  config::v1::MasterTargetConfig target;
  ASSERT_TRUE(ParseConfig("f", files.files(2).text(), nullptr, &target).ok());
  EXPECT_EQ(target.listen_address(), "10.1.0.20:9444");
  EXPECT_EQ(target.datastores(0), "/vmfs/volumes/spare");
  EXPECT_EQ(target.hardware_uuid(), "");
  config::v1::AgentConfig agent;
  ASSERT_TRUE(ParseConfig("f", files.files(3).text(), nullptr, &agent).ok());
  EXPECT_EQ(agent.join().name(), "web-1");
  EXPECT_EQ(agent.registration().delay().uniform().min().seconds(), 1);
  EXPECT_EQ(agent.registration().delay().uniform().max().seconds(), 15);
  EXPECT_EQ(agent.hooks().quiesce_size(), 3);
}

constexpr char kInventory[] = R"(access { identity_file: "key" sudo: true }
hosts { name: "cs" ssh: "root@one" access { port: 2222 sudo: false } }
hosts { name: "mt" ssh: "two" address: "mt.example.org" }
)";

std::string InventoryRefusal(const std::string& what, const std::string& by) {
  std::string text = kInventory;
  const size_t at = text.find(what);
  HW_CHECK(at != text.npos);
  const absl::StatusOr<v1::Inventory> inventory =
      ReadInventory("i", text.replace(at, what.size(), by), Read());
  return inventory.ok() ? "it was accepted" : std::string(inventory.status().message());
}

TEST(Inventory, WhatAHostSaysGoesBeforeWhatAllHave) {
  const absl::StatusOr<v1::Inventory> inventory = ReadInventory("i", kInventory, Read());
  ASSERT_TRUE(inventory.ok()) << inventory.status();
  const v1::Access& first = inventory->hosts(0).access();
  EXPECT_EQ(first.port(), 2222u);
  EXPECT_FALSE(first.sudo());
  EXPECT_EQ(first.identity_file(), "key");
  EXPECT_EQ(first.program_directory(), "/usr/bin");
  EXPECT_TRUE(inventory->hosts(1).access().sudo());
  EXPECT_EQ(inventory->hosts(1).access().port(), 0u);
}

TEST(Inventory, EachProblemIsToldWithItsLine) {
  EXPECT_THAT(InventoryRefusal("name: \"mt\"", "name: \"mars\""),
              HasSubstr("i:3: hosts[1].name: the topology has no host \"mars\""));
  EXPECT_THAT(InventoryRefusal("name: \"mt\"", "name: \"vc\""),
              HasSubstr("i:3: hosts[1].name: \"vc\" runs no daemon of Homeward; leave it out"));
  EXPECT_THAT(InventoryRefusal("name: \"mt\"", "name: \"cs\""),
              HasSubstr("there is another \"cs\""));
  EXPECT_THAT(InventoryRefusal("name: \"mt\"", "name: \"cs\""),
              HasSubstr("host \"mt\" of the topology is missing"));
  for (const char* wrong : {"", "-oProxyCommand=x", "a b", "root@", "@two", "a@-b", "a@b@c", "a;b"})
    EXPECT_THAT(InventoryRefusal("\"two\"", absl::StrCat("\"", wrong, "\"")),
                HasSubstr("is neither HOST nor USER@HOST"))
        << wrong;
  EXPECT_THAT(InventoryRefusal("\"two\"", "\"one\" access { port: 2222 }"),
              HasSubstr("i:3: hosts[1].ssh: another host has one"));
  EXPECT_THAT(InventoryRefusal("mt.example.org", "10.1.0.10"),
              HasSubstr("i:3: hosts[1].address: another host has 10.1.0.10"));
  EXPECT_THAT(InventoryRefusal("mt.example.org", "mt.example.org:9444"),
              HasSubstr("leave out its port"));
  EXPECT_THAT(InventoryRefusal("port: 2222", "port: 70000"),
              HasSubstr("i:2: hosts[0].access.port: must be at most 65535"));
  EXPECT_THAT(InventoryRefusal("sudo: true", "program_directory: \"bin\""),
              HasSubstr("i:1: access.program_directory"));
  EXPECT_THAT(InventoryRefusal("sudo: true", "program_directory: \"/a b\""),
              HasSubstr("i:1: access.program_directory"));
}

TEST(Inventory, AHostWithAnotherAddressListensOnAllAndIsReachedThere) {
  v1::Topology topology = Read();
  UseAddresses(*ReadInventory("i", kInventory, topology), &topology);
  const v1::ConfigFiles files = ConfigFilesOf(topology, Places(), 1);
  config::v1::MasterTargetConfig target;
  ASSERT_TRUE(ParseConfig("f", files.files(2).text(), nullptr, &target).ok());
  EXPECT_EQ(target.listen_address(), "0.0.0.0:9444");
  EXPECT_EQ(target.advertised_address(), "mt.example.org:9444");
  EXPECT_EQ(files.files(2).listen_address(), "0.0.0.0:9444");
  EXPECT_EQ(files.files(2).directories(0), "/vmfs/volumes/spare");
  config::v1::ProcessServerConfig relay;
  ASSERT_TRUE(ParseConfig("f", files.files(1).text(), nullptr, &relay).ok());
  EXPECT_EQ(relay.listen_address(), "10.1.0.10:9443");
  EXPECT_EQ(relay.advertised_address(), "");
}

TEST(Inventory, AConfigurationServerThatListensOnAllIsJoinedAtItsAddress) {
  v1::Topology topology = Read();
  v1::Inventory inventory;
  inventory.add_hosts()->set_name("cs");
  inventory.mutable_hosts(0)->set_address("cs.example.org");
  UseAddresses(inventory, &topology);
  const v1::ConfigFiles files = ConfigFilesOf(topology, Places(), 1);
  EXPECT_EQ(files.files(0).listen_address(), "0.0.0.0:443");
  config::v1::MasterTargetConfig target;
  ASSERT_TRUE(ParseConfig("f", files.files(2).text(), nullptr, &target).ok());
  EXPECT_EQ(target.join().config_server(), "cs.example.org:443");
}

std::string ScenarioRefusal(const std::string& text) {
  const absl::StatusOr<v1::Scenario> scenario = ReadScenario("s", text, Read());
  return scenario.ok() ? "it was accepted" : std::string(scenario.status().message());
}

TEST(Scenario, WhatItNamesMustBeThere) {
  EXPECT_THAT(ScenarioRefusal("steps { await { machine: \"mail\" registered: true } }"),
              HasSubstr("s:1: steps[0].await.machine: there is no machine \"mail\""));
  EXPECT_THAT(ScenarioRefusal("steps { for_machines: \"x*\" pass { seconds: 1 } }"),
              HasSubstr("no machine's name is like \"x*\""));
  EXPECT_THAT(ScenarioRefusal("steps { host { host: \"nobody\" kill: true } }"),
              HasSubstr("there is no host \"nobody\""));
  EXPECT_THAT(ScenarioRefusal("steps { link { site: \"home\" other_site: \"home\" cut: true } }"),
              HasSubstr("there is no link"));
  EXPECT_THAT(ScenarioRefusal("steps { host { host: \"mt\" unreachable: true } }"),
              HasSubstr("steps[0].host.unreachable: no vCenter runs on \"mt\""));
  EXPECT_THAT(ScenarioRefusal("steps { name: \"idle\" }"), HasSubstr("steps[0]: it does nothing"));
  EXPECT_THAT(ScenarioRefusal("steps { command { line: \"machines show {machine}\" } }"),
              HasSubstr("has {machine}, but the step has no for_machines"));
  EXPECT_THAT(ScenarioRefusal("steps { command { line: \"x\" retry_every { seconds: 1 } } }"),
              HasSubstr("says nothing without `refused`"));
  EXPECT_THAT(ScenarioRefusal(""), HasSubstr("steps: there is none"));
}

TEST(Scenario, ACopyIsStartedInAzure) {
  EXPECT_THAT(ScenarioRefusal("steps { test_copy { machine: \"web-1\" } }"),
              HasSubstr("steps[0].test_copy: says nothing that is expected of it"));
  v1::Topology at_home = Read();
  at_home.mutable_sites(1)->mutable_hosts(0)->clear_azure();
  const absl::Status refused =
      ReadScenario("s", "steps { test_copy { machine: \"web-1\" boots: true } }", at_home).status();
  EXPECT_THAT(std::string(refused.message()), HasSubstr("the topology has no Azure"));
  EXPECT_THAT(ScenarioRefusal("steps { command { line: \"x\" refused: \"X\" reported: true } }"),
              HasSubstr("steps[0].command.reported"));
}

TEST(Scenario, StepsHaveNamesAndLimits) {
  const absl::StatusOr<v1::Scenario> scenario = ReadScenario(
      "s", "steps { for_machines: \"web-*\" await { machine: \"{machine}\" registered: true } }",
      Read());
  ASSERT_TRUE(scenario.ok()) << scenario.status();
  EXPECT_EQ(scenario->steps(0).within().seconds(), 120);
  EXPECT_EQ(scenario->steps(0).name(), "{machine} is waited for");
}

TEST(Scenario, PatternsOfNames) {
  EXPECT_TRUE(IsMeant("web-*", "web-1"));
  EXPECT_TRUE(IsMeant("*", "web-1"));
  EXPECT_TRUE(IsMeant("w*-*1", "web-11"));
  EXPECT_FALSE(IsMeant("web-*", "we"));
  EXPECT_FALSE(IsMeant("web", "web-1"));
}

TEST(Ipv4, AddressesAndNetworks) {
  EXPECT_EQ(FormatIpv4(*ParseIpv4("10.1.255.0")), "10.1.255.0");
  for (const char* wrong :
       {"", "10.1.0", "10.1.0.256", "10.1.0.01", "10.1.0.-1", "10.1.0.1.2", " 10.1.0.1"})
    EXPECT_FALSE(ParseIpv4(wrong)) << wrong;
  EXPECT_TRUE(ParseIpv4Network("0.0.0.0/0"));
  EXPECT_EQ(ParseIpv4Network("0.0.0.0/0")->last(), 0xffffffffu);
  EXPECT_EQ(ParseIpv4Network("10.0.0.4/32")->last(), *ParseIpv4("10.0.0.4"));
  for (const char* wrong :
       {"10.0.0.1/24", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/24/1"})
    EXPECT_FALSE(ParseIpv4Network(wrong)) << wrong;
}

}  // namespace
}  // namespace homeward::lab
