#include "config_server/cli/tables.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/wire/time_proto.h"
#include "config_server/cli/format.h"

namespace homeward {
namespace {

std::string MachinesOf(const admin::v1::Job& job) {
  if (!job.plan().empty()) return absl::StrCat("plan ", job.plan());
  return job.machine_id().empty() ? "several machines" : job.machine_name();
}

// What a run of a plan says of a step, under its task.
std::string FormatStep(const admin::v1::PlanStep& step, const std::string& plan) {
  std::string out;
  if (step.attempt() > 1) absl::StrAppend(&out, "      Attempt ", step.attempt(), "\n");
  if (step.children_size() > 0)
    absl::StrAppend(&out, "      Jobs: ", absl::StrJoin(step.children(), ", "), "\n");
  if (!step.output().empty()) {
    absl::StrAppend(&out, "      It printed:\n");
    for (const absl::string_view line : absl::StrSplit(step.output(), '\n', absl::SkipEmpty()))
      absl::StrAppend(&out, "        ", line, "\n");
  }
  if (step.has_problem())
    absl::StrAppend(&out, "      ", step.problem().id(), ": ", step.problem().message(), "\n");
  if (step.waits()) {
    absl::StrAppend(&out, "      Answer: homeward plan continue ", plan,
                    step.has_problem() ? absl::StrCat(", retry ", plan) : "", " or stop ", plan,
                    "\n");
  }
  return out;
}

}  // namespace

std::string FormatJobs(const admin::v1::ListJobsResponse& response) {
  std::vector<std::vector<std::string>> rows = {
      {"ID", "WORKFLOW", "MACHINE", "STATE", "STARTED", "PROBLEM"}};
  for (const admin::v1::Job& job : response.jobs()) {
    rows.push_back({job.id(), job.workflow(), MachinesOf(job), job.state(),
                    FormatTime(job.created()), job.has_problem() ? job.problem().id() : "-"});
  }
  return FormatTable(rows);
}

std::string FormatJob(const admin::v1::Job& job) {
  std::string out = absl::StrCat("Job ", job.id(), ": ", job.workflow(), " of ", MachinesOf(job),
                                 ": ", job.state(), "\n");
  if (!job.parent().empty()) absl::StrAppend(&out, "  Part of job ", job.parent(), "\n");
  for (int i = 0; i < job.tasks_size(); ++i) {
    const admin::v1::Task& task = job.tasks(i);
    absl::StrAppendFormat(&out, "  %-10s %s", task.state(), task.name());
    if (task.has_ended() && task.has_started()) {
      absl::StrAppend(&out, " (",
                      FormatTimeSpan(FromProto(task.ended()) - FromProto(task.started())), ")");
    }
    if (task.state() == "Running" && !task.detail().empty())
      absl::StrAppend(&out, ": waiting for ", task.detail());
    if (task.total_bytes() > 0) {
      absl::StrAppend(&out, ", ", FormatBytes(task.done_bytes()), " of ",
                      FormatBytes(task.total_bytes()));
    }
    absl::StrAppend(&out, "\n");
    if (i < job.plan_steps_size()) absl::StrAppend(&out, FormatStep(job.plan_steps(i), job.plan()));
  }
  if (job.children_size() > 0)
    absl::StrAppend(&out, "  Jobs it started: ", absl::StrJoin(job.children(), ", "), "\n");
  for (const std::string& kept : job.kept()) absl::StrAppend(&out, "  Left: ", kept, "\n");
  if (job.has_problem()) absl::StrAppend(&out, FormatProblem(job.problem()));
  return out;
}

std::string FormatHealth(const admin::v1::Health& health) {
  std::string out =
      absl::StrCat(health.health(), ": ", health.machines_protected(), " of ",
                   health.machines_total(), " machines protected, ", health.servers_connected(),
                   " of ", health.servers_total(), " servers connected\n");
  for (const admin::v1::HealthError& error : health.errors())
    absl::StrAppend(&out, "  ", error.of(), ": ", FormatIssue(error.issue()), "\n");
  return out;
}

std::string FormatEvents(const admin::v1::ListEventsResponse& response) {
  std::string out;
  for (const admin::v1::Event& event : response.events()) {
    absl::StrAppendFormat(&out, "%s  %-28s %-9s %s\n", FormatTime(event.time()), event.name(),
                          ShortId(event.machine_id()), event.text());
  }
  return out;
}

}  // namespace homeward
