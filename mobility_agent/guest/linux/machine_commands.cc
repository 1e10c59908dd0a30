#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/status/status_macros.h"
#include "mobility_agent/guest/commands.h"
#include "mobility_agent/guest/guest_files.h"

namespace homeward {
namespace {

constexpr size_t kOutputBytesMax = 4 * kMiB;
// Whoever waits for a unit gives systemd so long to end it at its own limit.
constexpr absl::Duration kUnitGrace = absl::Seconds(10);
constexpr const char* kPlaces[] = {"/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"};

class Machine : public Commands {
 public:
  Machine(std::string root, const absl::Notification& stopping)
      : root_(std::move(root)), files_(root_), stopping_(stopping) {}

  absl::StatusOr<ProgramResult> Run(const Command& command, absl::Duration limit) override {
    HW_ASSIGN_OR_RETURN(const std::string program, Find(command[0]));
    Command whole = command;
    whole[0] = program;
    if (!root_.empty()) {
      whole.insert(whole.begin(), {"chroot", root_});
    } else if (files_.Exists("/run/systemd/system")) {
      whole = AsUnit(whole, limit);
      limit += kUnitGrace;
    }
    return RunProgramForOutput(
        whole, {.timeout = limit, .output_bytes_max = kOutputBytesMax, .stopping = &stopping_});
  }

 private:
  absl::StatusOr<std::string> Find(const std::string& program) const {
    if (absl::StartsWith(program, "/")) return program;
    for (const char* place : kPlaces) {
      if (files_.Exists(place + program)) return place + program;
    }
    return absl::NotFoundError(absl::StrCat("this machine has no ", program));
  }

  const std::string root_;
  const GuestFiles files_;
  const absl::Notification& stopping_;
};

}  // namespace

std::unique_ptr<Commands> MachineCommands(std::string root, const absl::Notification& stopping) {
  return std::make_unique<Machine>(std::move(root), stopping);
}

}  // namespace homeward
