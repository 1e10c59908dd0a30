// Golden files: the exact bytes of each format, kept in tests/golden. A difference means that the
// format changed: raise its version and keep reading the old one.
#ifndef HOMEWARD_TESTS_GOLDEN_GOLDEN_H_
#define HOMEWARD_TESTS_GOLDEN_GOLDEN_H_

#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace homeward::testing {

inline std::string ReadGolden(const std::string& name) {
  std::stringstream golden;
  golden << std::ifstream(absl::StrCat(HOMEWARD_SOURCE_DIR, "/tests/golden/", name),
                          std::ios::binary)
                .rdbuf();
  return golden.str();
}

inline void ExpectGolden(const std::string& name, const std::string& bytes) {
  const std::string path = absl::StrCat(HOMEWARD_SOURCE_DIR, "/tests/golden/", name);
  std::ifstream file(path, std::ios::binary);
  std::stringstream golden;
  golden << file.rdbuf();
  if (!file) {
    std::ofstream(path, std::ios::binary) << bytes;
    FAIL() << path << " did not exist and was written: look at it, then commit it";
  }
  EXPECT_TRUE(golden.str() == bytes) << path << " differs from what the code writes";
}

}  // namespace homeward::testing

#endif  // HOMEWARD_TESTS_GOLDEN_GOLDEN_H_
