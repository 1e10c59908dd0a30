// GuestStep: one thing that a machine needs to be elsewhere, and its way back.
#ifndef HOMEWARD_MOBILITY_AGENT_GUEST_GUEST_STEP_H_
#define HOMEWARD_MOBILITY_AGENT_GUEST_GUEST_STEP_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "mobility_agent/guest/commands.h"
#include "mobility_agent/guest/guest_files.h"
#include "mobility_agent/guest/guest_record.h"

namespace homeward {

// Below it, at their own paths, files of the machine are kept until it is home.
inline constexpr char kKeptDirectory[] = "/etc/homeward/kept";

// What a step works with. All of it outlives the step.
struct GuestTools {
  const GuestFiles& files;
  Commands& commands;
};

// Blocking. Each may have been interrupted anywhere, by a crash too, and is called again.
class GuestStep {
 public:
  virtual ~GuestStep() = default;
  virtual const char* name() const = 0;  // "vmware-tools"
  // Brings the machine to what it is to be: changed for being away, or as it was at home. Nothing
  // to do: OK, without a command. `save` makes `record` durable; it is called before what it tells
  // of is done. ALREADY_EXISTS: somebody changed what was to be changed, nothing of theirs was
  // touched, and the message says what they can do. Any other error: tried again.
  virtual absl::Status Go(bool away, GuestRecord* record,
                          const std::function<absl::Status()>& save) = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_GUEST_GUEST_STEP_H_
