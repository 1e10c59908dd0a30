#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "config_server/operations/operations.h"

namespace homeward {
namespace {

absl::Status NoBackups() {
  return Refused(MakeProblem(ProblemId::kBackupsNotConfigured,
                             "this configuration server makes no backups of itself"));
}

absl::Status BackupFailed(const absl::Status& why) {
  return ToStatus(MakeProblem(ProblemId::kBackupFailed, std::string(why.message())),
                  absl::StatusCode::kFailedPrecondition);
}

void Convert(const Backups::Backup& backup, admin::v1::Backup* out) {
  out->set_path(backup.path);
  *out->mutable_time() = ToProto(backup.time);
  out->set_size_bytes(backup.bytes);
}

}  // namespace

absl::Status Operations::ListBackups(const Caller& caller, const admin::v1::ListBackupsRequest&,
                                     admin::v1::ListBackupsResponse* response) {
  HW_RETURN_IF_ERROR(Ask(caller, [] { return absl::OkStatus(); }));
  if (backups_ == nullptr) return NoBackups();
  const absl::StatusOr<std::vector<Backups::Backup>> made = backups_->List();
  if (!made.ok()) return BackupFailed(made.status());
  for (const Backups::Backup& backup : *made) Convert(backup, response->add_backups());
  response->set_directory(backups_->directory());
  *response->mutable_interval() = ToProto(backups_->interval());
  if (const absl::Status last = backups_->last(); !last.ok()) {
    *response->mutable_problem() =
        MakeProblem(ProblemId::kBackupFailed, std::string(last.message()));
  }
  return absl::OkStatus();
}

absl::Status Operations::CreateBackup(const Caller& caller,
                                      const admin::v1::CreateBackupRequest& request,
                                      admin::v1::Backup* response) {
  return DoOutside(caller, request, *response, [&]() -> absl::Status {
    if (backups_ == nullptr) return NoBackups();
    const absl::StatusOr<Backups::Backup> made = backups_->Make();
    if (!made.ok()) return BackupFailed(made.status());
    Convert(*made, response);
    return absl::OkStatus();
  });
}

}  // namespace homeward
