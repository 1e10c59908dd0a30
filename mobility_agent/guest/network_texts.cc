#include "mobility_agent/guest/network_texts.h"

#include <set>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace homeward {
namespace {

constexpr char kWritten[] =
    "# Written by Homeward while this machine is away from home. The files of home are below\n"
    "# /etc/homeward/kept, and come back with it, unless this one is changed.\n";

std::vector<absl::string_view> Lines(const Texts& texts) {
  std::vector<absl::string_view> lines;
  for (const std::string& text : texts) {
    for (absl::string_view line : absl::StrSplit(text, '\n')) {
      line = absl::StripAsciiWhitespace(line);
      if (!line.empty() && line[0] != '#' && line[0] != ';') lines.push_back(line);
    }
  }
  return lines;
}

std::vector<absl::string_view> Words(absl::string_view line) {
  return absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
}

// "eth0", "en*".
bool Fits(absl::string_view pattern, absl::string_view name) {
  if (absl::ConsumeSuffix(&pattern, "*")) return absl::StartsWith(name, pattern);
  return pattern == name;
}

// One [Match] and [Network] file of systemd.
struct NetworkdFile {
  std::vector<std::string> names;
  bool dhcp = false;
};
NetworkdFile ReadNetworkd(const std::string& text) {
  NetworkdFile file;
  const Texts texts = {text};  // outlives the lines, which point into it
  for (const absl::string_view line : Lines(texts)) {
    const std::pair<absl::string_view, absl::string_view> setting =
        absl::StrSplit(line, absl::MaxSplits('=', 1));
    const absl::string_view key = absl::StripAsciiWhitespace(setting.first);
    const absl::string_view value = absl::StripAsciiWhitespace(setting.second);
    if (key == "Name") {
      for (const absl::string_view name : Words(value)) file.names.emplace_back(name);
    } else if (key == "DHCP") {
      file.dhcp = value == "yes" || value == "true" || value == "ipv4" || value == "both";
    }
  }
  return file;
}

}  // namespace

Interfaces IfupdownInterfaces(const Texts& texts) {
  Interfaces interfaces;
  for (const absl::string_view line : Lines(texts)) {
    const std::vector<absl::string_view> words = Words(line);
    if (words.size() < 2 || words[0] != "iface" || words[1] == "lo") continue;
    if (!absl::c_linear_search(interfaces, words[1])) interfaces.emplace_back(words[1]);
  }
  return interfaces;
}

bool IfupdownServes(const Texts& texts, const Interfaces& interfaces) {
  std::set<std::string> served;
  for (const absl::string_view line : Lines(texts)) {
    const std::vector<absl::string_view> words = Words(line);
    if (words.size() < 2 || words[0] != "iface" || words[1] == "lo") continue;
    if (words.size() < 4) return false;
    if (words[3] == "dhcp" && words[2] == "inet") served.emplace(words[1]);
    if (words[3] != "dhcp" && words[3] != "auto") return false;
  }
  return absl::c_all_of(interfaces, [&](const std::string& name) { return served.contains(name); });
}

bool NetworkdServes(const Texts& texts, const Interfaces& interfaces) {
  for (const absl::string_view line : Lines(texts)) {
    if (absl::StartsWith(line, "Address") || absl::StartsWith(line, "Gateway")) return false;
  }
  std::vector<NetworkdFile> files;
  for (const std::string& text : texts) files.push_back(ReadNetworkd(text));
  return absl::c_all_of(interfaces, [&](const std::string& name) {
    return absl::c_any_of(files, [&](const NetworkdFile& file) {
      return file.dhcp && absl::c_any_of(file.names, [&](const std::string& pattern) {
               return Fits(pattern, name);
             });
    });
  });
}

bool NetplanServes(const Texts& texts, const Interfaces& interfaces) {
  const std::vector<absl::string_view> lines = Lines(texts);
  const auto has = [&](absl::string_view start) {
    return absl::c_any_of(lines,
                          [&](absl::string_view line) { return absl::StartsWith(line, start); });
  };
  if (has("addresses:") || has("gateway4:") || has("dhcp4: false") || has("dhcp4: no"))
    return false;
  if (!has("dhcp4: true") && !has("dhcp4: yes")) return false;
  return absl::c_all_of(interfaces,
                        [&](const std::string& name) { return has(absl::StrCat(name, ":")); });
}

std::string IfupdownDhcp(const Interfaces& interfaces) {
  std::string text = absl::StrCat(kWritten, "auto lo\niface lo inet loopback\n");
  for (const std::string& name : interfaces)
    absl::StrAppend(&text, "\nauto ", name, "\niface ", name, " inet dhcp\n");
  return text;
}

std::string NetworkdDhcp(const Interfaces& interfaces) {
  return absl::StrCat(kWritten, "[Match]\nName=", absl::StrJoin(interfaces, " "),
                      "\n\n[Network]\nDHCP=yes\n");
}

std::string NetplanDhcp(const Interfaces& interfaces) {
  std::string text = absl::StrCat(kWritten, "network:\n  version: 2\n  ethernets:\n");
  for (const std::string& name : interfaces)
    absl::StrAppend(&text, "    ", name, ":\n      dhcp4: true\n");
  return text;
}

}  // namespace homeward
