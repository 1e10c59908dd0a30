#include "config_server/cli/client_link.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/clock/clock.h"
#include "common/control/enrolment.h"
#include "common/os/file_system.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

using google::protobuf::MethodDescriptor;
using google::protobuf::MethodOptions;
using google::protobuf::ServiceDescriptor;

// Between two tries, when the server can be connected to.
constexpr absl::Duration kPause = absl::Milliseconds(200);
// A call whose limit is over still hears why there is no connection.
constexpr absl::Duration kLastWord = absl::Seconds(1);

// Not an answer of the server: those that may be tried again have a problem of the catalogue.
bool IsUnanswered(const absl::Status& status) {
  return (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) &&
         !ProblemOf(status).has_value();
}

}  // namespace

absl::StatusOr<AdminClient> AdminClient::Open(Options options) {
  AdminClient client(std::move(options));
  HW_RETURN_IF_ERROR(client.Connect());
  return client;
}

absl::Status AdminClient::Connect() {
  const std::string& directory = options_.identity_directory;
  const IdentityFiles paths = {JoinPath(directory, "ca.pem"),
                               JoinPath(directory, "certificate.pem"),
                               JoinPath(directory, "key.pem")};
  const absl::StatusOr<TlsIdentity> identity = ReadIdentity(RealFileSystem(), paths);
  if (!identity.ok()) {
    return absl::UnauthenticatedError(absl::StrCat(
        "no operator's identity in ", directory, " (", identity.status().message(),
        "). The configuration server makes one in `operator` under its state directory; name it "
        "with "
        "--identity"));
  }
  channel_ = MakeChannel(options_.address, Role::kConfigServer, *identity);
  stub_ = admin::v1::AdminService::NewStub(channel_);
  return absl::OkStatus();
}

bool AdminClient::MayBeRepeated(const google::protobuf::Descriptor& request,
                                const google::protobuf::Descriptor& response) {
  const ServiceDescriptor* const service =
      google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
          admin::v1::AdminService::service_full_name());
  HW_CHECK(service != nullptr);
  for (int i = 0; i < service->method_count(); ++i) {
    const MethodDescriptor& method = *service->method(i);
    if (method.input_type() == &request && method.output_type() == &response)
      return method.options().idempotency_level() != MethodOptions::IDEMPOTENCY_UNKNOWN;
  }
  return false;
}

bool AdminClient::AwaitConnection(absl::Time end) {
  bool told = false;
  while (true) {
    const grpc_connectivity_state state = channel_->GetState(/*try_to_connect=*/true);
    if (state == GRPC_CHANNEL_READY) return true;
    if (state == GRPC_CHANNEL_TRANSIENT_FAILURE && !told && options_.waiting) {
      options_.waiting();
      told = true;
    }
    if (!channel_->WaitForStateChange(state, absl::ToChronoTime(end))) return false;
  }
}

absl::Status AdminClient::Send(bool may_be_repeated,
                               const std::function<grpc::Status(grpc::ClientContext*)>& call) {
  const RealClock clock;
  const absl::Time end = clock.Now() + options_.call_limit;
  while (true) {
    const bool connected = AwaitConnection(end);
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(std::max(end, clock.Now() + kLastWord)));
    const absl::Status status = FromGrpc(call(&context));
    if (!IsUnanswered(status)) return status;
    if (may_be_repeated && absl::IsUnavailable(status) && clock.Now() < end) {
      channel_->WaitForStateChange(GRPC_CHANNEL_READY,
                                   absl::ToChronoTime(std::min(end, clock.Now() + kPause)));
      continue;
    }
    if (may_be_repeated || !connected) return status;
    return absl::Status(
        status.code(),
        absl::StrCat(status.message(),
                     ". The server may or may not have begun: look, before you repeat it"));
  }
}

absl::StatusOr<admin::v1::Job> AdminClient::Watch(
    const std::string& job_id, const std::function<void(const admin::v1::Job&)>& show) {
  admin::v1::GetJobRequest request;
  request.set_job_id(job_id);
  const RealClock clock;
  absl::Time end = clock.Now() + options_.reconnect_limit;
  while (true) {
    AwaitConnection(end);
    grpc::ClientContext context;
    const auto reader = stub_->WatchJob(&context, request);
    admin::v1::Job job;
    bool heard = false;
    while (reader->Read(&job)) {
      heard = true;
      show(job);
    }
    const absl::Status ended = FromGrpc(reader->Finish());
    if (ended.ok() && !job.id().empty()) return job;
    // However long it had been silent before.
    if (heard) end = clock.Now() + options_.reconnect_limit;
    if (!absl::IsUnavailable(ended) || clock.Now() > end)
      return ended.ok() ? absl::UnavailableError("the server ended the watch") : ended;
    channel_->WaitForStateChange(GRPC_CHANNEL_READY, absl::ToChronoTime(clock.Now() + kPause));
    HW_RETURN_IF_ERROR(Connect());
  }
}

}  // namespace homeward
