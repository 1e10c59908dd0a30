#include "deploy/lab/topology/topology.h"

#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/limits.h"
#include "common/base/name.h"
#include "common/config/config.h"
#include "common/config/delay.h"
#include "common/wire/time_proto.h"
#include "deploy/lab/topology/ipv4.h"
#include "deploy/lab/topology/quality.h"

namespace homeward::lab {
namespace {

using google::protobuf::Message;

// Network devices have 15 letters at most, of which a prefix takes four.
constexpr size_t kDeviceNameBytesMax = 11;
constexpr size_t kMachineNameBytesMax = 40;
constexpr uint32_t kMachineCountMax = 200;
constexpr uint32_t kFirstHost = 10;  // in its site's network
// Smaller ones have no room for a router, ten hosts and machines.
constexpr int kNetworkBitsMax = 27;

// A UUID that is the same each time. FNV-1a, twice: it has to differ, not to be secret.
std::string UuidOf(const std::string& name) {
  uint64_t halves[2] = {0xcbf29ce484222325, 0x84222325cbf29ce4};
  for (uint64_t& half : halves) {
    for (const char letter : name) half = (half ^ static_cast<uint8_t>(letter)) * 0x100000001b3;
  }
  const std::string hex =
      absl::StrCat(absl::Hex(halves[0], absl::kZeroPad16), absl::Hex(halves[1], absl::kZeroPad16));
  return absl::StrCat(hex.substr(0, 8), "-", hex.substr(8, 4), "-4", hex.substr(13, 3), "-8",
                      hex.substr(17, 3), "-", hex.substr(20));
}

bool IsUuid(const std::string& text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !absl::ascii_isxdigit(static_cast<unsigned char>(text[i])))
      return false;
  }
  return true;
}

std::string WrongInDeviceName(const std::string& name) {
  if (name.empty()) return "is missing";
  if (name.find_first_of("._") != name.npos) return "has a dot or an underscore";
  return WrongInPlainName(name, kDeviceNameBytesMax);
}

// What is looked for while a topology is read. One pass in the order of the file, so that each
// problem has its line.
class TopologyCheck {
 public:
  TopologyCheck(const v1::Topology& topology, ConfigProblems* problems)
      : topology_(topology), problems_(*problems) {}

  void Run() {
    if (topology_.sites().empty()) problems_.Add("sites", "there is none; give at least one");
    for (int i = 0; i < topology_.sites_size(); ++i)
      CheckSite(absl::StrCat("sites[", i, "]"), topology_.sites(i));
    if (config_servers_ != 1 && topology_.sites_size() > 0)
      problems_.Add("sites", absl::StrCat("there are ", config_servers_,
                                          " configuration servers; it takes one"));
    // What is named may stand behind its name.
    for (int s = 0; s < topology_.sites_size(); ++s) {
      for (int h = 0; h < topology_.sites(s).hosts_size(); ++h) {
        const v1::Host& host = topology_.sites(s).hosts(h);
        if (host.has_master_target() && host.master_target().has_place())
          CheckPlace(absl::StrCat("sites[", s, "].hosts[", h, "].master_target.place"),
                     host.master_target().place());
      }
    }
    CheckLinks();
    CheckPolicies();
    CheckClasses();
    for (int i = 0; i < topology_.machines_size(); ++i)
      CheckMachine(absl::StrCat("machines[", i, "]"), topology_.machines(i));
    if (const double scale = topology_.time_scale();
        scale != 0 && !(scale >= 0.01 && scale <= 10000))
      problems_.Add("time_scale", "must be between 0.01 and 10000");
  }

 private:
  void Name(const std::string& key, const std::string& name, const std::string& wrong) {
    if (!wrong.empty())
      problems_.Add(key, wrong == "is missing" ? wrong : absl::StrCat("\"", name, "\" ", wrong));
    else if (!names_.insert(name).second)
      problems_.Add(key, absl::StrCat("there is another \"", name,
                                      "\"; names of sites, hosts and machines differ"));
  }

