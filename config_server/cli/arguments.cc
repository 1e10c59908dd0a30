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
