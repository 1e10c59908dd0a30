#include "config_server/cli/plan_file.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/golden/golden.h"

namespace homeward {
namespace {

using ::testing::HasSubstr;

constexpr char kPlan[] = R"(name: shop
point: latest-app-consistent
at_failure: stop
groups:
  - machines: [db-1, db-2]
    before:
      - script: [stop-web, --now]
        timeout: 90s
    after:
      - manual: Look at the database
  - machines: [web-1]
)";

std::string ErrorOf(const std::string& text) {
  return std::string(ParsePlanFile("shop.yaml", text).status().message());
}

TEST(PlanFile, APlanIsReadAndWrittenAsTheSame) {
  const auto plan = ParsePlanFile("shop.yaml", kPlan);
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->groups_size(), 2);
  EXPECT_EQ(plan->groups(0).machines(1), "db-2");
  EXPECT_EQ(plan->groups(0).before(0).script().arguments(0), "--now");
  EXPECT_EQ(plan->groups(0).before(0).script().timeout().seconds(), 90);
  EXPECT_EQ(plan->groups(0).after(0).instruction(), "Look at the database");
  EXPECT_TRUE(plan->stops_at_failure());
  const auto again = ParsePlanFile("again.yaml", WritePlanFile(*plan));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->SerializeAsString(), plan->SerializeAsString());
}

TEST(PlanFile, TheRecordedFileIsReadAndExportedAsItIs) {
  const std::string recorded = testing::ReadGolden("recovery_plan_v1.txt");
  const auto plan = ParsePlanFile("recovery_plan_v1.txt", recorded);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(WritePlanFile(*plan), recorded);
}

TEST(PlanFile, WhatIsWrongIsSaidWithItsLineAndKey) {
  EXPECT_THAT(ErrorOf("name: shop\ngrups: []\n"), HasSubstr("shop.yaml:2: grups: is no key of"));
  EXPECT_THAT(ErrorOf("name: shop\n"), HasSubstr("groups: is missing"));
  EXPECT_THAT(ErrorOf("name: shop\nname: b\ngroups: []\n"),
              HasSubstr("shop.yaml:2: name: is there twice"));
  EXPECT_THAT(ErrorOf("name: shop\npoint: newest\ngroups: []\n"),
              HasSubstr("shop.yaml:2: point: write"));
  EXPECT_THAT(ErrorOf("name: shop\ngroups:\n  - machines: []\n"),
              HasSubstr("shop.yaml:3: machines:"));
  EXPECT_THAT(
      ErrorOf(
          "name: shop\ngroups:\n  - machines: [a]\n    after:\n      - {script: [x], manual: y}\n"),
      HasSubstr("shop.yaml:5: an action: write either"));
  EXPECT_THAT(ErrorOf("name: [shop\n"), HasSubstr("shop.yaml:"));
  EXPECT_THAT(ErrorOf("7"), HasSubstr("shop.yaml:1: the plan: write keys"));
}

}  // namespace
}  // namespace homeward
