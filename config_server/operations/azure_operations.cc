// What of Operations is about machines in Azure, or on their way there, beyond the circle.
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/problem/problem.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "config_server/model/location_rules.h"
#include "config_server/model/points.h"
#include "config_server/model/rules.h"
#include "config_server/operations/operations.h"

namespace homeward {

absl::Status Operations::TestFailover(const admin::v1::TestFailoverRequest& request,
                                      admin::v1::Job* response) {
  HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request.machine()));
  const View view = brain_.MakeView();
  if (Refusal refusal = CheckOperation(view, machine, storage::v1::TEST_FAILOVER))
    return Refused(*refusal);
  if (Refusal refusal = RulesOf(machine).CheckTest(view, machine, request.subnet()))
    return Refused(*refusal);
  const control::v1::ReplicaObserved& replica = *view.ReplicaOf(machine);
  const ChosenPoint chosen = ChoosePoint({replica.points().begin(), replica.points().end()},
                                         request.point(), request.accept_not_one_instant());
  if (chosen.refusal) return Refused(*chosen.refusal);
  storage::v1::Job job;
  job.set_point(chosen.point.id());
  job.set_accept_not_one_instant(request.accept_not_one_instant());
  const std::string& site = machine.assignment().placement().azure_vm().site();
  job.set_test_subnet(request.subnet().empty() ? view.clouds.at(site).site.test_subnet()
                                               : request.subnet());
  return StartJob(storage::v1::TEST_FAILOVER, machine.machine_id(), std::move(job), response);
}

absl::Status Operations::TestFailoverCleanup(const admin::v1::TestFailoverCleanupRequest& request,
                                             admin::v1::Job* response) {
  return StartJob(storage::v1::TEST_CLEANUP, request.machine(), {}, response);
}

absl::Status Operations::CompleteMigration(const admin::v1::CompleteMigrationRequest& request,
                                           admin::v1::Job* response) {
  HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request.machine()));
  if (Refusal refusal = CheckOperation(brain_.MakeView(), machine, storage::v1::COMPLETE_MIGRATION))
    return Refused(*refusal);
  if (!request.confirmed()) {
    return Refused(
        MakeProblem(ProblemId::kMigrationNotConfirmed,
                    absl::StrCat(machine.registration().name(), " would stay in Azure as ",
                                 machine.azure_vm().name(), " and could never be failed back")));
  }
  return StartJob(storage::v1::COMPLETE_MIGRATION, machine.machine_id(), {}, response);
}

}  // namespace homeward
