// homeward-problems: prints docs/problems.md.
#include <cstdio>

#include "common/problem/problem.h"

int main() {
  std::fputs(homeward::ProblemsPage().c_str(), stdout);
  return 0;
}
