// Health: what is wrong with a machine. Pure.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_HEALTH_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_HEALTH_H_

#include <string>
#include <vector>

#include "config_server/model/view.h"

namespace homeward {

// What is wrong with a machine's protection now.
std::vector<types::v1::HealthIssue> JudgeMachine(const View& view,
                                                 const storage::v1::Machine& machine);
// "Normal", "Warning" or "Critical".
std::string WorstOf(const std::vector<types::v1::HealthIssue>& issues);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_HEALTH_H_
