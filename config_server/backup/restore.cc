#include "config_server/backup/restore.h"

#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/problem/problem.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "config_server/backup/backup_file.h"
#include "config_server/backup/scratch.h"
#include "config_server/store/store.h"

namespace homeward {
namespace {

using storage::v1::BackupHeader;

constexpr char kIdentityCa[] = "identity/ca.pem";

absl::Status AnotherIdentity(const std::string& why) {
  return Refused(MakeProblem(ProblemId::kConfigServerIdentity, why));
}

// "10.0.0.1:7443" as host and port.
std::pair<absl::string_view, absl::string_view> Split(absl::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == address.npos) return {address, ""};
  return {address.substr(0, colon), address.substr(colon + 1)};
}

bool IsAnyHost(absl::string_view host) {
  return host == "0.0.0.0" || host == "[::]" || host == "::" || host.empty();
}

// Components have its address in their configuration.
absl::Status CheckAddress(const BackupHeader& header, const std::string& listens) {
  const auto [old_host, old_port] = Split(header.listen_address());
  const auto [host, port] = Split(listens);
  if (port == old_port && (host == old_host || IsAnyHost(host) || IsAnyHost(old_host)))
    return absl::OkStatus();
  return AnotherIdentity(absl::StrCat("it listened on ", header.listen_address(),
                                      ", where components look for it, and is to listen on ",
                                      listens, " now"));
}

absl::Status CheckNoStore(FileSystem& files, const std::string& store) {
  const absl::StatusOr<std::vector<std::string>> there = files.List(store);
  if (absl::IsNotFound(there.status())) return absl::OkStatus();
  HW_RETURN_IF_ERROR(there.status());
  return absl::FailedPreconditionError(
      absl::StrCat(store, " is there already. Move it away first, if the backup is to replace it"));
}

// What is left of a server there has to be of the same one.
absl::Status CheckAuthority(FileSystem& files, const RestoreOrder& order, const Store& store) {
  const std::string path = JoinPath(order.state_directory, kIdentityCa);
  const absl::StatusOr<std::string> left = ReadWholeFile(files, path);
  if (absl::IsNotFound(left.status())) return absl::OkStatus();
  HW_RETURN_IF_ERROR(left.status());
  const auto authority = store.Get<storage::v1::Authority>(Store::kOnly);
  if (authority.has_value() && authority->certificate() == *left) return absl::OkStatus();
  return AnotherIdentity(absl::StrCat(order.state_directory,
                                      " is that of another configuration server: the CA in ", path,
                                      " is not the one of the backup"));
}

absl::Status Unpack(FileSystem& files, BackupReader* backup, const std::string& directory) {
  std::string path;
  std::unique_ptr<File> file;
  uint64_t at = 0;
  while (true) {
    storage::v1::BackupPiece piece;
    HW_ASSIGN_OR_RETURN(const bool more, backup->Next(&piece));
    if (!more) return absl::OkStatus();
    if (absl::StartsWith(piece.path(), "/") || absl::StrContains(piece.path(), ".."))
      return absl::DataLossError(absl::StrCat("the backup has a file named ", piece.path()));
    if (piece.path() != path) {
      path = piece.path();
      at = 0;
      const std::string where = JoinPath(directory, path);
      HW_RETURN_IF_ERROR(files.MakeDirectories(ParentDirectory(where)));
      HW_ASSIGN_OR_RETURN(file, files.Open(where, OpenMode::kCreate));
    }
    HW_RETURN_IF_ERROR(file->Write(at, AsBytes(piece.content())));
    at += piece.content().size();
  }
}

// Who starts it next tells that it was restored.
absl::StatusOr<std::string> Mark(FileSystem& files, const std::string& directory,
                                 const RestoreOrder& order, const BackupHeader& header) {
  HW_ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, Store::Open(directory));
  HW_RETURN_IF_ERROR(CheckAuthority(files, order, *store));
  storage::v1::Meta meta = *store->Get<storage::v1::Meta>(Store::kOnly);
  if (meta.config_server_id() != header.config_server_id())
    return absl::DataLossError("the backup's store is not that of the server that it names");
  *meta.mutable_restored_backup_time() = header.time();
  meta.set_restored_from(order.backup);
  Store::Transaction transaction;
  transaction.Put(Store::kOnly, meta);
  HW_RETURN_IF_ERROR(store->Commit(transaction));
  size_t running = 0;
  for (const storage::v1::Job& job : store->All<storage::v1::Job>())
    running += job.state() == storage::v1::RUNNING ? 1 : 0;
  return absl::StrCat(
      "Restored configuration server ", meta.config_server_id(), " as it was at ",
      absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", FromProto(header.time()), absl::UTCTimeZone()),
      ", with ", store->All<storage::v1::Machine>().size(), " machines, ",
      store->All<storage::v1::Server>().size(), " servers and ", running,
      " running jobs.\nMake sure that the old one does not run any more, and start "
      "this one. `homeward health` names what went on after the backup.\n");
}

absl::Status SyncAll(FileSystem& files, const std::string& directory) {
  HW_ASSIGN_OR_RETURN(const std::vector<std::string> names, FilesInScratch(directory));
  std::set<std::string> directories = {directory};
  for (const std::string& name : names) {
    const std::string path = JoinPath(directory, name);
    directories.insert(ParentDirectory(path));
    HW_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, files.Open(path, OpenMode::kReadWrite));
    HW_RETURN_IF_ERROR(file->Sync());
  }
  for (const std::string& one : directories) HW_RETURN_IF_ERROR(files.SyncDirectory(one));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> Restore(FileSystem& files, const RestoreOrder& order) {
  const std::string store = JoinPath(order.state_directory, "store");
  HW_RETURN_IF_ERROR(CheckNoStore(files, store));
  HW_ASSIGN_OR_RETURN(const std::string passphrase,
                      ReadBackupPassphrase(files, order.passphrase_file));
  HW_ASSIGN_OR_RETURN(const std::unique_ptr<BackupReader> backup,
                      BackupReader::Open(files, order.backup, passphrase));
  HW_RETURN_IF_ERROR(files.MakeDirectories(order.state_directory));
  const std::string scratch = JoinPath(order.state_directory, "restore");
  HW_RETURN_IF_ERROR(EmptyScratch(scratch));
  const std::string unpacked = JoinPath(scratch, "backup");
  HW_RETURN_IF_ERROR(files.MakeDirectories(unpacked));
  // Only then the header is to be believed.
  HW_RETURN_IF_ERROR(Unpack(files, backup.get(), unpacked));
  HW_RETURN_IF_ERROR(CheckAddress(backup->header(), order.listen_address));
  const std::string made = JoinPath(scratch, "store");
  HW_RETURN_IF_ERROR(Store::Restore(unpacked, made));
  HW_ASSIGN_OR_RETURN(const std::string told, Mark(files, made, order, backup->header()));
  HW_RETURN_IF_ERROR(SyncAll(files, made));
  HW_RETURN_IF_ERROR(files.Rename(made, store));
  HW_RETURN_IF_ERROR(files.SyncDirectory(order.state_directory));
  HW_RETURN_IF_ERROR(EmptyScratch(scratch));
  return told;
}

}  // namespace homeward
