#include "common/problem/problem.h"

#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "common/base/limits.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

TEST(Problems, ThePageIsMadeFromTheCatalogue) {
  const std::string path = HOMEWARD_SOURCE_DIR "/docs/problems.md";
  std::ostringstream page;
  page << std::ifstream(path).rdbuf();
  EXPECT_EQ(page.str(), ProblemsPage())
      << "write it anew: build/dev/bin/homeward-problems > docs/problems.md";
}

TEST(Problems, EachIsWhole) {
  std::set<ProblemId> ids;
  for (const ProblemEntry& entry : ProblemCatalogue()) {
    EXPECT_TRUE(ids.insert(entry.id).second) << entry.name;
    EXPECT_NE(entry.when, "") << entry.name;
    EXPECT_FALSE(entry.causes.empty()) << entry.name;
    EXPECT_NE(entry.action, "") << entry.name;
    const types::v1::Problem made = MakeProblem(entry.id, "so");
    EXPECT_EQ(made.id(), entry.name);
    EXPECT_EQ(made.number(), entry.number);
    EXPECT_EQ(made.action(), entry.action);
    EXPECT_EQ(made.retryable(), entry.retryable);
    EXPECT_TRUE(IsProblem(made, entry.id));
  }
  for (int id = 0; id <= static_cast<int>(kProblemIdLast); ++id)
    EXPECT_EQ(ids.count(static_cast<ProblemId>(id)), 1u) << "has no entry: the id number " << id;
}

TEST(Problems, OfOneNameEachCaseSaysWhichItIs) {
  std::map<std::string, std::set<std::string>> cases;
  std::map<std::string, size_t> entries;
  std::map<std::string, std::set<uint32_t>> numbers;
  for (const ProblemEntry& entry : ProblemCatalogue()) {
    cases[entry.name].insert(entry.of);
    numbers[entry.name].insert(entry.number);
    ++entries[entry.name];
  }
  for (const auto& [name, count] : entries) {
    EXPECT_EQ(cases[name].size(), count) << name;
    EXPECT_EQ(cases[name].count(""), count == 1 ? 1u : 0u) << name;
    EXPECT_EQ(numbers[name].size(), 1u) << name;
  }
}

TEST(Problems, AnIssueHasTheProblemWhole) {
  const types::v1::HealthIssue issue =
      MakeIssue(types::v1::CRITICAL, ProblemId::kCacheLow, "12 % free");
  EXPECT_EQ(issue.severity(), types::v1::CRITICAL);
  EXPECT_EQ(issue.problem().SerializeAsString(),
            MakeProblem(ProblemId::kCacheLow, "12 % free").SerializeAsString());
  EXPECT_FALSE(IsProblem(issue.problem(), ProblemId::kVolumeFull));
}

TEST(Problems, LimitsInTextsAreThoseOfTheCode) {
  const auto when = [](ProblemId id) {
    for (const ProblemEntry& entry : ProblemCatalogue()) {
      if (entry.id == id) return entry.when;
    }
    return std::string();
  };
  EXPECT_EQ(when(ProblemId::kCacheLow),
            "the process server's cache has under 30 % free (Critical: under 25 % free)");
  EXPECT_EQ(when(ProblemId::kDiskTooLarge), "a VMDK holds at most 62 TiB");
  EXPECT_TRUE(HasRoomForPoints(kGiB, 100 * kTiB));
  EXPECT_TRUE(HasRoomForPoints(5 * kMiB, 100 * kMiB));
  EXPECT_FALSE(HasRoomForPoints(5 * kMiB - 1, 100 * kMiB));
  EXPECT_FALSE(HasRoomForPoints(kGiB - 1, 100 * kTiB));
}

TEST(Problems, WhatAnOperatorTypedIsShownAsOneLineThatFits) {
  EXPECT_EQ(MakeProblem(ProblemId::kNotInDatabase, "no \"a\n\x1b[31m\"").message(),
            "no \"a\\x0a\\x1b[31m\"");
  std::string text = "x";
  while (text.size() < 9000) text += "\u00fc";
  const std::string shown = MakeProblem(ProblemId::kNotInDatabase, text).message();
  EXPECT_LE(shown.size(), 2003u);
  EXPECT_EQ(shown.substr(shown.size() - 5), "\u00fc...") << "no character is cut";
}

}  // namespace
}  // namespace homeward
