#include "common/rpc/problem_status.h"

#include "common/log/log.h"
#include "common/problem/problem.h"
#include "common/status/status_macros.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

TEST(ProblemStatus, AProblemTravelsWithAStatus) {
  const types::v1::Problem problem = MakeProblem(ProblemId::kAgentCloned, "two of them run");
  const absl::Status status = ToStatus(problem, absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(ProblemOf(Annotate(status, "registration")).has_value());
  EXPECT_EQ(ProblemOf(status)->SerializeAsString(), problem.SerializeAsString());
  EXPECT_FALSE(ProblemOf(absl::InternalError("x")).has_value());
}

TEST(ProblemStatus, ALogHasItsIdAndMessageAndNeverItsBytes) {
  const absl::Status status = ToStatus(MakeProblem(ProblemId::kAgentCloned, "two of them run"),
                                       absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Describe(status), "AGENT_CLONED: two of them run");
  EXPECT_EQ(Describe(absl::InternalError("a fault")), "INTERNAL: a fault");
  EXPECT_EQ(LogField("error", status).value, "FAILED_PRECONDITION: two of them run");
}

}  // namespace
}  // namespace homeward
