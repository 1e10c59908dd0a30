// Disks in memory, and the other end of a stream, for the tests of this
// folder.
#ifndef HOMEWARD_MOBILITY_AGENT_PIPELINE_PIPELINE_DOUBLES_H_
#define HOMEWARD_MOBILITY_AGENT_PIPELINE_PIPELINE_DOUBLES_H_

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "common/replication/stream_sender.h"
#include "common/wire/change_batch.h"
#include "gtest/gtest.h"
#include "mobility_agent/capture/write_log.h"
#include "mobility_agent/capture/write_source.h"
#include "tests/fakes/manual_clock.h"

namespace homeward {

// So many whole sectors of one character.
inline std::string Sectors(uint64_t count, char of) {
  return std::string(count * kSectorBytes, of);
}

// Tracks what Write() does. Not thread-safe.
class RamDisk : public WriteSource {
 public:
  explicit RamDisk(uint64_t bytes) : content_(bytes, '\0') {}

  void Write(uint64_t offset, const std::string& data) {
    content_.replace(offset, data.size(), data);
    if (log_ != nullptr && log_->Append(log_disk_, {offset, data.size()}, AsBytes(data))) return;
    written_.Add({offset, data.size()});
  }
  const std::string& content() const { return content_; }

  uint64_t size_bytes() const override { return content_.size(); }
  absl::StatusOr<Collected> Collect(absl::Span<Extent> changed) override {
    if (!collecting.ok()) return collecting;
    const size_t count = written_.TakeInto(changed);
    return Collected{count, !written_.empty()};
  }
  absl::Status Read(uint64_t offset, MutableBytes out) override {
    ++reads;
    if (!reading.ok()) return reading;
    std::copy_n(content_.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    if (during_read) during_read();
    return absl::OkStatus();
  }
  void BeginFreeze() override { ++freezes; }
  absl::Status AwaitFrozen(absl::Duration) override {
    frozen = freezing.ok();
    return freezing;
  }
  void Thaw() override { frozen = false; }
  const Rest& rest() const override { return rest_; }
  bool LogTo(WriteLog* log, uint32_t disk) override {
    if (log != nullptr && !logs) return false;
    log_ = log;
    log_disk_ = disk;
    return true;
  }

  absl::Status collecting, reading, freezing;  // what these calls return
  std::function<void()> during_read;
  bool logs = false;  // it can
  bool frozen = false;
  int reads = 0, freezes = 0;
  Rest rest_{.still = {"ext4 on /mnt"}, .moving = {}};

 private:
  std::string content_;
  ExtentSet written_;
  WriteLog* log_ = nullptr;
  uint32_t log_disk_ = 0;
};

// Always reads the same; `written` says that its first 4 KiB were written to. Not thread-safe.
class QuietDisk : public WriteSource {
 public:
  uint64_t size_bytes() const override { return kMiB; }
  absl::StatusOr<Collected> Collect(absl::Span<Extent> changed) override {
    if (!written) return Collected();
    written = false;
    changed[0] = {0, 4096};
    return Collected{1, false};
  }
  absl::Status Read(uint64_t, MutableBytes out) override {
    std::fill(out.begin(), out.end(), 7);
    return absl::OkStatus();
  }
  void BeginFreeze() override {}
  absl::Status AwaitFrozen(absl::Duration) override { return absl::OkStatus(); }
  void Thaw() override {}
  bool written = false;
};

// Keeps what a stream sends. Not thread-safe.
class Recorder : public UpstreamLink {
 public:
  void Send(replication::v1::Upstream message) override { sent.push_back(std::move(message)); }
  void SendBatch(SealedBatch sealed) override {
    ++batches;
    last = PeekBatchHeader(sealed.view())->position;
    ParsedBatch batch;
    ASSERT_TRUE(ParseBatch(sealed.view(), /*decode=*/true, &batch).ok());
    kinds.push_back(batch.header.kind);
    encodings.push_back(batch.encoding);
    if (batch.header.kind == BatchKind::kMarker) markers.push_back(*ParseMarker(batch));
  }
  void Close() override {}
  std::vector<replication::v1::Upstream> sent;
  int batches = 0;
  StreamPosition last;
  std::vector<BatchKind> kinds;
  std::vector<PayloadEncoding> encodings;
  std::vector<Marker> markers;
};

// The other side takes the stream.
inline replication::v1::Downstream Welcome(uint64_t credit_bytes = 64 * kMiB) {
  replication::v1::Downstream reply;
  reply.mutable_hello_reply()->set_version_major(kReplicationVersionMajor);
  reply.mutable_hello_reply()->mutable_acknowledgement()->set_credit_bytes(credit_bytes);
  return reply;
}

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_PIPELINE_PIPELINE_DOUBLES_H_
