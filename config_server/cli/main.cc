// homeward: what operators type. A client of the configuration server, nothing more.
#include <cstdio>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "common/base/name.h"
#include "config_server/cli/command_line.h"
#include "config_server/cli/commands.h"

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (homeward::IsUtf8(argv[i])) continue;
    std::fprintf(stderr, "argument %d is not UTF-8\n", i);
    return homeward::kUsage;
  }
  homeward::CommandLine line;
  homeward::AddAllCommands(&line);
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const std::optional<int> ended = line.Parse(arguments, std::cout, std::cerr);
  return ended.has_value() ? *ended : line.Run();
}
