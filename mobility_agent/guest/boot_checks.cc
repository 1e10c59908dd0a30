#include "mobility_agent/guest/boot_checks.h"

#include <set>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/log/log.h"
#include "common/problem/problem.h"

namespace homeward {
namespace {

constexpr absl::Duration kListLimit = absl::Minutes(2);
constexpr char kBoot[] = "/boot";
constexpr char kKernelPrefix[] = "vmlinuz-";
constexpr const char* kLoaderFiles[] = {"/etc/default/grub", "/etc/kernel/cmdline",
                                        "/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"};
constexpr char kLoaderEntries[] = "/boot/loader/entries";
// In an initramfs, or where all modules are once the root file system is there.
struct Driver {
  const char* name;
  const char* option;  // of the kernel's configuration
  bool before_root;
};
constexpr Driver kDrivers[] = {{"hv_vmbus", "CONFIG_HYPERV", true},
                               {"hv_storvsc", "CONFIG_HYPERV_STORAGE", true},
                               {"hv_netvsc", "CONFIG_HYPERV_NET", false}};

std::vector<std::string> Words(absl::string_view line) {
  return absl::StrSplit(line, absl::ByAnyChar(" \t\"'"), absl::SkipEmpty());
}

// Lines without those that are empty or comments.
std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (!line.empty() && line[0] != '#') lines.emplace_back(line);
  }
  return lines;
}

// The names of the modules that a list of paths has: "kernel/drivers/hv/hv_vmbus.ko.xz", with
// whatever else is on its line.
std::set<std::string> Modules(absl::string_view paths) {
  std::set<std::string> modules;
  for (const absl::string_view line : absl::StrSplit(paths, '\n')) {
    const size_t end = line.find(".ko");
    if (end == line.npos) continue;
    const size_t slash = line.rfind('/', end);
    const size_t begin = slash == line.npos ? 0 : slash + 1;
    modules.insert(absl::StrReplaceAll(line.substr(begin, end - begin), {{"-", "_"}}));
  }
  return modules;
}

struct Initramfs {
  bool exists = false;
  bool known = false;  // what is in it
  std::set<std::string> modules;
};

Initramfs LookInto(const std::string& kernel, const GuestFiles& files, Commands& commands) {
  Initramfs initramfs;
  for (const std::string& name :
       {absl::StrCat("initrd.img-", kernel), absl::StrCat("initramfs-", kernel, ".img"),
        absl::StrCat("initrd-", kernel)}) {
    const std::string path = absl::StrCat(kBoot, "/", name);
    if (!files.Exists(path)) continue;
    initramfs.exists = true;
    for (const char* program : {"lsinitramfs", "lsinitrd"}) {
      const absl::StatusOr<ProgramResult> listed = commands.Run({program, path}, kListLimit);
      if (!listed.ok() || listed->exit_code != 0) continue;
      initramfs.known = true;
      initramfs.modules = Modules(listed->output);
      return initramfs;
    }
    LogInfo("guest.initramfs_unknown",
            {{"file", path}, {"why", "neither lsinitramfs nor lsinitrd could list it"}});
    return initramfs;
  }
  return initramfs;
}

void AddFrom(const std::string& path, const std::string& device, const std::string& what,
             std::vector<std::string>* names) {
  if (IsUnsteadyName(device)) names->push_back(absl::StrCat(path, ": ", device, what));
}

void AddFromLoader(const GuestFiles& files, const std::string& path,
                   std::vector<std::string>* names) {
  std::set<std::string> seen;
  for (const std::string& line : Lines(files.Text(path))) {
    for (absl::string_view word : Words(line)) {
      absl::ConsumePrefix(&word, "GRUB_CMDLINE_LINUX=");
      absl::ConsumePrefix(&word, "GRUB_CMDLINE_LINUX_DEFAULT=");
      absl::string_view device = word;
      if (!absl::ConsumePrefix(&device, "root=") && !absl::ConsumePrefix(&device, "resume="))
        continue;
      // A menu repeats itself for each kernel.
      if (!IsUnsteadyName(device) || !seen.emplace(word).second) continue;
      names->push_back(absl::StrCat(path, ": ", word));
    }
  }
}

}  // namespace

