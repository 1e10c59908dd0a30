// All files of a simulated directory in one golden file, and back: what version 1 of a durable
// format left behind, for every later version to open.
#ifndef HOMEWARD_TESTS_GOLDEN_ARCHIVE_H_
#define HOMEWARD_TESTS_GOLDEN_ARCHIVE_H_

#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/fakes/memory_disk.h"
#include "tests/golden/golden.h"

namespace homeward::testing {

// "name size\n" and the content, for each file.
inline std::string Pack(MemoryDisk& disk, const std::string& directory) {
  std::string out;
  const auto names = disk.List(directory);
  EXPECT_TRUE(names.ok()) << names.status();
  for (const std::string& name : names.value_or(std::vector<std::string>())) {
    const std::string content = disk.Content(JoinPath(directory, name));
    absl::StrAppend(&out, name, " ", content.size(), "\n", content);
  }
  return out;
}

inline void Unpack(absl::string_view archive, MemoryDisk& disk, const std::string& directory) {
  ASSERT_TRUE(disk.MakeDirectories(directory).ok());
  while (!archive.empty()) {
    const size_t blank = archive.find(' '), end = archive.find('\n');
    ASSERT_LT(blank, end);
    uint64_t bytes = 0;
    ASSERT_TRUE(absl::SimpleAtoi(archive.substr(blank + 1, end - blank - 1), &bytes));
    ASSERT_TRUE(WriteFileAtomically(disk, JoinPath(directory, archive.substr(0, blank)),
                                    archive.substr(end + 1, bytes))
                    .ok());
    archive.remove_prefix(end + 1 + bytes);
  }
}

}  // namespace homeward::testing

#endif  // HOMEWARD_TESTS_GOLDEN_ARCHIVE_H_
