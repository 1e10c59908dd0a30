// The group `backups`.
#include <vector>

#include "config_server/cli/commands.h"
#include "config_server/cli/tables.h"

namespace homeward {
namespace {

std::string FormatBackup(const admin::v1::Backup& backup) {
  return absl::StrCat(backup.path(), ", ", FormatBytes(backup.size_bytes()), "\n");
}

std::string FormatBackups(const admin::v1::ListBackupsResponse& response) {
  std::vector<std::vector<std::string>> rows = {{"TIME", "SIZE", "FILE"}};
  for (const admin::v1::Backup& backup : response.backups())
    rows.push_back({FormatTime(backup.time()), FormatBytes(backup.size_bytes()), backup.path()});
  std::string text = FormatTable(rows);
  if (response.has_problem()) {
    absl::StrAppend(&text, "\nThe last one failed: ", response.problem().message(), "\n",
                    response.problem().action(), "\n");
  }
  return text;
}

}  // namespace

void AddBackupCommands(CommandLine* line) {
  using Stub = AdminClient::Stub;
  CLI::App* const backups = line->Group("backups", "encrypted backups of the configuration server");
  line->Show(backups, {"list", "list the backups that are kept", "backups list"},
             &Stub::ListBackups, FormatBackups);
  line->Show(backups, {"create", "make a backup now", "backups create"}, &Stub::CreateBackup,
             FormatBackup);
}

}  // namespace homeward
