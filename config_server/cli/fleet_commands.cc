// The group `fleet`.
#include "config_server/cli/arguments.h"
#include "config_server/cli/commands.h"
#include "config_server/cli/tables.h"

namespace homeward {

using admin::v1::ListRegistrationsRequest;

void AddFleetCommands(CommandLine* line) {
  using Stub = AdminClient::Stub;
  CLI::App* const fleet = line->Group("fleet", "all machines together");
  const auto registrations =
      line->Show(fleet,
                 {"registrations",
                  "show how long machines took from power-on until their agents were registered",
                  "fleet registrations --within 24h"},
                 &Stub::ListRegistrations, FormatRegistrations);
  AddText(registrations, "--machine", &ListRegistrationsRequest::mutable_machine,
          "show only this machine's");
  ListRegistrationsRequest* const request = registrations.request;
  AddDuration(
      registrations.app, "--within",
      [request](const google::protobuf::Duration& within) { *request->mutable_within() = within; },
      "count only boots that ended in a registration this long ago or less");
  AddCount(registrations, "list at most this many machines, the slowest (default: 100)");
}

}  // namespace homeward
