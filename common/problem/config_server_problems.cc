#include "common/problem/catalogue.h"

namespace homeward {

std::vector<ProblemEntry> ConfigServerProblems() {
  using enum ProblemId;
  return {
      {.id = kBackupsNotConfigured,
       .name = "BACKUPS_NOT_CONFIGURED",
       .when = "the configuration server was not told where its backups go",
       .causes = {"backup is not in its configuration"},
       .action = "Set backup.directory and backup.passphrase_file in the configuration server's "
                 "configuration, and restart it."},
      {.id = kBackupFailed,
       .name = "BACKUP_FAILED",
       .when = "the last backup of the configuration server could not be made",
       .causes = {"the directory is not mounted, or is full", "the passphrase file cannot be read"},
       .action = "Do what the message says. It is tried again each minute; homeward backups create "
                 "tries at once.",
       .retryable = true},
      {.id = kAuditBroken,
       .name = "AUDIT_BROKEN",
       .when = "the audit log is not what was written",
       .causes = {"somebody changed the configuration server's store, or the file",
                  "the configuration server was restored from a backup (an entry says so), and the "
                  "entry that was noted was written after that backup",
                  "the entry that was noted was the oldest once, and has gone"},
       .action = "Compare it with the configuration server's own log, which has the number and the "
                 "hash of each entry, and find out who could write to the store."},
      {.id = kConfigServerIdentity,
       .name = "CONFIG_SERVER_IDENTITY",
       .when = "a configuration server is to be restored where components would not take it for "
               "the one that they know",
       .causes = {"it is to listen on another address or port",
                  "the state directory is another configuration server's"},
       .action = "Restore it on a host that has the address of the old one, with the same "
                 "listen_address, to a state directory of its own."},
      {.id = kForgottenGeneration,
       .name = "FORGOTTEN_GENERATION",
       .when = "the machine's replica knows a newer generation than the configuration server",
       .causes = {"the configuration server was restored from a backup that is older than the "
                  "machine's last protection, failback or reprotect"},
       .action =
           "Find out where the machine runs now. If it runs where homeward machines show says, "
           "go on with homeward machines resync. If not, remove its protection and protect it "
           "anew."},
  };
}

}  // namespace homeward
