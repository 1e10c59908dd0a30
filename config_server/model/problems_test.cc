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

}  // namespace
}  // namespace homeward
