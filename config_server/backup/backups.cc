#include "config_server/backup/backups.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "config_server/backup/backup_file.h"
#include "config_server/backup/scratch.h"

namespace homeward {
namespace {

constexpr char kSuffix[] = ".backup";
constexpr char kPartial[] = ".partial";
constexpr char kTimeFormat[] = "%Y-%m-%dT%H-%M-%SZ";
constexpr uint64_t kReadBytes = 4 * kMiB;
constexpr absl::Duration kLook = absl::Seconds(10);  // whether it is time
constexpr absl::Duration kAgain = absl::Minutes(1);  // after one that failed

std::string PrefixOf(const std::string& config_server_id) {
  return absl::StrCat("homeward-", config_server_id.substr(0, 8), "-");
}

absl::Status AddFile(FileSystem& files, const std::string& path, const std::string& name,
                     BackupWriter* out) {
  HW_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, files.Open(path, OpenMode::kReadOnly));
  HW_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  std::string part;
  uint64_t at = 0;
  do {
    part.resize(std::min(kReadBytes, size - at));
    if (!part.empty()) HW_RETURN_IF_ERROR(file->Read(at, Writable(&part)));
    HW_RETURN_IF_ERROR(out->Add(name, AsBytes(part)));
    at += part.size();
  } while (at < size);
  return absl::OkStatus();
}

}  // namespace

Backups::Backups(FileSystem& files, const Clock& clock, const Store* store, Options options)
    : files_(files),
      clock_(clock),
      store_(*store),
      options_(std::move(options)),
      config_server_id_(store->Get<storage::v1::Meta>(Store::kOnly)->config_server_id()),
      strand_(MakeThreadStrand("backup")) {
  strand_->Post([this] { KeepGoing(); });
}

Backups::~Backups() { strand_->Stop(); }

void Backups::KeepGoing() {
  const absl::Time now = clock_.Now();
  const absl::StatusOr<std::vector<Backup>> made = List();
  absl::Time newest = absl::InfinitePast();
  // One from when the clock was ahead says nothing.
  if (made.ok()) {
    for (const Backup& backup : *made) newest = backup.time <= now ? backup.time : newest;
  }
  const bool due = now - newest >= options_.interval;
  if (due) (void)MakeOne();
  strand_->PostAfter(due && !last().ok() ? kAgain : std::min(kLook, options_.interval),
                     [this] { KeepGoing(); });
}

absl::StatusOr<Backups::Backup> Backups::Make() {
  absl::StatusOr<Backup> made = absl::UnavailableError("the configuration server is stopping");
  strand_->Run([&] { made = MakeOne(); });
  return made;
}

absl::Status Backups::last() const {
  absl::MutexLock lock(&mutex_);
  return last_;
}

absl::StatusOr<Backups::Backup> Backups::MakeOne() {
  const absl::Time now = clock_.Now();
  const std::string path =
      JoinPath(options_.directory,
               absl::StrCat(PrefixOf(config_server_id_),
                            absl::FormatTime(kTimeFormat, now, absl::UTCTimeZone()), kSuffix));
  absl::Status made = Write(path, now);
  if (made.ok()) made = DropOld();
  const absl::Status emptied = EmptyScratch(options_.scratch);
  if (made.ok()) made = emptied;
  {
    absl::MutexLock lock(&mutex_);
    last_ = made;
  }
  if (!made.ok()) {
    LogError("backup.failed", {{"directory", options_.directory}, {"error", made}});
    return made;
  }
  HW_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, files_.Open(path, OpenMode::kReadOnly));
  HW_ASSIGN_OR_RETURN(const uint64_t bytes, file->Size());
  LogInfo("backup.made", {{"path", path}, {"bytes", bytes}});
  return Backup{path, now, bytes};
}

absl::Status Backups::Write(const std::string& path, absl::Time now) {
  HW_ASSIGN_OR_RETURN(const std::string passphrase,
                      ReadBackupPassphrase(files_, options_.passphrase_file));
  // Not made: where another host's disk is to be mounted, this one's would fill.
  HW_RETURN_IF_ERROR(files_.List(options_.directory).status());
  HW_RETURN_IF_ERROR(EmptyScratch(options_.scratch));
  HW_RETURN_IF_ERROR(files_.MakeDirectories(options_.scratch));
  HW_RETURN_IF_ERROR(store_.BackUp(options_.scratch));
  storage::v1::BackupHeader header;
  header.set_config_server_id(config_server_id_);
  *header.mutable_time() = ToProto(now);
  header.set_listen_address(options_.listen_address);
  const std::string partial = absl::StrCat(path, kPartial);
  HW_ASSIGN_OR_RETURN(const std::unique_ptr<BackupWriter> out,
                      BackupWriter::Create(files_, partial, passphrase, header));
  HW_ASSIGN_OR_RETURN(const std::vector<std::string> names, FilesInScratch(options_.scratch));
  for (const std::string& name : names)
    HW_RETURN_IF_ERROR(AddFile(files_, JoinPath(options_.scratch, name), name, out.get()));
  HW_RETURN_IF_ERROR(out->Finish());
  HW_RETURN_IF_ERROR(files_.Rename(partial, path));
  return files_.SyncDirectory(options_.directory);
}

absl::StatusOr<std::vector<Backups::Backup>> Backups::List() const {
  HW_ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.List(options_.directory));
  std::vector<Backup> found;
  for (const std::string& name : names) {  // sorted, and so by time
    absl::string_view stem = name;
    absl::Time time;
    std::string error;
    if (!absl::ConsumePrefix(&stem, PrefixOf(config_server_id_)) ||
        !absl::ConsumeSuffix(&stem, kSuffix) || !absl::ParseTime(kTimeFormat, stem, &time, &error))
      continue;
    const std::string path = JoinPath(options_.directory, name);
    HW_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, files_.Open(path, OpenMode::kReadOnly));
    HW_ASSIGN_OR_RETURN(const uint64_t bytes, file->Size());
    found.push_back({path, time, bytes});
  }
  return found;
}

absl::Status Backups::DropOld() {
  HW_ASSIGN_OR_RETURN(const std::vector<Backup> made, List());
  for (size_t i = 0; i + options_.kept < made.size(); ++i)
    HW_RETURN_IF_ERROR(files_.Remove(made[i].path));
  // What a server that died left half written.
  HW_ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.List(options_.directory));
  for (const std::string& name : names) {
    if (absl::StartsWith(name, PrefixOf(config_server_id_)) && absl::EndsWith(name, kPartial))
      HW_RETURN_IF_ERROR(files_.Remove(JoinPath(options_.directory, name)));
  }
  return absl::OkStatus();
}

}  // namespace homeward
