// BackupFile: a backup of the configuration server's store in one encrypted file. Format:
// docs/formats/config_backup.md.
#ifndef HOMEWARD_CONFIG_SERVER_BACKUP_BACKUP_FILE_H_
#define HOMEWARD_CONFIG_SERVER_BACKUP_BACKUP_FILE_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/base/bytes.h"
#include "common/cipher/data_key.h"
#include "common/cipher/payload_cipher.h"
#include "common/os/file_system.h"
#include "homeward/storage/v1/backup.pb.h"

namespace homeward {

// A shorter one can be guessed.
inline constexpr size_t kBackupPassphraseBytesMin = 16;

// The first line of the file. INVALID_ARGUMENT: too short. Otherwise what reading it came to.
absl::StatusOr<std::string> ReadBackupPassphrase(FileSystem& files, const std::string& path);

class BackupWriter {
 public:
  // `header` needs who, when and where; the rest is filled in. Replaces what has that name.
  static absl::StatusOr<std::unique_ptr<BackupWriter>> Create(FileSystem& files,
                                                              const std::string& path,
                                                              absl::string_view passphrase,
                                                              storage::v1::BackupHeader header);
  // A part of the file `path`, of any length.
  absl::Status Add(absl::string_view path, ConstBytes content);
  // Durable on return, but for its name.
  absl::Status Finish();
  uint64_t bytes() const { return offset_; }

 private:
  BackupWriter(std::unique_ptr<File> file, std::string head, DataKey key)
      : file_(std::move(file)), head_(std::move(head)), encryptor_(key) {}
  absl::Status Append(absl::string_view bytes);
  absl::Status AddFrame(const storage::v1::BackupPiece& piece, bool last);

  const std::unique_ptr<File> file_;
  const std::string head_;  // as it is in the file
  PayloadEncryptor encryptor_;
  uint64_t offset_ = 0;
  uint64_t frames_ = 0;
};

class BackupReader {
 public:
  // DATA_LOSS: it is no backup, or was changed. FAILED_PRECONDITION: written by a newer version.
  static absl::StatusOr<std::unique_ptr<BackupReader>> Open(FileSystem& files,
                                                            const std::string& path,
                                                            absl::string_view passphrase);
  // To be believed once Next() has returned something.
  const storage::v1::BackupHeader& header() const { return header_; }
  // False: that was all. DATA_LOSS: another passphrase, or not what was written. It is not over
  // before it has returned false: a part of it may be missing.
  absl::StatusOr<bool> Next(storage::v1::BackupPiece* piece);

 private:
  BackupReader(std::unique_ptr<File> file, std::string path, uint64_t size, std::string head,
               storage::v1::BackupHeader header, DataKey key);
  absl::Status Lost(absl::string_view why) const;

  const std::unique_ptr<File> file_;
  const std::string path_;
  const uint64_t size_;
  const std::string head_;
  const storage::v1::BackupHeader header_;
  const DataKey key_;
  uint64_t offset_;
  uint64_t frames_ = 0;
};

// Of a list of files: nobody has authenticated it.
absl::StatusOr<storage::v1::BackupHeader> ReadBackupHeader(FileSystem& files,
                                                           const std::string& path);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_BACKUP_BACKUP_FILE_H_
