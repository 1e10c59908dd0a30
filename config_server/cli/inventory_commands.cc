// The group `inventory`.
#include "absl/strings/str_cat.h"
#include "config_server/cli/arguments.h"
#include "config_server/cli/commands.h"
#include "config_server/cli/tables.h"

namespace homeward {
namespace {

using admin::v1::GetInventoryRequest;
using admin::v1::Inventory;

// `keep` takes away what the command does not show, from JSON and YAML too.
struct Kind {
  std::string name;
  std::string summary;
  Session::AsTable<Inventory> as_table;
  void (*keep)(Inventory*);
};

void AddKind(CommandLine* line, CLI::App* inventory, const Kind& kind) {
  GetInventoryRequest* const request = line->New<GetInventoryRequest>();
  CLI::App* const list = line->Add(
      inventory, {kind.name, kind.summary, absl::StrCat("inventory ", kind.name, " --vcenter vc1")},
      [=](Session& session) -> absl::Status {
        Inventory answer;
        HW_RETURN_IF_ERROR(session.Call(&AdminClient::Stub::GetInventory, *request, &answer));
        kind.keep(&answer);
        session.Print(answer, kind.as_table);
        return absl::OkStatus();
      });
  AddText(Command<GetInventoryRequest>{list, request}, "--vcenter",
          &GetInventoryRequest::mutable_vcenter, "show only this vCenter's");
}

}  // namespace

void AddInventoryCommands(CommandLine* line) {
  CLI::App* const inventory = line->Group("inventory", "what the vCenters have");
  AddKind(line, inventory, {"hosts", "list the ESX hosts", FormatEsxHosts, [](Inventory* answer) {
                              answer->clear_datastores();
                              answer->clear_vms();
                            }});
  AddKind(line, inventory,
          {"datastores", "list the datastores, and the hosts that mount them", FormatEsxDatastores,
           [](Inventory* answer) {
             answer->clear_hosts();
             answer->clear_vms();
           }});
  AddKind(line, inventory,
          {"vms", "list the virtual machines", FormatVirtualMachines, [](Inventory* answer) {
             answer->clear_hosts();
             answer->clear_datastores();
           }});
}

}  // namespace homeward
