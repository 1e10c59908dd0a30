// Plans: the recovery plans that there are, and what a run of one begins with. How a run goes on is
// JobRunner's.
#ifndef HOMEWARD_CONFIG_SERVER_JOBS_PLANS_H_
#define HOMEWARD_CONFIG_SERVER_JOBS_PLANS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock/clock.h"
#include "config_server/jobs/policies.h"
#include "config_server/model/placement.h"
#include "config_server/model/view.h"
#include "config_server/store/records.h"

namespace homeward {

// Must run on one strand. A plan that nobody knows is NOT_FOUND, one that may not be so
// INVALID_ARGUMENT or FAILED_PRECONDITION.
class Plans {
 public:
  // `clock`, `records` and `policies` outlive it.
  Plans(const Clock& clock, Records* records, const Policies* policies)
      : clock_(clock), records_(*records), policies_(*policies) {}

  // By their names.
  std::vector<storage::v1::RecoveryPlan> All() const;
  absl::StatusOr<storage::v1::RecoveryPlan> Find(const std::string& name) const;
  // The names of those that a member of the replication group is in.
  std::vector<std::string> Containing(const View& view, const std::string& group) const;
  // Makes it, or puts it in the place of the one of its name. A run goes on with what was.
  absl::StatusOr<storage::v1::RecoveryPlan> Apply(storage::v1::RecoveryPlan plan);
  // Not while it is run.
  absl::StatusOr<storage::v1::RecoveryPlan> Delete(const std::string& name);
  // Its run that has not ended.
  std::optional<storage::v1::Job> RunOf(const std::string& name) const;

  struct Wish {
    storage::v1::Operation operation = storage::v1::OPERATION_UNSPECIFIED;
    std::string point = {};        // of a failback; empty: the plan's
    PlacementWish placement = {};  // of a reprotect
  };
  // A job for JobRunner::StartPlan(), or all that keeps it from being begun.
  struct Prepared {
    storage::v1::Job job;
    std::vector<types::v1::Problem> refusals;
  };
  Prepared Prepare(const View& view, const storage::v1::RecoveryPlan& plan, const Wish& wish) const;

 private:
  const Clock& clock_;
  Records& records_;
  const Policies& policies_;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_JOBS_PLANS_H_