  void CheckSite(const std::string& key, const v1::Site& site) {
    Name(absl::StrCat(key, ".name"), site.name(), WrongInDeviceName(site.name()));
    sites_.insert(site.name());
    const std::optional<Ipv4Network> network = ParseIpv4Network(site.network());
    if (!network) {
      problems_.Add(
          absl::StrCat(key, ".network"),
          absl::StrCat("\"", site.network(), "\" is no IPv4 network, such as 10.1.0.0/24"));
      return;
    }
    if (network->bits > kNetworkBitsMax || network->bits < 8)
      problems_.Add(absl::StrCat(key, ".network"),
                    absl::StrCat("its prefix must be between /8 and /", kNetworkBitsMax));
    for (const auto& [name, other] : networks_) {
      if (network->Overlaps(other))
        problems_.Add(absl::StrCat(key, ".network"),
                      absl::StrCat(site.network(), " overlaps the network of site ", name));
    }
    networks_.emplace_back(site.name(), *network);
    for (int i = 0; i < site.hosts_size(); ++i)
      CheckHost(absl::StrCat(key, ".hosts[", i, "]"), site.hosts(i), *network);
  }

  void CheckHost(const std::string& key, const v1::Host& host, const Ipv4Network& network) {
    Name(absl::StrCat(key, ".name"), host.name(), WrongInDeviceName(host.name()));
    if (!host.address().empty())
      CheckAddress(absl::StrCat(key, ".address"), host.address(), network);
    if (host.has_config_server()) ++config_servers_;
    if (host.has_azure() && ++azures_ > 1)
      problems_.Add(absl::StrCat(key, ".azure"),
                    "there is another one; the lab simulates one subscription");
    if (host.has_master_target()) {
      const v1::MasterTarget& target = host.master_target();
      CheckUuid(absl::StrCat(key, ".master_target.uuid"), target.uuid());
      if (!target.has_place() && target.directories().empty())
        problems_.Add(absl::StrCat(key, ".master_target"),
                      "it can write nowhere: give the place of its VM, or directories");
      for (int i = 0; i < target.directories_size(); ++i) {
        if (const std::string wrong = WrongInPlainName(target.directories(i), kMachineNameBytesMax);
            !wrong.empty())
          problems_.Add(absl::StrCat(key, ".master_target.directories[", i, "]"),
                        absl::StrCat("\"", target.directories(i), "\" ", wrong));
      }
    }
    if (host.has_vcenter()) CheckVcenter(absl::StrCat(key, ".vcenter"), host);
  }

  void CheckAddress(const std::string& key, const std::string& text, const Ipv4Network& network) {
    const std::optional<uint32_t> address = ParseIpv4(text);
    const uint32_t half = network.first + (network.last() - network.first) / 2;
    if (!address || !network.Has(*address))
      problems_.Add(key, absl::StrCat("\"", text, "\" is no address of its site's network"));
    else if (*address <= network.first + 1 || *address > half)
      problems_.Add(key,
                    absl::StrCat(text, " is the router's or a machine's; hosts have those from ",
                                 FormatIpv4(network.first + 2), " to ", FormatIpv4(half)));
    else if (!addresses_.insert(*address).second)
      problems_.Add(key, absl::StrCat("another host has ", text));
  }

  void CheckVcenter(const std::string& key, const v1::Host& host) {
    const v1::Vcenter& vcenter = host.vcenter();
    vcenters_.emplace(host.name(), &vcenter);
    if (vcenter.esx_hosts().empty())
      problems_.Add(absl::StrCat(key, ".esx_hosts"), "there is none");
    std::set<std::string> hosts, datastores;
    for (int i = 0; i < vcenter.esx_hosts_size(); ++i) {
      const std::string at = absl::StrCat(key, ".esx_hosts[", i, "].name");
      Plain(at, vcenter.esx_hosts(i).name(), &hosts);
    }
    for (int i = 0; i < vcenter.datastores_size(); ++i) {
      const v1::Datastore& datastore = vcenter.datastores(i);
      const std::string at = absl::StrCat(key, ".datastores[", i, "]");
      Plain(absl::StrCat(at, ".name"), datastore.name(), &datastores);
      for (const auto& [field, names] :
           {std::pair("esx_hosts", &datastore.esx_hosts()),
            std::pair("read_only_esx_hosts", &datastore.read_only_esx_hosts())}) {
        for (int j = 0; j < names->size(); ++j) {
          if (hosts.count(names->Get(j)) == 0)
            problems_.Add(
                absl::StrCat(at, ".", field, "[", j, "]"),
                absl::StrCat("\"", names->Get(j), "\" is no ESX host of this vCenter; it has ",
                             absl::StrJoin(hosts, ", ")));
        }
      }
    }
  }

