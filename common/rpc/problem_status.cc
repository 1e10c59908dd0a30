#include "common/rpc/problem_status.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace homeward {
namespace {

constexpr char kProblemUrl[] = "homeward.types.v1.Problem";

}  // namespace

absl::Status ToStatus(const types::v1::Problem& problem, absl::StatusCode code) {
  absl::Status status(code, problem.message());
  status.SetPayload(kProblemUrl, absl::Cord(problem.SerializeAsString()));
  return status;
}

absl::Status Refused(const types::v1::Problem& problem) {
  return ToStatus(problem, problem.retryable() ? absl::StatusCode::kUnavailable
                                               : absl::StatusCode::kFailedPrecondition);
}

std::optional<types::v1::Problem> ProblemOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kProblemUrl);
  types::v1::Problem problem;
  if (!payload.has_value() || !problem.ParseFromString(std::string(*payload))) return std::nullopt;
  return problem;
}

std::string Describe(const absl::Status& status) {
  const std::optional<types::v1::Problem> problem = ProblemOf(status);
  if (!problem.has_value()) return status.ToString(absl::StatusToStringMode::kWithNoExtraData);
  return absl::StrCat(problem->id(), ": ", status.message());
}

}  // namespace homeward
