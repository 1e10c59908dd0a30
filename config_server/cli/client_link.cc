#include "config_server/cli/client_link.h"

#include "common/clock/clock.h"
#include "common/control/enrolment.h"
#include "common/os/file_system.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr absl::Duration kCallLimit = absl::Seconds(15);
constexpr absl::Duration kReconnectLimit = absl::Seconds(60);

}  // namespace

absl::StatusOr<AdminClient> AdminClient::Open(const std::string& address,
                                              const std::string& identity_directory) {
  const IdentityFiles paths = {JoinPath(identity_directory, "ca.pem"),
                               JoinPath(identity_directory, "certificate.pem"),
                               JoinPath(identity_directory, "key.pem")};
  const absl::StatusOr<TlsIdentity> identity = ReadIdentity(RealFileSystem(), paths);
  if (!identity.ok()) {
    return absl::UnauthenticatedError(absl::StrCat(
        "no operator's identity in ", identity_directory, " (", identity.status().message(),
        "). The configuration server makes one in `operator` under its state directory; name it "
        "with "
        "--identity"));
  }
  return AdminClient(
      admin::v1::AdminService::NewStub(MakeChannel(address, Role::kConfigServer, *identity)));
}

void AdminClient::SetLimit(grpc::ClientContext* context) {
  context->set_deadline(absl::ToChronoTime(RealClock().Now() + kCallLimit));
}

absl::StatusOr<admin::v1::Job> AdminClient::Watch(
    const std::string& job_id, const std::function<void(const admin::v1::Job&)>& show) {
  admin::v1::GetJobRequest request;
  request.set_job_id(job_id);
  const RealClock clock;
  absl::Duration last_heard = clock.Monotonic();
  while (true) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    const auto reader = stub_->WatchJob(&context, request);
    admin::v1::Job job;
    while (reader->Read(&job)) {
      last_heard = clock.Monotonic();
      show(job);
    }
    const absl::Status ended = FromGrpc(reader->Finish());
    if (ended.ok() && !job.id().empty()) return job;
    if (!absl::IsUnavailable(ended) || clock.Monotonic() - last_heard > kReconnectLimit)
      return ended.ok() ? absl::UnavailableError("the server ended the watch") : ended;
  }
}

}  // namespace homeward