  void Plain(const std::string& key, const std::string& name, std::set<std::string>* taken) {
    const std::string wrong =
        name.empty() ? "is missing" : WrongInPlainName(name, kMachineNameBytesMax);
    if (!wrong.empty())
      problems_.Add(key, name.empty() ? wrong : absl::StrCat("\"", name, "\" ", wrong));
    else if (!taken->insert(name).second)
      problems_.Add(key, absl::StrCat("there is another \"", name, "\" here"));
  }

  void CheckPlace(const std::string& key, const v1::VmPlace& place) {
    std::string vcenter = place.vcenter();
    if (vcenter.empty() && vcenters_.size() == 1) vcenter = vcenters_.begin()->first;
    const auto it = vcenters_.find(vcenter);
    if (it == vcenters_.end()) {
      problems_.Add(absl::StrCat(key, ".vcenter"),
                    vcenter.empty()
                        ? absl::StrCat("is missing, and there are ", vcenters_.size(),
                                       " vCenters to choose from")
                        : absl::StrCat("no vCenter runs on a host named \"", vcenter, "\""));
      return;
    }
    const v1::Vcenter& there = *it->second;
    if (absl::c_none_of(there.esx_hosts(),
                        [&](const v1::EsxHost& host) { return host.name() == place.esx_host(); }))
      problems_.Add(
          absl::StrCat(key, ".esx_host"),
          absl::StrCat("vCenter ", vcenter, " has no ESX host \"", place.esx_host(), "\""));
    if (absl::c_none_of(there.datastores(),
                        [&](const v1::Datastore& one) { return one.name() == place.datastore(); }))
      problems_.Add(
          absl::StrCat(key, ".datastore"),
          absl::StrCat("vCenter ", vcenter, " has no datastore \"", place.datastore(), "\""));
  }

  void CheckUuid(const std::string& key, const std::string& uuid) {
    if (uuid.empty()) return;
    if (!IsUuid(uuid))
      problems_.Add(
          key,
          absl::StrCat("\"", uuid, "\" is no UUID, such as 4207f072-edd8-4b16-8a4c-7b8c1f4e0a01"));
    else if (!uuids_.insert(absl::AsciiStrToLower(uuid)).second)
      problems_.Add(key, absl::StrCat("another VM has ", uuid));
  }

  void CheckLinks() {
    std::map<std::string, std::set<std::string>> reached;
    std::set<std::pair<std::string, std::string>> pairs;
    for (int i = 0; i < topology_.links_size(); ++i) {
      const v1::Link& link = topology_.links(i);
      const std::string key = absl::StrCat("links[", i, "]");
      bool whole = true;
      for (const auto& [field, name] :
           {std::pair(".site", link.site()), std::pair(".other_site", link.other_site())}) {
        if (sites_.count(name) > 0) continue;
        whole = false;
        problems_.Add(absl::StrCat(key, field), absl::StrCat("there is no site \"", name, "\""));
      }
      if (link.site() == link.other_site())
        problems_.Add(absl::StrCat(key, ".other_site"), "a link is between two sites");
      else if (whole && !pairs.insert(std::minmax(link.site(), link.other_site())).second)
        problems_.Add(key,
                      absl::StrCat(link.site(), " and ", link.other_site(), " have another link"));
      if (whole) {
        reached[link.site()].insert(link.other_site());
        reached[link.other_site()].insert(link.site());
      }
      CheckQuality(absl::StrCat(key, ".quality"), link.quality(), &problems_);
      CheckQuality(absl::StrCat(key, ".quality_back"), link.quality_back(), &problems_);
    }
    if (topology_.sites().empty()) return;
    std::set<std::string> seen;
    std::vector<std::string> left{topology_.sites(0).name()};
    while (!left.empty()) {
      const std::string site = left.back();
      left.pop_back();
      if (!seen.insert(site).second) continue;
      for (const std::string& next : reached[site]) left.push_back(next);
    }
    for (int i = 0; i < topology_.sites_size(); ++i) {
      if (seen.count(topology_.sites(i).name()) == 0)
        problems_.Add(absl::StrCat("sites[", i, "]"),
                      absl::StrCat("no link leads from ", topology_.sites(0).name(), " to ",
                                   topology_.sites(i).name()));
    }
  }

