// StepResult: how far a step of a workflow came.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_STEP_RESULT_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_STEP_RESULT_H_

#include <optional>
#include <string>
#include <utility>

#include "homeward/types/v1/types.pb.h"

namespace homeward {

struct StepResult {
  enum class State { kDone, kWaiting, kFailed } state = State::kDone;
  std::string detail;  // what it waits for
  uint64_t done_bytes = 0, total_bytes = 0;
  std::optional<types::v1::Problem> problem;

  bool done() const { return state == State::kDone; }
  static StepResult Done() { return {}; }
  static StepResult Wait(std::string detail) {
    return {State::kWaiting, std::move(detail), 0, 0, {}};
  }
  static StepResult Fail(types::v1::Problem problem) {
    return {State::kFailed, {}, 0, 0, std::move(problem)};
  }
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_STEP_RESULT_H_
