// CommandLine: the tree of commands that operators type, and the one of them that was typed.
#ifndef HOMEWARD_CONFIG_SERVER_CLI_COMMAND_LINE_H_
#define HOMEWARD_CONFIG_SERVER_CLI_COMMAND_LINE_H_

#include <google/protobuf/arena.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "config_server/cli/session.h"

namespace homeward {

// A command's name and help. `example` is a command line that works, without "homeward".
struct CommandText {
  std::string name;
  std::string summary;
  std::string example;
};

// A command, and what it sends, which its arguments fill.
template <typename Request>
struct Command {
  CLI::App* app;
  Request* request;
};

// One thread. Owns all that the commands' arguments are read into.
class CommandLine {
 public:
  using Action = std::function<absl::Status(Session&)>;

  // Only what every command takes; see AddAllCommands().
  CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  CLI::App& root() { return app_; }
  // A place for arguments, empty, as long as this object lives.
  template <typename T>
  T* New() {
    return google::protobuf::Arena::Create<T>(&arena_);
  }

  CLI::App* Group(const std::string& name, const std::string& summary);
  // A command that runs `action` with a connection to the server.
  CLI::App* Add(CLI::App* group, const CommandText& text, Action action);
  // A command that runs without one and returns the exit code.
  CLI::App* AddLocal(CLI::App* group, const CommandText& text, std::function<int()> run);
  // A command that sends a request and shows the answer.
  template <typename Request, typename Response>
  Command<Request> Show(CLI::App* group, const CommandText& text,
                        AdminClient::Method<Request, Response> method,
                        Session::AsTable<Response> as_table) {
    Request* const request = New<Request>();
    CLI::App* const app = Add(
        group, text, [=](Session& session) { return session.Show(method, *request, as_table); });
    return {app, request};
  }
  // A command that starts a job. Has --wait.
  template <typename Request>
  Command<Request> Start(CLI::App* group, const CommandText& text,
                         AdminClient::Method<Request, admin::v1::Job> method,
                         Session::Note note = nullptr) {
    Request* const request = New<Request>();
    bool* const wait = New<bool>();
    CLI::App* const app = Add(group, text, [=](Session& session) {
      return session.Start(method, *request, *wait, note);
    });
    AddWait(app, wait);
    return {app, request};
  }
  static void AddWait(CLI::App* command, bool* wait);

  // Nothing when there is a command to run. Otherwise help, or what is wrong, was written, and this
  // is the exit code. `arguments` are without the program's name.
  std::optional<int> Parse(const std::vector<std::string>& arguments, std::ostream& out,
                           std::ostream& error);
  // Requires: Parse() returned nothing. Returns the exit code.
  bool has_command() const { return run_ != nullptr; }
  // Requires: has_command().
  int Run() const { return run_(); }

 private:
  google::protobuf::Arena arena_;
  CLI::App app_;
  SessionOptions options_;
  std::function<int()> run_;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_CLI_COMMAND_LINE_H_