  void CheckPolicies() {
    for (int i = 0; i < topology_.policies_size(); ++i) {
      const v1::Policy& policy = topology_.policies(i);
      const std::string key = absl::StrCat("policies[", i, "]");
      Plain(absl::StrCat(key, ".name"), policy.name(), &policies_);
      if (policy.has_point_interval() && FromProto(policy.point_interval()) < kPointIntervalMin)
        problems_.Add(absl::StrCat(key, ".point_interval"),
                      absl::StrCat("must be at least ", absl::FormatDuration(kPointIntervalMin)));
      if (FromProto(policy.app_point_interval()) < absl::ZeroDuration())
        problems_.Add(absl::StrCat(key, ".app_point_interval"), "must not be negative");
      RequirePositive(absl::StrCat(key, ".retention_age"), policy.retention_age(),
                      policy.has_retention_age(), &problems_);
      RequirePositive(absl::StrCat(key, ".rpo_threshold"), policy.rpo_threshold(),
                      policy.has_rpo_threshold(), &problems_);
      if (policy.retention_bytes() != 0 && policy.retention_bytes() < kRetentionBytesMin)
        problems_.Add(absl::StrCat(key, ".retention_bytes"),
                      absl::StrCat("must be 0 or at least ", kRetentionBytesMin));
    }
  }

  void CheckClasses() {
    for (int i = 0; i < topology_.machine_classes_size(); ++i) {
      const std::string key = absl::StrCat("machine_classes[", i, "]");
      Plain(absl::StrCat(key, ".name"), topology_.machine_classes(i).name(), &classes_);
      CheckSettings(absl::StrCat(key, ".settings"), topology_.machine_classes(i).settings());
    }
  }

  void CheckSettings(const std::string& key, const v1::MachineSettings& settings) {
    if (settings.cpus() > 64) problems_.Add(absl::StrCat(key, ".cpus"), "must be at most 64");
    if (settings.memory_mb() != 0 && settings.memory_mb() < 192)
      problems_.Add(absl::StrCat(key, ".memory_mb"), "must be at least 192: less does not boot");
    for (int i = 0; i < settings.data_disks_size(); ++i) {
      if (settings.data_disks(i).size_mb() == 0)
        problems_.Add(absl::StrCat(key, ".data_disks[", i, "].size_mb"), "is missing");
    }
    // A trace may be beside the topology's file.
    const config::v1::Delay& delay = settings.agent().registration().delay();
    const std::string delay_key = absl::StrCat(key, ".agent.registration.delay");
    if (delay.has_trace() && delay.trace().file().empty())
      problems_.Add(absl::StrCat(delay_key, ".trace.file"), "is missing");
    else if (settings.agent().registration().has_delay() && !delay.has_trace())
      RequireDelay(delay_key, delay, &problems_);
    if (settings.network_ready().has_trace())
      problems_.Add(absl::StrCat(key, ".network_ready.trace"),
                    "a trace is for agents; give another kind of delay");
    else if (settings.has_network_ready())
      RequireDelay(absl::StrCat(key, ".network_ready"), settings.network_ready(), &problems_);
    RequirePositive(absl::StrCat(key, ".workload.ledger_interval"),
                    settings.workload().ledger_interval(),
                    settings.workload().has_ledger_interval(), &problems_);
  }

