#include "config_server/cli/arguments.h"

#include <cstdio>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/os/file_system.h"
#include "common/wire/time_proto.h"

namespace homeward {

// Errors are thrown to CLI11, which is how it takes them; CommandLine::Parse() catches them.
CLI::Option* AddDuration(CLI::App* command, const std::string& name,
                         std::function<void(const google::protobuf::Duration&)> set,
                         const std::string& says) {
  return command
      ->add_option_function<std::string>(
          name,
          [name, set = std::move(set)](const std::string& text) {
            absl::Duration duration;
            if (!absl::ParseDuration(text, &duration)) {
              throw CLI::ValidationError(
                  name, absl::StrCat("\"", text, "\" is not a duration such as 5s, 15m or 24h"));
            }
            set(ToProto(duration));
          },
          says)
      ->type_name("DURATION");
}

void AddPolicy(CLI::App* command, admin::v1::Policy* policy, const std::string& otherwise) {
  using google::protobuf::Duration;
  const std::string says = absl::StrCat(" (default: ", otherwise, ")");
  AddDuration(
      command, "--point-interval",
      [policy](const Duration& value) { *policy->mutable_point_interval() = value; },
      absl::StrCat("time between crash-consistent recovery points", says));
  AddDuration(
      command, "--app-point-interval",
      [policy](const Duration& value) { *policy->mutable_app_point_interval() = value; },
      absl::StrCat("time between application-consistent recovery points; 0 makes none", says));
  AddDuration(
      command, "--retention",
      [policy](const Duration& value) { *policy->mutable_retention_age() = value; },
      absl::StrCat("how long recovery points are kept", says));
  command->add_option_function<uint64_t>(
      "--retention-bytes", [policy](uint64_t value) { policy->set_retention_bytes(value); },
      absl::StrCat("what the recovery points of a machine may take, in bytes; 0 is no limit",
                   says));
  AddDuration(
      command, "--rpo-threshold",
      [policy](const Duration& value) { *policy->mutable_rpo_threshold() = value; },
      absl::StrCat("a newest recovery point that is older is an alert", says));
}

std::string ReadSecret(const FileContent& content) {
  if (!content.is_standard_input)
    return std::string(absl::StripTrailingAsciiWhitespace(content.text));
  std::string line;
  for (int c = std::getchar(); c != EOF && c != '\n'; c = std::getchar())
    line.push_back(static_cast<char>(c));
  return line;
}

CLI::Option* AddFile(CLI::App* command, const std::string& name, FileContent* content,
                     const std::string& says) {
  return command
      ->add_option_function<std::string>(
          name,
          [name, content](const std::string& path) {
            content->is_standard_input = path == "-";
            if (content->is_standard_input) return;
            absl::StatusOr<std::string> text = ReadWholeFile(RealFileSystem(), path);
            if (!text.ok()) {
              throw CLI::ValidationError(
                  name, absl::StrCat("cannot read ", path, ": ", text.status().message()));
            }
            content->text = *std::move(text);
          },
          says)
      ->type_name("FILE");
}

}  // namespace homeward
