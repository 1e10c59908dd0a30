#include "mobility_agent/guest/debian_tools.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr absl::Duration kQueryLimit = absl::Minutes(1);
constexpr absl::Duration kChangeLimit = absl::Minutes(15);
constexpr char kPackage[] = "open-vm-tools";
constexpr char kConfiguration[] = "/etc/vmware-tools";
constexpr char kUnits[] = "/systemd/system/";

std::vector<std::string> Lines(const std::string& text) {
  return absl::StrSplit(text, '\n', absl::SkipWhitespace());
}

bool IsOurs(absl::string_view package) {
  return package == kPackage || absl::StartsWith(package, absl::StrCat(kPackage, "-"));
}

Command Names(const GuestRecord::Tools& tools) {
  Command names;
  for (const GuestRecord::Package& package : tools.packages) names.push_back(package.name);
  return names;
}

}  // namespace

bool HasApt(const GuestFiles& files) {
  return files.Exists("/usr/bin/dpkg-query") && files.Exists("/usr/bin/apt-get");
}

absl::Status DebianTools::Go(bool away, GuestRecord* record, const Save& save) {
  Tools& tools = record->tools;
  if (tools.phase == (away ? GuestPhase::kAway : GuestPhase::kHome)) return absl::OkStatus();
  return away ? Leave(&tools, save) : Return(&tools, save);
}

absl::StatusOr<std::string> DebianTools::Apt(const Command& arguments) {
  Command command = {"env",
                     "LC_ALL=C",
                     "DEBIAN_FRONTEND=noninteractive",
                     "NEEDRESTART_SUSPEND=1",
                     "apt-get",
                     "--quiet",
                     "--yes",
                     "-o",
                     "DPkg::Lock::Timeout=120",
                     "-o",
                     "Dpkg::Use-Pty=0",
                     "-o",
                     "Dpkg::Options::=--force-confdef",
                     "-o",
                     "Dpkg::Options::=--force-confold"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return RunLogged(commands_, command, kChangeLimit);
}

absl::Status DebianTools::Mend() {
  return RunLogged(commands_,
                   {"env", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--force-confdef",
                    "--force-confold", "--configure", "--pending"},
                   kChangeLimit)
      .status();
}

absl::StatusOr<DebianTools::Packages> DebianTools::Installed() {
  const Command query = {"dpkg-query", "--show",
                         "--showformat=${Package}\\t${Version}\\t${db:Status-Status}\\n",
                         absl::StrCat(kPackage, "*")};
  const absl::StatusOr<ProgramResult> ran = commands_.Run(query, kQueryLimit);
  HW_RETURN_IF_ERROR(ran.status());
  Packages packages;
  // It ends with 1 where it knows no such package.
  if (ran->exit_code == 1) return packages;
  if (ran->exit_code != 0) {
    return absl::UnavailableError(
        absl::StrCat("dpkg-query ended with ", ran->exit_code, ": ", ran->output));
  }
  for (const std::string& line : Lines(ran->output)) {
    const std::vector<std::string> fields = absl::StrSplit(line, '\t');
    if (fields.size() != 3 || !IsOurs(fields[0])) continue;
    if (fields[2] == "not-installed" || fields[2] == "config-files") continue;
    packages.push_back({.name = fields[0], .version = fields[1]});
  }
  return packages;
}

absl::StatusOr<DebianTools::Tools> DebianTools::Remember(Packages packages) {
  Tools tools;
  tools.packages = std::move(packages);
  HW_ASSIGN_OR_RETURN(const std::string manual,
                      RunLogged(commands_, {"apt-mark", "showmanual"}, kQueryLimit));
  const std::vector<std::string> chosen = Lines(manual);
  std::vector<std::string> paths = files_.FilesBelow(kConfiguration);
  for (GuestRecord::Package& package : tools.packages) {
    package.chosen = absl::c_linear_search(chosen, package.name);
    HW_ASSIGN_OR_RETURN(
        const std::string configuration,
        RunLogged(commands_, {"dpkg-query", "--show", "--showformat=${Conffiles}\\n", package.name},
                  kQueryLimit));
    for (const std::string& line : Lines(configuration)) {
      const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
      if (!words.empty() && files_.Exists(std::string(words[0]))) paths.emplace_back(words[0]);
    }
    HW_ASSIGN_OR_RETURN(
        const std::string contents,
        RunLogged(commands_, {"dpkg-query", "--listfiles", package.name}, kQueryLimit));
    for (const std::string& path : Lines(contents)) {
      if (!absl::StrContains(path, kUnits) || !absl::EndsWith(path, ".service")) continue;
      const std::string unit = path.substr(path.rfind('/') + 1);
      // It ends with 1 where it is not enabled, and says what it is.
      const absl::StatusOr<ProgramResult> state =
          commands_.Run({"systemctl", "is-enabled", unit}, kQueryLimit);
      if (absl::IsNotFound(state.status())) continue;
      HW_RETURN_IF_ERROR(state.status());
      tools.services.push_back({unit, std::string(absl::StripAsciiWhitespace(state->output))});
    }
  }
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  for (const std::string& path : paths) {
    if (!files_.Read(path).ok()) continue;  // a link is nobody's content
    std::string kept = absl::StrCat(kKeptDirectory, path);
    for (int i = 2; files_.Exists(kept); ++i) kept = absl::StrCat(kKeptDirectory, path, ".", i);
    tools.kept.push_back({.path = path, .kept = kept});
  }
  return tools;
}

absl::Status DebianTools::CheckRemoval(const Packages& packages) {
  Command simulation = {"--simulate", "remove"};
  for (const GuestRecord::Package& package : packages) simulation.push_back(package.name);
  HW_ASSIGN_OR_RETURN(const std::string said, Apt(simulation));
  std::vector<std::string> others;
  for (const std::string& line : Lines(said)) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (words.size() < 2 || (words[0] != "Remv" && words[0] != "Inst")) continue;
    if (words[0] == "Remv" && IsOurs(words[1])) continue;
    others.push_back(absl::StrCat(words[0] == "Remv" ? "remove " : "install ", words[1]));
  }
  if (others.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("to remove open-vm-tools apt would also ", absl::StrJoin(others, ", "),
                   ", so it is left installed: remove it by hand, or let what needs it go"));
}

