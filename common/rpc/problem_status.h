// A types.v1.Problem travels with an absl::Status, from the rule that refuses to the operator's
// screen.
#ifndef HOMEWARD_COMMON_RPC_PROBLEM_STATUS_H_
#define HOMEWARD_COMMON_RPC_PROBLEM_STATUS_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "homeward/types/v1/types.pb.h"

namespace homeward {

absl::Status ToStatus(const types::v1::Problem& problem, absl::StatusCode code);
// UNAVAILABLE when trying again may help, FAILED_PRECONDITION otherwise; the problem goes along.
absl::Status Refused(const types::v1::Problem& problem);
std::optional<types::v1::Problem> ProblemOf(const absl::Status& status);
// For a log: the problem's id and message, or without a problem the status's code and message.
std::string Describe(const absl::Status& status);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_RPC_PROBLEM_STATUS_H_
