// The group `jobs`.
#include "config_server/cli/arguments.h"
#include "config_server/cli/commands.h"
#include "config_server/cli/tables.h"

namespace homeward {
namespace {

using admin::v1::CancelJobRequest;
using admin::v1::GetJobRequest;
using admin::v1::ListJobsRequest;
using Stub = AdminClient::Stub;

constexpr char kJobId[] = "ID of the job";

}  // namespace

void AddJobCommands(CommandLine* line) {
  CLI::App* const jobs = line->Group("jobs", "jobs of the configuration server, running and ended");
  const auto list =
      line->Show(jobs, {"list", "list jobs, newest first", "jobs list --machine web-1"},
                 &Stub::ListJobs, FormatJobs);
  AddText(list, "--machine", &ListJobsRequest::mutable_machine, "show only this machine's");
  AddCount(list, "show at most this many, the newest (default: 100)");
  AddText(line->Show(jobs, {"show", "show a job with its tasks", "jobs show 00000001"},
                     &Stub::GetJob, FormatJob),
          "job", &GetJobRequest::mutable_job_id, kJobId)
      ->required();
  std::string* const watched = line->New<std::string>();
  line->Add(jobs, {"watch", "show a job's progress until it has ended", "jobs watch 00000001"},
            [watched](Session& session) { return session.Watch(*watched); })
      ->add_option("job", *watched, kJobId)
      ->required();
  AddText(line->Start(jobs, {"cancel", "stop a job and undo what it did", "jobs cancel 00000001"},
                      &Stub::CancelJob),
          "job", &CancelJobRequest::mutable_job_id, kJobId)
      ->required();
}

}  // namespace homeward
