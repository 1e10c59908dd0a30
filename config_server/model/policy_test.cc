#include "config_server/model/policy.h"

#include "common/wire/time_proto.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

using storage::v1::Policy;

Policy PointsEach(absl::Duration interval) {
  Policy policy = FailbackPolicy();
  *policy.mutable_point_interval() = ToProto(interval);
  return policy;
}

std::string IdOf(const Refusal& refusal) { return refusal ? refusal->id() : "none"; }

std::string Judged(const Policy& policy) {
  return IdOf(CheckNamedPolicy(policy, absl::Minutes(15)));
}

TEST(Policy, FailbackIsAsInTheOriginal) {
  const Policy failback = FailbackPolicy();
  EXPECT_EQ(FromProto(failback.point_interval()), absl::Minutes(5));
  EXPECT_EQ(FromProto(failback.app_point_interval()), absl::Minutes(60));
  EXPECT_EQ(FromProto(failback.retention_age()), absl::Hours(24));
  EXPECT_EQ(failback.retention_bytes(), 0u) << "no limit";
  EXPECT_EQ(RpoThresholdOf(failback, absl::Minutes(15)), absl::Minutes(15));
  EXPECT_EQ(Judged(failback), "none");
}

TEST(Policy, PointsOfOneAreFiveSecondsApartAtLeast) {
  EXPECT_EQ(Judged(PointsEach(absl::Seconds(5))), "none");
  EXPECT_EQ(Judged(PointsEach(absl::Milliseconds(4999))), "POLICY_INTERVAL_UNSUITABLE");
  EXPECT_EQ(Judged(PointsEach(absl::ZeroDuration())), "POLICY_INTERVAL_UNSUITABLE");
  EXPECT_EQ(Judged(PointsEach(-absl::Minutes(5))), "POLICY_INTERVAL_UNSUITABLE");
  // What an operator says for one machine alone, as for a test.
  EXPECT_EQ(IdOf(CheckPolicyInForce(PointsEach(absl::Seconds(1)))), "none");
  EXPECT_EQ(IdOf(CheckPolicyInForce(PointsEach(absl::Milliseconds(999)))),
            "POLICY_INTERVAL_UNSUITABLE");
}

TEST(Policy, ApplicationConsistentPointsAreNotMoreThanTheOthers) {
  Policy policy = PointsEach(absl::Minutes(10));
  *policy.mutable_app_point_interval() = ToProto(absl::Minutes(9));
  EXPECT_EQ(Judged(policy), "POLICY_INTERVAL_UNSUITABLE");
  *policy.mutable_app_point_interval() = ToProto(absl::Minutes(10));
  EXPECT_EQ(Judged(policy), "none");
  *policy.mutable_app_point_interval() = ToProto(absl::ZeroDuration());
  EXPECT_EQ(Judged(policy), "none") << "there are none";
  *policy.mutable_app_point_interval() = ToProto(-absl::Seconds(1));
  EXPECT_EQ(Judged(policy), "POLICY_INTERVAL_UNSUITABLE");
}

TEST(Policy, AThresholdThatIsAlwaysPassedIsRefused) {
  Policy policy = PointsEach(absl::Minutes(20));
  EXPECT_EQ(Judged(policy), "POLICY_INTERVAL_UNSUITABLE") << "the server's is 15 minutes";
  *policy.mutable_rpo_threshold() = ToProto(absl::Minutes(20));
  EXPECT_EQ(Judged(policy), "none");
  *policy.mutable_rpo_threshold() = ToProto(absl::ZeroDuration());
  EXPECT_EQ(Judged(policy), "POLICY_INTERVAL_UNSUITABLE");
}

TEST(Policy, PointsThatAreGoneBeforeTheNextIsMadeAreRefused) {
  Policy policy = FailbackPolicy();
  *policy.mutable_retention_age() = ToProto(absl::Minutes(4));
  EXPECT_EQ(Judged(policy), "POLICY_RETENTION_UNSUITABLE");
  EXPECT_EQ(IdOf(CheckPolicyInForce(policy)), "POLICY_RETENTION_UNSUITABLE");
  *policy.mutable_retention_age() = ToProto(absl::Hours(24 * 1000));
  EXPECT_EQ(Judged(policy), "POLICY_RETENTION_UNSUITABLE");
  policy = FailbackPolicy();
  policy.set_retention_bytes(1023 * 1024);
  EXPECT_EQ(Judged(policy), "POLICY_RETENTION_UNSUITABLE");
  policy.set_retention_bytes(1024 * 1024);
  EXPECT_EQ(Judged(policy), "none");
}

TEST(Policy, WhatIsSaidGoesBeforeTheRest) {
  Policy said;
  *said.mutable_point_interval() = ToProto(absl::Milliseconds(1500));
  said.set_retention_bytes(0);
  Policy otherwise = FailbackPolicy();
  otherwise.set_retention_bytes(1 << 30);
  const Policy policy = Over(otherwise, said);
  EXPECT_EQ(FromProto(policy.point_interval()), absl::Milliseconds(1500));
  EXPECT_EQ(FromProto(policy.retention_age()), absl::Hours(24));
  EXPECT_EQ(policy.retention_bytes(), 0u) << "no limit was said";
  EXPECT_FALSE(policy.has_rpo_threshold());
}

}  // namespace
}  // namespace homeward
