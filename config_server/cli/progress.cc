#include "config_server/cli/progress.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "common/os/host.h"
#include "config_server/cli/format.h"

namespace homeward {
namespace {

// A rate over less than this says nothing.
constexpr absl::Duration kRateMeasuredOver = absl::Milliseconds(500);

}  // namespace

void Progress::Show(const admin::v1::Job& job) {
  const admin::v1::Task* running = nullptr;
  for (const admin::v1::Task& task : job.tasks()) {
    if (task.state() == "Running") running = &task;
  }
  if (running == nullptr) return;
  const std::string line = Describe(*running);
  if (ErrorOutputIsTerminal()) {
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    on_line_ = true;
  } else if (running->name() != task_) {
    std::fprintf(stderr, "%s\n", running->name().c_str());
  }
  task_ = running->name();
}

void Progress::End() {
  if (on_line_) std::fputs("\n", stderr);
  on_line_ = false;
}

std::string Progress::Describe(const admin::v1::Task& task) {
  std::string line = task.name();
  if (task.total_bytes() == 0) {
    if (!task.detail().empty()) absl::StrAppend(&line, ": waiting for ", task.detail());
    return line;
  }
  const absl::Duration now = clock_.Monotonic();
  if (task.name() != task_) {
    rate_since_ = now;
    rate_base_bytes_ = task.done_bytes();
  }
  absl::StrAppend(&line, ": ", FormatBytes(task.done_bytes()), " of ",
                  FormatBytes(task.total_bytes()));
  const absl::Duration elapsed = now - rate_since_;
  if (elapsed <= kRateMeasuredOver || task.done_bytes() <= rate_base_bytes_ ||
      task.done_bytes() > task.total_bytes())
    return line;
  const double rate =
      static_cast<double>(task.done_bytes() - rate_base_bytes_) / absl::ToDoubleSeconds(elapsed);
  const double left_seconds = static_cast<double>(task.total_bytes() - task.done_bytes()) / rate;
  absl::StrAppend(&line, ", ", FormatBytes(static_cast<uint64_t>(rate)), "/s, ",
                  FormatTimeSpan(absl::Trunc(absl::Seconds(left_seconds), absl::Seconds(1))),
                  " left");
  return line;
}

}  // namespace homeward
