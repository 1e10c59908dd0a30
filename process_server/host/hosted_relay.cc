#include "process_server/host/hosted_relay.h"

#include <utility>

#include "common/log/log.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(100);

}  // namespace

absl::StatusOr<std::shared_ptr<HostedRelay>> HostedRelay::Start(
    const StreamRuntime& runtime, const control::v1::RelayedStream& stream,
    Relay::Options options) {
  HW_ASSIGN_OR_RETURN(std::unique_ptr<Relay> relay, Relay::Open(runtime.files, options));
  std::shared_ptr<HostedRelay> hosted(new HostedRelay(stream, std::move(relay), runtime.on_news));
  HostedRelay* const self = hosted.get();
  self->strand_ = runtime.make_strand("relay");
  self->strand_->Post([self] { self->Tick(); });
  self->link_ = runtime.dialer->Dial(self->strand_.get(), &self->relay_->sender(),
                                     [self] { return self->relay_->MakeHello(); },
                                     {.address = stream.master_target_address(),
                                      .master_target = true,
                                      .data_channel_port = stream.data_channel_port(),
                                      .beside = true});
  return hosted;
}

HostedRelay::~HostedRelay() {
  link_.reset();
  strand_->Stop();
}

void HostedRelay::Retire() {
  link_.reset();
  strand_->Run([this] {
    relay_->Retire(absl::UnavailableError("this process server's assignment has changed"));
  });
}

HostedInbox HostedRelay::inbox() {
  return {.strand = strand_.get(),
          .inbox = relay_.get(),
          .attach = [this](StreamReceiver* receiver) { relay_->AttachReceiver(receiver); },
          .release = [this](StreamReceiver* receiver) { relay_->DetachReceiver(receiver); },
          .passes_on = true};
}

void HostedRelay::SetBytesMax(uint64_t spool_bytes, uint64_t memory_bytes) {
  strand_->Post([=, this] { relay_->SetBytesMax(spool_bytes, memory_bytes); });
}

void HostedRelay::SetFence(uint64_t fence) {
  strand_->Post([this, fence] { relay_->SetFence(fence); });
}

void HostedRelay::Tick() {
  relay_->Tick();
  if (relay_->start_over_count() != start_overs_) {
    start_overs_ = relay_->start_over_count();
    LogWarn("relay.started_over",
            {{"machine", stream_.machine_id()},
             {"why", "the spool is damaged or no longer what the master target goes on from"}});
  }
  if (const absl::Status again = relay_->TakeAskedAgain(); !again.ok()) {
    LogWarn("relay.asked_again", {{"machine", stream_.machine_id()}, {"why", again.message()}});
  }
  control::v1::RelayObserved seen;
  seen.set_machine_id(stream_.machine_id());
  seen.set_generation(stream_.generation());
  seen.set_pending_bytes(relay_->pending_bytes());
  seen.set_agent_connected(relay_->agent_connected());
  seen.set_target_connected(relay_->sender().streaming());
  if (!relay_->broken().ok()) seen.set_broken(relay_->broken().ToString());
  bool news = false;
  {
    absl::MutexLock lock(&mutex_);
    news = seen.generation() != observed_.generation() || seen.broken() != observed_.broken() ||
           seen.agent_connected() != observed_.agent_connected() ||
           seen.target_connected() != observed_.target_connected();
    observed_ = std::move(seen);
    forwarded_bytes_ = relay_->forwarded_bytes();
  }
  if (news) on_news_();
  strand_->PostAfter(kTick, [this] { Tick(); });
}

control::v1::RelayObserved HostedRelay::observed() const {
  absl::MutexLock lock(&mutex_);
  return observed_;
}

uint64_t HostedRelay::forwarded_bytes() const {
  absl::MutexLock lock(&mutex_);
  return forwarded_bytes_;
}

}  // namespace homeward
