// What of the group `machines` says which disks are replicated, through what, and to where.
#include "config_server/cli/arguments.h"
#include "config_server/cli/commands.h"
#include "config_server/cli/tables.h"

namespace homeward {
namespace {

using admin::v1::AzurePlace;
using admin::v1::NewVm;
using admin::v1::ProtectRequest;
using admin::v1::ReprotectRequest;
using admin::v1::SetPolicyRequest;
using admin::v1::SwitchProcessServerRequest;
using Stub = AdminClient::Stub;

// Where in Azure, and as what.
template <typename Request>
void AddAzurePlace(const Command<Request>& command) {
  Request* const request = command.request;
  const auto text = [&](const char* name, std::string* (AzurePlace::*field)(), const char* says) {
    return command.app->template add_option_function<std::string>(
        name,
        [request, field](const std::string& value) {
          *(request->mutable_azure()->*field)() = value;
        },
        says);
  };
  text("--azure-site", &AzurePlace::mutable_site,
       "with --location azure: name of the site (default: the only one)");
  text("--azure-size", &AzurePlace::mutable_size,
       "with --location azure: VM size (default: the site's)");
  text("--azure-subnet", &AzurePlace::mutable_subnet,
       "with --location azure: resource ID of the subnet (default: the site's)");
  text("--azure-firmware", &AzurePlace::mutable_firmware,
       "with --location azure: bios or efi (default: what the machine boots with)")
      ->check(CLI::IsMember({"bios", "efi"}));
}

template <typename Request>
void AddPlacement(const Command<Request>& command) {
  Request* const request = command.request;
  AddText(command, "--process-server", &Request::mutable_process_server,
          "name or ID of the process server (default: the least loaded)");
  AddText(command, "--master-target", &Request::mutable_master_target,
          "name or ID of the master target (default: the least loaded)");
  AddText(command, "--datastore", &Request::mutable_datastore,
          "path of a datastore on the master target (default: the one with the most free space)");
  AddText(command, "--directory", &Request::mutable_directory,
          "directory in the datastore (default: the machine's name)");
  command.app->template add_option_function<std::vector<std::string>>(
      "--block-device",
      [request](const std::vector<std::string>& devices) {
        request->mutable_block_devices()->Assign(devices.begin(), devices.end());
      },
      "block device of the master target to use instead of a datastore; repeat it once for each "
      "disk, in the order of the disks");
  AddText(command, "--vm", &Request::mutable_vm,
          "the machine's VM, if several could be it: the managed object reference or path that "
          "VM_AMBIGUOUS lists");
  AddAzurePlace(command);
  AddText(command, "--policy", &Request::mutable_policy_name,
          "name of the replication policy to follow (default: the one the machine was given "
          "before, or else failback)");
  AddPolicy(command.app, request->mutable_policy(), "the policy's");
}

// Starts a job for each machine before it waits for any. Of several machines, one that is refused
// does not keep the others back.
absl::Status ProtectEach(Session& session, const ProtectRequest& common,
                         const std::vector<std::string>& machines, bool wait) {
  if (machines.size() > 1 && !(common.directory().empty() && common.block_devices().empty() &&
                               common.disks().empty() && common.vm().empty())) {
    return absl::InvalidArgumentError(
        "--directory, --block-device, --disk and --vm apply to a single machine: protect these "
        "machines one at a time");
  }
  std::vector<admin::v1::Job> jobs;
  for (const std::string& machine : machines) {
    ProtectRequest request = common;
    request.set_machine(machine);
    admin::v1::Job job;
    const absl::Status status = session.Call(&Stub::Protect, request, &job);
    if (status.ok()) {
      jobs.push_back(job);
    } else if (machines.size() == 1) {
      return status;
    } else {
      session.Fail(machine, status);
    }
  }
  for (const admin::v1::Job& job : jobs) HW_RETURN_IF_ERROR(session.Report(job, wait));
  return absl::OkStatus();
}

void AddProtect(CommandLine* line, CLI::App* machines) {
  ProtectRequest* const request = line->New<ProtectRequest>();
  auto* const names = line->New<std::vector<std::string>>();
  bool* const wait = line->New<bool>();
  CLI::App* const protect =
      line->Add(machines,
                {"protect", "start replicating machines",
                 "machines protect web-1 web-2 --datastore /vmfs/volumes/ds1 --wait"},
                [=](Session& session) { return ProtectEach(session, *request, *names, *wait); });
  protect->add_option("machine", *names, "names or IDs of the machines")->required();
  protect->add_option_function<std::vector<std::string>>(
      "--disk",
      [request](const std::vector<std::string>& disks) {
        request->mutable_disks()->Assign(disks.begin(), disks.end());
      },
      "replicate only this disk; may be repeated (default: all disks)");
  AddPlacement(Command<ProtectRequest>{protect, request});
  protect
      ->add_option_function<std::string>(
          "--location",
          [request](const std::string& value) {
            request->set_location(value == "azure" ? admin::v1::AZURE_VM
                                                   : admin::v1::DATASTORE_DIRECTORY);
          },
          "where the machine is replicated to. directory: a directory of a datastore mounted on "
          "the master target. azure: page blobs, from which a VM is made when it is failed over. "
          "Default: directory")
      ->check(CLI::IsMember({"directory", "azure"}));
  CommandLine::AddWait(protect, wait);
}

// What a new VM is to have, at an alternate location.
void AddNewVm(const Command<ReprotectRequest>& command) {
  ReprotectRequest* const request = command.request;
  const auto text = [&](const char* name, std::string* (NewVm::*field)(), const char* says) {
    command.app->add_option_function<std::string>(
        name,
        [request, field](const std::string& value) {
          *(request->mutable_new_vm()->*field)() = value;
        },
        says);
  };
  const auto number = [&](const char* name, void (NewVm::*set)(uint32_t), const char* says) {
    command.app->add_option_function<uint32_t>(
        name, [request, set](uint32_t value) { (request->mutable_new_vm()->*set)(value); }, says);
  };
  text("--vm-name", &NewVm::mutable_name, "name of the new VM (default: the name it had)");
  text("--vm-firmware", &NewVm::mutable_firmware, "firmware of the new VM: bios or efi");
  text("--vm-guest-id", &NewVm::mutable_guest_id,
       "guest operating system of the new VM, by vSphere's identifier, such as debian11_64Guest");
  text("--vm-network", &NewVm::mutable_network,
       "network of the new VM, which gets one network card on it");
  number("--vm-cpus", &NewVm::set_cpus, "number of processors of the new VM");
  number("--vm-memory-mb", &NewVm::set_memory_mb, "memory of the new VM in MiB");
}

void AddReprotect(CommandLine* line, CLI::App* machines) {
  const auto reprotect =
      line->Start(machines,
                  {"reprotect", "start replicating a machine again after a failback",
                   "machines reprotect web-1 --datastore /vmfs/volumes/ds2 --wait"},
                  &Stub::Reprotect);
  ReprotectRequest* const request = reprotect.request;
  AddMachine(reprotect);
  AddPlacement(reprotect);
  reprotect.app
      ->add_option_function<std::string>(
          "--location",
          [request](const std::string& value) {
            request->set_location(value == "original"    ? admin::v1::ORIGINAL_VM
                                  : value == "alternate" ? admin::v1::ALTERNATE_VM
                                  : value == "hyperv"    ? admin::v1::HYPERV_VM
                                  : value == "azure"     ? admin::v1::AZURE_VM
                                                         : admin::v1::DATASTORE_DIRECTORY);
          },
          "where the machine is to come home to. original: the VM it used to be. alternate: a new "
          "VM on the master target's ESX host, with its disks on the datastore named by "
          "--datastore. directory: a directory of a datastore mounted on the master target. "
          "azure: page blobs, from which a VM is made when it is failed over. "
          "hyperv: not supported, always refused. Default: original, if there is such a VM")
      ->check(CLI::IsMember({"original", "alternate", "directory", "azure", "hyperv"}));
  AddFlag(reprotect, "--remove-snapshots", &ReprotectRequest::set_remove_snapshots,
          "first merge the original VM's snapshots into its disks");
  AddNewVm(reprotect);
}

void AddSwitchProcessServer(CommandLine* line, CLI::App* machines) {
  const auto change = line->Start(
      machines,
      {"switch-process-server",
       "give a machine to another process server, as when its own was lost; replication goes on",
       "machines switch-process-server --from ps-1 --wait"},
      &Stub::SwitchProcessServer);
  SwitchProcessServerRequest* const request = change.request;
  CLI::Option* const machine = AddText(
      change, "machine", &SwitchProcessServerRequest::mutable_machine, "name or ID of the machine");
  AddText(change, "--from", &SwitchProcessServerRequest::mutable_from,
          "all machines of this process server, in one job: its name or ID")
      ->excludes(machine);
  AddText(change, "--process-server", &SwitchProcessServerRequest::mutable_process_server,
          "name or ID of the new one (default: the least loaded other one)");
  change.app->parse_complete_callback([request] {
    if (request->machine().empty() && request->from().empty())
      throw CLI::RequiredError("A machine or --from");
  });
}

void AddSetPolicy(CommandLine* line, CLI::App* machines) {
  const auto set = line->Show(
      machines,
      {"set-policy",
       "have a machine follow another replication policy, at once and when it is protected again",
       "machines set-policy web-1 gold"},
      &Stub::SetPolicy, FormatMachine);
  AddMachine(set);
  AddText(set, "policy", &SetPolicyRequest::mutable_policy_name, "name of the replication policy")
      ->required();
  AddPolicy(set.app, set.request->mutable_own_policy(), "the policy's");
}

}  // namespace

void AddPlacementCommands(CommandLine* line, CLI::App* machines) {
  AddProtect(line, machines);
  AddReprotect(line, machines);
  AddSetPolicy(line, machines);
  AddSwitchProcessServer(line, machines);
}

}  // namespace homeward
