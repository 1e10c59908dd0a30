#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <random>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/synchronization/notification.h"
#include "common/control/control_client.h"
#include "common/control/reconnect.h"
#include "common/log/log.h"
#include "common/os/host.h"
#include "common/rpc/problem_status.h"
#include "common/wire/time_proto.h"
#include "homeward/control/v1/control.grpc.pb.h"

namespace homeward {

using control::v1::Down;
using control::v1::Up;

namespace {

constexpr absl::Duration kReporterLimit = absl::Seconds(2);
// Between two reports: one says all that a server has, and with 60 machines that begin at once
// each has something new all the time.
constexpr absl::Duration kReportPause = absl::Milliseconds(20);

}  // namespace

ControlClient::ControlClient(FileSystem& files, const Clock& clock, Options options,
                             Callbacks callbacks)
    : files_(files),
      clock_(clock),
      options_(std::move(options)),
      callbacks_(std::move(callbacks)),
      thread_([this] { Run(); }) {}

ControlClient::~ControlClient() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    if (context_ != nullptr) context_->TryCancel();
  }
  thread_.join();
}

bool ControlClient::WaitOrStop(absl::Duration duration) {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&stopping_), duration);
}

void ControlClient::Run() {
  std::mt19937 random(std::random_device{}());
  if (options_.registration_delay > absl::ZeroDuration()) {
    LogInfo("registration.delayed", {{"delay", options_.registration_delay}});
    if (WaitOrStop(options_.registration_delay)) return;
  }
  Reconnect reconnect(options_.retry_min, options_.retry_max);
  while (!WaitOrStop(reconnect.Next(RunOnce(), &random))) {
  }
}

absl::Duration ControlClient::KeepCertificate() {
  const absl::StatusOr<absl::Duration> again =
      RenewIfDue(files_, clock_, options_.identity, options_.address);
  if (again.ok()) return *again;
  LogWarn("certificate.renewal_failed", {{"error", Describe(again.status())}});
  return std::min(RenewalInterval(files_, clock_, options_.identity), absl::Minutes(1));
}

bool ControlClient::RunOnce() {
  absl::Duration renewal_interval = KeepCertificate();
  const absl::StatusOr<TlsIdentity> identity = ReadIdentity(files_, options_.identity);
  if (!identity.ok()) {
    LogError("identity.unreadable", {{"error", identity.status()}});
    return false;
  }
  const auto stub = control::v1::ControlService::NewStub(
      MakeChannel(options_.address, Role::kConfigServer, *identity));
  grpc::ClientContext context;
  {
    absl::MutexLock lock(&mutex_);
    if (stopping_) return false;
    context_ = &context;
  }
  const auto stream = stub->Connect(&context);
  const auto revision_now = [this] {
    return callbacks_.registration_revision == nullptr ? 0 : callbacks_.registration_revision();
  };
  const uint64_t registered_revision = revision_now();
  Up registration;
  *registration.mutable_registration() = callbacks_.registration();
  bool greeted = false;
  News nobodys;
  News& news = options_.news == nullptr ? nobodys : *options_.news;
  absl::Mutex mutex;
  bool ended = false;                          // guarded by mutex
  absl::Duration interval = absl::Seconds(1);  // guarded by mutex
  uint64_t revision = 0;                       // guarded by mutex
  std::thread reporter;
  absl::Notification reported;
  if (stream->Write(registration)) {
    reporter = std::thread([&] {
      const absl::Cleanup over = [&reported] { reported.Notify(); };
      std::string last;
      absl::Duration last_sent;
      absl::Duration last_renewal = clock_.Monotonic();
      for (bool first = true;; first = false) {
        absl::Duration heartbeat_interval;
        Up up;
        if (!first) news.Await(kReportPause, options_.observe_interval);
        {
          absl::MutexLock lock(&mutex);
          if (ended) return;
          heartbeat_interval = interval;
          up.mutable_heartbeat()->set_desired_revision(revision);
        }
        if (revision_now() != registered_revision) {
          context.TryCancel();
          return;
        }
        const uint64_t desired_revision = up.heartbeat().desired_revision();
        *up.mutable_heartbeat() = callbacks_.observe();
        up.mutable_heartbeat()->set_desired_revision(desired_revision);
        const std::string now = up.SerializeAsString();
        const absl::Duration at = clock_.Monotonic();
        if (at - last_renewal > renewal_interval) {
          last_renewal = at;
          renewal_interval = KeepCertificate();
        }
        if (now == last && at - last_sent < heartbeat_interval) continue;
        last = now;
        last_sent = at;
        up.mutable_heartbeat()->set_resident_bytes_max(PeakResidentBytes());
        if (!stream->Write(up)) return;
      }
    });
    Down down;
    while (stream->Read(&down)) {
      if (down.has_registered()) {
        greeted = true;
        connected_ = true;
        if (callbacks_.registered) callbacks_.registered();
        LogInfo("control.registered", {{"config_server", options_.address}});
        absl::MutexLock lock(&mutex);
        interval = FromProto(down.registered().heartbeat_interval());
      } else if (down.has_desired()) {
        callbacks_.desired(down.desired());
        absl::MutexLock lock(&mutex);
        revision = down.desired().revision();
      }
    }
  }
  {
    absl::MutexLock lock(&mutex);
    ended = true;
  }
  news.Tell();
  // A call that has ended fails the reporter's write by itself; cancelled, it would not tell why it
  // ended.
  if (reporter.joinable() && !reported.WaitForNotificationWithTimeout(kReporterLimit))
    context.TryCancel();
  if (reporter.joinable()) reporter.join();
  const absl::Status status = FromGrpc(stream->Finish());
  connected_ = false;
  {
    absl::MutexLock lock(&mutex_);
    context_ = nullptr;
    if (stopping_) return greeted;
    LogWarn("control.disconnected",
            {{"config_server", options_.address}, {"error", Describe(status)}});
  }
  const std::optional<types::v1::Problem> problem = ProblemOf(status);
  if (problem.has_value() && callbacks_.refused) callbacks_.refused(*problem);
  return greeted;
}

}  // namespace homeward
