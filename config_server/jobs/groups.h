// Groups: the replication groups, and which machines are members. Who is a member stands in the
// machines' records, and is changed together with the group.
#ifndef HOMEWARD_CONFIG_SERVER_JOBS_GROUPS_H_
#define HOMEWARD_CONFIG_SERVER_JOBS_GROUPS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock/clock.h"
#include "config_server/jobs/policies.h"
#include "config_server/model/view.h"
#include "config_server/store/records.h"

namespace homeward {

// Must run on one strand. A group that nobody knows is NOT_FOUND, one that may not be so
// INVALID_ARGUMENT or FAILED_PRECONDITION; all with a problem.
class Groups {
 public:
  // `clock`, `records` and `policies` outlive it.
  Groups(const Clock& clock, Records* records, const Policies* policies)
      : clock_(clock), records_(*records), policies_(*policies) {}

  // By their names.
  std::vector<storage::v1::ReplicationGroup> All() const;
  // Grows with each change.
  uint64_t revision() const { return revision_; }
  absl::StatusOr<storage::v1::ReplicationGroup> Find(const std::string& name) const;

  // What is wanted of a group. Intervals that are absent are as in the policy "failback", or as
  // they were.
  struct Wish {
    storage::v1::ReplicationGroup group;
    // All members, by id. Nothing: as they were.
    std::optional<std::vector<std::string>> machine_ids;
  };
  absl::StatusOr<storage::v1::ReplicationGroup> Create(const View& view, const Wish& wish);
  absl::StatusOr<storage::v1::ReplicationGroup> Change(const View& view, const Wish& wish);
  // Its members are machines on their own from now on, and keep the points that they have.
  absl::StatusOr<storage::v1::ReplicationGroup> Delete(const View& view, const std::string& name);

 private:
  absl::StatusOr<storage::v1::ReplicationGroup> Put(const View& view,
                                                    storage::v1::ReplicationGroup group,
                                                    const Wish& wish, const std::string& event);
  void Commit(const std::string& event, const std::string& text, Store::Transaction* transaction);

  const Clock& clock_;
  Records& records_;
  const Policies& policies_;
  uint64_t revision_ = 1;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_JOBS_GROUPS_H_
