// Completion of commands and flags in a shell.
#ifndef HOMEWARD_CONFIG_SERVER_CLI_COMPLETION_H_
#define HOMEWARD_CONFIG_SERVER_CLI_COMPLETION_H_

#include <CLI/CLI.hpp>
#include <string>

namespace homeward {

// A script for "bash" or "zsh", to be read by the shell. Leaves out what help leaves out.
std::string CompletionScript(const CLI::App& app, const std::string& shell);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_CLI_COMPLETION_H_
