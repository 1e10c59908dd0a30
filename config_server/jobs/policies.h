// Policies: the replication policies that machines share. A change of one is a transaction with
// all that follows from it: what is in force for each machine is in that machine's record, so what
// is desired of components changes with it, and a crash leaves all of it or nothing.
#ifndef HOMEWARD_CONFIG_SERVER_JOBS_POLICIES_H_
#define HOMEWARD_CONFIG_SERVER_JOBS_POLICIES_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock/clock.h"
#include "config_server/model/policy.h"
#include "config_server/store/records.h"

namespace homeward {

// Must run on one strand. A policy that nobody knows is NOT_FOUND, one that may not be so
// INVALID_ARGUMENT; all with a problem.
class Policies {
 public:
  // Makes "failback" where it is not there, and has what older records say of their machines
  // follow it. `rpo_threshold`: of policies that have none. `clock` and `records` outlive it.
  Policies(const Clock& clock, absl::Duration rpo_threshold, Records* records);

  // By their names.
  std::vector<storage::v1::NamedPolicy> All() const;
  absl::StatusOr<storage::v1::NamedPolicy> Find(const std::string& name) const;
  absl::Duration rpo_threshold() const { return rpo_threshold_; }
  // Those that follow it.
  std::vector<const storage::v1::Machine*> MachinesOf(const std::string& name) const;

  // What `said` does not have is as in "failback". FAILED_PRECONDITION: there is one of that name.
  absl::StatusOr<storage::v1::NamedPolicy> Create(const std::string& name,
                                                  const storage::v1::Policy& said);
  // What `said` does not have stays as it is.
  absl::StatusOr<storage::v1::NamedPolicy> Change(const std::string& name,
                                                  const storage::v1::Policy& said);
  // FAILED_PRECONDITION: machines follow it, or it is "failback".
  absl::StatusOr<storage::v1::NamedPolicy> Delete(const std::string& name);

  // Has the machine follow the policy. `own`: for its present replica alone; what was said so
  // before is forgotten. FAILED_PRECONDITION: it has none.
  absl::StatusOr<storage::v1::Machine> Assign(storage::v1::Machine machine, const std::string& name,
                                              const storage::v1::Policy& own);
  // The same for a replica that a job is about to begin. An empty name: as the machine does.
  absl::Status Begin(const storage::v1::Machine& machine, const std::string& name,
                     const storage::v1::Policy& own, storage::v1::Job* job) const;

 private:
  void MakeFailback();
  void TakeOlderRecords();
  // What a replica's own settings are, as long as it follows what it does.
  using OwnOf = std::function<storage::v1::Policy(const storage::v1::Assignment&)>;
  // Adds the machine as it follows `named`, and the job that is about to begin a replica of it.
  absl::Status PutFollower(storage::v1::Machine machine, const storage::v1::Policy& named,
                           const OwnOf& own_of, Store::Transaction* transaction) const;
  void Commit(const std::string& event, const std::string& machine_id, const std::string& text,
              Store::Transaction* transaction);

  const Clock& clock_;
  const absl::Duration rpo_threshold_;
  Records& records_;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_JOBS_POLICIES_H_
