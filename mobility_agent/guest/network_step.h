// NetworkStep: DHCP while the machine is away; its own configuration again at home.
#ifndef HOMEWARD_MOBILITY_AGENT_GUEST_NETWORK_STEP_H_
#define HOMEWARD_MOBILITY_AGENT_GUEST_NETWORK_STEP_H_

#include <string>
#include <vector>

#include "mobility_agent/guest/guest_step.h"

namespace homeward {

// For ifupdown, netplan and systemd-networkd, whichever the machine uses. Files are moved aside, on
// their own file system, so that they come back as they were in every respect; what is written
// instead is remembered, so that a change of the operator's to it is seen. NetworkManager's own
// files stay as they are.
class NetworkStep : public GuestStep {
 public:
  explicit NetworkStep(GuestTools tools) : files_(tools.files), commands_(tools.commands) {}
  const char* name() const override { return "network"; }
  absl::Status Go(bool away, GuestRecord* record,
                  const std::function<absl::Status()>& save) override;

 private:
  using Network = GuestRecord::Network;
  using Save = std::function<absl::Status()>;
  // What has to be moved and written; empty when nothing has to.
  absl::StatusOr<Network> Plan() const;
  void PlanKind(const std::string& kind, const std::vector<std::string>& interfaces,
                Network* plan) const;
  absl::Status Leave(Network* network, const Save& save);
  absl::Status MoveAside(const Network& network) const;
  absl::Status Return(Network* network, const Save& save);
  // Forgets what is kept no more: it is back, or somebody took it, and what is at its place stays.
  void DropTaken(Network* network) const;
  // ALREADY_EXISTS names all that somebody changed.
  absl::Status CheckUntouched(const Network& network) const;
  absl::Status PutBack(const Network& network) const;
  // Before and after the files change.
  void TakeDown(const Network& network) const;
  absl::Status BringUp(const Network& network) const;
  std::vector<std::string> IfupdownFiles() const;
  std::vector<std::string> Texts(const std::vector<std::string>& paths) const;
  // A place of its own, that nothing has yet.
  KeptFile Place(const std::string& path) const;

  const GuestFiles& files_;
  Commands& commands_;
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_GUEST_NETWORK_STEP_H_
