#include "mobility_agent/guest/windows_tools.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr absl::Duration kLimit = absl::Minutes(2);
// Of Windows' system error codes, which sc.exe ends with.
constexpr int kAlreadyRunning = 1056;  // ERROR_SERVICE_ALREADY_RUNNING
constexpr int kNoService = 1060;       // ERROR_SERVICE_DOES_NOT_EXIST
constexpr int kNotActive = 1062;       // ERROR_SERVICE_NOT_ACTIVE
constexpr const char* kServices[] = {"VMTools",
                                     "VGAuthService",
                                     "vmvss",
                                     "VM3DService",
                                     "VMwareCAFManagementAgentHost",
                                     "VMwareCAFCommAmqpListener"};

}  // namespace

absl::Status WindowsTools::Go(bool away, GuestRecord* record,
                              const std::function<absl::Status()>& save) {
  GuestRecord::Tools& tools = record->tools;
  if (tools.phase == (away ? GuestPhase::kAway : GuestPhase::kHome)) return absl::OkStatus();
  return away ? Leave(&tools, save) : Return(&tools, save);
}

absl::StatusOr<std::string> WindowsTools::StartType(const std::string& service) {
  HW_ASSIGN_OR_RETURN(const ProgramResult said, commands_.Run({"sc.exe", "qc", service}, kLimit));
  if (said.exit_code == kNoService) return "";
  if (said.exit_code != 0) {
    return absl::UnavailableError(
        absl::StrCat("sc.exe qc ", service, " ended with ", said.exit_code, ": ", said.output));
  }
  for (const absl::string_view line : absl::StrSplit(said.output, '\n')) {
    if (!absl::StrContains(line, "START_TYPE")) continue;
    // "        START_TYPE         : 2   AUTO_START  (DELAYED)"
    if (absl::StrContains(line, "AUTO_START"))
      return absl::StrContains(line, "(DELAYED)") ? "delayed-auto" : "auto";
    if (absl::StrContains(line, "DEMAND_START")) return "demand";
    if (absl::StrContains(line, "DISABLED")) return "disabled";
  }
  return absl::UnavailableError(absl::StrCat("sc.exe qc ", service, " tells no start type"));
}

absl::Status WindowsTools::Run(const Command& command, int so_already) {
  HW_ASSIGN_OR_RETURN(const ProgramResult ran, commands_.Run(command, kLimit));
  const std::string line = absl::StrCat(command[0], " ", command[1], " ", command[2]);
  LogInfo("guest.command",
          {{"command", line}, {"exit_code", ran.exit_code}, {"output", ran.output}});
  if (ran.exit_code == 0 || ran.exit_code == so_already) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat(line, " ended with ", ran.exit_code, ": ", ran.output));
}

absl::Status WindowsTools::Leave(GuestRecord::Tools* tools,
                                 const std::function<absl::Status()>& save) {
  if (tools->phase == GuestPhase::kHome) {
    tools->services.clear();
    for (const char* service : kServices) {
      HW_ASSIGN_OR_RETURN(const std::string type, StartType(service));
      if (!type.empty() && type != "disabled") tools->services.push_back({service, type});
    }
  }
  tools->phase = GuestPhase::kLeaving;
  HW_RETURN_IF_ERROR(save());
  for (const GuestRecord::Service& service : tools->services) {
    HW_RETURN_IF_ERROR(Run({"sc.exe", "config", service.name, "start=", "disabled"}, 0));
    HW_RETURN_IF_ERROR(Run({"sc.exe", "stop", service.name}, kNotActive));
  }
  tools->phase = GuestPhase::kAway;
  return save();
}

absl::Status WindowsTools::Return(GuestRecord::Tools* tools,
                                  const std::function<absl::Status()>& save) {
  tools->phase = GuestPhase::kReturning;
  HW_RETURN_IF_ERROR(save());
  for (const GuestRecord::Service& service : tools->services) {
    HW_ASSIGN_OR_RETURN(const std::string type, StartType(service.name));
    // Removed by somebody meanwhile, or set to something else.
    if (type != "disabled" && type != service.state) continue;
    if (type == "disabled")
      HW_RETURN_IF_ERROR(Run({"sc.exe", "config", service.name, "start=", service.state}, 0));
    if (service.state != "demand")
      HW_RETURN_IF_ERROR(Run({"sc.exe", "start", service.name}, kAlreadyRunning));
  }
  *tools = GuestRecord::Tools();
  return save();
}

}  // namespace homeward
