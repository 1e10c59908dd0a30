// QueuedWriter: writes the messages of a call from a thread of its own.
#ifndef HOMEWARD_COMMON_REPLICATION_QUEUED_WRITER_H_
#define HOMEWARD_COMMON_REPLICATION_QUEUED_WRITER_H_

#include <deque>
#include <functional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace homeward {

// Writes messages in order from a thread of its own, so that a strand never waits for a slow peer.
// What may queue is bounded by the protocol: upwards by credit, downwards by one acknowledgement
// for each group.
template <typename Message, typename Stream>
class QueuedWriter {
 public:
  // Where nothing was written for `quiet_max` since the first message, an empty one is.
  QueuedWriter(Stream* stream, std::function<void()> on_end,
               absl::Duration quiet_max = absl::InfiniteDuration())
      : stream_(*stream),
        on_end_(std::move(on_end)),
        quiet_max_(quiet_max),
        thread_([this] { Run(); }) {}
  ~QueuedWriter() {
    End();
    thread_.join();
  }
  void Write(Message message) {
    absl::MutexLock lock(&mutex_);
    if (!ended_) queue_.push_back(std::move(message));
  }
  // After what is queued, `on_end` runs once.
  void End() {
    absl::MutexLock lock(&mutex_);
    ended_ = true;
  }

 private:
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ended_ || !queue_.empty(); }
  void Run() {
    bool writable = true;
    absl::Duration quiet = absl::InfiniteDuration();
    while (true) {
      Message message;
      {
        absl::MutexLock lock(&mutex_);
        mutex_.AwaitWithTimeout(absl::Condition(this, &QueuedWriter::HasWork), quiet);
        if (!queue_.empty()) {
          message = std::move(queue_.front());
          queue_.pop_front();
        } else if (ended_) {
          break;
        }
      }
      if (writable) writable = stream_.Write(message);
      quiet = quiet_max_;
    }
    on_end_();
  }

  Stream& stream_;
  const std::function<void()> on_end_;
  const absl::Duration quiet_max_;
  absl::Mutex mutex_;
  std::deque<Message> queue_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_REPLICATION_QUEUED_WRITER_H_
