// Backups: makes backups of the store while the configuration server runs, and keeps the newest.
#ifndef HOMEWARD_CONFIG_SERVER_BACKUP_BACKUPS_H_
#define HOMEWARD_CONFIG_SERVER_BACKUP_BACKUPS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/exec/strand.h"
#include "common/os/file_system.h"
#include "config_server/store/store.h"

namespace homeward {

// Thread-safe. The directory belongs to it: files there that are named as its own go when they are
// too many, and nothing else does.
class Backups {
 public:
  struct Options {
    std::string directory;
    std::string passphrase_file;
    std::string scratch;  // on the store's volume, nobody else's; as secret as the store
    std::string listen_address;
    absl::Duration interval = absl::Hours(1);
    size_t kept = 48;
  };
  struct Backup {
    std::string path;
    absl::Time time;
    uint64_t bytes = 0;
  };
  // Begins at once. What is given to it outlives it; the store's copies are made on a thread of its
  // own.
  Backups(FileSystem& files, const Clock& clock, const Store* store, Options options);
  ~Backups();

  // Makes one now. Blocks.
  absl::StatusOr<Backup> Make();
  // Returns when what is due now was tried.
  void Settle() {
    strand_->Run([] {});
  }
  // Oldest first. Only those of this configuration server.
  absl::StatusOr<std::vector<Backup>> List() const;
  // What the last attempt came to.
  absl::Status last() const;
  const std::string& directory() const { return options_.directory; }
  absl::Duration interval() const { return options_.interval; }

 private:
  void KeepGoing();
  absl::StatusOr<Backup> MakeOne();
  absl::Status Write(const std::string& path, absl::Time now);
  absl::Status DropOld();

  FileSystem& files_;
  const Clock& clock_;
  const Store& store_;
  const Options options_;
  const std::string config_server_id_;
  mutable absl::Mutex mutex_;
  absl::Status last_ ABSL_GUARDED_BY(mutex_);
  const std::unique_ptr<Strand> strand_;  // last
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_BACKUP_BACKUPS_H_
