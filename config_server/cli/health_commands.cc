// health, events and version.
#include "absl/strings/str_cat.h"
#include "common/daemon/daemon.h"
#include "config_server/cli/arguments.h"
#include "config_server/cli/commands.h"
#include "config_server/cli/tables.h"

namespace homeward {
namespace {

using admin::v1::ListEventsRequest;
using Stub = AdminClient::Stub;

std::string FormatVersion(const admin::v1::Version& version) {
  return absl::StrCat("homeward ", kVersion, ", server ", version.version(), " (",
                      version.config_server_id(), ")\n");
}

}  // namespace

void AddHealthCommands(CommandLine* line) {
  CLI::App* const root = &line->root();
  line->Show(root, {"health", "show every health issue of machines and servers", "health"},
             &Stub::GetHealth, FormatHealth);
  const auto events = line->Show(root, {"events", "list what happened", "events --machine web-1"},
                                 &Stub::ListEvents, FormatEvents);
  AddText(events, "--machine", &ListEventsRequest::mutable_machine, "show only this machine's");
  AddCount(events, "show at most this many, the newest (default: 200)");
  line->Show(root, {"version", "show the versions of this program and of the server", "version"},
             &Stub::GetVersion, FormatVersion);
}

}  // namespace homeward
