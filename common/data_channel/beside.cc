#include "common/data_channel/beside.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock/clock.h"
#include "common/status/status_macros.h"

namespace homeward {

absl::StatusOr<std::unique_ptr<Socket>> ConnectBeside(TlsSocket* channel,
                                                      const std::string& address,
                                                      absl::Duration timeout) {
  HW_ASSIGN_OR_RETURN(std::unique_ptr<Socket> socket, ConnectWithoutTls(address, timeout));
  HW_RETURN_IF_ERROR(socket->Write(AsBytes(absl::StrCat(kBesideGreeting, BesideToken(channel)))));
  socket->SetReadTimeout(timeout);
  std::string answer(kBesideAnswer.size(), '\0');
  HW_RETURN_IF_ERROR(socket->Read(Writable(&answer)));
  if (answer != kBesideAnswer) return absl::UnavailableError("something else answers");
  return socket;
}

void BesidePlace::Put(std::unique_ptr<Socket> socket) {
  absl::MutexLock lock(&mutex_);
  if (!Settled()) socket_ = std::move(socket);
}

absl::StatusOr<Socket*> BesidePlace::Await(absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(this, &BesidePlace::Settled), timeout);
  if (ended_ || socket_ == nullptr)
    return absl::UnavailableError("no connection came beside the data channel");
  return socket_.get();
}

void BesidePlace::Shutdown() {
  absl::MutexLock lock(&mutex_);
  ended_ = true;
  if (socket_ != nullptr) socket_->Shutdown();
}

bool BesideTrials::Due() const { return RealClock().Monotonic() >= next_; }

void BesideTrials::Failed() {
  next_ = RealClock().Monotonic() + pause_;
  pause_ = std::min(pause_ * 2, kPauseMax);
}

}  // namespace homeward
