// Restoring: a configuration server out of a backup, where there is none.
#ifndef HOMEWARD_CONFIG_SERVER_BACKUP_RESTORE_H_
#define HOMEWARD_CONFIG_SERVER_BACKUP_RESTORE_H_

#include <string>

#include "absl/status/statusor.h"
#include "common/os/file_system.h"

namespace homeward {

struct RestoreOrder {
  std::string backup;
  std::string passphrase_file;
  std::string state_directory;
  std::string listen_address;
};

// Makes `store` under the state directory, durably, all or nothing: a restore that was killed is
// done again. Returns what was restored, for people.
// FAILED_PRECONDITION: there is a store already; and with CONFIG_SERVER_IDENTITY: components would
// not find it here, or the directory is another configuration server's. DATA_LOSS: of the backup.
absl::StatusOr<std::string> Restore(FileSystem& files, const RestoreOrder& order);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_BACKUP_RESTORE_H_