absl::Status DebianTools::KeepFiles(Tools* tools) const {
  for (const KeptFile& file : tools->kept) {
    if (files_.Exists(file.kept) || !files_.Exists(file.path)) continue;
    HW_ASSIGN_OR_RETURN(const GuestFile content, files_.Read(file.path));
    HW_RETURN_IF_ERROR(files_.Write(file.kept, content));
  }
  return absl::OkStatus();
}

absl::Status DebianTools::Leave(Tools* tools, const Save& save) {
  const bool interrupted = tools->phase != GuestPhase::kHome;
  if (interrupted) HW_RETURN_IF_ERROR(Mend());
  HW_ASSIGN_OR_RETURN(const Packages installed, Installed());
  if (!interrupted && !installed.empty()) {
    HW_RETURN_IF_ERROR(CheckRemoval(installed));
    HW_ASSIGN_OR_RETURN(*tools, Remember(installed));
  }
  tools->phase = GuestPhase::kLeaving;
  HW_RETURN_IF_ERROR(save());
  HW_RETURN_IF_ERROR(KeepFiles(tools));
  if (!installed.empty()) {
    if (interrupted) HW_RETURN_IF_ERROR(CheckRemoval(installed));
    Command remove = {"remove"};
    for (const GuestRecord::Package& package : installed) remove.push_back(package.name);
    HW_RETURN_IF_ERROR(Apt(remove).status());
    HW_ASSIGN_OR_RETURN(const Packages left, Installed());
    if (!left.empty()) {
      return absl::UnavailableError(
          absl::StrCat("apt removed open-vm-tools, and ", left.front().name, " is still there"));
    }
    LogInfo("guest.tools_removed", {{"packages", absl::StrJoin(Names(*tools), " ")},
                                    {"version", installed.front().version}});
  }
  tools->phase = GuestPhase::kAway;
  return save();
}

absl::Status DebianTools::Install(const Packages& missing) {
  // Lists that are old are better than none.
  Apt({"update"}).status().IgnoreError();
  Command exact = {"install", "--no-install-recommends", "--allow-downgrades"};
  Command newest = exact;
  bool had = true;
  for (const GuestRecord::Package& package : missing) {
    // It ends with 0 and says nothing where it knows no such package.
    HW_ASSIGN_OR_RETURN(const std::string known,
                        RunLogged(commands_, {"apt-cache", "madison", package.name}, kQueryLimit));
    const std::vector<std::string> versions = Lines(known);
    had = had && absl::c_any_of(versions, [&](const std::string& line) {
            const std::vector<std::string> fields = absl::StrSplit(line, '|');
            return fields.size() > 1 && absl::StripAsciiWhitespace(fields[1]) == package.version;
          });
    exact.push_back(absl::StrCat(package.name, "=", package.version));
    newest.push_back(package.name);
  }
  if (had) {
    const absl::Status installed = Apt(exact).status();
    if (installed.ok() || absl::IsCancelled(installed)) return installed;
  }
  LogWarn("guest.tools_version",
          {{"wanted", missing.front().version}, {"why", "it cannot be had: the newest is taken"}});
  return Apt(newest).status();
}

