#include "config_server/model/problems.h"

#include <fstream>
#include <set>
#include <sstream>

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
  std::set<std::string> names;
  for (const ProblemEntry& entry : ProblemCatalogue()) {
    EXPECT_TRUE(names.insert(entry.name).second) << entry.name;
    EXPECT_FALSE(entry.causes.empty()) << entry.name;
    EXPECT_NE(std::string(entry.action), "") << entry.name;
    EXPECT_EQ(MakeProblem(entry.id, "so").id(), entry.name);
  }
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
