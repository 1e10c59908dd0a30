// Hypervisor: what vCenters say, and what workflows have done to VMs there.
#ifndef HOMEWARD_CONFIG_SERVER_WORKFLOWS_HYPERVISOR_H_
#define HOMEWARD_CONFIG_SERVER_WORKFLOWS_HYPERVISOR_H_

#include <map>
#include <string>

#include "config_server/model/vcenter_state.h"
#include "config_server/model/vm_move.h"
#include "config_server/workflows/step_result.h"

namespace homeward {

class Hypervisor {
 public:
  virtual ~Hypervisor() = default;
  // By the names of the vCenters' records.
  virtual std::map<std::string, VcenterState> States() const = 0;
  // Begins the move unless it is the machine's last one, and says how far that is. One that has
  // ended is remembered until another is asked for. Never waits.
  virtual StepResult Move(const std::string& machine_id, const VmMove& move) = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_WORKFLOWS_HYPERVISOR_H_
