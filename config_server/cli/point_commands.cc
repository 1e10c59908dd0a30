// The group `points`.
#include "absl/strings/str_cat.h"
#include "config_server/cli/arguments.h"
#include "config_server/cli/commands.h"
#include "config_server/cli/tables.h"

namespace homeward {
namespace {

using admin::v1::CreatePointRequest;
using Stub = AdminClient::Stub;

// How to see the point that a job makes.
std::string WhereThePointIs(const admin::v1::Job& job) {
  const std::string list = absl::StrCat(
      "homeward points list ", job.machine_name().empty() ? "MACHINE" : job.machine_name(), "\n");
  if (job.state() == "Succeeded") return absl::StrCat("To see the recovery point: ", list);
  if (job.state() != "Running") return "";
  return absl::StrCat("To follow the job:         homeward jobs watch ", job.id(),
                      "\nOnce it has succeeded, to see the recovery point: ", list);
}

void AddCreate(CommandLine* line, CLI::App* points) {
  const auto create = line->Start(
      points,
      {"create", "create a recovery point now", "points create web-1 --app-consistent --wait"},
      &Stub::CreatePoint, WhereThePointIs);
  CreatePointRequest* const request = create.request;
  CLI::Option* const machine =
      AddText(create, "machine", &CreatePointRequest::mutable_machine, "name or ID of the machine");
  AddFlag(create, "--all", &CreatePointRequest::set_all_machines,
          "of every machine that is Protected, in one job")
      ->excludes(machine);
  create.app->add_flag_callback(
      "--app-consistent", [request] { request->set_kind(types::v1::APP_CONSISTENT); },
      "make it application-consistent: run the agent's scripts around it");
  create.app->parse_complete_callback([request] {
    if (request->machine().empty() && !request->all_machines())
      throw CLI::RequiredError("A machine or --all");
  });
}

}  // namespace

void AddPointCommands(CommandLine* line) {
  CLI::App* const points = line->Group("points", "recovery points");
  AddMachine(line->Show(
      points, {"list", "list a machine's recovery points, oldest first", "points list web-1"},
      &Stub::ListPoints, FormatPoints));
  AddCreate(line, points);
}

}  // namespace homeward
