// StepResult: how far a step of a workflow came.
#ifndef HOMEWARD_CONFIG_SERVER_WORKFLOWS_STEP_RESULT_H_
#define HOMEWARD_CONFIG_SERVER_WORKFLOWS_STEP_RESULT_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "homeward/types/v1/types.pb.h"

namespace homeward {

struct StepResult {
  // No job waits longer for one thing: people come back to work, and servers from repair.
  static constexpr absl::Duration kWaitMax = absl::Hours(24);

  enum class State { kDone, kWaiting, kFailed } state = State::kDone;
  std::string detail;  // what it waits for
  uint64_t done_bytes = 0, total_bytes = 0;
  // Why it failed; of one that waits: why it fails when it has waited for `limit` for the same
  // thing and no byte was done. Without a problem of its own it is WAITED_TOO_LONG.
  std::optional<types::v1::Problem> problem;
  absl::Duration limit = kWaitMax;
  // Of one that is done: what was to be removed and is not, each with why.
  std::vector<std::string> kept = {};

  bool done() const { return state == State::kDone; }
  static StepResult Done() { return {}; }
  static StepResult Wait(std::string detail) {
    return {State::kWaiting, std::move(detail), 0, 0, {}};
  }
  // For one that waits.
  StepResult AtMost(absl::Duration time, types::v1::Problem too_long) && {
    limit = time;
    problem = std::move(too_long);
    return std::move(*this);
  }
  static StepResult Fail(types::v1::Problem problem) {
    return {State::kFailed, {}, 0, 0, std::move(problem)};
  }
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_WORKFLOWS_STEP_RESULT_H_
