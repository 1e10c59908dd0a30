// HW_CHECK: a broken invariant ends the process, in every build. A restart is cheaper than a wrong
// disk.
#ifndef HOMEWARD_COMMON_BASE_CHECK_H_
#define HOMEWARD_COMMON_BASE_CHECK_H_

#include <cstdio>
#include <cstdlib>

namespace homeward {
[[noreturn]] inline void CheckFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: invariant broken: %s\n", file, line, condition);
  std::abort();
}
}  // namespace homeward

#define HW_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::homeward::CheckFailed(#condition, __FILE__, __LINE__))

#endif  // HOMEWARD_COMMON_BASE_CHECK_H_