  void CheckMachine(const std::string& key, const v1::Machine& machine) {
    const std::string wrong = machine.name().empty()
                                  ? "is missing"
                                  : WrongInPlainName(machine.name(), kMachineNameBytesMax);
    if (machine.count() > kMachineCountMax)
      problems_.Add(absl::StrCat(key, ".count"),
                    absl::StrCat("must be at most ", kMachineCountMax));
    else if (machine.count() == 0 || !wrong.empty())
      Name(absl::StrCat(key, ".name"), machine.name(), wrong);
    else
      for (uint32_t i = 1; i <= machine.count(); ++i)
        Name(absl::StrCat(key, ".name"), absl::StrCat(machine.name(), "-", i), "");
    if (machine.os() == v1::Machine::WINDOWS)
      problems_.Add(absl::StrCat(key, ".os"), "the lab has no Windows to boot; use LINUX");
    if (!machine.machine_class().empty() && classes_.count(machine.machine_class()) == 0)
      problems_.Add(absl::StrCat(key, ".machine_class"),
                    absl::StrCat("there is no machine class \"", machine.machine_class(), "\""));
    if (!machine.policy().empty() && policies_.count(machine.policy()) == 0)
      problems_.Add(absl::StrCat(key, ".policy"),
                    absl::StrCat("there is no policy \"", machine.policy(), "\""));
    if (machine.count() > 0 && !machine.uuid().empty())
      problems_.Add(absl::StrCat(key, ".uuid"),
                    "cannot be that of several; leave out count or uuid");
    CheckUuid(absl::StrCat(key, ".uuid"), machine.uuid());
    CheckPlace(absl::StrCat(key, ".place"), machine.place());
    CheckSettings(absl::StrCat(key, ".settings"), machine.settings());
  }

  const v1::Topology& topology_;
  ConfigProblems& problems_;
  int config_servers_ = 0, azures_ = 0;
  std::set<std::string> names_;  // of sites, hosts and machines
  std::set<std::string> sites_, classes_, policies_;
  std::vector<std::pair<std::string, Ipv4Network>> networks_;
  std::set<uint32_t> addresses_;
  std::set<std::string> uuids_;
  std::map<std::string, const v1::Vcenter*> vcenters_;  // by host
};

