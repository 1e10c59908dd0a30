// From records and observations to what operators see.
#ifndef HOMEWARD_CONFIG_SERVER_OPERATIONS_CONVERT_H_
#define HOMEWARD_CONFIG_SERVER_OPERATIONS_CONVERT_H_

#include "config_server/jobs/brain.h"
#include "homeward/admin/v1/admin.pb.h"

namespace homeward {

admin::v1::Machine ConvertMachine(const View& view, const storage::v1::Machine& machine);
admin::v1::Server ConvertServer(const View& view, const storage::v1::Server& server);
admin::v1::PlanAction ConvertPlanAction(const storage::v1::PlanAction& action);
admin::v1::Job ConvertJob(const Brain& brain, const storage::v1::Job& job);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_OPERATIONS_CONVERT_H_
