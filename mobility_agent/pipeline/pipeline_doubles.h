// A clock that is moved by hand and a disk in memory, for the tests of this folder.
#ifndef HOMEWARD_MOBILITY_AGENT_PIPELINE_PIPELINE_DOUBLES_H_
#define HOMEWARD_MOBILITY_AGENT_PIPELINE_PIPELINE_DOUBLES_H_

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "common/clock/clock.h"
#include "mobility_agent/capture/write_log.h"
#include "mobility_agent/capture/write_source.h"

namespace homeward {

// So many whole sectors of one character.
inline std::string Sectors(uint64_t count, char of) {
  return std::string(count * kSectorBytes, of);
}

// Not thread-safe.
class ManualClock : public Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixSeconds(1700000000) + now; }
  absl::Duration Monotonic() const override { return now; }
  absl::Duration now = absl::Seconds(1);
};

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

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_PIPELINE_PIPELINE_DOUBLES_H_