// Fills in what a checked topology leaves out.
void Complete(v1::Topology* topology) {
  if (topology->time_scale() == 0) topology->set_time_scale(1);
  std::string vcenter;  // the only one
  for (v1::Site& site : *topology->mutable_sites()) {
    std::set<std::string> taken;
    for (const v1::Host& host : site.hosts()) taken.insert(host.address());
    uint32_t next = ParseIpv4Network(site.network())->first + kFirstHost;
    for (v1::Host& host : *site.mutable_hosts()) {
      if (host.address().empty()) {
        while (taken.count(FormatIpv4(next)) > 0) ++next;
        host.set_address(FormatIpv4(next++));
      }
      if (!host.has_vcenter()) continue;
      vcenter = host.name();
      for (v1::Datastore& datastore : *host.mutable_vcenter()->mutable_datastores()) {
        if (datastore.type() == v1::Datastore::TYPE_UNSPECIFIED)
          datastore.set_type(v1::Datastore::VMFS);
        if (datastore.capacity_mb() == 0) datastore.set_capacity_mb(100000);
        if (!datastore.esx_hosts().empty()) continue;
        for (const v1::EsxHost& esx : host.vcenter().esx_hosts()) {
          if (absl::c_find(datastore.read_only_esx_hosts(), esx.name()) ==
              datastore.read_only_esx_hosts().end())
            datastore.add_esx_hosts(esx.name());
        }
      }
    }
  }
  const auto placed = [&](v1::VmPlace* place) {
    if (place->vcenter().empty()) place->set_vcenter(vcenter);
  };
  for (v1::Site& site : *topology->mutable_sites()) {
    for (v1::Host& host : *site.mutable_hosts()) {
      if (!host.has_master_target()) continue;
      if (host.master_target().has_place()) placed(host.mutable_master_target()->mutable_place());
      if (host.master_target().uuid().empty())
        host.mutable_master_target()->set_uuid(UuidOf(host.name()));
    }
  }
  for (v1::Link& link : *topology->mutable_links()) {
    if (!link.has_quality_back()) *link.mutable_quality_back() = link.quality();
  }
  std::vector<v1::Machine> machines;
  for (const v1::Machine& written : topology->machines()) {
    v1::Machine machine = written;
    placed(machine.mutable_place());
    machine.set_os(v1::Machine::LINUX);
    v1::MachineSettings settings;
    for (const v1::MachineClass& one : topology->machine_classes()) {
      if (one.name() == machine.machine_class()) settings = one.settings();
    }
    // What a machine says of a list or of a delay replaces what its class says.
    if (machine.settings().data_disks_size() > 0) settings.clear_data_disks();
    if (machine.settings().has_network_ready()) settings.clear_network_ready();
    if (machine.settings().agent().registration().has_delay())
      settings.mutable_agent()->mutable_registration()->clear_delay();
    settings.MergeFrom(machine.settings());
    if (settings.cpus() == 0) settings.set_cpus(1);
    if (settings.memory_mb() == 0) settings.set_memory_mb(384);
    if (!settings.workload().has_ledger_interval())
      *settings.mutable_workload()->mutable_ledger_interval() = ToProto(absl::Milliseconds(20));
    *machine.mutable_settings() = settings;
    for (uint32_t i = 1; i <= machine.count(); ++i) {
      machines.push_back(machine);
      machines.back().set_name(absl::StrCat(written.name(), "-", i));
      machines.back().clear_count();
    }
    if (machine.count() == 0) machines.push_back(machine);
  }
  for (v1::Machine& machine : machines) {
    if (machine.uuid().empty()) machine.set_uuid(UuidOf(machine.name()));
  }
  topology->mutable_machines()->Assign(machines.begin(), machines.end());
}

}  // namespace

void CheckQuality(const std::string& key, const v1::LinkDirection& quality,
                  ConfigProblems* problems) {
  if (!(quality.loss_percent() >= 0 && quality.loss_percent() <= 100))
    problems->Add(absl::StrCat(key, ".loss_percent"), "must be between 0 and 100");
  if (FromProto(quality.latency()) < absl::ZeroDuration() ||
      FromProto(quality.latency()) > absl::Minutes(1))
    problems->Add(absl::StrCat(key, ".latency"), "must be between none and a minute");
  if (FromProto(quality.jitter()) < absl::ZeroDuration() ||
      FromProto(quality.jitter()) > absl::Minutes(1))
    problems->Add(absl::StrCat(key, ".jitter"), "must be between none and a minute");
  if (quality.bandwidth_bits_per_second() != 0 && quality.bandwidth_bits_per_second() < 8000)
    problems->Add(absl::StrCat(key, ".bandwidth_bits_per_second"),
                  "must be at least 8000, or 0 for no limit");
}

bool IsMeant(absl::string_view pattern, absl::string_view name) {
  const size_t star = pattern.find('*');
  if (star == pattern.npos) return pattern == name;
  if (name.substr(0, star) != pattern.substr(0, star)) return false;
  const absl::string_view rest = pattern.substr(star + 1);
  for (size_t at = star; at <= name.size(); ++at) {
    if (IsMeant(rest, name.substr(at))) return true;
  }
  return false;
}

absl::StatusOr<v1::Topology> ReadTopology(const std::string& name, const std::string& text) {
  v1::Topology topology;
  const absl::Status read = ParseConfig(
      name, text,
      [](const Message& message, ConfigProblems* problems) {
        TopologyCheck(static_cast<const v1::Topology&>(message), problems).Run();
      },
      &topology);
  if (!read.ok()) return read;
  Complete(&topology);
  return topology;
}

}  // namespace homeward::lab
