// The group `plan`.
#include "common/os/file_system.h"
#include "config_server/cli/arguments.h"
#include "config_server/cli/commands.h"
#include "config_server/cli/plan_file.h"
#include "config_server/cli/tables.h"

namespace homeward {
namespace {

using admin::v1::AnswerPlanRequest;
using admin::v1::CheckPlanRequest;
using admin::v1::RunPlanRequest;
using Stub = AdminClient::Stub;

template <typename Request>
void AddName(const Command<Request>& command) {
  AddText(command, "name", &Request::mutable_name, "name of the plan")->required();
}

// Reads the plan of the file; what is wrong with it is wrong usage.
void AddPlanFile(CLI::App* command, admin::v1::RecoveryPlan* plan) {
  command
      ->add_option_function<std::string>(
          "file",
          [plan](const std::string& path) {
            const absl::StatusOr<std::string> text = ReadWholeFile(RealFileSystem(), path);
            if (!text.ok()) {
              throw CLI::ValidationError(
                  "file", absl::StrCat("cannot read ", path, ": ", text.status().message()));
            }
            absl::StatusOr<admin::v1::RecoveryPlan> read = ParsePlanFile(path, *text);
            if (!read.ok())
              throw CLI::ValidationError("file", std::string(read.status().message()));
            *plan = *std::move(read);
          },
          "the plan, as YAML")
      ->type_name("FILE")
      ->required();
}

template <typename Request>
CLI::Option* AddOperation(const Command<Request>& command) {
  Request* const request = command.request;
  // A failover is a failback whose machines go to Azure.
  return command.app
      ->template add_option_function<std::string>(
          "--as",
          [request](const std::string& word) {
            request->set_operation(word == "reprotect" ? admin::v1::REPROTECT
                                   : word == "commit"  ? admin::v1::COMMIT
                                                       : admin::v1::FAILBACK);
          },
          "what to do with its machines")
      ->check(CLI::IsMember({"failback", "failover", "reprotect", "commit"}));
}

template <typename Request>
void AddPoint(const Command<Request>& command) {
  AddText(command, "--point", &Request::mutable_point, "of a failback; default: what the plan says")
      ->check(CLI::IsMember({"latest", "latest-app-consistent"}));
}

void AddAnswer(CommandLine* line, CLI::App* plans, const CommandText& text,
               admin::v1::PlanAnswer answer) {
  const auto command = line->Start(plans, text, &Stub::AnswerPlan);
  AddName(command);
  command.request->set_answer(answer);
}

}  // namespace

void AddPlanCommands(CommandLine* line) {
  CLI::App* const plans =
      line->Group("plan", "recovery plans: groups of machines, recovered one after the other");
  line->Show(plans, {"list", "list all recovery plans", "plan list"}, &Stub::ListPlans,
             FormatPlans);
  AddName(line->Show(plans, {"show", "show a plan", "plan show shop"}, &Stub::GetPlan, FormatPlan));
  AddName(line->Show(plans,
                     {"export", "print a plan as the file it is made of", "plan export shop"},
                     &Stub::GetPlan, FormatPlan));
  const auto apply = line->Show(
      plans, {"apply", "make a plan, or put this one in its place", "plan apply /root/shop.yaml"},
      &Stub::ApplyPlan, FormatPlan);
  AddPlanFile(apply.app, apply.request->mutable_plan());
  const auto check = line->Show(
      plans,
      {"check", "say all that keeps the plan of a file from being run now; nothing is changed",
       "plan check /root/shop.yaml --as failback"},
      &Stub::CheckPlan, FormatPlanCheck);
  AddPlanFile(check.app, check.request->mutable_plan());
  check.request->set_operation(admin::v1::FAILBACK);
  AddOperation(check);
  AddPoint(check);
  AddName(line->Show(plans, {"delete", "delete a plan that is not being run", "plan delete shop"},
                     &Stub::DeletePlan, FormatPlan));
  const auto run =
      line->Start(plans,
                  {"run", "fail back, reprotect or commit the machines of a plan, in its order",
                   "plan run shop --as failback --point latest-app-consistent"},
                  &Stub::RunPlan);
  AddName(run);
  AddOperation(run)->required();
  AddPoint(run);
  AddText(run, "--process-server", &RunPlanRequest::mutable_process_server,
          "of a reprotect: name or ID, for all machines");
  AddText(run, "--master-target", &RunPlanRequest::mutable_master_target,
          "of a reprotect: name or ID, for all machines");
  AddText(run, "--datastore", &RunPlanRequest::mutable_datastore, "of a reprotect: its path");
  AddText(run, "--directory", &RunPlanRequest::mutable_directory,
          "of a reprotect: each machine in NAME-DIRECTORY there");
  AddAnswer(line, plans,
            {"continue", "go on: a manual action is done, or a step that failed is let be",
             "plan continue shop"},
            admin::v1::CONTINUE);
  AddAnswer(line, plans, {"retry", "try the step that failed again", "plan retry shop"},
            admin::v1::RETRY);
  AddAnswer(line, plans, {"stop", "end the run at this step", "plan stop shop"}, admin::v1::STOP);
}

}  // namespace homeward
