#include "config_server/services/control_service.h"

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/synchronization/mutex.h"
#include "common/base/name.h"
#include "common/log/log.h"
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

// Whose registration it is, once all that needs no record was found right.
absl::StatusOr<std::string> CheckRegistration(const grpc::ServerContextBase& context,
                                              const Up& first) {
  const control::v1::Registration& registration = first.registration();
  if (!first.has_registration() || registration.role() == types::v1::SERVER_ROLE_UNSPECIFIED)
    return absl::InvalidArgumentError("the first message must be a registration");
  if (const std::string wrong = WrongInName(registration.name(), kHostNameBytesMax);
      !wrong.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the host's name \"", absl::Utf8SafeCHexEscape(registration.name()), "\" ",
                     wrong, "; give another one: join.name in its configuration"));
  }
  const absl::StatusOr<std::string> host_id = Authorize(context, {RoleOf(registration.role())});
  if (!host_id.ok() || *host_id == registration.host_id()) return host_id;
  return absl::PermissionDeniedError(absl::StrCat(
      "host ", *host_id, " registers as ", registration.host_id(), ": a copied certificate?"));
}

}  // namespace

// One call of Connect. It keeps itself until the call is done, and the fleet keeps it as long as it
// may send to it. Reactions come from the network's threads; all that touches the brain is posted
// to the strand, one message at a time, so whoever sends too much waits.
class ControlService::Session : public grpc::ServerBidiReactor<Up, Down> {
 public:
  Session(ControlService* service, grpc::CallbackServerContext* context)
      : service_(*service), context_(*context) {}

  void Start(const std::shared_ptr<Session>& self) {
    self_ = self;
    StartRead(&in_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return End(grpc::Status::OK);
    if (host_id_.empty()) {
      const absl::StatusOr<std::string> host_id = CheckRegistration(context_, in_);
      if (!host_id.ok()) return End(ToGrpc(host_id.status()));
      host_id_ = *host_id;
      address_ = HostOfPeer(context_.peer());
      service_.strand_.Post([self = self_] { self->service_.RegisterSoon(self); });
    } else {
      service_.strand_.Post([self = self_] { self->Hear(); });
    }
  }
  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (ok) WriteNext();
  }
  void OnCancel() override { End(grpc::Status::CANCELLED); }
  void OnDone() override {
    // The call is no more, nor its context.
    service_.strand_.Post([self = std::move(self_)] {
      self->gone_ = true;
      if (self->number_ != 0)
        self->service_.brain_.fleet().Disconnect(self->host_id_, self->number_);
    });
  }

  // On the strand, as the next. Answer() follows when what was registered is durable.
  void Register(const std::shared_ptr<Session>& self) {
    if (gone_) return;
    registered_ = service_.brain_.Register(
        in_.registration(), {.send = [self](const Down& down) { self->Write(down); },
                             .end = [self](const absl::Status& why) { self->End(ToGrpc(why)); },
                             .address = address_});
  }
  void Answer() {
    if (gone_) return;
    if (!registered_.ok()) {
      LogWarn("session.refused", {{"host_id", host_id_}, {"error", registered_.status()}});
      return End(ToGrpc(registered_.status()));
    }
    number_ = *registered_;
    Down down;
    down.mutable_registered()->set_config_server_id(service_.config_server_id_);
    *down.mutable_registered()->mutable_heartbeat_interval() =
        ToProto(service_.brain_.settings().heartbeat_interval);
    Write(down);
    service_.StepSoon();
    ReadNext();
  }

 private:
  // On the strand.
  void Hear() {
    const bool current =
        !in_.has_heartbeat() || service_.brain_.fleet().Hear(host_id_, number_, in_.heartbeat());
    service_.StepSoon();
    if (current) ReadNext();  // Who was replaced was told so.
  }

  void ReadNext() {
    absl::MutexLock lock(&mutex_);
    if (!ended_) StartRead(&in_);
  }
  void Write(const Down& down) {
    absl::MutexLock lock(&mutex_);
    // What is desired is all of it: the newest alone waits.
    if (!queue_.empty() && queue_.back().has_desired() && down.has_desired()) queue_.pop_back();
    queue_.push_back(down);
    WriteNext();
  }
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (ended_ || writing_ || queue_.empty()) return;
    out_ = std::move(queue_.front());
    queue_.pop_front();
    writing_ = true;
    StartWrite(&out_);
  }
  // The first one counts.
  void End(const grpc::Status& status) {
    absl::MutexLock lock(&mutex_);
    if (ended_) return;
    ended_ = true;
    if (writing_) context_.TryCancel();  // A write that still waits must not hold us.
    Finish(status);
  }

  ControlService& service_;
  grpc::CallbackServerContext& context_;
  std::shared_ptr<Session> self_;  // until OnDone()
  Up in_;  // the network's while it reads, then the strand's until the next read
  std::string host_id_, address_;  // set before anything is on the strand
  bool gone_ = false;              // on the strand, as the next
  absl::StatusOr<uint64_t> registered_ = 0;
  uint64_t number_ = 0;  // 0: not registered
  Down out_;             // the network's while `writing_`
  absl::Mutex mutex_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<Down> queue_ ABSL_GUARDED_BY(mutex_);  // two at the most
};

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

grpc::ServerBidiReactor<Up, Down>* ControlService::Connect(grpc::CallbackServerContext* context) {
  auto session = std::make_shared<Session>(this, context);
  session->Start(session);
  return session.get();
}

void ControlService::RegisterSoon(std::shared_ptr<Session> session) {
  registering_.push_back(std::move(session));
  if (registering_.size() > 1) return;
  strand_.Post([this] {
    const std::vector<std::shared_ptr<Session>> sessions = std::exchange(registering_, {});
    brain_.Together([&] {
      for (const std::shared_ptr<Session>& one : sessions) one->Register(one);
    });
    for (const std::shared_ptr<Session>& one : sessions) one->Answer();
  });
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
