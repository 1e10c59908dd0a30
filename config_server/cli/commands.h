// The groups of commands; each file adds its own to the command line.
#ifndef HOMEWARD_CONFIG_SERVER_CLI_COMMANDS_H_
#define HOMEWARD_CONFIG_SERVER_CLI_COMMANDS_H_

#include "config_server/cli/command_line.h"

namespace homeward {

void AddMachineCommands(CommandLine* line);
// Those that say where replicas are placed and what they follow. Part of the group `machines`.
void AddPlacementCommands(CommandLine* line, CLI::App* machines);
void AddPointCommands(CommandLine* line);
void AddServerCommands(CommandLine* line);
void AddPolicyCommands(CommandLine* line);
void AddGroupCommands(CommandLine* line);
void AddPlanCommands(CommandLine* line);
void AddBackupCommands(CommandLine* line);
void AddAuditCommands(CommandLine* line);
void AddVcenterCommands(CommandLine* line);
void AddAzureCommands(CommandLine* line);
void AddInventoryCommands(CommandLine* line);
void AddJobCommands(CommandLine* line);
// health, events and version.
void AddHealthCommands(CommandLine* line);
void AddFleetCommands(CommandLine* line);
void AddEnrolmentCommands(CommandLine* line);
void AddCompletionCommand(CommandLine* line);

inline void AddAllCommands(CommandLine* line) {
  AddMachineCommands(line);
  AddPointCommands(line);
  AddPolicyCommands(line);
  AddGroupCommands(line);
  AddPlanCommands(line);
  AddServerCommands(line);
  AddBackupCommands(line);
  AddAuditCommands(line);
  AddVcenterCommands(line);
  AddAzureCommands(line);
  AddInventoryCommands(line);
  AddJobCommands(line);
  AddHealthCommands(line);
  AddFleetCommands(line);
  AddEnrolmentCommands(line);
  AddCompletionCommand(line);
}

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_CLI_COMMANDS_H_
