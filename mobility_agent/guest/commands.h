// Commands: how programs of the machine are run.
#ifndef HOMEWARD_MOBILITY_AGENT_GUEST_COMMANDS_H_
#define HOMEWARD_MOBILITY_AGENT_GUEST_COMMANDS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "common/os/run_program.h"

namespace homeward {

using Command = std::vector<std::string>;

class Commands {
 public:
  virtual ~Commands() = default;
  // Runs it and waits. What it printed, both outputs together, is in the result, whatever it ended
  // with. NOT_FOUND: there is no such program. DEADLINE_EXCEEDED: it took longer than `limit`, and
  // was ended. CANCELLED: the agent stops. UNAVAILABLE: a signal ended it.
  virtual absl::StatusOr<ProgramResult> Run(const Command& command, absl::Duration limit) = 0;
};

// Runs `command`, logs it with the end of what it printed, and makes an error (UNAVAILABLE, with
// the last line) of an end other than 0. Returns what it printed.
absl::StatusOr<std::string> RunLogged(Commands& commands, const Command& command,
                                      absl::Duration limit);

// The same command as a unit of systemd's, which is waited for and ends it at `limit`. What it
// leaves running (a DHCP client) stays. systemd replaces $NAME in arguments: each $ is doubled.
Command AsUnit(const Command& command, absl::Duration limit);

// Programs of the machine whose root is `root` (empty: this one's). Where systemd runs, each
// becomes a unit of its own: outside of the agent's limits of memory and of capabilities, and not
// ended with it. `stopping` outlives it.
std::unique_ptr<Commands> MachineCommands(std::string root, const absl::Notification& stopping);

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_GUEST_COMMANDS_H_