bool IsUnsteadyName(absl::string_view device) {
  if (!absl::ConsumePrefix(&device, "/dev/")) return false;
  if (absl::StartsWith(device, "disk/by-path/") || absl::StartsWith(device, "disk/by-id/"))
    return true;
  if (absl::StartsWith(device, "nvme")) return true;
  for (const char* prefix : {"sd", "hd", "vd", "xvd"}) {
    absl::string_view rest = device;
    if (absl::ConsumePrefix(&rest, prefix) && !rest.empty() && absl::ascii_islower(rest[0]))
      return true;
  }
  return false;
}

std::vector<std::string> UnsteadyNames(const GuestFiles& files) {
  std::vector<std::string> names;
  for (const std::string& line : Lines(files.Text("/etc/fstab"))) {
    const std::vector<std::string> fields = Words(line);
    const std::string at = fields.size() > 1 ? absl::StrCat(" at ", fields[1]) : "";
    // What is not mounted by itself keeps no boot from going on.
    if (fields.size() > 3) {
      const std::vector<std::string> options = absl::StrSplit(fields[3], ',');
      if (absl::c_linear_search(options, "noauto")) continue;
    }
    AddFrom("/etc/fstab", fields[0], at, &names);
  }
  for (const std::string& line : Lines(files.Text("/etc/crypttab"))) {
    const std::vector<std::string> fields = Words(line);
    if (fields.size() > 1)
      AddFrom("/etc/crypttab", fields[1], absl::StrCat(" as ", fields[0]), &names);
  }
  for (const char* path : kLoaderFiles) AddFromLoader(files, path, &names);
  for (const std::string& name : files.List(kLoaderEntries))
    AddFromLoader(files, absl::StrCat(kLoaderEntries, "/", name), &names);
  return names;
}

std::vector<std::string> MissingHypervDrivers(const GuestFiles& files, Commands& commands) {
  std::vector<std::string> missing;
  for (const std::string& name : files.List(kBoot)) {
    absl::string_view kernel = name;
    if (!absl::ConsumePrefix(&kernel, kKernelPrefix)) continue;
    const std::string modules = absl::StrCat("/lib/modules/", kernel);
    if (!files.Exists(modules)) continue;  // what is left of a kernel
    const std::set<std::string> built_in = Modules(files.Text(modules + "/modules.builtin"));
    const std::set<std::string> installed =
        Modules(absl::StrReplaceAll(files.Text(modules + "/modules.order"), {{".o\n", ".ko\n"}}));
    const std::vector<std::string> options =
        Lines(files.Text(absl::StrCat(kBoot, "/config-", kernel)));
    const Initramfs initramfs = LookInto(std::string(kernel), files, commands);
    std::vector<std::string> drivers;
    for (const Driver& driver : kDrivers) {
      if (built_in.contains(driver.name) || initramfs.modules.contains(driver.name)) continue;
      if (absl::c_linear_search(options, absl::StrCat(driver.option, "=y"))) continue;
      if (!driver.before_root && installed.contains(driver.name)) continue;
      // What cannot be looked into may have what is installed.
      if (initramfs.exists && !initramfs.known && installed.contains(driver.name)) continue;
      drivers.push_back(driver.name);
    }
    if (!drivers.empty())
      missing.push_back(absl::StrCat(kernel, ": ", absl::StrJoin(drivers, ", ")));
  }
  return missing;
}

std::vector<types::v1::HealthIssue> BootWarnings(const GuestFiles& files, Commands& commands) {
  std::vector<types::v1::HealthIssue> issues;
  const std::vector<std::string> names = UnsteadyNames(files);
  if (!names.empty()) {
    issues.push_back(MakeIssue(types::v1::WARNING, ProblemId::kBootDependsOnDiskNames,
                               absl::StrCat("disks are named by names that change in Azure: ",
                                            absl::StrJoin(names, "; "))));
  }
  const std::vector<std::string> drivers = MissingHypervDrivers(files, commands);
  if (!drivers.empty()) {
    issues.push_back(
        MakeIssue(types::v1::WARNING, ProblemId::kHypervDriversMissing,
                  absl::StrCat("Hyper-V drivers are missing where the kernel needs them to boot: ",
                               absl::StrJoin(drivers, "; "))));
  }
  return issues;
}

}  // namespace homeward