absl::Status DebianTools::RestoreFiles(Tools* tools) const {
  std::vector<std::string> changed;
  for (const KeptFile& file : tools->kept) {
    const absl::StatusOr<GuestFile> kept = files_.Read(file.kept);
    if (absl::IsNotFound(kept.status())) continue;  // back already, or taken by somebody
    HW_RETURN_IF_ERROR(kept.status());
    const absl::StatusOr<GuestFile> there = files_.Read(file.path);
    const bool missing = absl::IsNotFound(there.status());
    if (!missing) HW_RETURN_IF_ERROR(there.status());
    if (!missing && there->content == kept->content) {
      HW_RETURN_IF_ERROR(files_.Remove(file.kept));
    } else if (missing || file.yields) {
      HW_RETURN_IF_ERROR(files_.Move(file.kept, file.path, file.yields));
    } else {
      changed.push_back(absl::StrCat(file.path,
                                     " (to have home's again remove it, to keep it "
                                     "remove ",
                                     file.kept, ")"));
    }
  }
  if (changed.empty()) return absl::OkStatus();
  return absl::AlreadyExistsError(
      absl::StrCat("the configuration of open-vm-tools was changed while the machine was away: ",
                   absl::StrJoin(changed, "; ")));
}

absl::Status DebianTools::RestoreServices(const Tools& tools) {
  // Else there is nobody to start and stop them; the next boot does as they are set.
  const bool running = files_.Exists("/run/systemd/system");
  for (const GuestRecord::Service& service : tools.services) {
    const bool disabled = service.state == "disabled";
    if (!disabled && service.state != "enabled" && service.state != "masked") continue;
    const absl::StatusOr<ProgramResult> now =
        commands_.Run({"systemctl", "is-enabled", service.name}, kQueryLimit);
    HW_RETURN_IF_ERROR(now.status());
    if (absl::StripAsciiWhitespace(now->output) == service.state) continue;
    const std::string verb = disabled ? "disable" : service.state == "masked" ? "mask" : "enable";
    HW_RETURN_IF_ERROR(
        RunLogged(commands_, {"systemctl", verb, service.name}, kQueryLimit).status());
    if (!running) continue;
    const std::string run = verb == "enable" ? "start" : "stop";
    HW_RETURN_IF_ERROR(
        RunLogged(commands_, {"systemctl", run, service.name}, kQueryLimit).status());
  }
  return absl::OkStatus();
}

absl::Status DebianTools::Return(Tools* tools, const Save& save) {
  if (tools->packages.empty()) {
    *tools = Tools();
    return save();
  }
  if (tools->phase != GuestPhase::kAway) HW_RETURN_IF_ERROR(Mend());
  HW_ASSIGN_OR_RETURN(const Packages installed, Installed());
  Packages missing;
  for (const GuestRecord::Package& package : tools->packages) {
    const bool there = absl::c_any_of(
        installed, [&](const GuestRecord::Package& other) { return other.name == package.name; });
    if (!there) missing.push_back(package);
  }
  if (tools->phase != GuestPhase::kReturning) {
    // What is not there now, its package may put there: that is nobody's work.
    for (KeptFile& file : tools->kept) file.yields = !files_.Exists(file.path);
    tools->phase = GuestPhase::kReturning;
    HW_RETURN_IF_ERROR(save());
  }
  if (!missing.empty()) {
    HW_RETURN_IF_ERROR(Install(missing));
    Command automatic = {"apt-mark", "auto"};
    for (const GuestRecord::Package& package : missing) {
      if (!package.chosen) automatic.push_back(package.name);
    }
    if (automatic.size() > 2)
      HW_RETURN_IF_ERROR(RunLogged(commands_, automatic, kQueryLimit).status());
    HW_ASSIGN_OR_RETURN(const Packages now, Installed());
    for (const GuestRecord::Package& package : missing) {
      const auto there = absl::c_find_if(
          now, [&](const GuestRecord::Package& other) { return other.name == package.name; });
      if (there == now.end()) {
        return absl::UnavailableError(
            absl::StrCat("apt installed ", package.name, ", and it is not there"));
      }
      LogInfo("guest.tools_installed",
              {{"package", package.name}, {"version", there->version}, {"was", package.version}});
    }
  }
  const absl::Status files = RestoreFiles(tools);
  HW_RETURN_IF_ERROR(RestoreServices(*tools));
  HW_RETURN_IF_ERROR(files);
  *tools = Tools();
  return save();
}

}  // namespace homeward
