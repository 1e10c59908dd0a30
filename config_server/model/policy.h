// Policy: how often recovery points are made and how long they are kept. Machines follow a named
// policy; what an operator says for one machine alone goes before it.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_POLICY_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_POLICY_H_

#include <string>

#include "absl/time/time.h"
#include "config_server/model/refusal.h"
#include "homeward/storage/v1/storage.pb.h"

namespace homeward {

// The policy that is always there, and that machines follow for which nobody names another.
inline constexpr char kFailbackPolicy[] = "failback";

// Which one the machine follows.
std::string PolicyNameOf(const storage::v1::Machine& machine);
// "failback" as it is made: complete but for the threshold.
storage::v1::Policy FailbackPolicy();
// What `said` has, and for the rest what `otherwise` has.
storage::v1::Policy Over(const storage::v1::Policy& otherwise, const storage::v1::Policy& said);

// What was said for this replica alone. `named` is what it has followed up to now.
storage::v1::Policy OwnPolicyOf(const storage::v1::Assignment& assignment,
                                const storage::v1::Policy& named);
// What is in force of `named` and `own` is so for the replica from now on.
void SetPolicy(const storage::v1::Policy& named, const storage::v1::Policy& own,
               storage::v1::Assignment* assignment);

// When its newest point is too old.
absl::Duration RpoThresholdOf(const storage::v1::Policy& policy, absl::Duration otherwise);

// Why a named policy may not be so. `rpo_threshold`: where it has none.
// Requires: it is complete but for the threshold, as what the next one looks at.
Refusal CheckNamedPolicy(const storage::v1::Policy& policy, absl::Duration rpo_threshold);
// The same of what is in force for one machine.
Refusal CheckPolicyInForce(const storage::v1::Policy& policy);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_POLICY_H_
