// Cloud: what Azure says of the sites that are known, and what workflows have done there.
#ifndef HOMEWARD_CONFIG_SERVER_WORKFLOWS_CLOUD_H_
#define HOMEWARD_CONFIG_SERVER_WORKFLOWS_CLOUD_H_

#include <map>
#include <optional>
#include <string>

#include "config_server/model/cloud_move.h"
#include "config_server/model/cloud_state.h"
#include "config_server/workflows/step_result.h"

namespace homeward {

class Cloud {
 public:
  virtual ~Cloud() = default;
  // By the names of the sites' records.
  virtual std::map<std::string, CloudState> States() const = 0;
  // Begins the move unless it is the machine's last one, and says how far that is. One that has
  // ended is remembered until another is asked for. Never waits.
  virtual StepResult Do(const std::string& machine_id, const CloudMove& move) = 0;
  // From now on States() has the VM that the machine lives in. Nothing: no longer. Costs little
  // when it is called with what it was called with last.
  virtual void Watch(const std::string& machine_id,
                     const std::optional<storage::v1::AzureVm>& vm) = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_WORKFLOWS_CLOUD_H_
