// The connection beside a data channel: encrypted content travels there without being encrypted
// once more. Who opens it finds out whether it was changed. docs/formats/data_channel.md.
#ifndef HOMEWARD_COMMON_DATA_CHANNEL_BESIDE_H_
#define HOMEWARD_COMMON_DATA_CHANNEL_BESIDE_H_

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/tls/tls_socket.h"

namespace homeward {

// Who connects says this, and then which data channel it belongs to.
inline constexpr absl::string_view kBesideGreeting = "HWBESIDE";
inline constexpr size_t kBesideTokenBytes = 32;
// Who listens answers so when it knows that data channel.
inline constexpr absl::string_view kBesideAnswer = "HWBESIDE";

// What both ends of a data channel know, and nobody else.
inline std::string BesideToken(TlsSocket* channel) {
  return channel->SharedSecret("beside-token", kBesideTokenBytes);
}

// Connects beside a data channel of `address` (host:port). Blocks for as long as `timeout`.
absl::StatusOr<std::unique_ptr<Socket>> ConnectBeside(TlsSocket* channel,
                                                      const std::string& address,
                                                      absl::Duration timeout);

// Where the connection beside a received call arrives. Thread-safe.
class BesidePlace {
 public:
  // At most once is one taken.
  void Put(std::unique_ptr<Socket> socket);
  // Blocks. UNAVAILABLE: none came in time, or it has ended. The socket lives as long as this.
  absl::StatusOr<Socket*> Await(absl::Duration timeout);
  void Shutdown();

 private:
  bool Settled() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return ended_ || socket_ != nullptr;
  }
  absl::Mutex mutex_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<Socket> socket_ ABSL_GUARDED_BY(mutex_);
};

// When a sender connects beside its data channel. Where that does not work it is tried again, ever
// more rarely. One thread at a time.
class BesideTrials {
 public:
  bool Due() const;
  void Failed();
  void Worked() { pause_ = kPauseMin; }

 private:
  static constexpr absl::Duration kPauseMin = absl::Seconds(30), kPauseMax = absl::Minutes(30);
  absl::Duration next_ = absl::ZeroDuration();
  absl::Duration pause_ = kPauseMin;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_DATA_CHANNEL_BESIDE_H_
