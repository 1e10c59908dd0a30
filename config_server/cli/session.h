// Session: a command that runs: its connection, what it prints, and how it ends.
#ifndef HOMEWARD_CONFIG_SERVER_CLI_SESSION_H_
#define HOMEWARD_CONFIG_SERVER_CLI_SESSION_H_

#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "common/status/status_macros.h"
#include "config_server/cli/client_link.h"
#include "config_server/cli/documents.h"
#include "config_server/cli/exit_code.h"
#include "google/protobuf/message.h"

namespace homeward {

// What every command takes.
struct SessionOptions {
  std::string server = "127.0.0.1:443";  // host:port
  std::string identity = "/var/lib/homeward/config-server/operator";
  std::string output = "table";  // or "json", "yaml"
};

// One thread; everything blocks until the server has answered.
class Session {
 public:
  template <typename Response>
  using AsTable = std::string (*)(const Response&);
  // Printed after a job, for people only.
  using Note = std::string (*)(const admin::v1::Job&);

  explicit Session(SessionOptions options) : options_(std::move(options)) {}

  // Connects, runs `action`, prints why it failed. Returns the program's exit code.
  int Run(const std::function<absl::Status(Session&)>& action);

  // For what follows, `action` must be running.
  template <typename Request, typename Response>
  absl::Status Call(AdminClient::Method<Request, Response> method, const Request& request,
                    Response* response) {
    return client_->Call(method, request, response);
  }
  // Calls, and prints the answer.
  template <typename Request, typename Response>
  absl::Status Show(AdminClient::Method<Request, Response> method, const Request& request,
                    AsTable<Response> as_table) {
    Response response;
    HW_RETURN_IF_ERROR(Call(method, request, &response));
    Print(response, as_table);
    return absl::OkStatus();
  }
  // Starts a job, and reports it.
  template <typename Request>
  absl::Status Start(AdminClient::Method<Request, admin::v1::Job> method, const Request& request,
                     bool wait, Note note = nullptr) {
    admin::v1::Job job;
    HW_RETURN_IF_ERROR(Call(method, request, &job));
    return Report(job, wait, note);
  }
  // Prints a job: as it is now, or with `wait` once it has ended.
  absl::Status Report(const admin::v1::Job& job, bool wait, Note note = nullptr);
  // Shows a job's progress until it has ended, then prints it.
  absl::Status Watch(const std::string& job_id, Note note = nullptr);

  template <typename Message>
  void Print(const Message& message, AsTable<Message> as_table) const {
    Write(options_.output == "json"   ? ToJson(message)
          : options_.output == "yaml" ? ToYaml(message)
                                      : as_table(message));
  }
  // Prints what failed of a command that goes on, and ends with its code.
  void Fail(const std::string& what, const absl::Status& status);

 private:
  void Write(const std::string& text) const;
  void PrintJob(const admin::v1::Job& job, Note note);

  const SessionOptions options_;
  std::optional<AdminClient> client_;
  ExitCode exit_code_ = kOk;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_CLI_SESSION_H_
