#include "mobility_agent/guest/commands.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr size_t kLoggedBytesMax = 2048;

std::string LastLine(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  const size_t line = text.rfind('\n');
  return std::string(line == text.npos ? text : text.substr(line + 1));
}

}  // namespace

absl::StatusOr<std::string> RunLogged(Commands& commands, const Command& command,
                                      absl::Duration limit) {
  const std::string line = absl::StrJoin(command, " ");
  const absl::StatusOr<ProgramResult> ran = commands.Run(command, limit);
  if (!ran.ok()) {
    LogWarn("guest.command_failed", {{"command", line}, {"error", ran.status()}});
    return absl::Status(ran.status().code(), absl::StrCat(line, ": ", ran.status().message()));
  }
  const absl::string_view output = ran->output;
  const absl::string_view end =
      output.substr(output.size() - std::min(output.size(), kLoggedBytesMax));
  LogInfo("guest.command",
          {{"command", line}, {"exit_code", ran->exit_code}, {"output", std::string(end)}});
  if (ran->exit_code == 0) return ran->output;
  return absl::UnavailableError(
      absl::StrCat(line, " ended with ", ran->exit_code, ": ", LastLine(output)));
}

Command AsUnit(const Command& command, absl::Duration limit) {
  Command unit = {"systemd-run",
                  "--wait",
                  "--pipe",
                  "--quiet",
                  "--collect",
                  "--property=KillMode=process",
                  absl::StrCat("--property=RuntimeMaxSec=", absl::ToInt64Seconds(limit)),
                  "--"};
  for (const std::string& argument : command)
    unit.push_back(absl::StrReplaceAll(argument, {{"$", "$$"}}));
  return unit;
}

}  // namespace homeward
