// Plan files: a recovery plan as operators write it (docs/formats/recovery_plan.md).
#ifndef HOMEWARD_CONFIG_SERVER_CLI_PLAN_FILE_H_
#define HOMEWARD_CONFIG_SERVER_CLI_PLAN_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "homeward/admin/v1/admin.pb.h"

namespace homeward {

// INVALID_ARGUMENT says the file, the line, the key and what to do. `path` is for that alone.
absl::StatusOr<admin::v1::RecoveryPlan> ParsePlanFile(const std::string& path,
                                                      const std::string& text);
// What ParsePlanFile() reads as the same plan.
std::string WritePlanFile(const admin::v1::RecoveryPlan& plan);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_CLI_PLAN_FILE_H_
