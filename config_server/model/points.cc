#include "config_server/model/points.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace homeward {

const types::v1::RecoveryPoint* NewestInstant(const control::v1::ReplicaObserved& replica) {
  const auto newest = std::find_if(
      replica.points().rbegin(), replica.points().rend(),
      [](const auto& point) { return point.consistency() != types::v1::NOT_ONE_INSTANT; });
  return newest == replica.points().rend() ? nullptr : &*newest;
}

ChosenPoint ChoosePoint(const std::vector<types::v1::RecoveryPoint>& points,
                        const std::string& wish, bool accept_not_one_instant) {
  ChosenPoint chosen;
  if (wish.empty()) {
    chosen.refusal = MakeProblem(ProblemId::kPointRequired, "choose a recovery point");
    return chosen;
  }
  const bool latest = wish == "latest", app = wish == "latest-app-consistent";
  for (auto it = points.rbegin(); it != points.rend(); ++it) {
    if (!latest && !(app && it->kind() == types::v1::APP_CONSISTENT) && it->id() != wish) continue;
    if (it->consistency() != types::v1::NOT_ONE_INSTANT || accept_not_one_instant) {
      chosen.refusal.reset();
      chosen.point = *it;
      return chosen;
    }
    // The newest one says best what is in the way.
    if (!chosen.refusal) {
      chosen.refusal =
          MakeProblem(ProblemId::kPointNotOneInstant,
                      absl::StrCat("point ", it->id(), " is not one instant: ", it->how()));
    }
  }
  if (chosen.refusal) return chosen;
  chosen.refusal =
      latest || app
          ? MakeProblem(ProblemId::kNoRecoveryPoint,
                        absl::StrCat("there is no ", app ? "application-consistent " : "",
                                     "recovery point"))
          : MakeProblem(ProblemId::kPointNotFound, absl::StrCat("there is no point ", wish));
  return chosen;
}

}  // namespace homeward
