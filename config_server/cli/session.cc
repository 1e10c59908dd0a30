#include "config_server/cli/session.h"

#include <cstdio>
#include <utility>

#include "config_server/cli/format.h"
#include "config_server/cli/progress.h"
#include "config_server/cli/tables.h"

namespace homeward {

int Session::Run(const std::function<absl::Status(Session&)>& action) {
  AdminClient::Options options;
  options.address = options_.server;
  options.identity_directory = options_.identity;
  options.waiting = [this] {
    std::fprintf(stderr, "%s is not answering; trying again\n", options_.server.c_str());
  };
  absl::StatusOr<AdminClient> client = AdminClient::Open(std::move(options));
  absl::Status status = client.status();
  if (client.ok()) {
    client_.emplace(*std::move(client));
    status = action(*this);
  }
  if (status.ok()) return exit_code_;
  std::fputs(FormatFailure(status).c_str(), stderr);
  return ExitCodeOf(status);
}

absl::Status Session::Report(const admin::v1::Job& job, bool wait, Note note) {
  if (wait) return Watch(job.id(), note);
  PrintJob(job, note);
  return absl::OkStatus();
}

absl::Status Session::Watch(const std::string& job_id, Note note) {
  Progress progress;
  const absl::StatusOr<admin::v1::Job> job =
      client_->Watch(job_id, [&](const admin::v1::Job& now) { progress.Show(now); });
  progress.End();
  HW_RETURN_IF_ERROR(job.status());
  PrintJob(*job, note);
  if (job->state() != "Succeeded") exit_code_ = kJobFailed;
  return absl::OkStatus();
}

void Session::PrintJob(const admin::v1::Job& job, Note note) {
  Print(job, FormatJob);
  if (note != nullptr && options_.output == "table") Write(note(job));
}

void Session::Fail(const std::string& what, const absl::Status& status) {
  std::fprintf(stderr, "%s: %s", what.c_str(), FormatFailure(status).c_str());
  exit_code_ = ExitCodeOf(status);
}

void Session::Write(const std::string& text) const { std::fputs(text.c_str(), stdout); }

}  // namespace homeward
