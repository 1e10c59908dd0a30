// The group `groups`.
#include "config_server/cli/arguments.h"
#include "config_server/cli/commands.h"
#include "config_server/cli/tables.h"

namespace homeward {
namespace {

using admin::v1::CreateCommonPointRequest;
using admin::v1::GetGroupRequest;
using Stub = AdminClient::Stub;

template <typename Request>
void AddName(const Command<Request>& command) {
  AddText(command, "name", &Request::mutable_name, "name of the group")->required();
}

// What a group is made of, and is changed in.
template <typename Request>
void AddSettings(const Command<Request>& command, const std::string& otherwise) {
  Request* const request = command.request;
  command.app->template add_option_function<std::vector<std::string>>(
      "--machine",
      [request](const std::vector<std::string>& machines) {
        for (const std::string& machine : machines) request->add_machines(machine);
      },
      "name or ID of a member; once for each of them");
  AddDuration(
      command.app, "--point-interval",
      [request](const auto& interval) { *request->mutable_point_interval() = interval; },
      "between common points; 0: only when asked for. Default: " + otherwise);
  AddDuration(
      command.app, "--app-point-interval",
      [request](const auto& interval) { *request->mutable_app_point_interval() = interval; },
      "between application-consistent ones; 0: only when asked for. Default: " + otherwise);
}

}  // namespace

void AddGroupCommands(CommandLine* line) {
  CLI::App* const groups =
      line->Group("groups", "replication groups: machines that take common recovery points");
  line->Show(groups, {"list", "list all replication groups", "groups list"}, &Stub::ListGroups,
             FormatGroups);
  AddName(line->Show(
      groups,
      {"show", "show a group, its common points and who takes part in them", "groups show shop"},
      &Stub::GetGroup, FormatGroup));
  const auto create =
      line->Show(groups,
                 {"create", "create a replication group",
                  "groups create shop --machine db-1 --machine web-1 --point-interval 1m"},
                 &Stub::CreateGroup, FormatGroup);
  AddName(create);
  AddSettings(create, "as in the policy failback");
  const auto change =
      line->Show(groups,
                 {"change", "change a group; with --machine, these are its members from now on",
                  "groups change shop --machine db-1 --machine web-1 --machine web-2"},
                 &Stub::ChangeGroup, FormatGroup);
  AddName(change);
  AddSettings(change, "as it is");
  AddName(line->Show(
      groups,
      {"delete", "delete a group; its machines go on, and keep their points", "groups delete shop"},
      &Stub::DeleteGroup, FormatGroup));
  const auto point = line->Show(
      groups,
      {"create-point", "have all members take a common point now", "groups create-point shop"},
      &Stub::CreateCommonPoint, FormatGroup);
  AddText(point, "name", &CreateCommonPointRequest::mutable_group, "name of the group")->required();
  point.app->add_flag_callback(
      "--app-consistent",
      [request = point.request] { request->set_kind(types::v1::APP_CONSISTENT); },
      "make it application-consistent: run the scripts of all members first");
}

}  // namespace homeward
