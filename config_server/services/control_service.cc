#include "config_server/services/control_service.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_replace.h"
#include "absl/synchronization/notification.h"
#include "common/base/name.h"
#include "common/log/log.h"
#include "common/replication/queued_writer.h"
#include "common/rpc/credentials.h"
#include "common/wire/time_proto.h"

namespace homeward {

using control::v1::Down;
using control::v1::Up;

namespace {

const std::vector<Role>& Parts() {
  static const auto& parts =
      *new std::vector<Role>{Role::kAgent, Role::kProcessServer, Role::kMasterTarget};
  return parts;
}

// Of gRPC's "ipv4:10.0.0.1:1234", "ipv6:%5B::1%5D:1234".
std::string HostOfPeer(const std::string& peer) {
  const size_t begin = peer.find(':') + 1, end = peer.rfind(':');
  if (begin == 0 || end < begin) return peer;
  return absl::StrReplaceAll(peer.substr(begin, end - begin), {{"%5B", "["}, {"%5D", "]"}});
}

}  // namespace

grpc::Status ControlService::Enrol(grpc::ServerContext*, const control::v1::EnrolRequest* request,
                                   control::v1::EnrolResponse* response) {
  absl::StatusOr<control::v1::EnrolResponse> signed_now;
  strand_.Run([&] { signed_now = registrar_.Enrol(*request); });
  if (!signed_now.ok()) return ToGrpc(signed_now.status());
  *response = *std::move(signed_now);
  return grpc::Status::OK;
}

grpc::Status ControlService::Renew(grpc::ServerContext* context,
                                   const control::v1::RenewRequest* request,
                                   control::v1::EnrolResponse* response) {
  for (const Role role : Parts()) {
    const absl::StatusOr<std::string> host_id = Authorize(*context, {role});
    if (!host_id.ok()) continue;
    absl::StatusOr<control::v1::EnrolResponse> signed_now;
    strand_.Run([&] { signed_now = registrar_.Renew(role, *host_id, request->signing_request()); });
    if (!signed_now.ok()) return ToGrpc(signed_now.status());
    *response = *std::move(signed_now);
    return grpc::Status::OK;
  }
  return ToGrpc(Authorize(*context, Parts()).status());
}

grpc::Status ControlService::Connect(grpc::ServerContext* context,
                                     grpc::ServerReaderWriter<Down, Up>* stream) {
  Up up;
  if (!stream->Read(&up)) return grpc::Status::OK;
  const control::v1::Registration& registration = up.registration();
  if (!up.has_registration() || registration.role() == types::v1::SERVER_ROLE_UNSPECIFIED)
    return ToGrpc(absl::InvalidArgumentError("the first message must be a registration"));
  if (const std::string wrong = WrongInName(registration.name(), kHostNameBytesMax);
      !wrong.empty()) {
    return ToGrpc(absl::InvalidArgumentError(
        absl::StrCat("the host's name \"", absl::Utf8SafeCHexEscape(registration.name()), "\" ",
                     wrong, "; give another one: join.name in its configuration")));
  }
  const absl::StatusOr<std::string> host_id = Authorize(*context, {RoleOf(registration.role())});
  if (!host_id.ok()) return ToGrpc(host_id.status());
  if (*host_id != registration.host_id()) {
    return ToGrpc(absl::PermissionDeniedError(absl::StrCat(
        "host ", *host_id, " registers as ", registration.host_id(), ": a copied certificate?")));
  }
  absl::Status ended_why;  // on the strand
  absl::StatusOr<uint64_t> session = 0;
  {
    QueuedWriter<Down, grpc::ServerReaderWriter<Down, Up>> writer(stream, [] {});
    strand_.Run([&] {
      session =
          brain_.Register(registration, {.send = [&](const Down& down) { writer.Write(down); },
                                         .end =
                                             [&](const absl::Status& why) {
                                               ended_why = why;
                                               context->TryCancel();
                                             },
                                         .address = HostOfPeer(context->peer())});
      if (!session.ok()) return;
      Down down;
      down.mutable_registered()->set_config_server_id(
          brain_.store().Get<storage::v1::Meta>(Store::kOnly)->config_server_id());
      *down.mutable_registered()->mutable_heartbeat_interval() =
          ToProto(brain_.settings().heartbeat_interval);
      writer.Write(down);
      brain_.Step();
    });
    if (!session.ok()) {
      LogWarn("session.refused", {{"host_id", *host_id}, {"error", session.status()}});
      return ToGrpc(session.status());
    }
    while (stream->Read(&up)) {
      bool current = true;
      strand_.Run([&] {
        current = !up.has_heartbeat() || brain_.fleet().Hear(*host_id, *session, up.heartbeat());
        StepSoon();
      });
      if (!current) break;
    }
    strand_.Run([&] { brain_.fleet().Disconnect(*host_id, *session); });
    context->TryCancel();  // A write that still waits must not hold us.
  }
  return ToGrpc(ended_why);
}

void ControlService::StepSoon() {
  if (step_is_due_) return;
  step_is_due_ = true;
  strand_.PostAfter(9 * last_step_lasted_, [this] {
    step_is_due_ = false;
    const absl::Duration begun = clock_.Monotonic();
    brain_.Step();
    last_step_lasted_ = clock_.Monotonic() - begun;
  });
}

}  // namespace homeward
