// Points: which recovery point an operator means. Pure.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_POINTS_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_POINTS_H_

#include <string>
#include <vector>

#include "config_server/model/refusal.h"
#include "homeward/control/v1/control.pb.h"

namespace homeward {

// The newest that is of one instant, or, of an agent that does not say, may be. Null: none is.
const types::v1::RecoveryPoint* NewestInstant(const control::v1::ReplicaObserved& replica);
// The point that "latest", "latest-app-consistent" or an id names. `points` oldest first. One that
// is of no one instant is refused, and is not among those that "latest" means, unless the operator
// accepts it.
struct ChosenPoint {
  types::v1::RecoveryPoint point;
  Refusal refusal;
};
ChosenPoint ChoosePoint(const std::vector<types::v1::RecoveryPoint>& points,
                        const std::string& wish, bool accept_not_one_instant = false);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_POINTS_H_
