// WindowsTools: the services of VMware Tools on Windows, which stays installed while it is away.
#ifndef HOMEWARD_MOBILITY_AGENT_GUEST_WINDOWS_TOOLS_H_
#define HOMEWARD_MOBILITY_AGENT_GUEST_WINDOWS_TOOLS_H_

#include <string>

#include "mobility_agent/guest/guest_step.h"

namespace homeward {

// Away: each service that there is and that is not disabled is disabled and stopped, its start type
// remembered first. Home: it has that start type again, and is started where that is automatic. All
// with sc.exe, whose answers and codes are those of the service control manager.
class WindowsTools : public GuestStep {
 public:
  explicit WindowsTools(Commands& commands) : commands_(commands) {}
  const char* name() const override { return "vmware-tools"; }
  absl::Status Go(bool away, GuestRecord* record,
                  const std::function<absl::Status()>& save) override;

 private:
  absl::Status Leave(GuestRecord::Tools* tools, const std::function<absl::Status()>& save);
  absl::Status Return(GuestRecord::Tools* tools, const std::function<absl::Status()>& save);
  // In the words of `sc.exe config start=`; empty when there is no such service.
  absl::StatusOr<std::string> StartType(const std::string& service);
  // With exit codes that mean that it is so already.
  absl::Status Run(const Command& command, int so_already);

  Commands& commands_;
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_GUEST_WINDOWS_TOOLS_H_
