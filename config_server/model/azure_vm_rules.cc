#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/limits.h"
#include "config_server/model/control_messages.h"
#include "config_server/model/locations.h"
#include "config_server/model/vm_record.h"

namespace homeward {
namespace {

using storage::v1::AzureSite;
using storage::v1::Machine;
using storage::v1::Server;

// Something is to be made there.
Refusal CheckUsable(const std::string& name, const CloudState& state) {
  if (state.link == CloudState::Link::kConnected) {
    if (state.error.ok()) return std::nullopt;
    return MakeProblem(ProblemId::kAzureSiteWrong,
                       absl::StrCat("site ", name, ": ", state.error.message()));
  }
  return MakeProblem(ProblemId::kAzureNotReached,
                     absl::StrCat("Azure is not reached for site ", name, ": ",
                                  state.error.ok() ? "it has not answered yet"
                                                   : std::string(state.error.message())));
}

// The one that is wished for, or the only one.
struct FoundSite {
  const CloudState* state = nullptr;
  Refusal refusal;
};
FoundSite FindSite(const View& view, const std::string& name) {
  const auto named = view.clouds.find(name);
  if (named != view.clouds.end()) return {&named->second, std::nullopt};
  if (name.empty() && view.clouds.size() == 1) return {&view.clouds.begin()->second, std::nullopt};
  std::vector<std::string> names;
  for (const auto& [one, state] : view.clouds) names.push_back(one);
  return {nullptr,
          MakeProblem(ProblemId::kAzureSiteUnknown,
                      names.empty() ? "no Azure site was added"
                      : name.empty()
                          ? absl::StrCat("there are several Azure sites, and none was named: ",
                                         absl::StrJoin(names, ", "))
                          : absl::StrCat("there is no Azure site named ", name))};
}

Refusal CheckDisks(const storage::v1::Placement& placement) {
  for (const types::v1::Disk& disk : placement.disks()) {
    if (SectorBytesOf(disk) != kVmdkSectorBytes) {
      return MakeProblem(ProblemId::kSectorSizeUnsupported,
                         absl::StrCat("disk ", disk.name(), " has sectors of ", SectorBytesOf(disk),
                                      " bytes, a disk in Azure that is made from a page blob has ",
                                      kVmdkSectorBytes));
    }
    if (disk.size_bytes() > kPageBlobDiskBytesMax) {
      return MakeProblem(ProblemId::kDiskTooLargeForBlob,
                         absl::StrCat("disk ", disk.name(), " has ", disk.size_bytes(),
                                      " bytes, and ", kPageBlobDiskBytesMax, " are the most"));
    }
  }
  return std::nullopt;
}

Refusal CheckSize(const CloudState& state, const std::string& size, int disks) {
  const std::string& region = state.site.region();
  if (size.empty()) {
    return MakeProblem(
        ProblemId::kAzureSizeUnknown,
        absl::StrCat("no VM size was named, and site ", state.site.name(), " has no default one"));
  }
  if (state.sizes == nullptr) {
    return MakeProblem(ProblemId::kAzureNotReached,
                       absl::StrCat("which VM sizes ", region, " has is not known yet"));
  }
  const auto found = state.sizes->find(size);
  if (found == state.sizes->end()) {
    return MakeProblem(ProblemId::kAzureSizeUnknown,
                       absl::StrCat(region, " has no VM size ", size, " for subscription ",
                                    state.site.subscription()));
  }
  // One is the disk that it boots from.
  if (static_cast<uint32_t>(disks) > found->second + 1) {
    return MakeProblem(ProblemId::kAzureSizeUnknown,
                       absl::StrCat("a VM of size ", size, " has ", found->second,
                                    " data disks at the most, and the machine has ", disks - 1));
  }
  return std::nullopt;
}

using Urls = google::protobuf::RepeatedPtrField<std::string>;

// The first of the containers that the process server says it can write; empty: none.
std::string ContainerOf(const View& view, const Urls& containers, const Server& server) {
  const control::v1::Heartbeat* const heartbeat = view.fleet.heartbeat(server.host_id());
  if (heartbeat == nullptr) return "";
  const auto& writable = heartbeat->process_server().page_blob_containers();
  for (const std::string& container : containers) {
    if (std::find(writable.begin(), writable.end(), container) != writable.end()) return container;
  }
  return "";
}

// Who knows it best says it.
std::string FirmwareOf(const Machine& machine, const PlacementWish& wish) {
  if (!wish.azure.firmware.empty()) return wish.azure.firmware;
  if (!machine.vm().firmware().empty()) return machine.vm().firmware();
  return machine.registration().firmware();
}

size_t LoadOf(const View& view, const Server& server) {
  return static_cast<size_t>(
      std::count_if(view.machines.begin(), view.machines.end(), [&](const Machine& machine) {
        const storage::v1::Placement& placement = machine.assignment().placement();
        return placement.process_server_id() == server.host_id() ||
               placement.master_target_id() == server.host_id();
      }));
}

// One that can write any of the containers: `wish`, or else the least loaded but for `besides`.
struct Receiver {
  const Server* server = nullptr;
  std::string container = {};
  Refusal refusal = {};
};
Receiver FindReceiver(const View& view, const std::string& site, const Urls& containers,
                      const std::string& wish, const std::string& besides = "") {
  const Server* wished = nullptr;
  if (!wish.empty()) {
    const View::MeantServer meant = view.ServerCalled(wish, {types::v1::PROCESS_SERVER});
    if (meant.refusal) return {.refusal = meant.refusal};
    wished = meant.server;
    if (!view.fleet.connected(wished->host_id())) {
      return {.refusal = MakeProblem(ProblemId::kProcessServerDown,
                                     absl::StrCat("process server ", wished->registration().name(),
                                                  " is not connected"))};
    }
  }
  Receiver best;
  for (const Server& server : view.servers) {
    if (server.role() != types::v1::PROCESS_SERVER || !view.fleet.connected(server.host_id()) ||
        (wished != nullptr ? &server != wished : server.host_id() == besides))
      continue;
    const std::string container = ContainerOf(view, containers, server);
    if (container.empty() ||
        (best.server != nullptr && LoadOf(view, *best.server) <= LoadOf(view, server)))
      continue;
    best.server = &server;
    best.container = container;
  }
  if (best.server == nullptr) {
    best.refusal = MakeProblem(
        ProblemId::kAzureNoReceiver,
        absl::StrCat(
            wished != nullptr
                ? absl::StrCat("process server ", wished->registration().name(), " cannot write ")
                : absl::StrCat("no ", besides.empty() ? "" : "other ",
                               "process server that is connected can write "),
            absl::StrJoin(containers, " or "), " of site ", site));
  }
  return best;
}

}  // namespace

bool AzureVmRules::IsMeant(const Machine&, const PlacementWish&) const { return false; }

Refusal AzureVmRules::Place(const View& view, const Machine& machine, const PlacementWish& wish,
                            storage::v1::Placement* placement) const {
  if (!wish.directory.empty() || !wish.block_devices.empty() || !wish.datastore.empty() ||
      !wish.master_target.empty()) {
    return MakeProblem(ProblemId::kPlaceNotChoosable,
                       "what is replicated to Azure lies in a container of its site: no master "
                       "target, datastore, directory or block device can be chosen");
  }
  const FoundSite site = FindSite(view, wish.azure.site);
  if (site.refusal) return site.refusal;
  const AzureSite& record = site.state->site;
  if (machine.has_azure_vm()) {
    return MakeProblem(
        ProblemId::kVmIsSource,
        absl::StrCat(NameOf(machine), " runs in ", machine.azure_vm().name(), " in Azure already"));
  }
  if (Refusal refusal = CheckDisks(*placement)) return refusal;
  if (Refusal refusal = CheckUsable(record.name(), *site.state)) return refusal;
  const std::string& size = wish.azure.size.empty() ? record.default_size() : wish.azure.size;
  if (Refusal refusal = CheckSize(*site.state, size, placement->disks_size())) return refusal;
  const Receiver receiver =
      FindReceiver(view, record.name(), record.containers(), wish.process_server);
  if (receiver.refusal) return receiver.refusal;
  placement->set_master_target_id(receiver.server->host_id());
  storage::v1::PageBlobs& blobs = *placement->mutable_target()->mutable_page_blobs();
  blobs.set_container_url(receiver.container);
  for (const types::v1::Disk& disk : placement->disks())
    blobs.add_blobs(absl::StrCat(machine.machine_id(), "/", disk.uuid(), ".vhd"));
  storage::v1::AzureVm& vm = *placement->mutable_azure_vm();
  vm.set_site(record.name());
  vm.set_subscription(record.subscription());
  vm.set_resource_group(record.resource_group());
  vm.set_region(record.region());
  vm.set_size(size);
  vm.set_subnet(wish.azure.subnet.empty() ? record.subnet() : wish.azure.subnet);
  vm.set_uefi(FirmwareOf(machine, wish) == "efi");
  vm.set_os_type(machine.registration().os_type());
  return std::nullopt;
}

// The blobs stay where they are.
Refusal AzureVmRules::PlaceProcessServer(const View& view, const Machine& machine,
                                         const std::string& wish,
                                         storage::v1::Placement* placement) const {
  Urls containers;
  *containers.Add() = placement->target().page_blobs().container_url();
  const Receiver receiver = FindReceiver(view, placement->azure_vm().site(), containers, wish,
                                         placement->master_target_id());
  if (receiver.refusal) return receiver.refusal;
  placement->set_master_target_id(receiver.server->host_id());
  return std::nullopt;
}

Refusal AzureVmRules::CheckFailback(const View& view, const Machine& machine) const {
  const storage::v1::AzureVm& vm = machine.assignment().placement().azure_vm();
  const auto state = view.clouds.find(vm.site());
  if (state == view.clouds.end()) {
    return MakeProblem(ProblemId::kAzureSiteUnknown,
                       absl::StrCat("the Azure site ", vm.site(), " of ", NameOf(machine),
                                    " is not known any more"));
  }
  return CheckUsable(state->first, state->second);
}

Refusal AzureVmRules::CheckCommit(const Machine& machine) const {
  if (!machine.assignment().placement().azure_vm().name().empty()) return std::nullopt;
  return MakeProblem(ProblemId::kPointRequired,
                     absl::StrCat(NameOf(machine),
                                  " runs nowhere: its VM was removed for another "
                                  "recovery point, and that failover failed"));
}

Refusal AzureVmRules::CheckTest(const View& view, const Machine& machine,
                                const std::string& subnet) const {
  const storage::v1::AzureVm& vm = machine.assignment().placement().azure_vm();
  if (Refusal refusal = CheckFailback(view, machine)) return refusal;
  const AzureSite& site = view.clouds.at(vm.site()).site;
  const std::string& isolated = subnet.empty() ? site.test_subnet() : subnet;
  if (!isolated.empty() && !absl::EqualsIgnoreCase(isolated, vm.subnet()) &&
      !absl::EqualsIgnoreCase(isolated, site.subnet()))
    return std::nullopt;
  return MakeProblem(
      ProblemId::kTestSubnetUnsuitable,
      isolated.empty()
          ? absl::StrCat("no subnet was named, and site ", site.name(), " has none for tests")
          : absl::StrCat(isolated, " is a subnet that machines are failed over to: a copy of ",
                         NameOf(machine), " in it would be taken for the machine"));
}

control::v1::Target AzureVmRules::TargetFor(const Machine& machine) const {
  return ToControl(machine.assignment().placement().target());
}

}  // namespace homeward
