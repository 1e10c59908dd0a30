#include "config_server/cli/command_line.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace homeward {

CommandLine::CommandLine() : app_("homeward: brings virtual machines home", "homeward") {
  app_.require_subcommand(1);
  app_.fallthrough();
  app_.add_option("--server", options_.server, "configuration server, as host:port")
      ->envname("HOMEWARD_SERVER")
      ->capture_default_str();
  app_.add_option("--identity", options_.identity,
                  "directory with the operator's certificate and key")
      ->envname("HOMEWARD_IDENTITY")
      ->capture_default_str();
  app_.add_option("-o,--output", options_.output, "output format: table, json or yaml")
      ->check(CLI::IsMember({"table", "json", "yaml"}))
      ->capture_default_str();
}

CLI::App* CommandLine::Group(const std::string& name, const std::string& summary) {
  CLI::App* const group = app_.add_subcommand(name, summary);
  group->require_subcommand(1);
  return group;
}

CLI::App* CommandLine::Add(CLI::App* group, const CommandText& text, Action action) {
  return AddLocal(group, text,
                  [this, action = std::move(action)] { return Session(options_).Run(action); });
}

CLI::App* CommandLine::AddLocal(CLI::App* group, const CommandText& text,
                                std::function<int()> run) {
  CLI::App* const command = group->add_subcommand(text.name, text.summary);
  command->footer(absl::StrCat("Example:\n  homeward ", text.example));
  command->callback([this, run = std::move(run)] { run_ = run; });
  return command;
}

void CommandLine::AddWait(CLI::App* command, bool* wait) {
  command->add_flag("--wait", *wait, "show progress and wait until the job has ended");
}

std::optional<int> CommandLine::Parse(const std::vector<std::string>& arguments, std::ostream& out,
                                      std::ostream& error) {
  // CLI11 takes them last first.
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app_.parse(std::move(reversed));
  } catch (const CLI::ParseError& problem) {
    return app_.exit(problem, out, error) == 0 ? kOk : kUsage;
  }
  return std::nullopt;
}

}  // namespace homeward
