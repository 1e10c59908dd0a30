#include "mobility_agent/guest/network_step.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/log/log.h"
#include "common/os/file_system.h"
#include "common/status/status_macros.h"
#include "mobility_agent/guest/network_texts.h"

namespace homeward {
namespace {

constexpr absl::Duration kLimit = absl::Minutes(2);  // a DHCP client waits for a minute
constexpr char kIfupdown[] = "ifupdown";
constexpr char kNetplan[] = "netplan";
constexpr char kNetworkd[] = "systemd-networkd";
constexpr char kInterfaces[] = "/etc/network/interfaces";
constexpr char kInterfacesDirectory[] = "/etc/network/interfaces.d";
constexpr char kNetplanDirectory[] = "/etc/netplan";
constexpr char kNetworkdDirectory[] = "/etc/systemd/network";
// Where it is when systemd-networkd is enabled; without that its files are not used.
constexpr char kNetworkdEnabled[] =
    "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service";
constexpr char kManagerDirectory[] = "/etc/NetworkManager/system-connections";
// A DHCP client writes it anew, without being asked.
constexpr char kResolver[] = "/etc/resolv.conf";

std::vector<std::string> FilesIn(const GuestFiles& files, const char* directory,
                                 const char* suffix) {
  std::vector<std::string> paths;
  for (const std::string& name : files.List(directory)) {
    if (absl::EndsWith(name, suffix) && name[0] != '.') paths.push_back(JoinPath(directory, name));
  }
  return paths;
}

const GuestRecord::WrittenFile* WrittenAt(const GuestRecord::Network& network,
                                          const std::string& path) {
  for (const GuestRecord::WrittenFile& file : network.written) {
    if (file.path == path) return &file;
  }
  return nullptr;
}

}  // namespace

absl::Status NetworkStep::Go(bool away, GuestRecord* record, const Save& save) {
  Network& network = record->network;
  if (network.phase == (away ? GuestPhase::kAway : GuestPhase::kHome)) return absl::OkStatus();
  return away ? Leave(&network, save) : Return(&network, save);
}

std::vector<std::string> NetworkStep::IfupdownFiles() const {
  std::vector<std::string> paths;
  if (files_.Exists(kInterfaces)) paths.push_back(kInterfaces);
  for (const std::string& path : FilesIn(files_, kInterfacesDirectory, "")) paths.push_back(path);
  return paths;
}

std::vector<std::string> NetworkStep::Texts(const std::vector<std::string>& paths) const {
  std::vector<std::string> texts;
  for (const std::string& path : paths) texts.push_back(files_.Text(path));
  return texts;
}

KeptFile NetworkStep::Place(const std::string& path) const {
  std::string kept = absl::StrCat(kKeptDirectory, path);
  for (int i = 2; files_.Exists(kept); ++i) kept = absl::StrCat(kKeptDirectory, path, ".", i);
  return {.path = path, .kept = kept};
}

void NetworkStep::PlanKind(const std::string& kind, const std::vector<std::string>& interfaces,
                           Network* plan) const {
  std::vector<std::string> paths;
  GuestRecord::WrittenFile instead;
  if (kind == kIfupdown) {
    const std::vector<std::string> texts = Texts(IfupdownFiles());
    const bool used = files_.Exists("/sbin/ifup") || files_.Exists("/usr/sbin/ifup");
    if (!used || IfupdownInterfaces(texts).empty() || IfupdownServes(texts, interfaces)) return;
    // What is written instead does not read interfaces.d, so what is there can stay.
    paths = {kInterfaces};
    instead = {.path = kInterfaces, .content = IfupdownDhcp(interfaces)};
  } else if (kind == kNetplan) {
    paths = FilesIn(files_, kNetplanDirectory, ".yaml");
    if (paths.empty() || NetplanServes(Texts(paths), interfaces)) return;
    instead = {.path = absl::StrCat(kNetplanDirectory, "/90-homeward.yaml"),
               .content = NetplanDhcp(interfaces)};
  } else {
    paths = FilesIn(files_, kNetworkdDirectory, ".network");
    if (paths.empty() || !files_.Exists(kNetworkdEnabled) ||
        NetworkdServes(Texts(paths), interfaces)) {
      return;
    }
    instead = {.path = absl::StrCat(kNetworkdDirectory, "/10-homeward.network"),
               .content = NetworkdDhcp(interfaces)};
  }
  for (const std::string& path : paths) plan->kept.push_back(Place(path));
  plan->written.push_back(std::move(instead));
  plan->kinds.push_back(kind);
}

absl::StatusOr<GuestRecord::Network> NetworkStep::Plan() const {
  Network plan;
  const std::vector<std::string> interfaces = files_.NetworkInterfaces();
  if (interfaces.empty()) {
    return absl::UnavailableError(
        "this machine shows no network interface under /sys/class/net yet: check that it has one, "
        "and the driver for it (hv_netvsc in Azure)");
  }
  for (const char* kind : {kIfupdown, kNetplan, kNetworkd}) PlanKind(kind, interfaces, &plan);
  if (!plan.kinds.empty() && files_.Read(kResolver).ok()) {
    plan.kept.push_back(Place(kResolver));
    plan.kept.back().yields = true;
  }
  for (const std::string& path : FilesIn(files_, kManagerDirectory, "")) {
    if (absl::StrContains(files_.Text(path), "method=manual")) {
      LogWarn("guest.network_not_handled",
              {{"file", path},
               {"why",
                "static addresses of NetworkManager are left as they are: give the "
                "interface a connection with method=auto"}});
    }
  }
  return plan;
}

absl::Status NetworkStep::Leave(Network* network, const Save& save) {
  if (network->phase == GuestPhase::kReturning) {
    // Away again before it was home: what is not back yet comes back first.
    DropTaken(network);
    HW_RETURN_IF_ERROR(CheckUntouched(*network));
    HW_RETURN_IF_ERROR(PutBack(*network));
  }
  if (network->phase != GuestPhase::kLeaving) {
    HW_ASSIGN_OR_RETURN(*network, Plan());
  }
  network->phase = GuestPhase::kLeaving;
  HW_RETURN_IF_ERROR(save());
  if (!network->kinds.empty()) {
    TakeDown(*network);
    HW_RETURN_IF_ERROR(MoveAside(*network));
    HW_RETURN_IF_ERROR(BringUp(*network));
    LogInfo("guest.network_away", {{"kinds", absl::StrJoin(network->kinds, " ")}});
  }
  network->phase = GuestPhase::kAway;
  return save();
}

absl::Status NetworkStep::MoveAside(const Network& network) const {
  for (const KeptFile& file : network.kept) {
    if (files_.Exists(file.kept) || !files_.Exists(file.path)) continue;
    if (file.yields) {
      HW_ASSIGN_OR_RETURN(const GuestFile content, files_.Read(file.path));
      HW_RETURN_IF_ERROR(files_.Write(file.kept, content));
    } else {
      HW_RETURN_IF_ERROR(files_.Move(file.path, file.kept));
    }
  }
  for (const GuestRecord::WrittenFile& file : network.written) {
    if (files_.Text(file.path) == file.content) continue;
    const bool secret = absl::StartsWith(file.path, kNetplanDirectory);  // netplan warns of others
    const absl::Status written =
        files_.Write(file.path, {.content = file.content, .mode = secret ? 0600u : 0644u});
    if (absl::IsAlreadyExists(written)) {
      return absl::AlreadyExistsError(absl::StrCat(
          file.path,
          " was made by somebody while the network was changed to DHCP, and is left as "
          "it is: remove it, or give the interface an address in it"));
    }
    HW_RETURN_IF_ERROR(written);
  }
  return absl::OkStatus();
}

absl::Status NetworkStep::Return(Network* network, const Save& save) {
  if (!network->kinds.empty()) {
    DropTaken(network);
    HW_RETURN_IF_ERROR(CheckUntouched(*network));
    network->phase = GuestPhase::kReturning;
    HW_RETURN_IF_ERROR(save());
    TakeDown(*network);
    HW_RETURN_IF_ERROR(PutBack(*network));
    HW_RETURN_IF_ERROR(BringUp(*network));
    LogInfo("guest.network_home", {{"kinds", absl::StrJoin(network->kinds, " ")}});
  }
  *network = Network();
  return save();
}

void NetworkStep::DropTaken(Network* network) const {
  std::erase_if(network->kept, [&](const KeptFile& file) {
    if (files_.Exists(file.kept)) return false;
    std::erase_if(network->written, [&](const GuestRecord::WrittenFile& written) {
      return written.path == file.path;
    });
    return true;
  });
}

absl::Status NetworkStep::CheckUntouched(const Network& network) const {
  std::vector<std::string> changed;
  for (const KeptFile& file : network.kept) {
    const GuestRecord::WrittenFile* ours = WrittenAt(network, file.path);
    if (file.yields || !files_.Exists(file.path)) continue;
    if (ours != nullptr && files_.Text(file.path) == ours->content) continue;
    changed.push_back(absl::StrCat(file.path,
                                   " (to have home's again remove it, to keep it "
                                   "remove ",
                                   file.kept, ")"));
  }
  for (const GuestRecord::WrittenFile& file : network.written) {
    const bool counted =
        absl::c_any_of(network.kept, [&](const KeptFile& kept) { return kept.path == file.path; });
    if (counted || !files_.Exists(file.path) || files_.Text(file.path) == file.content) continue;
    changed.push_back(absl::StrCat(file.path, " (rename or remove it)"));
  }
  if (changed.empty()) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrCat(
      "the network configuration was changed while the machine was away, so that of home is not "
      "put back: ",
      absl::StrJoin(changed, "; ")));
}

