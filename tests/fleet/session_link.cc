#include "tests/fleet/session_link.h"

#include <grpcpp/grpcpp.h>

#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/rpc/credentials.h"
#include "homeward/control/v1/control.grpc.pb.h"

namespace homeward {
namespace {

using control::v1::Down;
using control::v1::Heartbeat;
using control::v1::Up;

class CallbackLink : public SessionLink, public grpc::ClientBidiReactor<Up, Down> {
 public:
  CallbackLink(const std::string& address, const TlsIdentity& identity,
               control::v1::Registration registration, Heartbeat first, Events events)
      : events_(std::move(events)),
        channel_(MakeChannel(address, Role::kConfigServer, identity)),
        stub_(control::v1::ControlService::NewStub(channel_)),
        waiting_(std::move(first)) {
    *out_.mutable_registration() = std::move(registration);
  }

  void Start(std::shared_ptr<CallbackLink> self) {
    self_ = std::move(self);
    stub_->async()->Connect(&context_, this);
    StartWrite(&out_);
    AddHold();  // Report() writes from outside, as long as `open_`.
    StartRead(&in_);
    StartCall();
  }

  void Report(Heartbeat heartbeat) override {
    absl::MutexLock lock(&mutex_);
    waiting_ = std::move(heartbeat);
    WriteWhatWaits();
  }
  void Cancel() override { context_.TryCancel(); }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (ok) WriteWhatWaits();
  }
  void OnReadDone(bool ok) override {
    if (ok) {
      events_.heard(in_);
      StartRead(&in_);
      return;
    }
    {
      absl::MutexLock lock(&mutex_);
      open_ = false;
    }
    RemoveHold();
  }
  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<CallbackLink> self = std::move(self_);
    events_.ended(FromGrpc(status));
  }

 private:
  void WriteWhatWaits() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!open_ || writing_ || !waiting_.has_value()) return;
    *out_.mutable_heartbeat() = *std::exchange(waiting_, std::nullopt);
    writing_ = true;
    StartWrite(&out_);
  }

  const Events events_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<control::v1::ControlService::Stub> stub_;
  grpc::ClientContext context_;
  std::shared_ptr<CallbackLink> self_;  // until OnDone()
  Down in_;                             // gRPC's while it reads, as out_ while it writes
  Up out_;
  absl::Mutex mutex_;
  bool open_ ABSL_GUARDED_BY(mutex_) = true;
  bool writing_ ABSL_GUARDED_BY(mutex_) = true;
  std::optional<Heartbeat> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::shared_ptr<SessionLink> SessionLink::Open(const std::string& address,
                                               const TlsIdentity& identity,
                                               control::v1::Registration registration,
                                               Heartbeat first, Events events) {
  auto link = std::make_shared<CallbackLink>(address, identity, std::move(registration),
                                             std::move(first), std::move(events));
  link->Start(link);
  return link;
}

}  // namespace homeward
