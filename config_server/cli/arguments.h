// Arguments that several commands take: read straight into the requests that are sent.
#ifndef HOMEWARD_CONFIG_SERVER_CLI_ARGUMENTS_H_
#define HOMEWARD_CONFIG_SERVER_CLI_ARGUMENTS_H_

#include <cstdint>
#include <functional>
#include <string>

#include "config_server/cli/command_line.h"
#include "google/protobuf/duration.pb.h"
#include "homeward/admin/v1/admin.pb.h"

namespace homeward {

// `name` is "--flag", or a word for what stands by itself. `field` is as &Request::mutable_point.
template <typename Request, typename Message>
CLI::Option* AddText(const Command<Request>& command, const std::string& name,
                     std::string* (Message::*field)(), const std::string& says) {
  Request* const request = command.request;
  return command.app->template add_option_function<std::string>(
      name, [request, field](const std::string& value) { *(request->*field)() = value; }, says);
}
template <typename Request>
CLI::Option* AddFlag(const Command<Request>& command, const std::string& name,
                     void (Request::*set)(bool), const std::string& says) {
  Request* const request = command.request;
  return command.app->add_flag_callback(
      name, [request, set] { (request->*set)(true); }, says);
}
template <typename Request>
CLI::Option* AddMachine(const Command<Request>& command) {
  return AddText(command, "machine", &Request::mutable_machine, "name or ID of the machine")
      ->required();
}
template <typename Request>
CLI::Option* AddCount(const Command<Request>& command, const std::string& says) {
  Request* const request = command.request;
  return command.app->template add_option_function<uint32_t>(
      "--count", [request](uint32_t value) { request->set_count_max(value); }, says);
}

// A duration such as 15m; anything else is wrong usage. Calls `set` when it is given.
CLI::Option* AddDuration(CLI::App* command, const std::string& name,
                         std::function<void(const google::protobuf::Duration&)> set,
                         const std::string& says);
// How often points are made and how long they are kept. `otherwise`: where one is not given.
void AddPolicy(CLI::App* command, admin::v1::Policy* policy, const std::string& otherwise);
// A file that was read. With "-", nothing was: standard input is meant.
struct FileContent {
  std::string text;
  bool is_standard_input = false;
};
// What a file has, without the white space at its end; of standard input, its first line.
std::string ReadSecret(const FileContent& content);
// A file that cannot be read is wrong usage.
CLI::Option* AddFile(CLI::App* command, const std::string& name, FileContent* content,
                     const std::string& says);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_CLI_ARGUMENTS_H_
