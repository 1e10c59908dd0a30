#include "deploy/lab/topology/inventory.h"

#include <map>
#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/config/config.h"
#include "deploy/lab/topology/config_files.h"

namespace homeward::lab {
namespace {

using google::protobuf::Message;

constexpr char kProgramDirectory[] = "/usr/bin";
constexpr uint32_t kPortMax = 65535;

bool RunsDaemons(const v1::Host& host) {
  return host.has_config_server() || host.has_process_server() || host.has_master_target();
}

bool HasOnly(absl::string_view text, absl::string_view besides_letters_and_digits) {
  return absl::c_all_of(text, [&](char letter) {
    return absl::ascii_isalnum(static_cast<unsigned char>(letter)) ||
           absl::StrContains(besides_letters_and_digits, letter);
  });
}

// A word that no program takes for an option, and no shell for more than one.
bool IsHostName(absl::string_view text) {
  return !text.empty() && text[0] != '-' && HasOnly(text, ".-_");
}

class InventoryCheck {
 public:
  InventoryCheck(const v1::Inventory& inventory, const v1::Topology& topology,
                 ConfigProblems* problems)
      : inventory_(inventory), problems_(*problems) {
    for (const v1::Site& site : topology.sites()) {
      for (const v1::Host& host : site.hosts()) hosts_[host.name()] = &host;
    }
  }

  void Run() {
    CheckAccess("access", inventory_.access());
    for (int i = 0; i < inventory_.hosts_size(); ++i)
      CheckHost(absl::StrCat("hosts[", i, "]"), inventory_.hosts(i));
    for (const auto& [name, host] : hosts_) {
      if (RunsDaemons(*host) && seen_.count(name) == 0)
        problems_.Add("hosts", absl::StrCat("host \"", name, "\" of the topology is missing"));
    }
  }

 private:
  void CheckAccess(const std::string& key, const v1::Access& access) {
    if (access.port() > kPortMax)
      problems_.Add(absl::StrCat(key, ".port"), absl::StrCat("must be at most ", kPortMax));
    const std::string& directory = access.program_directory();
    if (directory.empty()) return;
    RequireAbsolutePath(absl::StrCat(key, ".program_directory"), directory, &problems_);
    if (!HasOnly(directory, "/.-_"))
      problems_.Add(absl::StrCat(key, ".program_directory"),
                    "has a letter that a unit's ExecStart would not take as it is");
  }

  void CheckHost(const std::string& key, const v1::InventoryHost& host) {
    const auto it = hosts_.find(host.name());
    if (it == hosts_.end())
      problems_.Add(absl::StrCat(key, ".name"),
                    absl::StrCat("the topology has no host \"", host.name(), "\""));
    else if (!RunsDaemons(*it->second))
      problems_.Add(absl::StrCat(key, ".name"),
                    absl::StrCat("\"", host.name(), "\" runs no daemon of Homeward; leave it out"));
    else if (!seen_.insert(host.name()).second)
      problems_.Add(absl::StrCat(key, ".name"),
                    absl::StrCat("there is another \"", host.name(), "\""));
    CheckAccess(absl::StrCat(key, ".access"), host.access());
    CheckSsh(key, host);
    CheckAddress(key, host, it == hosts_.end() ? "" : it->second->address());
  }

  void CheckSsh(const std::string& key, const v1::InventoryHost& host) {
    const size_t at = host.ssh().find('@');
    const bool user = at != std::string::npos;
    if (!IsHostName(user ? host.ssh().substr(at + 1) : host.ssh()) ||
        (user && !IsHostName(host.ssh().substr(0, at)))) {
      problems_.Add(absl::StrCat(key, ".ssh"),
                    absl::StrCat("\"", host.ssh(), "\" is neither HOST nor USER@HOST"));
      return;
    }
    const uint32_t port =
        host.access().port() != 0 ? host.access().port() : inventory_.access().port();
    if (!reached_.emplace(user ? host.ssh().substr(at + 1) : host.ssh(), port).second)
      problems_.Add(absl::StrCat(key, ".ssh"), absl::StrCat("another host has ", host.ssh()));
  }

  void CheckAddress(const std::string& key, const v1::InventoryHost& host,
                    const std::string& of_topology) {
    if (!host.address().empty() && !IsHostName(host.address())) {
      problems_.Add(absl::StrCat(key, ".address"), absl::StrCat("\"", host.address(),
                                                                "\" is neither an IPv4 address nor "
                                                                "a name; leave out its port"));
      return;
    }
    const std::string& address = host.address().empty() ? of_topology : host.address();
    if (!address.empty() && !addresses_.insert(address).second)
      problems_.Add(absl::StrCat(key, ".address"), absl::StrCat("another host has ", address));
  }

  const v1::Inventory& inventory_;
  ConfigProblems& problems_;
  std::map<std::string, const v1::Host*> hosts_;  // of the topology
  std::set<std::string> seen_, addresses_;
  std::set<std::pair<std::string, uint32_t>> reached_;  // by ssh
};

}  // namespace

absl::StatusOr<v1::Inventory> ReadInventory(const std::string& name, const std::string& text,
                                            const v1::Topology& topology) {
  v1::Inventory inventory;
  const absl::Status read = ParseConfig(
      name, text,
      [&](const Message& message, ConfigProblems* problems) {
        InventoryCheck(static_cast<const v1::Inventory&>(message), topology, problems).Run();
      },
      &inventory);
  if (!read.ok()) return read;
  if (inventory.access().program_directory().empty())
    inventory.mutable_access()->set_program_directory(kProgramDirectory);
  for (v1::InventoryHost& host : *inventory.mutable_hosts()) {
    v1::Access access = inventory.access();
    access.MergeFrom(host.access());
    *host.mutable_access() = access;
  }
  return inventory;
}

void UseAddresses(const v1::Inventory& inventory, v1::Topology* topology) {
  const auto listen = [](int port, std::string* address) {
    if (address->empty()) *address = absl::StrCat("0.0.0.0:", port);
  };
  for (const v1::InventoryHost& given : inventory.hosts()) {
    if (given.address().empty()) continue;
    for (v1::Site& site : *topology->mutable_sites()) {
      for (v1::Host& host : *site.mutable_hosts()) {
        if (host.name() != given.name()) continue;
        host.set_address(given.address());
        if (host.has_config_server())
          listen(kConfigServerPort, host.mutable_config_server()->mutable_listen_address());
        if (host.has_process_server())
          listen(kProcessServerPort, host.mutable_process_server()->mutable_listen_address());
        if (host.has_master_target())
          listen(kMasterTargetPort,
                 host.mutable_master_target()->mutable_config()->mutable_listen_address());
      }
    }
  }
}

}  // namespace homeward::lab
