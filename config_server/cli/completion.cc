#include "config_server/cli/completion.h"

#include <cstdio>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config_server/cli/commands.h"

namespace homeward {
namespace {

// The words that may follow a command; longer commands first.
void CollectWords(const CLI::App& app, const std::string& path,
                  std::vector<std::pair<std::string, std::string>>* out) {
  std::vector<std::string> words;
  for (const CLI::App* sub : app.get_subcommands(nullptr)) {
    if (sub->get_group().empty()) continue;
    words.push_back(sub->get_name());
    CollectWords(*sub, path.empty() ? sub->get_name() : absl::StrCat(path, " ", sub->get_name()),
                 out);
  }
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  }
  out->emplace_back(path, absl::StrJoin(words, " "));
}

}  // namespace

std::string CompletionScript(const CLI::App& app, const std::string& shell) {
  std::vector<std::pair<std::string, std::string>> commands;
  CollectWords(app, "", &commands);
  std::string out = shell == "zsh" ? "autoload -Uz bashcompinit && bashcompinit\n" : "";
  out +=
      "_homeward() {\n  local path=\"\" word\n"
      "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
      "    case \"$word\" in -*) ;; *) path=\"${path:+$path }$word\" ;; esac\n  done\n"
      "  local words=\"\"\n  case \"$path\" in\n";
  for (const auto& [path, words] : commands)
    absl::StrAppend(&out, "    \"", path, "\"*) words=\"", words, "\" ;;\n");
  out +=
      "  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\n"
      "complete -F _homeward homeward\n";
  return out;
}

void AddCompletionCommand(CommandLine* line) {
  std::string* const shell = line->New<std::string>();
  CLI::App* const completion =
      line->AddLocal(&line->root(),
                     {"completion", "print a completion script for bash or zsh",
                      "completion bash > /etc/bash_completion.d/homeward"},
                     [line, shell] {
                       std::fputs(CompletionScript(line->root(), *shell).c_str(), stdout);
                       return static_cast<int>(kOk);
                     });
  completion->add_option("shell", *shell, "bash or zsh")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh"}));
}

}  // namespace homeward
