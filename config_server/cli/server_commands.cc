// The group `servers`.
#include "config_server/cli/arguments.h"
#include "config_server/cli/commands.h"
#include "config_server/cli/tables.h"

namespace homeward {

using admin::v1::GetServerRequest;
using admin::v1::IdentifyServerRequest;

void AddServerCommands(CommandLine* line) {
  using Stub = AdminClient::Stub;
  CLI::App* const servers = line->Group("servers", "process servers and master targets");
  line->Show(servers, {"list", "list all servers", "servers list"}, &Stub::ListServers,
             FormatServers);
  const auto show = line->Show(
      servers, {"show", "show a server with its volumes and health", "servers show mt-1"},
      &Stub::GetServer, FormatServer);
  AddText(show, "server", &GetServerRequest::mutable_server, "name or ID of the server")
      ->required();
  const auto identify =
      line->Show(servers,
                 {"identify", "choose the VM that a master target runs in, if several could be it",
                  "servers identify mt-1 --vm dc1/mt-1"},
                 &Stub::IdentifyServer, FormatServer);
  AddText(identify, "server", &IdentifyServerRequest::mutable_server,
          "name or ID of the master target")
      ->required();
  AddText(identify, "--vm", &IdentifyServerRequest::mutable_vm,
          "the managed object reference or path that VM_AMBIGUOUS lists; empty to forget an "
          "earlier choice")
      ->required();
}

}  // namespace homeward