absl::Status NetworkStep::PutBack(const Network& network) const {
  for (const GuestRecord::WrittenFile& file : network.written) {
    if (files_.Text(file.path) == file.content) HW_RETURN_IF_ERROR(files_.Remove(file.path));
  }
  for (const KeptFile& file : network.kept) {
    if (!files_.Exists(file.kept)) continue;
    if (file.yields && files_.Text(file.kept) == files_.Text(file.path)) {
      HW_RETURN_IF_ERROR(files_.Remove(file.kept));
      continue;
    }
    // What a DHCP client wrote is kept too: it may be somebody's after all.
    if (file.yields && files_.Exists(file.path))
      HW_RETURN_IF_ERROR(files_.Move(file.path, absl::StrCat(file.kept, ".away"), true));
    HW_RETURN_IF_ERROR(files_.Move(file.kept, file.path));
  }
  return absl::OkStatus();
}

void NetworkStep::TakeDown(const Network& network) const {
  if (!absl::c_linear_search(network.kinds, kIfupdown)) return;
  // With what configured it, if it still can. Other kinds see for themselves what has changed.
  for (const std::string& name : files_.NetworkInterfaces()) {
    RunLogged(commands_, {"ifdown", "--force", name}, kLimit).status().IgnoreError();
    RunLogged(commands_, {"ip", "address", "flush", "dev", name, "scope", "global"}, kLimit)
        .status()
        .IgnoreError();
  }
}

absl::Status NetworkStep::BringUp(const Network& network) const {
  const std::vector<std::string> interfaces = files_.NetworkInterfaces();
  for (const std::string& kind : network.kinds) {
    if (kind == kIfupdown) {
      const std::vector<std::string> configured = IfupdownInterfaces(Texts(IfupdownFiles()));
      for (const std::string& name : interfaces) {
        if (!absl::c_linear_search(configured, name)) continue;
        HW_RETURN_IF_ERROR(RunLogged(commands_, {"ifup", "--force", name}, kLimit).status());
      }
      HW_RETURN_IF_ERROR(RunLogged(commands_, {"ifup", "--all"}, kLimit).status());
    } else if (kind == kNetplan) {
      HW_RETURN_IF_ERROR(RunLogged(commands_, {"netplan", "apply"}, kLimit).status());
    } else {
      HW_RETURN_IF_ERROR(RunLogged(commands_, {"networkctl", "reload"}, kLimit).status());
      for (const std::string& name : interfaces) {
        HW_RETURN_IF_ERROR(
            RunLogged(commands_, {"networkctl", "reconfigure", name}, kLimit).status());
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace homeward
