// DebianTools: VMware Tools (open-vm-tools) of a machine with dpkg and apt.
#ifndef HOMEWARD_MOBILITY_AGENT_GUEST_DEBIAN_TOOLS_H_
#define HOMEWARD_MOBILITY_AGENT_GUEST_DEBIAN_TOOLS_H_

#include <string>
#include <vector>

#include "mobility_agent/guest/guest_step.h"

namespace homeward {

// Away: the packages are removed, never purged; their versions, whether they were chosen by hand,
// the state of their services and their configuration files are remembered first. Home: the same
// versions, or the newest where they cannot be had, with the files and the states of then.
// Nothing but open-vm-tools and what belongs to it is removed or added: where apt would, the step
// fails and names it.
class DebianTools : public GuestStep {
 public:
  explicit DebianTools(GuestTools tools) : files_(tools.files), commands_(tools.commands) {}
  const char* name() const override { return "vmware-tools"; }
  absl::Status Go(bool away, GuestRecord* record,
                  const std::function<absl::Status()>& save) override;

 private:
  using Tools = GuestRecord::Tools;
  using Save = std::function<absl::Status()>;
  using Packages = std::vector<GuestRecord::Package>;
  absl::Status Leave(Tools* tools, const Save& save);
  absl::Status Return(Tools* tools, const Save& save);
  absl::StatusOr<Packages> Installed();
  absl::StatusOr<Tools> Remember(Packages packages);
  absl::Status CheckRemoval(const Packages& packages);
  absl::Status KeepFiles(Tools* tools) const;
  absl::Status Install(const Packages& missing);
  absl::Status RestoreFiles(Tools* tools) const;
  absl::Status RestoreServices(const Tools& tools);
  // Ends what an interrupted dpkg left half done.
  absl::Status Mend();
  absl::StatusOr<std::string> Apt(const Command& arguments);

  const GuestFiles& files_;
  Commands& commands_;
};

// Whether `files` are of such a machine.
bool HasApt(const GuestFiles& files);

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_GUEST_DEBIAN_TOOLS_H_
