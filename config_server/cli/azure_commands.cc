// The group `azure`.
#include <string>
#include <vector>

#include "config_server/cli/arguments.h"
#include "config_server/cli/commands.h"
#include "config_server/cli/tables.h"

namespace homeward {
namespace {

using admin::v1::AddAzureSiteRequest;
using Stub = AdminClient::Stub;

void AddAddSite(CommandLine* line, CLI::App* azure) {
  AddAzureSiteRequest* const request = line->New<AddAzureSiteRequest>();
  // Never an argument itself: everybody on a host can read those.
  FileContent* const secret = line->New<FileContent>();
  FileContent* const trusted = line->New<FileContent>();
  CLI::App* const add = line->Add(
      azure,
      {"add", "add a place in Azure that machines can be failed over to",
       "azure add west --subscription 11111111-2222-3333-4444-555555555555 --tenant "
       "66666666-7777-8888-9999-000000000000 --client-id aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee "
       "--client-secret-file /root/azure.secret --resource-group recovered --region westeurope "
       "--subnet /subscriptions/S/resourceGroups/G/providers/Microsoft.Network/virtualNetworks/N/"
       "subnets/recovered --storage-account "
       "/subscriptions/S/resourceGroups/G/providers/Microsoft.Storage/storageAccounts/A "
       "--container https://a.blob.core.windows.net/homeward --size Standard_D2s_v5"},
      [=](Session& session) {
        *request->mutable_client_secret() = ReadSecret(*secret);
        *request->mutable_trusted() = trusted->text;
        return session.Show(&Stub::AddAzureSite, *request, FormatAzureSite);
      });
  const Command<AddAzureSiteRequest> command = {add, request};
  using Request = AddAzureSiteRequest;
  AddText(command, "name", &Request::mutable_name, "name for the site in Homeward")->required();
  AddText(command, "--subscription", &Request::mutable_subscription, "ID of the subscription")
      ->required();
  AddText(command, "--tenant", &Request::mutable_tenant, "ID of the Entra tenant")->required();
  AddText(command, "--client-id", &Request::mutable_client_id,
          "ID of the application that Homeward is to Azure")
      ->required();
  AddFile(add, "--client-secret-file", secret,
          "file with the application's secret; - reads a line from standard input")
      ->required();
  AddText(command, "--resource-group", &Request::mutable_resource_group,
          "resource group that VMs, network cards and disks are made in")
      ->required();
  AddText(command, "--region", &Request::mutable_region, "region, such as westeurope")->required();
  AddText(command, "--subnet", &Request::mutable_subnet,
          "resource ID of the subnet for VMs that are failed over")
      ->required();
  AddText(command, "--test-subnet", &Request::mutable_test_subnet,
          "resource ID of an isolated subnet, for test failovers");
  AddText(command, "--storage-account", &Request::mutable_storage_account,
          "resource ID of the storage account that replicas are in")
      ->required();
  add->add_option_function<std::vector<std::string>>(
         "--container",
         [request](const std::vector<std::string>& containers) {
           request->mutable_containers()->Assign(containers.begin(), containers.end());
         },
         "URL of a container of the account, as a process server's configuration names it; may be "
         "repeated")
      ->required();
  AddText(command, "--size", &Request::mutable_default_size,
          "VM size for machines that are protected without --azure-size");
  AddText(command, "--endpoint", &Request::mutable_endpoint,
          "URL of the resource manager (default: https://management.azure.com)");
  AddText(command, "--authority", &Request::mutable_authority,
          "URL of who gives tokens (default: https://login.microsoftonline.com)");
  AddFile(add, "--ca-file", trusted,
          "PEM file with the CAs that signed their certificates (default: the system's)");
}

}  // namespace

void AddAzureCommands(CommandLine* line) {
  CLI::App* const azure =
      line->Group("azure", "sites in Azure that machines can be failed over to");
  AddAddSite(line, azure);
  line->Show(azure, {"list", "list all sites, and whether Azure is reached", "azure list"},
             &Stub::ListAzureSites, FormatAzureSites);
  const auto remove =
      line->Show(azure, {"remove", "forget a site and its secret", "azure remove west"},
                 &Stub::RemoveAzureSite, FormatAzureSite);
  AddText(remove, "name", &admin::v1::RemoveAzureSiteRequest::mutable_name, "name of the site")
      ->required();
}

}  // namespace homeward
